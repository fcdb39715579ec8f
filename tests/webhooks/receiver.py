"""A receiver of webhooks, in the test's process: it verifies what comes, as a receiver should, and keeps it."""

import base64
import hashlib
import hmac
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LOOPBACK = {"GOCHAT_WEBHOOKS_ALLOW": "127.0.0.0/8"}
"""Settings of a server that may call it."""


@dataclass
class Received:
    """One POST. id: the header webhook-id."""

    id: str
    body: dict[str, Any]
    headers: Mapping[str, str]
    raw: bytes

    @property
    def content(self) -> str:
        """Of the message that was sent."""
        return str(self.body["data"]["messageSent"]["message"].get("content", ""))


Answer = int | tuple[int, dict[str, str]] | tuple[int, dict[str, str], bytes]
Behave = Callable[[Received], Answer]
"""The status of the answer, and its headers and body."""


@dataclass
class Receiver:
    """behave: what it answers. got: all that came, with the answer."""

    url: str = ""
    behave: Behave = lambda _: 204
    got: list[tuple[Received, int]] = field(default_factory=list)

    @property
    def taken(self) -> list[Received]:
        """What it has answered with success."""
        return [received for received, status in list(self.got) if status < 300]

    @property
    def contents(self) -> list[str]:
        return [received.content for received in self.taken if received.body["type"] == "message_sent"]


@contextmanager
def receiving(behave: Behave = lambda _: 204, port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    receiver = Receiver(behave=behave)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            received = Received(self.headers["webhook-id"], json.loads(raw), dict(self.headers.items()), raw)
            answer = receiver.behave(received)
            status, headers, body = (*((answer,) if isinstance(answer, int) else answer), {}, b"")[:3]
            receiver.got.append((received, status))
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """The server was killed while it asked."""

    with Server(("127.0.0.1", port), Handler) as server:
        if tls:  # of which a handshake is done by the thread of the request, when it reads
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        receiver.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}/hook"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield receiver
        server.shutdown()
        thread.join()


def is_signed(received: Received, secret: str) -> bool:
    """By the text of the specification, and not by gochat/webhooks/signing.py."""
    headers = {name.lower(): value for name, value in received.headers.items()}
    stamp = headers["webhook-timestamp"]
    if abs(time.time() - int(stamp)) > 300:
        return False
    key = base64.b64decode(secret.split("_", 1)[1])
    content = f"{headers['webhook-id']}.{stamp}.".encode() + received.raw
    expected = "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return expected in headers["webhook-signature"].split(" ")
