"""Calls of one kind that came in together, in one round trip to PostgreSQL: what a call costs there, and the threads of
this process, is mostly the trip.

Of a call that a rule refuses, or that would have to wait for a lock, there is no answer: it is made again alone, where
its error is raised and it holds up no others.
"""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from gochat.domain import forms
from gochat.errors import ChatError
from gochat.internal.store.v1 import store_pb2 as pb
from gochat.repo.conversations import CONVERSATIONS, UNREAD_MESSAGES
from gochat.repo.inboxes import Inboxes
from gochat.repo.messages import HISTORY_PAGE, mark_all_read
from gochat.repo.reads import AloneError, Read
from gochat.repo.users import PROFILE
from gochat.storage.database import Database

_READS = {
    "get_profile": PROFILE,
    "get_history": HISTORY_PAGE,
    "get_unread": UNREAD_MESSAGES,
    "get_conversations": CONVERSATIONS,
}
"""By the field of Call and Answer."""


class Together:
    """Of StoreService."""

    def __init__(self, database: Database, inboxes: Inboxes) -> None:
        self._database, self._inboxes = database, inboxes

    def CallTogether(self, request: pb.CallTogetherRequest) -> pb.CallTogetherResponse:
        answer = pb.CallTogetherResponse(answers=[pb.Answer()] * len(request.calls))
        of_kind = defaultdict[str, list[tuple[pb.Call, pb.Answer]]](list)
        for call, one in zip(request.calls, answer.answers, strict=True):
            with suppress(ChatError):
                forms.check(call)
                kind = str(call.WhichOneof("call"))
                forms.check(getattr(call, kind))
                of_kind[kind].append((call, one))
        for name, found in of_kind.items():
            if name in _READS:
                self._read(_READS[name], name, found)
            else:
                self._mark_read(found)
        return answer

    def _read(self, read: Read, kind: str, found: Sequence[tuple[pb.Call, pb.Answer]]) -> None:
        requests: list[Any] = [getattr(call, kind) for call, _ in found]
        rows_of_each = read.together(self._database, requests)
        for request, (_, answer), rows in zip(requests, found, rows_of_each, strict=True):
            try:
                if lookups := read.fill(getattr(answer, kind), request, rows):
                    self._inboxes.note(request.user_id, lookups)
            except (ChatError, AloneError):
                answer.Clear()

    def _mark_read(self, found: Sequence[tuple[pb.Call, pb.Answer]]) -> None:
        marked = mark_all_read(self._database, [(call.mark_read, call.actor_id) for call, _ in found])
        for (_, answer), is_marked in zip(found, marked, strict=True):
            if is_marked:
                answer.mark_read.SetInParent()
