"""How long the change log is kept. It is trimmed from its beginning, in chunks, so that no send waits for long."""

from contextlib import AbstractContextManager

from gochat.domain.changes import Kind
from gochat.repo.chunks import in_chunks
from gochat.storage.database import Database, Tx

CHUNK = 1000  # rows of a transaction; more where one transaction wrote more

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


def trimming(database: Database, keep: float) -> AbstractContextManager[None]:
    """Trims the log in the background, for as long as the block lasts. keep: seconds."""
    return in_chunks(database, "trimming the log of changes", lambda tx, now: trim(tx, now - int(keep * 1000)))


def trim(tx: Tx, before: int) -> bool:
    """Deletes a chunk of what happened before this time, in Unix milliseconds. Was there anything to delete?"""
    ((last,),) = tx.fetch_all(_OVER_AGE, CHUNK, before)
    if last is None:
        return False
    tx.sql(_FORGET_DISSOLVED, last)
    return bool(tx.sql("DELETE FROM changes WHERE position < ?", last).rowcount)
