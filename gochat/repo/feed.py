"""Reading the change log: for the tail of a process with streams, and for a stream that begins.

A position is a place in the log: everything before it has been read. On SQLite it is the number of the next row. On
PostgreSQL it is a transaction (see sql/0013_changes.postgres.sql): the rows of positions that are older than any
transaction in progress are complete, and none is added to them. They are read in one snapshot and in the order of their
ids, and never cut: ids commit out of order, so what a LIMIT left out could be before what it let in.
"""

from typing import Any, NamedTuple

from gochat.domain import ids
from gochat.domain.changes import Kind
from gochat.errors import not_found
from gochat.internal.change.v1 import change_pb2 as pb
from gochat.repo.changes import COLUMNS
from gochat.repo.describing import describe
from gochat.repo.sessions import ended
from gochat.storage.database import Database, Tx

MAX_READ = 100_000  # rows that are read at once; more are not worth it
MAX_REPLAYED = 10_000  # changes of a stream that resumes

_COLUMNS = ", ".join(f"log.{column}" for column in COLUMNS)
# The log from a position on (NULL: from now on): its epoch and origin, the oldest position there is, the one of now,
# how many rows there are, and the rows; also those that may not be told yet, as they are to be undone of the present.
# On PostgreSQL the position of now follows the newest row that may be told, and is not that of the oldest transaction
# in progress: a server that crashes gives the numbers again of transactions that it has not written down.
_LOG = {
    False: f"""
WITH reader (start, user_id, session_id) AS (VALUES (CAST(? AS BIGINT), ?, ?)),
now AS (SELECT MAX(position) + 1 AS position FROM changes),
log AS NOT MATERIALIZED (
    SELECT * FROM changes
    WHERE position >= (SELECT start FROM reader) AND position <= (SELECT start FROM reader) + {MAX_READ}
)
SELECT (SELECT value FROM secrets WHERE name = 'epoch'), (SELECT MIN(position) FROM changes), (
    SELECT position FROM now
), (SELECT COUNT(*) FROM log), (
    SELECT json_group_array(json_array(log.position, log.position, {_COLUMNS})) FROM log""",
    True: f"""
WITH reader (start, user_id, session_id) AS (VALUES (CAST(? AS BIGINT), ?, ?)),
now AS (
    SELECT COALESCE(MAX(position) + 1, (SELECT MIN(position) FROM changes)) AS position FROM changes
    WHERE position < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
),
log AS (
    SELECT * FROM changes
    WHERE position >= LEAST((SELECT start FROM reader), (SELECT position FROM now))
    ORDER BY position  -- by the index: its planner takes this for a third of the table, and would read all of it
    LIMIT {MAX_READ + 1}
)
SELECT (SELECT value FROM secrets WHERE name = 'epoch'), (SELECT MIN(position) FROM changes), (
    SELECT position FROM now
), (SELECT COUNT(*) FROM log), (
    SELECT json_group_array(json_array(log.position, log.id, {_COLUMNS})) FROM log""",
}
_EVERYTHING = {postgres: text + ")" for postgres, text in _LOG.items()}
# The same for one user: only the rows that might concern them, since decoding all of them would take longer than all
# else. And are the user and the session there, and in which conversations is the user now?
_OF_USER = {
    postgres: f"""{text}
    WHERE log.user_id = (SELECT user_id FROM reader) OR log.kind = {Kind.PROFILE_UPDATED} OR log.conversation_id IN (
        SELECT conversation_id FROM members WHERE user_id = (SELECT user_id FROM reader)
        UNION ALL
        SELECT conversation_id FROM log WHERE user_id = (SELECT user_id FROM reader) AND kind = {Kind.MEMBER_LEFT}
    )
), EXISTS (
    SELECT 1 FROM users WHERE user_id = (SELECT user_id FROM reader)
), EXISTS (
    SELECT 1 FROM sessions
    WHERE session_id = (SELECT session_id FROM reader) AND user_id = (SELECT user_id FROM reader)
), (
    SELECT json_group_array(json_array(conversation_id)) FROM members WHERE user_id = (SELECT user_id FROM reader)
)"""
    for postgres, text in _LOG.items()
}


class Row(NamedTuple):
    """A row of the log. order: among those that are read together."""

    position: int
    order: int
    kind: int
    conversation_id: str
    user_id: str
    actor_id: str
    first_seq: int
    seq: int
    detail: str
    at: int


class Log(NamedTuple):
    """rows: from where the reader was, in order. Those from `now` on may not be told yet. gap: why there are no
    others."""

    now: pb.Position
    rows: list[Row]
    gap: "pb.Gap.ValueType"

    @property
    def told(self) -> list[Row]:
        return [row for row in self.rows if row.position < self.now.at]


class Feed:
    """Of ChangeService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ReadChanges(self, request: pb.ReadChangesRequest) -> pb.ReadChangesResponse:
        log = self._database.read(lambda tx: read_log(tx, request.start), one_statement=True)
        told = log.told
        held_back = len(told) < len(log.rows)
        return pb.ReadChangesResponse(changes=map(_change, told), position=log.now, gap=log.gap, is_held_back=held_back)

    def DescribeChanges(self, request: pb.DescribeChangesRequest) -> pb.DescribeChangesResponse:
        described = self._database.read(lambda tx: describe(tx, request.changes))
        return pb.DescribeChangesResponse(changes=[pb.Deliveries(deliveries=each) for each in described])

    def OpenFeed(self, request: pb.OpenFeedRequest) -> pb.OpenFeedResponse:
        """One statement, since thousands of clients may open streams at a time."""
        known, changes = set[str](), list[Row]()
        if not request.user_id:
            log = self._database.read(lambda tx: read_log(tx, request.start), one_statement=True)
            changes = log.told
        else:
            log, known = self._database.read(lambda tx: _read_of_user(tx, request), one_statement=True)
            for row in reversed(log.rows):
                _undo(known, row, request.user_id)
            for row in log.told:
                if _concerns(row, known, request.user_id, self._database.pair_key):
                    changes.append(row)
                _do(known, row, request.user_id)
        gap = log.gap
        if len(changes) > MAX_REPLAYED:
            gap, changes = pb.GAP_TOO_MUCH, []
        return pb.OpenFeedResponse(conversation_ids=known, changes=map(_change, changes), position=log.now, gap=gap)


def read_log(tx: Tx, start: pb.Position) -> Log:
    """The log from a position on; nowhere yet: from now on."""
    (row,) = tx.fetch_all(_EVERYTHING[tx.postgres], start.at if start.epoch else None, "", "")
    log = _log(start, *row)
    return read_log(tx, pb.Position())._replace(gap=log.gap) if log.gap else log


def _read_of_user(tx: Tx, request: pb.OpenFeedRequest) -> tuple[Log, set[str]]:
    """What of the log might concern the user, and the conversations that they are in now. Raises NOT_FOUND, and
    UNAUTHORIZED where the session has ended."""
    start, user_id, session_id = request.start, request.user_id, request.session_id
    (row,) = tx.fetch_all(_OF_USER[tx.postgres], start.at if start.epoch else None, user_id, session_id)
    *read, is_user, has_session, known = row
    if not is_user:
        raise not_found("user", "user_id")
    if session_id and not has_session:
        raise ended()
    log = _log(start, *read)
    if log.gap:
        from_now, here = _read_of_user(tx, pb.OpenFeedRequest(user_id=user_id, session_id=session_id))
        return from_now._replace(gap=log.gap), here
    return log, {conversation_id for (conversation_id,) in Tx.decode_rows(known)}


def _log(start: pb.Position, epoch: str, oldest: int, now: int, number: int, table: Any) -> Log:
    """Of what was read."""
    rows = sorted((Row(*row) for row in Tx.decode_rows(table)), key=lambda row: row.order)
    here = pb.Position(epoch=epoch.partition(" ")[0], at=now)
    gap = pb.GAP_UNSPECIFIED
    if start.epoch and (start.epoch != here.epoch or start.at > now):
        gap = pb.GAP_OTHER_DATABASE
    elif start.epoch and start.at < oldest:
        gap = pb.GAP_TOO_OLD
    elif number > MAX_READ:
        gap = pb.GAP_TOO_MUCH
    return Log(here, rows, gap)


def _do(known: set[str], row: Row, user_id: str) -> None:
    """Has known, the conversations that the user is in, be as after the change."""
    if row.user_id == user_id and row.kind == Kind.MEMBER_JOINED:
        known.add(row.conversation_id)
    elif row.user_id == user_id and row.kind == Kind.MEMBER_LEFT:
        known.discard(row.conversation_id)


def _undo(known: set[str], row: Row, user_id: str) -> None:
    """Has known be as before the change."""
    if row.user_id == user_id and row.kind == Kind.MEMBER_JOINED:
        known.discard(row.conversation_id)
    elif row.user_id == user_id and row.kind == Kind.MEMBER_LEFT:
        known.add(row.conversation_id)


def _concerns(row: Row, known: set[str], user_id: str, pair_key: bytes) -> bool:
    """Might the change be told to this user, who is in the known conversations? Whom it is told to in the end is
    decided by describe(), which alone knows the facts."""
    if row.user_id == user_id or row.conversation_id in known:
        return True
    return row.kind == Kind.PROFILE_UPDATED and ids.single(user_id, row.user_id, pair_key) in known


def _change(row: Row) -> pb.Change:
    columns: dict[str, Any] = row._asdict()
    del columns["order"]
    return pb.Change(**columns)
