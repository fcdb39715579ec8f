"""A stream behind nginx, as the operator's guide sets it up, on which nothing happens for longer than nginx waits."""

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gochat.api.event.v1.event_pb2 import SubscribeRequest
from tests.commands.test_examples import example
from tests.conftest import Own
from tests.harness import new_connection
from tests.processes import free_address, missing
from tests.streams import Listener, scaled
from tests.waiting import eventually, polled

IDLE = scaled(65, 300)  # seconds; nginx ends what is silent for 60


@contextmanager
def nginx(folder: Path, upstream: str) -> Iterator[str]:
    """The example of the guide, without its certificate, before a server at this address. Yields its own address."""
    program = shutil.which("nginx")
    if not program:
        missing("no nginx on the PATH")
    address = free_address()
    text = re.sub(r"^\s*ssl_certificate.*\n", "", example("nginx"), flags=re.MULTILINE)
    text = text.replace("443 ssl", address).replace("127.0.0.1:50051", upstream)
    assert address in text
    assert upstream in text
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"daemon off;\nuser root;\nworker_processes 1;\npid {folder}/pid;\nevents {{}}\n"
        f"http {{\naccess_log {folder}/access.log;\n{paths}{text}}}\n"
    )
    with (folder / "error.log").open("w") as errors:
        running = subprocess.Popen([program, "-c", folder / "nginx.conf", "-e", "stderr"], stderr=errors)
    try:
        eventually(lambda: _accepts(address) or running.poll() is not None)
        assert running.poll() is None, (folder / "error.log").read_text()
        yield address
    finally:
        running.terminate()
        running.wait(20)


def _accepts(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def test_an_idle_stream_stays_open_and_is_delivered_what_happens(own: Own, tmp_path: Path) -> None:
    app = own(env={"GOCHAT_LIMITS_TRUSTED_PROXIES": "127.0.0.1"})
    ann, ben = app.people(2)
    (tmp_path / "nginx").mkdir()
    with nginx(tmp_path / "nginx", app.address) as address, new_connection(address) as channel:
        listener = Listener(channel, ben.metadata, SubscribeRequest())
        listener.ready()
        assert not polled(lambda: listener.error, seconds=IDLE)
        assert {str(each.WhichOneof("payload")) for each in listener.responses} == {"ready", "heartbeat"}
        ann.begin_send(ben.id, channel).result()
        listener.until(lambda each: each.contents == ["running"])
        assert listener.error is None
        listener.close()
        eventually(lambda: app.processes[0].metrics()("gochat_streams_open") == 0)
