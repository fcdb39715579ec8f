"""The operator's guide's nginx in front of both ports."""

import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPSConnection
from pathlib import Path

import grpc
import pytest

from gochat.api.logic.v1 import logic_pb2
from gochat.api.logic.v1.logic_pb2_grpc import LogicServiceStub
from tests.attacks.certificates import Authority, channel
from tests.conftest import Own
from tests.harness import Deployment
from tests.processes import free_address, missing
from tests.test_readme import OPERATING, blocks
from tests.waiting import eventually
from tests.web.client import ON, Stream, Web, bearer, enveloped, path

ADDRESS_OF_CLIENT = "127.0.0.1"


@contextmanager
def nginx(app: Deployment, authority: Authority, folder: Path) -> Iterator[str]:
    """HOST:PORT."""
    program = shutil.which("nginx")
    if program is None:
        missing("nginx")
    pair, address = authority.issue(), free_address()
    text = blocks("nginx", OPERATING).replace("listen 443 ssl", f"listen {address} ssl")
    text = re.sub(r"(ssl_certificate) .*;", rf"\1 {pair.cert};", text)
    text = re.sub(r"(ssl_certificate_key) .*;", rf"\1 {pair.key};", text)
    text = text.replace("127.0.0.1:50051", app.address).replace("127.0.0.1:8080", app.processes[0].web_url[7:])
    logs = f"pid {folder}/pid; error_log {folder}/error.log; daemon off; user root;\n"
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    (folder / "nginx.conf").write_text(f"{logs}events {{}}\nhttp {{\naccess_log off;\n{paths}{text}}}\n")
    run = subprocess.Popen([program, "-c", folder / "nginx.conf", "-e", folder / "error.log"])
    try:
        yield address
    finally:
        run.terminate()
        run.wait()


def test_both_transports_pass(own: Own, tmp_path: Path) -> None:
    app = own(env=ON | {"GOCHAT_LIMITS_TRUSTED_PROXIES": ADDRESS_OF_CLIENT})
    ann, bob, authority = app.person(), app.person(), Authority(tmp_path, "authority")
    context = ssl.create_default_context(cafile=str(authority.cert))
    context.check_hostname = False
    with nginx(app, authority, tmp_path) as address:
        web = Web(f"https://{address}", context)
        eventually(lambda: _serves(web))
        assert web.call("GetUserProfile", {}, ann).json["profile"]["userId"] == ann.id
        with channel(address, authority) as opened:
            answer = LogicServiceStub(opened).GetUserProfile(
                logic_pb2.GetUserProfileRequest(), metadata=ann.metadata, timeout=30
            )
            assert answer.profile.user_id == ann.id
            with pytest.raises(grpc.RpcError):
                LogicServiceStub(opened).GetUserProfile(logic_pb2.GetUserProfileRequest(), timeout=30)
        connection = HTTPSConnection(*web.address, timeout=30, context=context)
        headers = {"content-type": "application/connect+json"} | bearer(bob)
        connection.request("POST", path("Event.Subscribe"), enveloped(b"{}"), headers)
        stream = Stream(connection.getresponse())
        assert "ready" in stream.json()
        began = time.monotonic()
        ann.SendMessage(to_user_id=bob.id, content="at once")
        while "at once" not in str(stream.json()):
            pass
        assert time.monotonic() - began < 5
        connection.close()
        web.call("GetUserProfile", {}, ann, x_request_id="proxied", x_forwarded_for="198.51.100.1")
        eventually(lambda: "[proxied]" in app.logs())
        assert "198.51.100.1" not in app.logs()


def _serves(web: Web) -> bool:
    try:
        return web.request("GET", "/healthz").status == 200
    except OSError:
        return False
