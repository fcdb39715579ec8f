"""Ending sessions: the row is deleted, and the id is kept for as long as an access token may name it."""

from gochat.config import MAX_ACCESS_TTL
from gochat.domain import ids
from gochat.storage.database import Tx

_KEPT_MS = 2 * MAX_ACCESS_TTL * 1000

_ONE = "session_id = ?"
_ALL = "user_id = ?"
_OF_DEVICE = "user_id = ? AND device_id = ?"
_SURPLUS = """session_id IN (
    SELECT session_id FROM sessions WHERE user_id = ? AND session_id <> ?
    ORDER BY refreshed_at DESC, session_id DESC LIMIT 1000000000 OFFSET ?
)"""


def end(tx: Tx, session_id: str) -> None:
    _end(tx, _ONE, session_id)


def end_all(tx: Tx, user_id: str) -> None:
    """Ends every session of a user, whose row is locked."""
    _end(tx, _ALL, user_id)


def end_of_device(tx: Tx, user_id: str, device_id: str) -> None:
    _end(tx, _OF_DEVICE, user_id, device_id)


def end_surplus(tx: Tx, user_id: str, newest_id: str, max_sessions: int) -> None:
    """Ends the sessions of a user that were used least recently, so that max_sessions stay, newest_id among them."""
    _end(tx, _SURPLUS, user_id, newest_id, max_sessions - 1)


def _end(tx: Tx, condition: str, *parameters: str | int) -> None:
    """Of all sessions that the condition is true of, by the same statements however many they are."""
    now = ids.now_ms()
    ended = tx.sql(
        f"INSERT INTO ended_sessions (session_id, ended_at) SELECT session_id, ? FROM sessions WHERE {condition}"
        " ON CONFLICT DO NOTHING",
        *(now, *parameters),
    ).rowcount
    if ended:
        tx.sql(f"DELETE FROM sessions WHERE {condition}", *parameters)
        tx.sql("DELETE FROM ended_sessions WHERE ended_at < ?", now - _KEPT_MS)
