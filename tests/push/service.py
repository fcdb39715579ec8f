"""A push service as browsers have one: it makes subscriptions, takes what is sent to them (RFC 8030), checks who sends
it (RFC 8292) and decrypts it, as the browser would (RFC 8291)."""

import json
import os
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gochat.domain.webpush import decode, encode, message_keys
from tests.waiting import eventually

CURVE = ec.SECP256R1()
LOCAL = {"GOCHAT_PUSH_PRIVATE_ENDPOINTS": "true"}
"""The setting of a server that may send here."""


class Push(NamedTuple):
    """payload: what the service worker is given."""

    payload: dict[str, Any]
    headers: Mapping[str, str]


class Subscription:
    """Of one browser. answers: the statuses of the next requests; then 201."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.key, self.auth = ec.generate_private_key(CURVE), os.urandom(16)
        self.pushes: list[Push] = []
        self.answers: list[int] = []
        self.requests = 0

    @property
    def point(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    @property
    def fields(self) -> dict[str, str]:
        """Of RegisterPushToken."""
        keys = {"p256dh": encode(self.point), "auth": encode(self.auth)}
        return {"platform": "webpush", "token": self.endpoint} | keys

    def decrypted(self, body: bytes) -> dict[str, Any]:
        salt, (size, length) = body[:16], struct.unpack("!IB", body[16:21])
        sender, data = body[21 : 21 + length], body[21 + length :]
        assert len(data) <= size
        shared = self.key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVE, sender))
        key, nonce = message_keys(shared, self.auth, salt, self.point, sender)
        record = AESGCM(key).decrypt(nonce, data, None).rstrip(b"\0")
        assert record.endswith(b"\x02"), "it is not the last record"
        found: dict[str, Any] = json.loads(record[:-1])
        return found

    def until(self, number: int) -> list[Push]:
        """What came, once it is so many."""
        eventually(lambda: len(self.pushes) >= number)
        return self.pushes


class PushService:
    """errors: what was wrong with requests. keys: of the servers that sent."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.subscriptions: dict[str, Subscription] = {}
        self.errors: list[str] = []
        self.keys: defaultdict[str, int] = defaultdict(int)

    def subscribe(self) -> Subscription:
        path = f"/{os.urandom(8).hex()}"
        self.subscriptions[path] = Subscription(self.url + path)
        return self.subscriptions[path]

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> int:
        """Returns the status."""
        subscription = self.subscriptions[path]
        subscription.requests += 1
        if subscription.answers:
            return subscription.answers.pop(0)
        self._check(headers)
        subscription.pushes.append(Push(subscription.decrypted(body), headers))
        return 201

    def _check(self, headers: Mapping[str, str]) -> None:
        scheme, token, key = headers["authorization"].replace(",", "").split(" ")
        assert scheme == "vapid"
        point = key.removeprefix("k=")
        self.keys[point] += 1
        public = ec.EllipticCurvePublicKey.from_encoded_point(CURVE, decode(point))
        claims = jwt.decode(token.removeprefix("t="), public, ["ES256"], audience=self.url)
        assert claims["exp"] <= time.time() + 24 * 3600
        assert headers["content-encoding"] == "aes128gcm"
        assert int(headers["ttl"]) >= 0
        assert len(headers["topic"]) <= 32


@contextmanager
def push_service() -> Iterator[PushService]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            try:
                status = service.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            except Exception as error:  # noqa: BLE001 - the test shows it
                service.errors.append(repr(error))
                status = 400
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        service = PushService(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield service
        finally:
            server.shutdown()
    assert not service.errors
