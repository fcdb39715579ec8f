"""Ending sessions: the row is deleted, and the id is kept for as long as an access token may name it."""

from collections.abc import Sequence

from gochat.config import MAX_ACCESS_TTL
from gochat.domain import ids
from gochat.storage.database import Tx
from gochat.storage.models import Session

_KEPT_MS = 2 * MAX_ACCESS_TTL * 1000

# On PostgreSQL the position is the transaction's, by default.
_INSERT = {
    False: """
INSERT INTO ended_sessions (session_id, ended_at, position)
VALUES (?, ?, (SELECT COALESCE(MAX(position), 0) + 1 FROM ended_sessions))
ON CONFLICT DO NOTHING""",
    True: "INSERT INTO ended_sessions (session_id, ended_at) VALUES (?, ?) ON CONFLICT DO NOTHING",
}
# The newest stays, since the next position follows from it.
_FORGET = {
    False: """
DELETE FROM ended_sessions
WHERE ended_at < ? AND position < (SELECT MAX(position) FROM ended_sessions)""",
    True: """
DELETE FROM ended_sessions
WHERE session_id IN (SELECT session_id FROM ended_sessions WHERE ended_at < ? LIMIT 1000 FOR UPDATE SKIP LOCKED)""",
}
# One statement, which sees one state. A position that is beyond the newest is of another database, such as one that was
# restored: then all are new.
_SINCE = {
    False: """
SELECT newest.position, (
    SELECT json_group_array(json_array(ended.session_id)) FROM ended_sessions AS ended
    WHERE ended.position > CASE WHEN ? <= newest.position THEN ? ELSE -1 END
)
FROM (SELECT COALESCE(MAX(position), 0) AS position FROM ended_sessions) AS newest""",
    True: """
SELECT oldest.position, (
    SELECT json_group_array(json_array(ended.session_id)) FROM ended_sessions AS ended
    WHERE ended.position >= CASE WHEN ? <= oldest.position THEN ? ELSE -1 END
)
FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS position) AS oldest""",
}


def end(tx: Tx, session_ids: Sequence[str]) -> None:
    """Ends sessions of a user, whose row is locked."""
    now = ids.now_ms()
    for session_id in session_ids:
        tx.run(Session.delete().where(Session.session_id == session_id))
        tx.sql(_INSERT[tx.postgres], session_id, now)
    if session_ids:
        tx.sql(_FORGET[tx.postgres], now - _KEPT_MS)


def end_all(tx: Tx, user_id: str) -> None:
    """Ends every session of a user, whose row is locked."""
    end(
        tx,
        [old for (old,) in tx.model_all(Session.select(Session.session_id).where(Session.user_id == user_id).tuples())],
    )


def ended_since(tx: Tx, position: int) -> tuple[int, list[str]]:
    """(the position from which to go on, the sessions that ended after this one). Some may be named twice."""
    newest, rows = tx.fetch_all(_SINCE[tx.postgres], position, position)[0]
    return newest, [session_id for (session_id,) in Tx.decode_rows(rows)]
