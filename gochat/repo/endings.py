"""Ending sessions: the row is deleted, with its push tokens, and the id is kept for as long as an access token may name
it."""

from collections.abc import Sequence

from gochat.config import MAX_ACCESS_TTL
from gochat.context import current
from gochat.domain import ids
from gochat.domain.changes import Kind
from gochat.storage.database import Tx, placeholders

_KEPT_MS = 2 * MAX_ACCESS_TTL * 1000

_ONE = "session_id = ?"
_ALL = "user_id = ?"
_ALL_OF = "user_id IN (%s)"
_OF_DEVICE = "user_id = ? AND device_id = ?"
_SURPLUS = """session_id IN (
    SELECT session_id FROM sessions WHERE user_id = ? AND session_id <> ?
    ORDER BY refreshed_at DESC, session_id DESC LIMIT 1000000000 OFFSET ?
)"""

# On PostgreSQL the position is the transaction's, by default.
_INSERT = {
    False: """
INSERT INTO ended_sessions (session_id, ended_at, position)
SELECT session_id, ?, (SELECT COALESCE(MAX(position), 0) + 1 FROM ended_sessions) FROM sessions WHERE %s
ON CONFLICT DO NOTHING""",
    True: """
INSERT INTO ended_sessions (session_id, ended_at)
SELECT session_id, ? FROM sessions WHERE %s
ON CONFLICT DO NOTHING""",
}
_ADD_CHANGES = f"""
INSERT INTO changes (kind, conversation_id, user_id, actor_id, first_seq, seq, detail, at)
SELECT {int(Kind.SESSION_ENDED)}, '', user_id, ?, 0, 0, session_id, ? FROM sessions WHERE %s"""
_DELETE_TOKENS = "DELETE FROM push_tokens WHERE session_id IN (SELECT session_id FROM sessions WHERE %s)"
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
FROM (
    SELECT COALESCE(MAX(position) + 1, 0) AS position FROM ended_sessions
    WHERE position < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
) AS oldest""",  # the position after a row that is there: see feed.py
}


def end(tx: Tx, session_id: str) -> None:
    """Ends a session of a user, whose row is locked."""
    _end(tx, _ONE, session_id)


def end_all(tx: Tx, user_id: str) -> None:
    """Ends every session of a user, whose row is locked."""
    _end(tx, _ALL, user_id)


def end_all_of(tx: Tx, user_ids: Sequence[str]) -> None:
    """The same for several users."""
    if user_ids:
        _end(tx, _ALL_OF % placeholders(user_ids), *user_ids)


def end_of_device(tx: Tx, user_id: str, device_id: str) -> None:
    _end(tx, _OF_DEVICE, user_id, device_id)


def end_surplus(tx: Tx, user_id: str, newest_id: str, max_sessions: int) -> None:
    """Ends the sessions of a user that were used least recently, so that max_sessions stay, newest_id among them."""
    _end(tx, _SURPLUS, user_id, newest_id, max_sessions - 1)


def _end(tx: Tx, condition: str, *parameters: str | int) -> None:
    """Of all sessions that the condition is true of, by the same statements however many they are."""
    now = ids.now_ms()
    if tx.sql(_INSERT[tx.postgres] % condition, now, *parameters).rowcount:
        tx.sql(_ADD_CHANGES % condition, current().actor.user_id, now, *parameters)
        tx.sql(_DELETE_TOKENS % condition, *parameters)
        tx.sql(f"DELETE FROM sessions WHERE {condition}", *parameters)
        tx.sql(_FORGET[tx.postgres], now - _KEPT_MS)


def ended_since(tx: Tx, position: int) -> tuple[int, list[str]]:
    """(the position from which to go on, the sessions that ended after this one). Some may be named twice."""
    newest, rows = tx.fetch_all(_SINCE[tx.postgres], position, position)[0]
    return newest, [session_id for (session_id,) in Tx.decode_rows(rows)]
