"""The audit log: entries are written in the transaction of the act that they record, and never changed."""

from collections.abc import Sequence

from gochat.api.audit.v1 import audit_pb2
from gochat.context import current
from gochat.domain import ids, limits
from gochat.storage.database import Database, Tx, placeholders

OK, REFUSED = "ok", "refused"
_NAMES = (
    *("event_id", "at", "actor_id", "actor_role", "action", "target_id", "detail", "outcome", "peer", "request_id"),
    "acted_by",
)


class Audit:
    def __init__(self, database: Database) -> None:
        self._database = database

    def ListEvents(self, request: audit_pb2.ListEventsRequest) -> audit_pb2.ListEventsResponse:
        limit = request.limit or limits.DEFAULT_LONG_PAGE
        conditions: list[tuple[str, tuple[str | int, ...]]] = [
            ("event_id < ?", (request.before_event_id or "~",)),  # every id is before ~
            ("at >= ?", (request.since,)),
        ]
        if request.user_id:
            conditions.append(("? IN (actor_id, target_id, detail)", (request.user_id,)))
        if request.action.endswith("."):
            conditions.append(("substr(action, 1, ?) = ?", (len(request.action), request.action)))
        elif request.action:
            conditions.append(("action = ?", (request.action,)))
        where = " AND ".join(text for text, _ in conditions)
        values = [value for _, of_one in conditions for value in of_one]
        rows = self._database.read(
            lambda tx: tx.fetch_all(
                f"SELECT {', '.join(_NAMES)} FROM audit_log WHERE {where} ORDER BY event_id DESC LIMIT ?",
                *values,
                limit + 1,
            ),
            one_statement=True,
            replica=True,
        )
        events = [audit_pb2.Event(**dict(zip(_NAMES, row, strict=True))) for row in rows[:limit]]
        return audit_pb2.ListEventsResponse(events=events, has_more=len(rows) > limit)

    def RecordEvent(self, request: audit_pb2.RecordEventRequest) -> audit_pb2.RecordEventResponse:
        self._database.write(lambda tx: record(tx, request.action, request.target_id))
        return audit_pb2.RecordEventResponse(success=True)


def record(tx: Tx, action: str, target_id: str, detail: str = "", outcome: str = OK) -> None:
    """Who acts, from where and in which request comes from the current call.

    target_id, detail: ids and words of ours, never what people wrote.
    """
    record_each(tx, action, target_id, [detail], outcome)


def record_each(tx: Tx, action: str, target_id: str, details: Sequence[str], outcome: str = OK) -> None:
    """One entry for each detail."""
    record_entries(tx, [(action, target_id, detail) for detail in details], outcome)


def record_entries(tx: Tx, entries: Sequence[tuple[str, str, str]], outcome: str = OK) -> None:
    """entries: (action, target_id, detail) of each."""
    call = current()
    values = []
    for action, target_id, detail in entries:
        values += [ids.new_event(), ids.now_ms(), call.actor.user_id, call.actor.role]
        values += [action, target_id, detail, outcome, call.peer, call.request_id, call.acted_by]
    if values:
        row = f"({placeholders(_NAMES)})"
        tx.sql(f"INSERT INTO audit_log ({', '.join(_NAMES)}) VALUES {', '.join([row] * len(entries))}", *values)
