"""Tokens: JSON Web Tokens (RFC 7519) signed with HS256. Pure computation over a key; sessions live in the repo."""

import time
from dataclasses import dataclass
from functools import lru_cache

import jwt

from gochat.context import SERVICE, Caller
from gochat.domain import ids

ALGORITHM = "HS256"
ISSUER = AUDIENCE = "gochat"
LEEWAY = 5  # seconds that two hosts' clocks may differ
SERVICE_TTL = 120  # seconds that the halves of a server trust each other's token; renewed at half of it
ACCESS, REFRESH = "access", "refresh"


class BadTokenError(Exception):
    """A token that is malformed, forged, expired or of another kind."""


@dataclass(frozen=True, slots=True)
class Claims:
    """expires_at: Unix seconds. token_id: of a refresh token, the id that its session knows it by."""

    caller: Caller
    kind: str
    token_id: str
    expires_at: int


class Tokens:
    """Signs and verifies with one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        # A client sends the same access token with every call; its signature needs checking once.
        self._decode_cached = lru_cache(maxsize=10_000)(self._decode)
        self._service = ("", 0.0)  # token, when to renew it

    def sign(self, kind: str, caller: Caller, ttl: int, token_id: str = "") -> str:
        """ttl: seconds."""
        now = int(time.time())
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
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)

    def for_service(self) -> str:
        """A token with which GoChat calls itself: the same for many calls, so that verifying it is remembered."""
        token, renew_at = self._service
        if renew_at <= time.monotonic():
            token = self.sign(ACCESS, SERVICE, SERVICE_TTL)
            self._service = token, time.monotonic() + SERVICE_TTL / 2
        return token

    def verify(self, token: str, kind: str) -> Claims:
        """Raises BadTokenError."""
        claims = self._decode_cached(token)
        if claims.kind != kind:
            raise BadTokenError(f"this is not {'an' if kind == ACCESS else 'a'} {kind} token")
        if claims.expires_at + LEEWAY <= time.time():
            raise BadTokenError("the token has expired")
        return claims

    def _decode(self, token: str) -> Claims:
        required = ["iss", "aud", "sub", "typ", "uid", "role", "sid", "jti", "iat", "exp"]
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                leeway=LEEWAY,
                options={"require": required},
            )
        except jwt.ExpiredSignatureError:
            raise BadTokenError("the token has expired") from None
        except (jwt.InvalidTokenError, ValueError):
            raise BadTokenError("the token is malformed or not signed by this server") from None
        caller = Caller(claims["uid"], claims["role"], claims["sid"])
        return Claims(caller, claims["typ"], claims["jti"], claims["exp"])
