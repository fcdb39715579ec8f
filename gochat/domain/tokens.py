"""Tokens: JSON Web Tokens (RFC 7519) signed with HS256. Pure computation over keys; sessions live in the repo."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import jwt

from gochat.config import ConfigError
from gochat.context import SERVICE, Caller, Lane, TooLongError, current
from gochat.domain import ids
from gochat.domain.clock import clock
from gochat.domain.revocation import Revocations
from gochat.keys import Key

log = logging.getLogger(__name__)

ALGORITHM = "HS256"
ISSUER = AUDIENCE = "gochat"
LEEWAY = 5  # seconds that two hosts' clocks may differ
OWN_TTL = 120  # seconds that the halves of a server trust each other's token; renewed at half of it
CACHE_INTERVAL, MAX_CACHED = 300.0, 5000  # seconds, tokens
REFRESH, SERVICE_KIND = "refresh", "service"
ACCESS = "access"
CALLING = (ACCESS, SERVICE_KIND)
"""The kinds that are accepted in the authorization metadata: a user's, and the service's."""

# kind -> the roles that such a token may have, and whether it is a user's, with a session
_KINDS = {
    ACCESS: ({"user", "admin"}, True),
    REFRESH: ({"user", "admin"}, True),
    SERVICE_KIND: ({"service", "admin"}, False),
}
_HEADER = {"alg", "typ", "kid"}  # and nothing that changes how the token is verified: crit, b64, jku, jwk, x5u ...
_TEXTS = ("sub", "typ", "uid", "role", "sid", "jti")
_LATEST = 2**43  # Unix seconds that fit 64 bits as milliseconds
_MALFORMED = "the token is malformed or not signed by this server"
_REQUIRED = ["iss", "aud", "iat", "exp", *_TEXTS]


class BadTokenError(Exception):
    """A token that is malformed, forged, expired, of another kind, or of a session that has ended."""


class UnknownKeyError(BadTokenError):
    """A token signed with a key that is not known yet, as the other half of the server may have read the new one first.
    After `renew`, which reads a file, it is worth verifying again."""


@dataclass(frozen=True, slots=True)
class Claims:
    """expires_at: Unix seconds. token_id: of a refresh token, the id that its session knows it by."""

    caller: Caller
    kind: str
    token_id: str
    expires_at: int


class Tokens:
    """Signs with the newest key, verifies with all.

    revocations: the sessions that have ended. changed() -> the keys, if they changed since the last call; else empty.
    """

    def __init__(
        self, keys: Sequence[Key], revocations: Revocations, changed: Callable[[], Sequence[Key]] = tuple
    ) -> None:
        self._revocations = revocations
        self._changed = changed
        self._renewing = threading.Lock()
        self._use(keys)

    def renew(self) -> None:
        """Uses the keys that changed, if any, and drops the cached claims. Raises ConfigError."""
        with self._renewing:
            if keys := self._changed():
                self._use(keys)
                log.info("tokens are signed with key %s from now on", keys[0].id)

    def _use(self, keys: Sequence[Key]) -> None:
        self._newest = keys[0]
        self._secrets = {key.id: key.secret for key in keys}
        self._decoded = _Cache(self._decode)
        self._own = ("", 0.0)  # token, when to renew it

    def sign(self, kind: str, caller: Caller, ttl: int, token_id: str = "", issued_at: int = 0) -> str:
        """ttl: seconds. issued_at: Unix seconds; 0: now. The same arguments, none of them empty, give the same token as
        long as the key is the same."""
        now = issued_at or int(clock.now())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": caller.user_id or caller.role,
            "typ": kind,
            "uid": caller.user_id,
            "role": caller.role,
            "sid": caller.session_id,
            "jti": token_id or ids.new_secret(),
            "iat": now,
            "exp": now + ttl,
        }
        return jwt.encode(claims, self._newest.secret, algorithm=ALGORITHM, headers={"kid": self._newest.id})

    def for_service(self) -> str:
        """A token for calls of GoChat to itself: the same for many calls, so that its verification is cached."""
        token, renew_at = self._own
        if renew_at <= time.monotonic():
            token = self.sign(SERVICE_KIND, SERVICE, OWN_TTL)
            self._own = token, time.monotonic() + OWN_TTL / 2
        return token

    def verify(self, token: str, *kinds: str) -> Claims:
        """Raises BadTokenError, UnknownKeyError, and UNAVAILABLE while it is not known which sessions have ended."""
        claims = self._decoded.of(token)
        if claims.kind not in kinds:
            raise BadTokenError(f"a token of kind {claims.kind} does not do here")
        if claims.expires_at + LEEWAY <= clock.now():
            raise BadTokenError("the token has expired")
        # For a refresh token the repo looks at the session itself, when the token is used.
        if claims.kind == ACCESS and self._revocations.has(claims.caller.session_id):
            raise BadTokenError("the session of the token has ended")
        return claims

    def verify_with_new_keys(self, token: str, *kinds: str) -> Claims:
        """The same, but looks for new keys where the token's is not known. That reads a file, so an inline call raises
        TooLongError and is run again on a thread."""
        try:
            return self.verify(token, *kinds)
        except UnknownKeyError:
            if current().lane is Lane.INLINE:
                raise TooLongError from None
        self.look_for_keys()
        return self.verify(token, *kinds)

    def look_for_keys(self) -> None:
        """Reads the key file again."""
        with suppress(ConfigError):  # the background loop reports it
            self.renew()

    def seal(self, purpose: str, claims: dict[str, str], ttl: int) -> str:
        """Text that a client keeps, and that only `unseal` for the same purpose takes: no token, and nothing secret."""
        now = int(clock.now())
        sealed = claims | {"iss": ISSUER, "aud": f"{AUDIENCE}:{purpose}", "iat": now, "exp": now + ttl}
        return jwt.encode(sealed, self._newest.secret, algorithm=ALGORITHM, headers={"kid": self._newest.id})

    def unseal(self, purpose: str, text: str) -> dict[str, Any]:
        """On a thread that may wait. Raises BadTokenError."""
        try:
            key_id = jwt.get_unverified_header(text)["kid"]
            if key_id not in self._secrets:
                self.look_for_keys()
            claims: dict[str, Any] = jwt.decode(
                text,
                self._secrets[key_id],
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=f"{AUDIENCE}:{purpose}",
                options={"require": ["iss", "aud", "exp"], "verify_exp": False, "verify_iat": False},
            )
        except (jwt.InvalidTokenError, KeyError, ValueError, TypeError):
            raise _malformed() from None
        if claims["exp"] + LEEWAY <= clock.now():
            raise BadTokenError("it has expired")
        return claims

    def _decode(self, token: str) -> Claims:
        try:
            header = jwt.get_unverified_header(token)
            key_id = header.get("kid", self._newest.id)
            if key_id not in self._secrets:
                raise UnknownKeyError(_MALFORMED)
            claims = jwt.decode(
                token,
                self._secrets[key_id],
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                leeway=LEEWAY,
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False},  # by our own clock, below
            )
        except (jwt.InvalidTokenError, KeyError, ValueError, TypeError):
            raise _malformed() from None
        caller = Caller(claims["uid"], claims["role"], claims["sid"])
        if not (header.keys() <= _HEADER and _is_consistent(claims, caller)):
            raise _malformed()
        # A command on this machine signs by the machine's clock, which may be ahead of the installation's.
        if not claims["iat"] <= max(clock.now(), time.time()) + LEEWAY:
            raise _malformed()
        return Claims(caller, claims["typ"], claims["jti"], claims["exp"])


class _Cache:
    """The claims of verified tokens: a client sends the same token with every call, and its signature is verified once.
    Two generations: an entry goes when it was not used for one to two times CACHE_INTERVAL, or after MAX_CACHED others.
    """

    def __init__(self, decode: Callable[[str], Claims]) -> None:
        self._decode = decode
        self._new: dict[str, Claims] = {}
        self._old: dict[str, Claims] = {}
        self._next_generation_at = time.monotonic() + CACHE_INTERVAL

    def of(self, token: str) -> Claims:
        """Raises BadTokenError."""
        claims = self._new.get(token)
        if claims is None:
            if time.monotonic() >= self._next_generation_at or len(self._new) >= MAX_CACHED:
                self._old, self._new = self._new, {}
                self._next_generation_at = time.monotonic() + CACHE_INTERVAL
            claims = self._new[token] = self._old.get(token) or self._decode(token)
        return claims


def _malformed() -> BadTokenError:
    return BadTokenError(_MALFORMED)


def _is_consistent(claims: dict[str, object], caller: Caller) -> bool:
    """Every token of ours is. Another program that has the key could sign one that is not."""
    if not all(isinstance(text := claims[name], str) and text.isascii() for name in _TEXTS):
        return False
    if claims["typ"] not in _KINDS:
        return False
    roles, personal = _KINDS[str(claims["typ"])]
    return (
        caller.role in roles
        and bool(caller.user_id) == bool(caller.session_id) == personal
        and claims["sub"] == (caller.user_id or caller.role)
        and isinstance(claims["iat"], int | float)
        and isinstance(claims["exp"], int)
        and claims["exp"] < _LATEST
    )
