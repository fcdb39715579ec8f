"""Tokens of the operator's own login, verified as RFC 8725 says. Pure: keys and the time are given.

The issuer is looked up by the token's `iss` among those that are configured, and from then on only its own settings and
keys count: nothing in the token chooses the algorithm or names a key to be fetched.
"""

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import get_default_algorithms
from jwt.exceptions import InvalidKeyError

from gochat.domain.forms.rules import FIELDS, Rule, username
from gochat.errors import ChatError
from gochat.issuers import Issuer

LEEWAY = 5  # seconds that two hosts' clocks may differ
MAX_KEYS = 100  # of a set
MIN_RSA = 2048  # bits
MAX_KEY_ID = 256  # characters
MAX_TIME = 2**43  # Unix seconds

_ALGORITHMS = get_default_algorithms()
# Of the type of a key: its public parameters, to which it is cut, so that no private key is ever used.
_PARAMETERS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
# Where a key would be from, or what changes how the token is verified.
_REFUSED = {"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc"}
_TYPES = {"jwt", "at+jwt", "application/jwt", "application/at+jwt"}


class BadLoginError(Exception):
    """Why a token is refused: for the log, which names no part of the token."""


@dataclass(frozen=True, slots=True)
class Token:
    """Well formed, and nothing more."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes

    @property
    def issuer(self) -> Any:
        return self.claims.get("iss")

    @property
    def key_id(self) -> str | None:
        return self.header.get("kid")


@dataclass(frozen=True, slots=True)
class Subject:
    """The owner of a token. The fields beside external_id are for a user who is made."""

    external_id: str
    username: str = ""
    nickname: str = ""
    email: str = ""
    avatar: str = ""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """algorithm: the only one that it is for; "": any that fits."""

    key_id: str
    key: Any
    algorithm: str

    def fits(self, algorithm: str) -> bool:
        if self.algorithm not in ("", algorithm):
            return False
        if isinstance(self.key, RSAPublicKey):
            return algorithm[:2] in ("RS", "PS")
        if isinstance(self.key, EllipticCurvePublicKey):
            return _CURVES.get(algorithm) == self.key.curve.name
        return algorithm == "EdDSA"


def parse(text: str) -> Token:
    """Raises BadLoginError."""
    parts = text.split(".")
    if len(parts) != 3:
        raise BadLoginError("it has not three parts")
    header, claims, signature = map(_decoded, parts)
    return Token(_object(header), _object(claims), f"{parts[0]}.{parts[1]}".encode(), signature)


def _decoded(part: str) -> bytes:
    """Base64url without padding, of which each value has one form."""
    try:
        data = base64.b64decode(part.encode("ascii") + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise BadLoginError("it is not base64url") from None
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != part:
        raise BadLoginError("it is not base64url")
    return data


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data.decode(), object_pairs_hook=_without_repeats, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise BadLoginError("it is not JSON, or names something twice") from None
    if not isinstance(value, dict):
        raise BadLoginError("it is no JSON object")
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers differ about which of two members of one name counts (RFC 8725, 2.4)."""
    if len(found := dict(pairs)) != len(pairs):
        raise ValueError
    return found


def _refuse_constant(_: str) -> None:
    raise ValueError  # NaN and Infinity are no JSON


def key_set(document: Any) -> list[PublicKey]:
    """The public keys of a JSON Web Key Set; those of other kinds, other uses or that are weak are left out. Raises
    ValueError where it is none."""
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("it is no JSON Web Key Set")
    keys = (_public_key(entry) for entry in entries[:MAX_KEYS] if isinstance(entry, dict))
    return [key for key in keys if key]


def _public_key(entry: Mapping[str, Any]) -> PublicKey | None:
    kind, key_id, algorithm = entry.get("kty"), entry.get("kid", ""), entry.get("alg", "")
    if not (isinstance(kind, str) and kind in _PARAMETERS and isinstance(key_id, str) and isinstance(algorithm, str)):
        return None
    if entry.get("use", "sig") != "sig":
        return None
    public = {"kty": kind} | {name: entry.get(name) for name in _PARAMETERS[kind]}
    reader: Any = _ALGORITHMS[{"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}[kind]]
    try:
        key = type(reader).from_jwk(public)
    except (InvalidKeyError, ValueError, TypeError, AttributeError, KeyError):
        return None
    if isinstance(key, RSAPublicKey) and key.key_size < MIN_RSA:
        return None
    return PublicKey(key_id, key, algorithm)


def choose(keys: Iterable[PublicKey], token: Token) -> PublicKey | None:
    """The one key that the token may be signed with: that of its `kid`; where it has none, the only one that fits."""
    algorithm, key_id = token.header["alg"], token.key_id
    fitting = [key for key in keys if key.fits(algorithm) and key_id in (None, key.key_id)]
    return fitting[0] if len(fitting) == 1 else None


def check_header(token: Token, issuer: Issuer) -> None:
    """Before any key is looked for. Raises BadLoginError."""
    header = token.header
    if header.get("alg") not in issuer.accepted_algorithms:  # by the configuration and never by the token
        raise BadLoginError("its algorithm is not one of the issuer's")
    if not _REFUSED.isdisjoint(header):
        raise BadLoginError("its header brings a key or an extension")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise BadLoginError("its header's typ is another")
    key_id = header.get("kid", "")
    if not isinstance(key_id, str) or len(key_id) > MAX_KEY_ID:
        raise BadLoginError("its kid is no short text")


def verify(token: Token, issuer: Issuer, key: Any, now: float, *, audience: str, nonce: str = "") -> Subject:
    """The subject of a token of a checked header. key: of this issuer, the secret or a public key. now: Unix seconds.
    nonce: that it must have; "": any. Raises BadLoginError."""
    if not _ALGORITHMS[token.header["alg"]].verify(token.signed, key, token.signature):
        raise BadLoginError("its signature is wrong")
    claims = token.claims
    if claims.get("iss") != issuer.issuer:
        raise BadLoginError("its iss is another")
    audiences = claims.get("aud")
    if audience not in (audiences if isinstance(audiences, list) else [audiences]):
        raise BadLoginError("its aud is another")
    if nonce and (claims.get("nonce") != nonce or claims.get("azp", audience) != audience):
        raise BadLoginError("its nonce or azp is another")
    if not now < _time(claims, "exp") + LEEWAY:
        raise BadLoginError("it has expired")
    for name in ("nbf", "iat"):
        if name in claims and not _time(claims, name) <= now + LEEWAY:
            raise BadLoginError(f"its {name} is in the future")
    return _subject(claims, issuer)


def _time(claims: Mapping[str, Any], name: str) -> float:
    value: Any = claims.get(name)
    if type(value) not in (int, float) or not 0 <= value < MAX_TIME:
        raise BadLoginError(f"its {name} is no time")
    return float(value)


def _subject(claims: Mapping[str, Any], issuer: Issuer) -> Subject:
    subject = claims.get(issuer.subject_claim)
    if not isinstance(subject, str) or not subject:
        raise BadLoginError(f"its {issuer.subject_claim} is no text")
    external_id = issuer.prefix + subject
    if not _is_of(FIELDS["external_id"], external_id):
        raise BadLoginError(f"its {issuer.subject_claim} is too long, or has control characters")
    return Subject(
        external_id,
        username=_claim(claims, issuer.username_claim, username),
        nickname=_claim(claims, issuer.nickname_claim, FIELDS["nickname"]),
        email=_claim(claims, issuer.email_claim, FIELDS["email"]),
        avatar=_claim(claims, issuer.avatar_claim, FIELDS["avatar"]),
    )


def _claim(claims: Mapping[str, Any], name: str, rule: Rule) -> str:
    """Empty where it is missing or of another form: nobody is kept out by their picture."""
    value = claims.get(name) if name else None
    return value if isinstance(value, str) and _is_of(rule, value) else ""


def _is_of(rule: Callable[[str, Any], None], value: str) -> bool:
    try:
        value.encode()  # a surrogate alone is JSON, but no text
        rule("", value)
    except (ChatError, UnicodeEncodeError):
        return False
    return True
