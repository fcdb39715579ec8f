"""A login of somebody else's: signs tokens, and serves its keys by HTTP as well or badly as a test wants."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from tests.harness import fresh

ALGORITHMS = get_default_algorithms()
AUDIENCE = "chat"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def compact(value: Mapping[str, Any] | str) -> str:
    """A part of a token: of an object, or of text that is to be JSON."""
    return encoded((value if isinstance(value, str) else json.dumps(value)).encode())


class SigningKey:
    """algorithm: RS256, ES256 or EdDSA."""

    def __init__(self, algorithm: str = "RS256", key_id: str = "", **public: Any) -> None:
        self.algorithm, self.id = algorithm, key_id or fresh("key")
        self.private: Any = {
            "RS256": lambda: rsa.generate_private_key(65537, 2048),
            "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate,
        }[algorithm]()
        reader: Any = type(ALGORITHMS[algorithm])
        self.public = reader.to_jwk(self.private.public_key(), as_dict=True) | {"kid": self.id, "use": "sig"} | public

    def sign(self, signed: bytes) -> bytes:
        return bytes(ALGORITHMS[self.algorithm].sign(signed, self.private))


def claims_of(issuer: str, **changed: Any) -> dict[str, Any]:
    """changed: None leaves a claim out."""
    now = int(time.time())
    claims = {"iss": issuer, "aud": AUDIENCE, "sub": fresh("subject"), "iat": now, "exp": now + 300} | changed
    return {name: value for name, value in claims.items() if value is not None}


def token_of(
    key: SigningKey,
    claims: Mapping[str, Any] | str,
    header: Mapping[str, Any] | str | None = None,
    *,
    sign: Callable[[bytes], bytes] | None = None,
) -> str:
    """claims, header: also as text of JSON, for what no library writes. sign: in place of the key's."""
    if header is None:
        header = {"alg": key.algorithm, "typ": "JWT", "kid": key.id}
    signed = f"{compact(header)}.{compact(claims)}"
    return f"{signed}.{encoded((sign or key.sign)(signed.encode()))}"


SHARED, SECRET = "https://backend.example.com", "a secret of at least thirty-two bytes"
SHARED_LOGIN = {
    "GOCHAT_AUTH_ISSUERS_BACKEND_ISSUER": SHARED,
    "GOCHAT_AUTH_ISSUERS_BACKEND_AUDIENCE": AUDIENCE,
    "GOCHAT_AUTH_ISSUERS_BACKEND_SECRET": SECRET,
    "GOCHAT_AUTH_ISSUERS_BACKEND_USERNAME_CLAIM": "name",
}
"""Settings for a login that signs with a secret."""


def exchangeable(**claims: Any) -> str:
    """A token of that login."""
    return jwt.encode(claims_of(SHARED, **claims), SECRET, algorithm="HS256")


class KeyServer:
    """Serves a JSON Web Key Set at `url`. keys: what it holds; may be changed. answer: if set, gets the request in its
    place. asked: how often it was asked."""

    def __init__(self) -> None:
        self.keys = [SigningKey("RS256")]
        self.answer: Callable[[BaseHTTPRequestHandler], None] | None = None
        self.asked = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked += 1
                if server.answer:
                    server.answer(self)
                else:
                    reply(self, json.dumps({"keys": [key.public for key in server.keys]}).encode())

            def log_message(self, format: str, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def key(self) -> SigningKey:
        return self.keys[0]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def reply(request: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("content-length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


@contextmanager
def key_server() -> Iterator[KeyServer]:
    server = KeyServer()
    try:
        yield server
    finally:
        server.close()
