"""Who may make a call: request id, authentication, access, rate limits."""

import random
from collections.abc import Mapping
from typing import Any

from gochat.context import NOBODY, Caller
from gochat.domain.access import Access
from gochat.domain.tokens import CALLING, BadTokenError, Tokens, UnknownKeyError
from gochat.errors import MAX_CAUSES, ChatError, denied, unauthorized
from gochat.headers import ACTOR, AUTHORIZATION, REQUEST_ID
from gochat.serving.throttle import Throttle

REASONS = frozenset({"NO_TOKEN", "BAD_TOKEN", "NOT_A_SERVICE"})
"""The reasons with which a caller is refused here, before any handler."""

Metadata = Any
"""A sequence of (name, value), names in lower case; values are text, or bytes where the name ends in -bin."""


class Admission:
    """error_mode: "status" or "body", for callers who do not ask for one."""

    def __init__(self, tokens: Tokens, throttle: Throttle, error_mode: str = "status") -> None:
        self.tokens = tokens
        self.throttle = throttle
        self.error_mode = error_mode

    def authenticate(self, access: Access, headers: Mapping[str, Any], metadata: Metadata) -> Caller:
        """Raises UNAUTHENTICATED, PERMISSION_DENIED, UNAVAILABLE, and UnknownKeyError."""
        if access is Access.ANYONE:
            return NOBODY
        given = headers.get(AUTHORIZATION, "")
        once = len(headers) == len(metadata) or sum(name == AUTHORIZATION for name, _ in metadata) == 1
        if not once or given[:7].lower() != "bearer ":
            raise unauthorized("send the metadata authorization: Bearer <access token>, once", "NO_TOKEN")
        try:
            caller = self.tokens.verify(given[7:], *CALLING).caller
        except UnknownKeyError:
            raise
        except BadTokenError as bad:
            raise unauthorized(str(bad), "BAD_TOKEN") from None
        if access is Access.SERVICE and not caller.privileged:
            raise denied("this service takes tokens of role service or admin only", "NOT_A_SERVICE")
        return caller


def request_id(headers: Mapping[str, Any]) -> str:
    """The caller's, if it is fit for a log line; else a new one."""
    given = headers.get(REQUEST_ID, "")
    return given if given and _is_word(given) else f"{random.getrandbits(128):032x}"


def origin(caller: Caller, peer: str, headers: Mapping[str, Any]) -> tuple[Caller, str]:
    """Who stands behind the call, and at which address. Only a service is believed when it says that it calls for
    another."""
    if caller.role == "service" and _is_word(actor := headers.get(ACTOR, "")) and actor.count("|") == 2:
        user_id, role, peer = actor.split("|")
        return Caller(user_id, role), peer
    return caller, peer


def without_frames(error: ChatError) -> ChatError:
    """A traceback holds its frames and so the call, which would not end before garbage is collected."""
    link: BaseException | None = error
    for _ in range(MAX_CAUSES):
        if link is None:
            break
        link.__traceback__ = None
        link = link.__context__
    return error


def _is_word(text: str) -> bool:
    return 0 < len(text) <= 128 and text.isascii() and text.isprintable()
