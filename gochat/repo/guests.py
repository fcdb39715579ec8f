"""Guests who are gone: their sessions are all that they have, so with the last of them they are disabled."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from gochat.background import periodic
from gochat.context import SERVICE, Call, Lane, entered
from gochat.domain import ids
from gochat.repo.deletion import update_user
from gochat.repo.users import DISABLED, get_user
from gochat.storage.database import Database, Tx

INTERVAL = 60.0  # seconds between two looks
CHUNK = 100  # guests of a transaction
TIMEOUT = 30.0  # seconds for a transaction

_GONE = """
SELECT user_id
FROM users
WHERE is_guest = 1 AND status = 1 AND NOT EXISTS (
    SELECT 1 FROM sessions
    WHERE sessions.user_id = users.user_id AND sessions.expires_at > ? AND sessions.refreshed_at > ?
)
ORDER BY user_id
LIMIT ?"""


@contextmanager
def disabling(database: Database, ttl: int) -> Iterator[None]:
    """Disables them in the background, for as long as the block lasts. ttl: seconds that they may stay away."""

    def disable_all() -> None:
        number = CHUNK
        while number == CHUNK:
            with entered(Call(SERVICE, "-", monotonic() + TIMEOUT, SERVICE, lane=Lane.CONTROL)):
                number = database.write(lambda tx: disable(tx, ids.now_ms(), ttl))

    with periodic("disabling guests", disable_all, INTERVAL):
        yield


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
