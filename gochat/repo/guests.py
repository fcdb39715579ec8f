"""Guests who are gone: their sessions are all that they have, so with the last of them they are disabled."""

from contextlib import AbstractContextManager

from gochat.repo.chunks import in_chunks
from gochat.repo.deletion import update_user
from gochat.repo.users import DISABLED, get_user
from gochat.storage.database import Database, Tx

CHUNK = 100  # guests of a transaction

_GONE = """
SELECT user_id
FROM users
WHERE is_guest = 1 AND status = 1 AND NOT EXISTS (
    SELECT 1 FROM sessions
    WHERE sessions.user_id = users.user_id AND sessions.expires_at > ? AND sessions.refreshed_at > ?
)
ORDER BY user_id
LIMIT ?"""


def disabling(database: Database, ttl: int) -> AbstractContextManager[None]:
    """Disables them in the background, for as long as the block lasts. ttl: seconds that they may stay away."""
    return in_chunks(database, "disabling guests", lambda tx, now: disable(tx, now, ttl) == CHUNK)


def disable(tx: Tx, now: int, ttl: int) -> int:
    """A chunk of those who were gone by now, in Unix milliseconds. Returns how many they were."""
    conditions = now, now - ttl * 1000
    user_ids = [user_id for (user_id,) in tx.fetch_all(_GONE, *conditions, CHUNK)]
    for user_id in user_ids:  # in the order of their ids, as all who lock several users
        get_user(tx, user_id, lock=True)
    still = {user_id for (user_id,) in tx.fetch_all(_GONE, *conditions, CHUNK)}
    for user_id in filter(still.__contains__, user_ids):  # and not signed in or claimed meanwhile
        update_user(tx, user_id, {"status": DISABLED})
    return len(user_ids)
