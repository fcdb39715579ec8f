"""Whether a call is admitted: request id, authentication, access, rate limits."""

import random
from collections.abc import Mapping
from typing import Any

from gochat.context import NOBODY, Caller
from gochat.domain.access import Access
from gochat.domain.tokens import CALLING, BadTokenError, Tokens, UnknownKeyError
from gochat.errors import MAX_CAUSES, ChatError, denied, unauthorized
from gochat.headers import ACTED_BY, ACTOR, AUTHORIZATION, REQUEST_ID
from gochat.serving.acting import LookUpNeeded, Users
from gochat.serving.throttle import Throttle

CREDENTIAL_REASONS = frozenset({"NO_TOKEN", "BAD_TOKEN", "NOT_A_SERVICE"})
"""The reasons of the errors that `authenticate` raises."""

Metadata = Any
"""A sequence of (name, value), names in lower case; values are text, or bytes where the name ends in -bin."""


class Admission:
    """Authenticates callers and applies the rate limits.

    error_mode: "status" or "body", for callers whose metadata does not choose one.
    """

    def __init__(self, tokens: Tokens, throttle: Throttle, users: Users, error_mode: str = "status") -> None:
        self.tokens = tokens
        self.throttle = throttle
        self.users = users
        self.error_mode = error_mode

    def authenticate(self, access: Access, headers: Mapping[str, Any], metadata: Metadata) -> Caller:
        """Raises UNAUTHENTICATED, PERMISSION_DENIED, UNAVAILABLE, and LookUpNeeded."""
        if access is Access.ANYONE:
            return NOBODY
        header = headers.get(AUTHORIZATION, "")
        is_single = len(headers) == len(metadata) or sum(name == AUTHORIZATION for name, _ in metadata) == 1
        if not is_single or header[:7].lower() != "bearer ":
            raise unauthorized("send the metadata authorization: Bearer <access token>, once", "NO_TOKEN")
        try:
            caller = self.tokens.verify(header[7:], *CALLING).caller
        except BadTokenError as bad:
            error = unauthorized(str(bad), "BAD_TOKEN")
            if isinstance(bad, UnknownKeyError):
                raise LookUpNeeded("key", self.tokens.look_for_keys, error, is_user=False) from None
            raise error from None
        if access is Access.SERVICE and not caller.privileged:
            raise denied("this service takes tokens of role service or admin only", "NOT_A_SERVICE")
        if access is Access.BACKEND and caller.role != "service":
            raise denied("this RPC takes tokens of role service only", "NOT_A_SERVICE")
        return caller


def request_id(headers: Mapping[str, Any]) -> str:
    """The caller's request id if it is safe to write into a log line, else a new one."""
    header = headers.get(REQUEST_ID, "")
    return header if header and _is_loggable(header) else f"{random.getrandbits(128):032x}"


def actor_and_address(caller: Caller, peer: str, headers: Mapping[str, Any]) -> tuple[Caller, str, str]:
    """On whose behalf the call is made, from which network address, and who made it for them. Only a service may name
    another actor."""
    if caller.role == "service" and _is_loggable(actor := headers.get(ACTOR, "")) and actor.count("|") == 2:
        user_id, role, peer = actor.split("|")
        return Caller(user_id, role), peer, "service" if headers.get(ACTED_BY) == "service" else ""
    return caller, peer, ""


def without_tracebacks(error: ChatError) -> ChatError:
    """Drops the tracebacks of the error and its causes. Their frames refer to the call, which refers to the error: only
    the cyclic garbage collector would free them, and with them the call's connection."""
    link: BaseException | None = error
    for _ in range(MAX_CAUSES):
        if link is None:
            break
        link.__traceback__ = None
        link = link.__context__
    return error


def _is_loggable(text: str) -> bool:
    return 0 < len(text) <= 128 and text.isascii() and text.isprintable()
