"""The operator's own login, [auth.issuers.NAME]: whose tokens are taken, and how they are verified."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import permutations
from urllib.parse import urlsplit

HS256 = "HS256"
DEFAULT_ALGORITHMS = ("RS256", "ES256", "EdDSA")
ASYMMETRIC = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"},
)
MIN_SECRET = 32  # bytes (RFC 7518, 3.2)
MAX_PREFIX = 64  # bytes
_OWN = "gochat"  # the issuer of this server's own tokens


@dataclass(frozen=True)
class Issuer:
    issuer: str = ""
    audience: str = ""
    secret: str = field(default="", repr=False)
    jwks_file: str = ""
    jwks_url: str = ""
    algorithms: tuple[str, ...] = ()
    subject_claim: str = "sub"
    username_claim: str = ""
    nickname_claim: str = ""
    email_claim: str = ""
    avatar_claim: str = ""
    create: bool = True
    prefix: str = ""
    label: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    scopes: tuple[str, ...] = ("openid", "profile")

    @property
    def accepted_audience(self) -> str:
        """Of tokens that are exchanged; an ID token's is the client."""
        return self.audience or self.client_id

    @property
    def accepted_algorithms(self) -> tuple[str, ...]:
        return self.algorithms or ((HS256,) if self.secret else DEFAULT_ALGORITHMS)


def check(issuers: Mapping[str, Issuer]) -> None:
    """Raises ValueError, which names the key."""
    for name, issuer in issuers.items():
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name):
            raise ValueError(f"auth.issuers.{name}: a name is a-z, 0-9 and _, at most 32, and begins with a letter")
        for key, rule in _broken(issuer):
            raise ValueError(f"auth.issuers.{name}.{key}: {rule}")
    for (name, one), (other, another) in permutations(issuers.items(), 2):
        if one.issuer == another.issuer:
            raise ValueError(f"auth.issuers.{name}.issuer: is that of {other} too")
        # Else a subject of the one could be the same user as a subject of the other.
        if another.prefix.startswith(one.prefix):
            raise ValueError(
                f"auth.issuers.{name}.prefix: several issuers need prefixes of which none begins another, or their"
                f" subjects could be the same user; {one.prefix!r} begins {another.prefix!r} of {other}"
            )


def _broken(issuer: Issuer) -> list[tuple[str, str]]:
    """(key, the rule that it breaks)"""
    sources = [key for key in ("secret", "jwks_file", "jwks_url") if getattr(issuer, key)]
    known = {HS256} if issuer.secret else ASYMMETRIC
    rules = [
        ("issuer", "must be set", issuer.issuer),
        ("issuer", "is what this server calls itself", issuer.issuer != _OWN),
        ("audience", "must be set, unless client_id is", issuer.accepted_audience),
        ("secret", "must be the only one of secret, jwks_file and jwks_url", len(sources) <= 1),
        ("secret", "or jwks_file, jwks_url or client_id must be set", sources or issuer.client_id),
        ("secret", f"must have at least {MIN_SECRET} bytes", not 0 < len(issuer.secret.encode()) < MIN_SECRET),
        ("secret", "must not be a public key", "-----BEGIN" not in issuer.secret),
        ("algorithms", f"must be of {', '.join(sorted(known))}", known.issuperset(issuer.algorithms)),
        ("jwks_url", "must be https, or http on this machine", not issuer.jwks_url or is_safe(issuer.jwks_url)),
        ("issuer", "must be https, or http on this machine", not issuer.client_id or is_safe(issuer.issuer)),
        ("client_secret", "goes with client_id", issuer.client_id or not issuer.client_secret),
        ("scopes", "must hold openid", "openid" in issuer.scopes),
        ("subject_claim", "must be set", issuer.subject_claim),
        ("prefix", "must not have control characters", issuer.prefix.isprintable()),
        ("prefix", f"must have at most {MAX_PREFIX} bytes", len(issuer.prefix.encode()) <= MAX_PREFIX),
    ]
    return [(key, rule) for key, rule, holds in rules if not holds]


def is_safe(url: str) -> bool:
    """Can nobody between read or change what is fetched from there?"""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return False
    if not host or parts.username is not None or parts.fragment or any(character <= " " for character in url):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
