"""Inboxes: the lists of users who are in many large conversations, where each list would look all of them up.

A send does not write the members of a large conversation, and a list reads its row instead (membership.inbox_columns).
Of a user in many of them a list that took long has their own rows written, after it was answered: they carry the
conversations' last_seq and updated_at then, as those of small conversations always do. `inboxes` says from which
position of the log on that may be out of date; a list looks up the large conversations that have moved since
(conversations.position), and takes the others from the index. So who reads pays, once for each conversation that has
moved, and a send to 100,000 members pays for none of them.

Positions are those of the log (feed.py): on PostgreSQL what a transaction wrote that had not ended is not before them.

Programs that know no `inboxes` take whatever is carried for up to date. While one of them has the database, which the
lock of its connections shows, nothing large is carried.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from time import monotonic

from gochat.background import periodic
from gochat.context import SERVICE, Call, Lane, entered
from gochat.repo.membership import POSITION
from gochat.storage.database import Database, Tx, Work, placeholders
from gochat.storage.leases import IN_USE_LOCK
from gochat.storage.models import LOOKED_UP, MAX_INBOX_MEMBERS

MOST = 64  # conversations that a list may look up
INTERVAL = 1.0  # seconds between two rounds
TIMEOUT = 30.0  # seconds for a transaction
PIECE = 200  # conversations of a transaction, for which others wait
MAX_NOTED = 10_000  # users

# The large conversations of a user that are not as the members row says: `own` of inboxes, `conversation` and `member`.
# They are found by what has moved, however many the user is in; PostgreSQL's planner would rather read all of those.
MOVED = {
    False: f"""inboxes AS own
    CROSS JOIN conversations AS conversation INDEXED BY conversations_moved
        ON conversation.member_count > {MAX_INBOX_MEMBERS} AND conversation.position >= own.position
    CROSS JOIN members AS member ON member.conversation_id = conversation.conversation_id
        AND member.user_id = own.user_id AND member.active_at < {LOOKED_UP}""",
    True: f"""inboxes AS own
    CROSS JOIN LATERAL (
        SELECT * FROM conversations
        WHERE member_count > {MAX_INBOX_MEMBERS} AND position >= own.position
        ORDER BY position LIMIT {LOOKED_UP}
    ) AS conversation
    CROSS JOIN LATERAL (
        SELECT * FROM members AS moved
        WHERE moved.conversation_id = conversation.conversation_id AND moved.user_id = own.user_id
            AND moved.active_at < {LOOKED_UP}
        LIMIT 1
    ) AS member""",
}
# Of a row `member` that carries: has its conversation not moved since? Nothing is read where the user has no inbox.
CARRIES = f"""((SELECT position FROM inboxes WHERE user_id = ?1) IS NULL OR NOT EXISTS (
        SELECT 1 FROM conversations AS moved
        WHERE moved.conversation_id = member.conversation_id AND moved.member_count > {MAX_INBOX_MEMBERS}
            AND moved.position >= (SELECT position FROM inboxes WHERE user_id = ?1)
    ))"""
# How many conversations a list of the user looks up.
LOOKUPS = f"""(
    SELECT COUNT(*) FROM members AS looked_up WHERE looked_up.user_id = ?1 AND looked_up.active_at = {LOOKED_UP}
) + (
    SELECT COUNT(*) FROM inboxes AS own
    JOIN conversations AS moved ON moved.member_count > {MAX_INBOX_MEMBERS} AND moved.position >= own.position
    WHERE own.user_id = ?1
)"""

_COMPLETE = {
    False: POSITION[False],
    True: "pg_snapshot_xmin(pg_current_snapshot())::TEXT::BIGINT",  # what older transactions wrote is seen
}
_ADVANCE = "UPDATE inboxes SET position = ? WHERE user_id = ? AND position < ?"
_OUT_OF_DATE = {
    postgres: f"""
SELECT member.conversation_id
FROM members AS member
JOIN conversations AS conversation ON conversation.conversation_id = member.conversation_id
WHERE member.user_id = ? AND member.active_at = {LOOKED_UP} AND conversation.member_count > {MAX_INBOX_MEMBERS}
UNION ALL
SELECT member.conversation_id
FROM {moved}
WHERE own.user_id = ? AND conversation.position < ?
    AND (member.last_seq, member.active_at) <> (conversation.last_seq, conversation.updated_at)
LIMIT {PIECE}"""
    for postgres, moved in MOVED.items()
}
_OLDER = """
SELECT 1 FROM pg_locks
WHERE locktype = 'advisory' AND (classid::BIGINT << 32) + objid::BIGINT = ?
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
_LOCK = "SELECT 1 FROM members WHERE user_id = ? AND conversation_id IN ({}) ORDER BY conversation_id"
_CARRY = f"""
UPDATE members SET last_seq = conversation.last_seq, active_at = conversation.updated_at
FROM conversations AS conversation
WHERE members.user_id = ? AND members.conversation_id IN ({{}})
    AND conversation.conversation_id = members.conversation_id
    AND conversation.member_count > {MAX_INBOX_MEMBERS}"""


class Inboxes:
    """Threads: `note` may be called by any, and adds to a dict, which is one step of the interpreter; a thread of
    `refreshing` takes from it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._noted = dict[str, None]()

    def note(self, user_id: str, lookups: int) -> None:
        """That a list of the user looked up so many conversations."""
        if lookups > MOST and len(self._noted) < MAX_NOTED:
            self._noted[user_id] = None

    def refreshing(self) -> AbstractContextManager[None]:
        """Has the lists of those who were noted look up less, for as long as the block lasts."""
        return periodic("refreshing inboxes", self._refresh_noted, INTERVAL)

    def _refresh_noted(self) -> None:
        for user_id in list(self._noted):
            self._noted.pop(user_id)
            refresh(self._database, user_id)


def refresh(database: Database, user_id: str) -> None:
    """Has the user's large conversations carry what they look up now. Each transaction is short, and whatever becomes
    of the next ones, lists are right after it. Raises ChatError."""
    if database.distributed or _call(database.read, _is_shared_with_older):
        return  # positions of different nodes do not compare
    complete = _call(database.write, lambda tx: _begin(tx, user_id))
    while _call(database.write, lambda tx: _carry(tx, user_id, complete)):
        pass
    _call(database.write, lambda tx: int(tx.sql(_ADVANCE, complete, user_id, complete).rowcount))


def _call(transact: Callable[[Work[int]], int], work: Work[int]) -> int:
    """transact: read or write of a database."""
    with entered(Call(SERVICE, "-", monotonic() + TIMEOUT, SERVICE, lane=Lane.CONTROL)):
        return transact(work)


def _is_shared_with_older(tx: Tx) -> bool:
    return tx.postgres and tx.fetch_one(_OLDER, IN_USE_LOCK) is not None


def _begin(tx: Tx, user_id: str) -> int:
    """The position up to which the log is complete. What the user's conversations carry from now on is newer."""
    ((complete,),) = tx.fetch_all(f"SELECT {_COMPLETE[tx.postgres]}")
    tx.sql("INSERT INTO inboxes (user_id, position) VALUES (?, ?) ON CONFLICT DO NOTHING", user_id, complete)
    return int(complete)


def _carry(tx: Tx, user_id: str, complete: int) -> int:
    """How many conversations were out of date; those that have moved since `complete` will be looked up in any case.
    The rows are locked first, so that the next statement sees what whoever had them before has committed: that a group
    is small now, say, and carries all by itself."""
    found = [room for (room,) in tx.fetch_all(_OUT_OF_DATE[tx.postgres], user_id, user_id, complete)]
    if found:
        tx.sql(_LOCK.format(placeholders(found)) + tx.lock, user_id, *found)
        tx.sql(_CARRY.format(placeholders(found)), user_id, *found)
    return len(found)
