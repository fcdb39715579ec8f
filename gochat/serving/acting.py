"""The users in whose place a service calls, by the header x-gochat-act-as; and the users that it means by external ids.

Asking the repo half may wait, and admission must not: so it raises LookUpNeeded, a thread that may wait looks up, and
the call is admitted again. What was found is kept for a moment, since a gateway makes many calls as one user. Who is
not active, or not there, is asked for each time: a gateway that has just made a user may act as them at once.
"""

import re
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import unquote

from gochat.context import Caller
from gochat.domain.access import Access
from gochat.domain.forms.rules import EXTERNAL, external_id, identifier
from gochat.domain.limits import MAX_BATCH
from gochat.errors import ChatError, denied, invalid, not_found, unavailable
from gochat.headers import ACT_AS
from gochat.internal.user.v1 import user_pb2

MAX_AGE = 4.0  # seconds: who is disabled is refused within 5
MAX_KEPT = 10_000  # users
MAX_HEADER = len(EXTERNAL) + 3 * 128  # characters: of an external id each byte may be percent-encoded
_ENCODED = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")

Resolve = Callable[[user_pb2.ResolveUsersRequest], user_pb2.ResolveUsersResponse]


class LookUpNeeded(Exception):  # noqa: N818 - no error: the call is admitted once this was done
    """what: is looked up. look_up: does it; it may wait, and raises ChatError. error: if that was in vain. is_user: it
    is about a user that a service named; else about a key, which anybody may have named."""

    def __init__(self, what: str, look_up: Callable[[], None], error: ChatError, *, is_user: bool = True) -> None:
        super().__init__(what)
        self.what, self.look_up, self.error, self.is_user = what, look_up, error, is_user


class Users:
    """Any thread may call the methods. A dict's single operations are atomic; whoever writes last is as right."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._acted_for: dict[str, tuple[Caller, float]] = {}  # header -> (the user, until when that is believed)

    def acted_for(self, access: Access, caller: Caller, headers: Mapping[str, Any], metadata: Any) -> Caller:
        """The user in whose place the caller calls. Raises PERMISSION_DENIED, INVALID_PARAMS, and LookUpNeeded."""
        if caller.role != "service":
            raise denied(f"{ACT_AS} takes a token of role service", "NOT_A_SERVICE")
        if access is not Access.SIGNED_IN:
            raise denied("this RPC is for services themselves, not for users", "NOT_A_SERVICE")
        header = headers[ACT_AS]
        if len(headers) != len(metadata) and sum(name == ACT_AS for name, _ in metadata) != 1:
            raise invalid(ACT_AS, "must be sent once")
        known = self._acted_for.get(header)
        if known is None or known[1] <= time.monotonic():
            raise LookUpNeeded(ACT_AS, lambda: self._look_up(header), unavailable("the user could not be looked up"))
        return known[0]

    def _look_up(self, header: str) -> None:
        until = time.monotonic() + MAX_AGE
        found = self._resolve(user_pb2.ResolveUsersRequest(names=[_name_in(header)])).users
        if not found:
            raise not_found("user", ACT_AS)
        if not found[0].active:
            raise denied("the user is disabled or deleted", "USER_NOT_ACTIVE")
        if len(self._acted_for) >= MAX_KEPT:
            self._acted_for.clear()
        self._acted_for[header] = Caller(found[0].user_id, "user"), until

    def ids_of(self, names: Collection[str]) -> dict[str, str]:
        """The user ids that these mean, as they are now; of those that mean nobody, none."""
        listed = sorted(names)
        return {
            user.name: user.user_id
            for first in range(0, len(listed), MAX_BATCH)
            for user in self._resolve(user_pb2.ResolveUsersRequest(names=listed[first : first + MAX_BATCH])).users
        }


def _name_in(header: str) -> str:
    """A user id, or "external:" and an external id. Raises INVALID_PARAMS."""
    if not (len(header) <= MAX_HEADER and header.isascii() and header.isprintable()):
        raise invalid(ACT_AS, "must be a user id or external:<id>, of printable ASCII, others percent-encoded")
    if not header.startswith(EXTERNAL):
        identifier(ACT_AS, header)
        if not header:
            raise invalid(ACT_AS, "must not be empty")
        return header
    try:
        if not _ENCODED.fullmatch(header):
            raise ValueError
        value = unquote(header.removeprefix(EXTERNAL), errors="strict")
    except ValueError:
        raise invalid(ACT_AS, "must be percent-encoded UTF-8") from None
    if not value:
        raise invalid(ACT_AS, f"must have an id after {EXTERNAL}")
    external_id(ACT_AS, value)
    return EXTERNAL + value
