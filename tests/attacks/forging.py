"""Tokens as a forger makes them, with the server's own key where only something else is to be wrong."""

import base64
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import jwt

from tests.harness import Deployment

Sign = Callable[[bytes], bytes]
PRIMES = 2**521 - 1, 2**607 - 1  # of Mersenne: an RSA key that needs no library and no file
REQUIRED = ("iss", "aud", "sub", "typ", "uid", "role", "sid", "jti", "iat", "exp")


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def hashed(secret: bytes, digest: str = "sha256") -> Sign:
    return lambda data: hmac.digest(secret, data, digest)


def rsa_signed(data: bytes) -> bytes:
    """RSASSA-PKCS1-v1_5 with SHA-256."""
    p, q = PRIMES
    size = ((p * q).bit_length() + 7) // 8
    info = bytes.fromhex("3031300d060960864801650304020105000420") + sha256(data).digest()
    padded = b"\x00\x01" + b"\xff" * (size - len(info) - 3) + b"\x00" + info
    return pow(int.from_bytes(padded), pow(65537, -1, (p - 1) * (q - 1)), p * q).to_bytes(size)


def jwk() -> dict[str, str]:
    modulus = PRIMES[0] * PRIMES[1]
    return {"kty": "RSA", "e": "AQAB", "n": encoded(modulus.to_bytes((modulus.bit_length() + 7) // 8))}


def unsigned(_: bytes) -> bytes:
    return b""


@dataclass
class Forge:
    """Makes tokens after a genuine one. secret: the server's own."""

    genuine: str
    secret: bytes

    def __call__(
        self,
        header: dict[str, Any] | None = None,
        *,
        sign: Sign | None = None,
        payload: bytes = b"",
        raw_header: bytes = b"",
        without: str = "",
        **claims: Any,
    ) -> str:
        """With this changed in header and claims, signed with the server's secret unless another is given."""
        known = jwt.decode(self.genuine, options={"verify_signature": False}) | claims
        known.pop(without, None)
        head = raw_header or json.dumps(jwt.get_unverified_header(self.genuine) | (header or {})).encode()
        signed = f"{encoded(head)}.{encoded(payload or json.dumps(known).encode())}"
        return f"{signed}.{encoded((sign or hashed(self.secret))(signed.encode()))}"

    def cut(self, part: int, position: int) -> str:
        """With one character of a part changed."""
        parts = self.genuine.split(".")
        text, position = parts[part], len(parts[part]) * position // 4
        parts[part] = text[:position] + ("A" if text[position] != "A" else "B") + text[position + 1 :]
        return ".".join(parts)


def forge_of(app: Deployment, token: str) -> Forge:
    return Forge(token, (app.data / "signing.key").read_text().split()[0].encode())


def now(after: float = 0) -> int:
    return int(time.time() + after)


OTHER = hashed(b"another server's key, 32 bytes or more")
DETACHED = {"b64": False, "crit": ["b64"]}
BAD: dict[str, Callable[[Forge], str]] = {
    # Algorithms.
    **{f"alg {alg} without a signature": lambda f, alg=alg: f({"alg": alg}, sign=unsigned) for alg in ("none", "None")},
    "alg NONE without a signature": lambda f: f({"alg": "NONE"}, sign=unsigned),
    "alg none in two parts": lambda f: f({"alg": "none"}, sign=unsigned).rstrip("."),
    "alg none with a good signature": lambda f: f({"alg": "none"}),
    "HS256 without a signature": lambda f: f(sign=unsigned),
    "HS384": lambda f: f({"alg": "HS384"}, sign=hashed(f.secret, "sha384")),
    "HS512": lambda f: f({"alg": "HS512"}, sign=hashed(f.secret, "sha512")),
    "HS256 that is HS512": lambda f: f(sign=hashed(f.secret, "sha512")),
    "RS256": lambda f: f({"alg": "RS256"}, sign=rsa_signed),
    "HS256 that is RS256": lambda f: f(sign=rsa_signed),
    **{f"{alg} that is HS256": lambda f, alg=alg: f({"alg": alg}) for alg in ("RS256", "ES256", "PS256", "EdDSA")},
    **{f"alg {alg!r}": lambda f, alg=alg: f({"alg": alg}) for alg in ("", None, 1, ["HS256"], "hs256", "HS256 ")},
    "no alg": lambda f: f(raw_header=b'{"typ": "JWT"}'),
    # Keys.
    "another server's key": lambda f: f(sign=OTHER),
    "another server's key, as a service": lambda f: f(
        sign=OTHER, typ="service", role="service", uid="", sid="", sub="service"
    ),
    "another server's key, as an admin": lambda f: f(sign=OTHER, role="admin"),
    "another server's key without kid": lambda f: f(raw_header=b'{"alg": "HS256", "typ": "JWT"}', sign=OTHER),
    "an empty key": lambda f: f(sign=hashed(b"")),
    "the key's id as the key": lambda f: f(sign=hashed(jwt.get_unverified_header(f.genuine)["kid"].encode())),
    "an unknown kid": lambda f: f({"kid": "0" * 16}),
    "a kid that is a path": lambda f: f({"kid": "../../../../../../dev/null"}, sign=hashed(b"")),
    "a kid that is SQL": lambda f: f({"kid": "' UNION SELECT 'secret' --"}, sign=hashed(b"secret")),
    "a kid that is a command": lambda f: f({"kid": "|/bin/true"}, sign=hashed(b"")),
    **{f"kid {kid!r}": lambda f, kid=kid: f({"kid": kid}) for kid in ("", None, 0, [], {}, "\ud800", "k" * 3000)},
    # Headers that bid the server do otherwise.
    **{f"crit {crit}": lambda f, crit=crit: f({"crit": crit, "exp": 1}) for crit in (["exp"], ["b64"], [], "exp")},
    "jku": lambda f: f({"jku": "http://127.0.0.1:1/keys.json"}),
    "x5u": lambda f: f({"x5u": "http://127.0.0.1:1/chain.pem"}),
    "x5c": lambda f: f({"x5c": ["MIIB"]}),
    "zip": lambda f: f({"zip": "DEF"}),
    "jwk of the forger": lambda f: f({"jwk": jwk()}),
    "jwk of the forger, who signed with it": lambda f: f({"alg": "RS256", "jwk": jwk()}, sign=rsa_signed),
    "b64 false": lambda f: f({"b64": False}),
    "b64 false and crit": lambda f: f(DETACHED),
    "b64 false and crit, payload detached": lambda f: "..".join(f(DETACHED).split(".")[::2]),
    **{
        f"header {header!r:.20}": lambda f, header=header: f(raw_header=header)
        for header in (b"[]", b'"HS256"', b"null", b"1", b"{", b"\xff", b"[" * 3000, b'{"alg":' * 700, b"1" * 5000)
    },
    # Claims, signed with the server's own key.
    **{f"without {name}": lambda f, name=name: f(without=name) for name in REQUIRED},
    **{f"{name} null": lambda f, name=name: f(**{name: None}) for name in REQUIRED},
    **{f"{name} a list": lambda f, name=name: f(**{name: ["x"]}) for name in REQUIRED},
    **{f"{name} an object": lambda f, name=name: f(**{name: {"x": 1}}) for name in REQUIRED},
    **{f"{name} empty": lambda f, name=name: f(**{name: ""}) for name in REQUIRED if name != "jti"},
    "another issuer": lambda f: f(iss="gochat.example.com"),
    "another audience": lambda f: f(aud="other"),
    "an audience of others": lambda f: f(aud=["other", "gochat2"]),
    "another kind": lambda f: f(typ="id"),
    "a kind in capitals": lambda f: f(typ="Access"),
    "a refresh token": lambda f: f(typ="refresh"),
    "another person as subject": lambda f: f(sub="u00000000000000000000000000"),
    "an access token of role service": lambda f: f(role="service"),
    "an access token of role root": lambda f: f(role="root"),
    "a service token of a person": lambda f: f(typ="service", role="service"),
    "a service token with a person's id": lambda f: f(typ="service", role="service", sid="", sub="service"),
    "a service token of role user": lambda f: f(typ="service", uid="", sid="", sub="user"),
    "expired 8 s ago": lambda f: f(exp=now(-8)),
    "expired a day ago": lambda f: f(exp=now(-86400)),
    "expired before 1970": lambda f: f(exp=-1),
    "exp as text": lambda f: f(exp=str(now(600))),
    "exp with a fraction": lambda f: f(exp=time.time() + 600),
    "exp true": lambda f: f(exp=True),
    "exp infinite": lambda f: f(exp=float("inf")),
    "exp not a number": lambda f: f(exp=float("nan")),
    "exp past all calendars": lambda f: f(exp=10**30),
    "issued 15 s from now": lambda f: f(iat=now(15)),
    "not before 15 s from now": lambda f: f(nbf=now(15)),
    "iat infinite": lambda f: f(iat=float("inf")),
    "uid not Unicode": lambda f: f(uid="\ud800", sub="\ud800"),
    **{
        f"claims {claims!r:.20}": lambda f, claims=claims: f(payload=claims)
        for claims in (b"[]", b'"exp"', b"null", b"1", b"{", b"\xff", b"[" * 3000, b'{"a":' * 800)
    },
    # Texts.
    **{
        f"{part} changed at {position}/4": lambda f, number=number, position=position: f.cut(number, position)
        for number, part in enumerate(("header", "payload", "signature"))
        for position in range(4)
    },
    "signature of another token": lambda f: f.genuine.rpartition(".")[0] + "." + f(jti="x").rpartition(".")[2],
    "half a signature": lambda f: f.genuine[:-21],
    "no signature": lambda f: f.genuine.rpartition(".")[0],
    "no header": lambda f: f.genuine.partition(".")[2],
    "a part more": lambda f: f.genuine + ".e30",
    "a dot more": lambda f: f.genuine + ".",
    "a dot before": lambda f: "." + f.genuine,
    "five parts": lambda f: f.genuine + ".e30.e30",
    "twice": lambda f: f.genuine + f.genuine,
    "in capitals": lambda f: f.genuine.upper(),
    "junk behind": lambda f: f.genuine + "!!!!",
    "a space inside": lambda f: f.genuine[:40] + " " + f.genuine[40:],
    "in quotes": lambda f: f'"{f.genuine}"',
    **{f"text {text!r}": lambda _, text=text: text for text in ("x", ".", "..", "null", "Bearer", "a.b.c", "e30.e30.")},
    "4 KiB of garbage": lambda _: "x" * 4096,
    "4 KiB of dots": lambda _: "." * 4096,
}
