"""How long the change log is kept. It is trimmed from its beginning, in chunks, so that no send waits for long."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from gochat.background import periodic
from gochat.context import SERVICE, Call, Lane, entered
from gochat.domain import ids
from gochat.domain.changes import Kind
from gochat.storage.database import Database, Tx

INTERVAL = 60.0  # seconds between two looks
CHUNK = 1000  # rows of a transaction; more where one transaction wrote more
TIMEOUT = 30.0  # seconds for a chunk

# The newest of the oldest rows that is over age. It stays: the log is complete from its first row on, so a reader who
# was there when nothing more had happened can go on, however long ago. On PostgreSQL the rows of a position stay or go
# together; the first position is left out, or one that has more rows than a chunk would stay for ever.
_OVER_AGE = """
SELECT MAX(oldest.position)
FROM (
    SELECT position, at FROM changes
    WHERE position > (SELECT MIN(position) FROM changes)
    ORDER BY position LIMIT ?
) AS oldest
WHERE oldest.at < ?"""
_FORGET_DISSOLVED = f"""
DELETE FROM former_members
WHERE conversation_id IN (SELECT conversation_id FROM changes WHERE position < ? AND kind = {Kind.GROUP_DISSOLVED})"""


@contextmanager
def trimming(database: Database, keep: float) -> Iterator[None]:
    """Trims the log in the background, for as long as the block lasts. keep: seconds."""

    def trim_all() -> None:
        before = ids.now_ms() - int(keep * 1000)
        more = True
        while more:
            with entered(Call(SERVICE, "-", monotonic() + TIMEOUT, SERVICE, lane=Lane.CONTROL)):
                more = database.write(lambda tx: trim(tx, before))

    with periodic("trimming the log of changes", trim_all, INTERVAL):
        yield


def trim(tx: Tx, before: int) -> bool:
    """Deletes a chunk of what happened before this time, in Unix milliseconds. Was there anything to delete?"""
    ((last,),) = tx.fetch_all(_OVER_AGE, CHUNK, before)
    if last is None:
        return False
    tx.sql(_FORGET_DISSOLVED, last)
    return bool(tx.sql("DELETE FROM changes WHERE position < ?", last).rowcount)
