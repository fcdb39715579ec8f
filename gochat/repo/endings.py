"""Ending sessions: the row is deleted, and the id is kept for as long as an access token may name it."""

from collections.abc import Sequence

from gochat.config import MAX_ACCESS_TTL
from gochat.domain import ids
from gochat.storage.database import Tx
from gochat.storage.models import EndedSession, Session

_KEPT_MS = 2 * MAX_ACCESS_TTL * 1000


def end(tx: Tx, session_ids: Sequence[str]) -> None:
    now = ids.now_ms()
    for session_id in session_ids:
        tx.run(Session.delete().where(Session.session_id == session_id))
        tx.run(EndedSession.insert(session_id=session_id, ended_at=now).on_conflict_ignore())
    if session_ids:
        tx.run(EndedSession.delete().where(EndedSession.ended_at < now - _KEPT_MS))


def end_all(tx: Tx, user_id: str) -> None:
    """Ends every session of a user, whose row is locked."""
    end(
        tx,
        [old for (old,) in tx.model_all(Session.select(Session.session_id).where(Session.user_id == user_id).tuples())],
    )
