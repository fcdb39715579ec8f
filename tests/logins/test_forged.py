"""Tokens of another login that are forged, borrowed, malformed or too much let nobody in, and all get one answer."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from gochat.api.session.v1 import session_pb2 as pb
from tests.conftest import DIAGONAL, Own
from tests.harness import Deployment, refused
from tests.issuing import AUDIENCE, KeyServer, SigningKey, claims_of, compact, encoded, key_server, reply, token_of

pytestmark = DIAGONAL

ONE, TWO, SHARED = "https://one.example.com", "https://two.example.com", "https://shared.example.com"
SECRET = "another secret of forty characters......"
Make = Callable[["Logins"], str]


class Logins:
    """Two issuers with keys, and one with a secret."""

    def __init__(self, app: Deployment, one: KeyServer, two: KeyServer) -> None:
        self.app, self.one, self.two = app, one, two
        self.key = one.key

    def token(self, header: Any = None, /, **claims: Any) -> str:
        """header: what it has more, or text in its place."""
        if not isinstance(header, str):
            header = {"alg": self.key.algorithm, "typ": "JWT", "kid": self.key.id} | (header or {})
            header = {name: value for name, value in header.items() if value is not None}
        return token_of(self.key, claims_of(ONE, **claims), header)

    def exchange(self, token: str) -> pb.ExchangeTokenResponse:
        return self.app.session.ExchangeToken(pb.ExchangeTokenRequest(token=token), timeout=60)


@pytest.fixture(scope="module")
def logins(own_of_module: Own, mode: str) -> Iterator[Logins]:
    with key_server() as one, key_server() as two:
        settings = {
            "ONE_ISSUER": ONE,
            "ONE_JWKS_URL": one.url,
            "ONE_PREFIX": "one:",
            "TWO_ISSUER": TWO,
            "TWO_JWKS_URL": two.url,
            "TWO_PREFIX": "two:",
            "SHARED_ISSUER": SHARED,
            "SHARED_SECRET": SECRET,
            "SHARED_PREFIX": "shared:",
        } | {f"{name}_AUDIENCE": AUDIENCE for name in ("ONE", "TWO", "SHARED")}
        app = own_of_module(mode, env={f"GOCHAT_AUTH_ISSUERS_{key}": value for key, value in settings.items()})
        yield Logins(app, one, two)


def hmac_of(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda data: hmac.digest(secret, data, hashlib.sha256)


def pem(key: SigningKey) -> bytes:
    return bytes(
        key.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def as_hmac(logins: Logins, secret: bytes, issuer: str = ONE, **header: Any) -> str:
    return token_of(logins.key, claims_of(issuer), {"alg": "HS256"} | header, sign=hmac_of(secret))


def unsigned(algorithm: str) -> str:
    return f"{compact({'alg': algorithm})}.{compact(claims_of(ONE))}."


def with_own_key(logins: Logins, **header: Any) -> str:
    own = SigningKey("RS256", logins.key.id)
    return token_of(own, claims_of(ONE), {"alg": "RS256", "kid": own.id, "jwk": own.public} | header)


def altered(token: str, part: int, change: Callable[[str], str]) -> str:
    parts = token.split(".")
    parts[part] = change(parts[part])
    return ".".join(parts)


def other_last(text: str) -> str:
    """The same bytes, in a form that is not canonical: unused bits are set."""
    return text[:-1] + chr(ord(text[-1]) + 1)


def deep(depth: int) -> str:
    return "[" * depth + "]" * depth


NOW = int(time.time())
FORGED: dict[str, Make] = {
    "alg none": lambda _: unsigned("none"),
    "alg None": lambda _: unsigned("None"),
    "alg nOnE": lambda _: unsigned("nOnE"),
    "no alg": lambda logins: logins.token({"alg": None}),
    "alg a list": lambda logins: logins.token({"alg": ["RS256"]}),
    "no signature": lambda logins: altered(logins.token(), 2, lambda _: ""),
    "HS256 with the public key": lambda logins: as_hmac(logins, pem(logins.key), kid=logins.key.id),
    "HS256 with the modulus": lambda logins: as_hmac(logins, logins.key.public["n"].encode(), kid=logins.key.id),
    "HS256 with nothing": lambda logins: as_hmac(logins, b""),
    "HS256 with a known file": lambda logins: as_hmac(logins, b"", SHARED, kid="../../../../dev/null"),
    "HS256 with another secret": lambda logins: as_hmac(logins, b"t" * 40, SHARED),
    "RS256 for the issuer with a secret": lambda logins: token_of(logins.key, claims_of(SHARED)),
    "RS512, which is not set": lambda logins: logins.token({"alg": "RS512"}),
    "ES256 named for an RSA key": lambda logins: logins.token({"alg": "ES256"}),
    "kid of a path": lambda logins: logins.token({"kid": "../../../../etc/passwd"}),
    "kid of SQL": lambda logins: logins.token({"kid": "x' UNION SELECT 'key"}),
    "kid of a URL": lambda logins: logins.token({"kid": logins.two.url}),
    "kid not text": lambda logins: logins.token({"kid": {"a": 1}}),
    "kid a number": lambda logins: logins.token({"kid": 1}),
    "kid too long": lambda logins: logins.token({"kid": "k" * 10_000}),
    "kid with NUL": lambda logins: logins.token({"kid": logins.key.id + "\0"}),
    "jku": lambda logins: logins.token({"jku": logins.two.url}),
    "x5u": lambda logins: logins.token({"x5u": logins.two.url}),
    "x5c": lambda logins: logins.token({"x5c": ["MII"]}),
    "jwk of one's own": with_own_key,
    "jwk beside the right key": lambda logins: logins.token({"jwk": logins.key.public}),
    "crit": lambda logins: logins.token({"crit": ["exp"]}),
    "crit that is empty": lambda logins: logins.token({"crit": []}),
    "b64": lambda logins: logins.token({"b64": False}),
    "typ of a logout": lambda logins: logins.token({"typ": "logout+jwt"}),
    "typ not text": lambda logins: logins.token({"typ": 1}),
    "another issuer's key": lambda logins: token_of(logins.two.key, claims_of(ONE)),
    "another issuer's key by this one's name": lambda logins: token_of(
        logins.two.key, claims_of(ONE), {"alg": "RS256", "kid": logins.key.id}
    ),
    "another issuer": lambda logins: token_of(logins.key, claims_of(TWO)),
    "an unknown issuer": lambda logins: logins.token(iss="https://evil.example.com"),
    "an issuer with a slash": lambda logins: logins.token(iss=ONE + "/"),
    "an issuer in capitals": lambda logins: logins.token(iss=ONE.upper()),
    "no issuer": lambda logins: logins.token(iss=None),
    "issuers": lambda logins: logins.token(iss=[ONE]),
    "no audience": lambda logins: logins.token(aud=None),
    "another audience": lambda logins: logins.token(aud="other"),
    "other audiences": lambda logins: logins.token(aud=["other", AUDIENCE + "x"]),
    "an audience with more": lambda logins: logins.token(aud=AUDIENCE + " other"),
    "audiences as an object": lambda logins: logins.token(aud={AUDIENCE: True}),
    "no exp": lambda logins: logins.token(exp=None),
    "expired": lambda logins: logins.token(exp=NOW - 3600),
    "exp text": lambda logins: logins.token(exp=str(NOW + 3600)),
    "exp true": lambda logins: logins.token(exp=True),
    "exp without end": lambda logins: logins.token(exp=2**63),
    "exp negative": lambda logins: logins.token(exp=-1),
    "exp in milliseconds": lambda logins: logins.token(exp=(NOW + 3600) * 1_000_000),
    "nbf in the future": lambda logins: logins.token(nbf=NOW + 3600),
    "nbf text": lambda logins: logins.token(nbf="0"),
    "iat in the future": lambda logins: logins.token(iat=NOW + 3600),
    "iat null": lambda logins: token_of(logins.key, claims_of(ONE) | {"iat": None}),
    "no subject": lambda logins: logins.token(sub=None),
    "an empty subject": lambda logins: logins.token(sub=""),
    "a number as subject": lambda logins: logins.token(sub=7),
    "a list as subject": lambda logins: logins.token(sub=["a"]),
    "true as subject": lambda logins: logins.token(sub=True),
    "a subject over 128 bytes with its prefix": lambda logins: logins.token(sub="s" * 125),
    "a subject over 128 bytes": lambda logins: logins.token(sub="é" * 64),
    "a subject with NUL": lambda logins: logins.token(sub="a\0b"),
    "a subject with a line break": lambda logins: logins.token(sub="a\nb"),
    "a subject that is no text": lambda logins: logins.token(sub="\ud800"),
    "exp twice": lambda logins: twice(logins, "exp", NOW - 10, NOW + 300),
    "sub twice": lambda logins: twice(logins, "sub", "admin", "guest"),
    "alg twice": lambda logins: logins.token(f'{{"alg":"none","alg":"RS256","kid":"{logins.key.id}"}}'),
    "NaN": lambda logins: raw(logins, '"exp": NaN'),
    "Infinity": lambda logins: raw(logins, '"exp": Infinity'),
    "1e999": lambda logins: raw(logins, '"exp": 1e999'),
    "a number of 5,000 digits": lambda logins: raw(logins, '"exp": ' + "9" * 5000),
    "a number of 4,000 digits": lambda logins: raw(logins, '"exp": ' + "9" * 4000),
    "claims that are deep": lambda logins: raw(logins, f'"exp": {NOW + 300}, "x": {deep(5000)}'),
    "a header that is deep": lambda logins: logins.token(f'{{"alg": "RS256", "x": {deep(5000)}}}'),
    "claims that are a list": lambda logins: token_of(logins.key, "[]"),
    "a header that is text": lambda logins: logins.token('"RS256"'),
    "a header that is no JSON": lambda logins: logins.token("{alg: RS256}"),
    "claims in UTF-16": lambda _: f"{compact({'alg': 'RS256'})}.{encoded(json.dumps({}).encode('utf-16'))}.AA",
    "padding": lambda logins: logins.token() + "==",
    "a space before": lambda logins: " " + logins.token(),
    "a line break in it": lambda logins: altered(logins.token(), 1, lambda part: part[:9] + "\n" + part[9:]),
    "the other alphabet": lambda logins: altered(logins.token(), 2, lambda _: "++//" * 86),
    "a signature in another form": lambda logins: altered(logins.token(), 2, other_last),
    "two parts": lambda logins: logins.token().rpartition(".")[0],
    "four parts": lambda logins: logins.token() + ".AA",
    "five parts, as if encrypted": lambda logins: logins.token() + ".AA.AA",
    "dots": lambda _: ".." * 4000,
    "no token at all": lambda _: "hello",
    "not ASCII": lambda logins: logins.token() + "é",
    "full-width digits": lambda logins: altered(logins.token(), 2, lambda part: part[:-1] + "\uff11"),
    "JSON serialisation": lambda _: json.dumps({"payload": "", "signatures": []}),
    "one of this server's own": lambda logins: logins.app.token("service"),
}


def raw(logins: Logins, exp: str) -> str:
    claims = json.dumps(claims_of(ONE, exp=None))
    return token_of(logins.key, f"{claims[:-1]}, {exp}}}")


def twice(logins: Logins, name: str, one: Any, other: Any) -> str:
    claims = json.dumps(claims_of(ONE, **{name: None}))
    return token_of(logins.key, f'{claims[:-1]}, "{name}": {json.dumps(one)}, "{name}": {json.dumps(other)}}}')


@pytest.mark.parametrize("make", FORGED.values(), ids=FORGED)
def test_it_is_refused_like_all_others(logins: Logins, make: Make) -> None:
    began = time.monotonic()
    with refused("UNAUTHENTICATED", reason="BAD_EXTERNAL_TOKEN") as refusal:
        logins.exchange(make(logins))
    assert refusal.message == "the token is not one that this server takes"
    assert time.monotonic() - began < 5


def test_what_all_of_these_are_made_of_is_taken(logins: Logins) -> None:
    assert logins.exchange(logins.token()).created
    assert logins.exchange(logins.token({"x5t": "AA", "typ": "at+jwt"}, nbf=NOW - 5, exp=NOW + 3600.5)).created
    assert logins.exchange(logins.token(sub="s" * 124)).created
    assert logins.exchange(as_hmac(logins, SECRET.encode(), SHARED)).created


def test_a_token_that_is_too_long_is_not_looked_at(logins: Logins) -> None:
    with refused("INVALID_ARGUMENT", "token"):
        logins.exchange(logins.token(padding="x" * 16_000))
    with refused("INVALID_ARGUMENT", "token"):
        logins.exchange("")


def test_many_parts_and_claims_cost_little(logins: Logins) -> None:
    """Nothing that grows faster than the token, as a regular expression could."""
    texts = ["." * 16_000, "a" * 16_000, "-_" * 8000, "eyJ" * 5000 + ".eyJ.x", base64.b64encode(b"a" * 9000).decode()]
    texts.append(token_of(logins.key, claims_of(ONE, sub=" " * 8000 + "x")))
    began = time.monotonic()
    for text in texts:
        with refused("UNAUTHENTICATED", reason="BAD_EXTERNAL_TOKEN"):
            logins.exchange(text)
    assert time.monotonic() - began < 5


def test_subjects_of_two_issuers_are_two_users(logins: Logins) -> None:
    one = logins.exchange(token_of(logins.key, claims_of(ONE, sub="same")))
    two = logins.exchange(token_of(logins.two.key, claims_of(TWO, sub="same")))
    # Nor does one issuer reach into the other's by what it calls its subjects.
    three = logins.exchange(token_of(logins.key, claims_of(ONE, sub="two:same")))
    assert len({one.user_id, two.user_id, three.user_id}) == 3


def test_it_may_be_presented_again_until_it_expires(logins: Logins) -> None:
    token = logins.token()
    first, again = logins.exchange(token), logins.exchange(token)
    assert first.user_id == again.user_id


def test_a_set_with_secrets_and_weak_keys_gives_none(logins: Logins) -> None:
    """A key set may hold what must not verify: a symmetric key, one for encryption, one for another algorithm."""
    secret = b"k" * 32
    symmetric = {"kty": "oct", "k": encoded(secret), "kid": "symmetric", "alg": "HS256"}
    other = SigningKey("RS256", use="enc")
    bound = SigningKey("RS256", alg="RS512")
    odd: list[Any] = [{}, 7, {"kty": "RSA"}, {"kty": "RSA", "n": 5, "e": []}, {"kty": "EC", "crv": "P-999"}, {"kty": 1}]
    document = {"keys": [*odd, symmetric, other.public, bound.public, logins.two.key.public]}
    logins.two.answer = lambda request: reply(request, json.dumps(document).encode())
    logins.app.stop()  # what it has kept goes
    logins.app.start()
    for token in (
        token_of(logins.key, claims_of(TWO), {"alg": "HS256", "kid": "symmetric"}, sign=hmac_of(secret)),
        token_of(other, claims_of(TWO)),
        token_of(bound, claims_of(TWO)),
    ):
        with refused("UNAUTHENTICATED", reason="BAD_EXTERNAL_TOKEN"):
            logins.exchange(token)
    assert logins.exchange(token_of(logins.two.key, claims_of(TWO))).created
