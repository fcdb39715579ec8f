"""Reading the change log: for the tail of a process with streams, and for a stream that begins.

A position is a place in the log: everything before it has been read. On SQLite it is the number of the next row. On
PostgreSQL it is a transaction (see sql/0013_changes.postgres.sql): the rows of positions that are older than any
transaction in progress are complete, and none is added to them. They are read in one snapshot and in the order of their
ids, and never cut: ids commit out of order, so what a LIMIT left out could be before what it let in.
"""

from typing import Any, NamedTuple

from gochat.domain import ids
from gochat.domain.changes import Kind
from gochat.internal.change.v1 import change_pb2 as pb
from gochat.repo.changes import COLUMNS
from gochat.repo.describing import describe
from gochat.repo.sessions import ended, owned
from gochat.repo.users import get_user
from gochat.storage.database import Database, Tx

MAX_READ = 100_000  # rows that are read at once; more are not worth it
MAX_REPLAYED = 10_000  # changes of a stream that resumes

_COLUMNS = ", ".join(f"change.{column}" for column in COLUMNS)
# The epoch and its origin, the oldest position there is, the one of now, and the rows from ? on (NULL: from now on);
# also those that may not be told yet, since they are to be undone of the present. On PostgreSQL the position of now
# follows the newest row that may be told, and is not that of the oldest transaction in progress: a server that crashes
# gives the numbers again of transactions that it has not written down.
_LOG = {
    False: f"""
SELECT (SELECT value FROM secrets WHERE name = 'epoch'), (SELECT MIN(position) FROM changes), (
    SELECT MAX(position) + 1 FROM changes
), (
    SELECT json_group_array(json_array(change.position, change.position, {_COLUMNS}))
    FROM (SELECT * FROM changes WHERE position >= ? LIMIT {MAX_READ + 1}) AS change
)""",
    True: f"""
SELECT (SELECT value FROM secrets WHERE name = 'epoch'), (SELECT MIN(position) FROM changes), oldest.position, (
    SELECT json_group_array(json_array(change.position, change.id, {_COLUMNS}))
    FROM (
        SELECT * FROM changes WHERE position >= LEAST(?, oldest.position) LIMIT {MAX_READ + 1}
    ) AS change
)
FROM (
    SELECT COALESCE(MAX(position) + 1, (SELECT MIN(position) FROM changes)) AS position FROM changes
    WHERE position < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
) AS oldest""",
}
_CONVERSATIONS = "SELECT conversation_id FROM members WHERE user_id = ?"


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
        start, user_id, pair_key = request.start, request.user_id, self._database.pair_key

        def work(tx: Tx) -> pb.OpenFeedResponse:
            log = read_log(tx, start)
            if not user_id:
                changes = log.told
                known = set[str]()
            else:
                get_user(tx, user_id)
                if request.session_id and owned(tx, request.session_id, user_id) is None:
                    raise ended()
                known = {conversation_id for (conversation_id,) in tx.fetch_all(_CONVERSATIONS, user_id)}
                for row in reversed(log.rows):
                    _undo(known, row, user_id)
                changes = []
                for row in log.told:
                    if _concerns(row, known, user_id, pair_key):
                        changes.append(row)
                    _do(known, row, user_id)
            gap = log.gap
            if len(changes) > MAX_REPLAYED:
                gap, changes = pb.GAP_TOO_MUCH, []
            return pb.OpenFeedResponse(conversation_ids=known, changes=map(_change, changes), position=log.now, gap=gap)

        return self._database.read(work)


def read_log(tx: Tx, start: pb.Position) -> Log:
    """The log from a position on; nowhere yet: from now on."""
    ((epoch, oldest, now, table),) = tx.fetch_all(_LOG[tx.postgres], start.at if start.epoch else None)
    rows = sorted((Row(*row) for row in Tx.decode_rows(table)), key=lambda row: row.order)
    here = pb.Position(epoch=epoch.partition(" ")[0], at=now)
    gap = pb.GAP_UNSPECIFIED
    if start.epoch and (start.epoch != here.epoch or start.at > now):
        gap = pb.GAP_OTHER_DATABASE
    elif start.epoch and start.at < oldest:
        gap = pb.GAP_TOO_OLD
    elif len(rows) > MAX_READ:
        gap = pb.GAP_TOO_MUCH
    if gap:
        return Log(here, read_log(tx, pb.Position()).rows, gap)
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
