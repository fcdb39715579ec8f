"""A client of the HTTP listener, as plain as can be: requests by http.client, streams and hostile bytes by sockets."""

import gzip
import json
import socket
import ssl
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from tests.harness import Deployment, Person

ON = {"GOCHAT_HTTP_LISTEN": "127.0.0.1:0"}
"""Setting for a server that listens for HTTP."""

END_STREAM, TRAILERS = 2, 0x80


class Answer:
    """json: of the body, if that is what it has."""

    def __init__(self, response: HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self) -> Any:
        body = gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body
        return json.loads(body)


class Web:
    def __init__(self, url: str, context: ssl.SSLContext | None = None) -> None:
        self.url, self.context = url, context
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self.address = parts.hostname, parts.port

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = (
            HTTPSConnection(*self.address, timeout=30, context=self.context)
            if self.url.startswith("https")
            else HTTPConnection(*self.address, timeout=30)
        )
        try:
            connection.request(method, path, body, dict(headers or {}))
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def call(self, rpc: str, body: Any = None, who: Person | None = None, **headers: str) -> Answer:
        """A unary call in JSON; in the names of headers _ stands for -."""
        named = {"content-type": "application/json"} | {name.replace("_", "-"): v for name, v in headers.items()}
        data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        return self.request("POST", path(rpc), data, named | bearer(who))

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=30)

    @contextmanager
    def stream(self, rpc: str, body: Any = None, who: Person | None = None, **headers: str) -> Iterator["Stream"]:
        """A server stream, by Connect in JSON unless the headers say otherwise."""
        named = {"content-type": "application/connect+json"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()} | bearer(who)
        data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        connection = HTTPConnection(*self.address, timeout=30)
        try:
            connection.request("POST", path(rpc), enveloped(data), named)
            yield Stream(connection.getresponse())
        finally:
            connection.close()


class Stream:
    def __init__(self, response: HTTPResponse) -> None:
        self.response = response

    def next(self) -> tuple[int, bytes]:
        """The next envelope: its flags and its message."""
        flags, size = struct.unpack(">BI", self._read(5))
        return flags, self._read(size)

    def json(self) -> Any:
        flags, data = self.next()
        return (json.loads(data) | {"end": True}) if flags & END_STREAM else json.loads(data)

    def events(self) -> list[Any]:
        """Those of the next batch."""
        while "batch" not in (message := self.json()):
            assert "end" not in message, message
        found: list[Any] = message["batch"]["events"]
        return found

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.response.read(size - len(data))
            assert more, "the stream has ended"
            data += more
        return data


def enveloped(data: bytes, flags: int = 0) -> bytes:
    return struct.pack(">BI", flags, len(data)) + data


def path(rpc: str) -> str:
    """Of SendMessage, or of Event.Subscribe for another service than LogicService."""
    noun, _, name = rpc.rpartition(".")
    noun = noun or "Logic"
    return f"/gochat.api.{noun.lower()}.v1.{noun}Service/{name}"


def bearer(who: Person | None) -> dict[str, str]:
    return {"authorization": f"Bearer {who.access_token}"} if who else {}


def web_of(app: Deployment, context: ssl.SSLContext | None = None) -> Web:
    return Web(app.processes[0].web_url, context)
