"""Reading the change log: for the tail of a process with streams, and for a stream that begins.

A position is a place in the log: everything before it has been read. On SQLite it is the number of the next row. On
PostgreSQL it is a transaction (see sql/0013_changes.postgres.sql): the rows of positions that are older than any
transaction in progress are complete, and none is added to them. They are read in one snapshot and in the order of their
ids, and never cut: ids commit out of order, so what a LIMIT left out could be before what it let in.

A standby that is promoted goes on with the numbers of transactions, so what the old primary had not yet sent it and
what it does itself may have the same positions. It counts its timeline up, and the epoch of a position says of which
timeline it is: what was read on another one is unknown here. Only readers that keep their position in the database
itself go on (`kept_position`).
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from gochat.domain import ids
from gochat.domain.changes import Kind, follow, undo
from gochat.errors import not_found
from gochat.internal.change.v1 import change_pb2 as pb
from gochat.repo.changes import COLUMNS
from gochat.repo.describing import describe
from gochat.repo.sessions import ended
from gochat.repo.users import ACTIVE, not_active
from gochat.storage.database import Database, Tx
from gochat.storage.fence import TIMELINE
from gochat.storage.kept import Kept

MAX_READ = 100_000  # rows that are read at once; more are not worth it
MAX_PIECE = 2000  # of them in a piece, more or less
MAX_REPLAYED = 10_000  # changes of a stream that resumes

_COLUMNS = ", ".join(f"log.{column}" for column in COLUMNS)
_LOG_EPOCH = {
    False: "SELECT value FROM secrets WHERE name = 'epoch'",
    True: "SELECT split_part(value, ' ', 1) FROM secrets WHERE name = 'epoch'",
}
"""Of the log; on PostgreSQL its origin goes after it."""
_EPOCH = {
    False: _LOG_EPOCH[False],
    True: f"""
    SELECT CASE timeline WHEN '00000001' THEN log_epoch ELSE left(md5(log_epoch || timeline), 12) END
    FROM (
        SELECT ({_LOG_EPOCH[True]}) AS log_epoch, {TIMELINE} AS timeline
    ) AS here""",
}
"""Of positions: that of the log, or one made of it and of a later timeline of PostgreSQL. A standby refuses it."""
# On PostgreSQL the position of now follows the newest row that is complete, and is not that of the oldest transaction
# in progress: a server that crashes gives the numbers again of transactions that it has not written down.
_NOW = {
    False: "SELECT MAX(position) + 1 AS position FROM changes",
    True: """
    SELECT COALESCE(MAX(position) + 1, (SELECT MIN(position) FROM changes)) AS position FROM changes
    WHERE position < pg_snapshot_xmin(pg_current_snapshot())::text::bigint""",
}
# Where a reader begins; nowhere: from now on. On PostgreSQL also rows that are not complete are read: they are to be
# undone of the present.
_START = {False: "?1", True: "LEAST(?1, (SELECT position FROM now))"}
# PostgreSQL's planner takes "from a position on" for a third of the table, and would read all of it; ORDER BY has it go
# by the index.
_LOG = {
    False: """
    SELECT changes.*, position AS id FROM changes
    WHERE position >= (SELECT position FROM start) AND position <= (SELECT position FROM start) + {most}""",
    True: """
    SELECT * FROM changes
    WHERE position >= (SELECT position FROM start)
    ORDER BY position LIMIT {most} + 1""",
}
# What might concern one user is found by index, however long the log is: what is of the user, or in a conversation that
# they are in now or were in since, and all profiles. A row may be found twice: a condition that is like an index's but
# for a parameter would have SQLite prepare the statement again each time.
_SINCE = "changes.position >= (SELECT position FROM start)"
_OF_USER = f"changes.user_id = ?2 AND changes.user_id <> '' AND {_SINCE}"
_CONCERNED = f""", dissolved AS (
    SELECT former.conversation_id
    FROM changes JOIN former_members AS former ON former.conversation_id = changes.conversation_id
    WHERE changes.kind = {Kind.GROUP_DISSOLVED} AND {_SINCE} AND former.user_id = ?2
), concerned AS (
    SELECT conversation_id FROM members WHERE user_id = ?2
    UNION
    SELECT conversation_id FROM changes WHERE {_OF_USER} AND changes.kind = {Kind.MEMBER_LEFT}
    UNION
    SELECT conversation_id FROM dissolved
)"""
_LOG_OF_USER = f"""
    SELECT {{columns}} FROM changes WHERE {_OF_USER}
    UNION ALL
    SELECT {{columns}} FROM concerned JOIN changes ON changes.conversation_id = concerned.conversation_id
    WHERE {_SINCE}
    UNION ALL
    SELECT {{columns}} FROM changes WHERE changes.kind = {Kind.PROFILE_UPDATED} AND {_SINCE}
    LIMIT {MAX_READ + 1}"""
# On a cluster these rows are read before, and stand in place of the tables.
_READ_BEFORE = {
    postgres: "".join(
        f", {table} AS (SELECT ?2 AS user_id, value AS conversation_id FROM {rows.format(given)})"
        for table, given in (("members", "?4"), ("former_members", "?5"))
    )
    for postgres, rows in ((False, "json_each({})"), (True, "json_array_elements_text({}) AS given (value)"))
}
# What is the status of the user, is the session there, in which conversations is the user now, and in which groups were
# they until those were dissolved?
_READER = """,
    (SELECT status FROM users WHERE user_id = ?2),
    EXISTS (SELECT 1 FROM sessions WHERE session_id = ?3 AND user_id = ?2),
    (SELECT json_group_array(json_array(conversation_id)) FROM members WHERE user_id = ?2),
    (SELECT json_group_array(json_array(conversation_id)) FROM dissolved)"""


def _statement(postgres: bool, rows: str, parts: str = "", columns: str = "") -> str:
    """The log from a position on (NULL: from now on): the epoch of its positions, the oldest there is, the one of now,
    and the rows; also those that are not complete, as they are to be undone of the present. parts: what the rows are
    made of. columns: more that is read."""
    return f"""
WITH now AS ({_NOW[postgres]}), start (position) AS (SELECT CAST({_START[postgres]} AS BIGINT)){parts}, log AS ({rows})
SELECT ({_EPOCH[postgres]}), (SELECT MIN(position) FROM changes), (SELECT position FROM now),
    (SELECT json_group_array(json_array(log.position, log.id, {_COLUMNS})) FROM log){columns}"""


def _of_all(name: str, most: int) -> Kept:
    """most: rows; one more is read."""
    text, postgres = (_statement(each, _LOG[each].format(most=most)) for each in (False, True))
    return Kept(name, text, ("BIGINT",), _READ, postgres=postgres, joins=True)


def _of_user(name: str, *, here: bool = False) -> Kept:
    """here: the conversations that the user is in, and was in, are given as JSON."""
    columns = f"changes.position, changes.{{id}}, {_COLUMNS.replace('log.', 'changes.')}"
    text, postgres = (
        _statement(
            each,
            _LOG_OF_USER.format(columns=columns.format(id="id" if each else "position AS id")),
            (_READ_BEFORE[each] if here else "") + _CONCERNED,
            _READER,
        )
        for each in (False, True)
    )
    given = ("BIGINT", "TEXT", "TEXT", *(("JSON", "JSON") if here else ()))  # position, user_id, session_id, and these
    found = (*_READ, "INTEGER", "BOOLEAN", "JSON", "JSON")
    return Kept(name, text, given, found, postgres=postgres, joins=True)


_READ = ("TEXT", "BIGINT", "BIGINT", "JSON")
EVERYTHING, PIECE = _of_all("changes_read", MAX_READ), _of_all("changes_piece", MAX_PIECE)
OF_USER, OF_USER_HERE = _of_user("changes_of_user"), _of_user("changes_of_user_here", here=True)
_HERE = tuple(f"SELECT conversation_id FROM {table} WHERE user_id = ?" for table in ("members", "former_members"))


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
    """rows: from where the reader was, in order. gap: why there are no others."""

    now: pb.Position
    rows: list[Row]
    gap: "pb.Gap.ValueType"

    @property
    def complete(self) -> list[Row]:
        """Those that a reader may go by: before `now`, where none is added any more."""
        return [row for row in self.rows if row.position < self.now.at]


class Feed:
    """Of ChangeService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ReadChanges(self, request: pb.ReadChangesRequest) -> pb.ReadChangesResponse:
        self._database.collect()
        read = read_piece if request.piecewise else read_log
        log = self._database.read(lambda tx: read(tx, request.start), one_statement=True)
        changes = log.complete
        held_back = len(changes) < len(log.rows)
        return pb.ReadChangesResponse(
            changes=map(_change, changes), position=log.now, gap=log.gap, is_held_back=held_back
        )

    def DescribeChanges(self, request: pb.DescribeChangesRequest) -> pb.DescribeChangesResponse:
        user_id = request.user_id if request.HasField("user_id") else None
        self._database.collect()  # who has left since
        described = self._database.read(lambda tx: describe(tx, request.changes, user_id))
        return pb.DescribeChangesResponse(changes=[pb.Deliveries(deliveries=each) for each in described])

    def OpenFeed(self, request: pb.OpenFeedRequest) -> pb.OpenFeedResponse:
        """One statement, since thousands of clients may open streams at a time. A stream of everything is fed in
        pieces, however far behind it is: its service has no lists from which it could begin again."""
        user_id, known = request.user_id, set[str]()
        if not user_id:
            log = self._database.read(lambda tx: read_piece(tx, request.start), one_statement=True)
            changes = log.complete
        else:
            log, known, dissolved = self._read_of_user(request)
            for row in reversed(log.rows):
                undo(known, row, user_id, dissolved)
            changes = [
                row for row in log.complete if follow(known, row, user_id) and self._may_see(row, user_id, known)
            ]
        gap = log.gap
        if user_id and len(changes) > MAX_REPLAYED:
            gap, changes = pb.GAP_TOO_MUCH, []
        return pb.OpenFeedResponse(conversation_ids=known, changes=map(_change, changes), position=log.now, gap=gap)

    def _read_of_user(self, request: pb.OpenFeedRequest) -> tuple[Log, set[str], set[str]]:
        """On a cluster membership is read first, then the log is given all that was committed until then: so what the
        log has since its position undoes all that membership may have that is newer."""
        here = []
        if self._database.distributed:
            here = self._database.read(lambda tx: [_rooms(tx, text, request.user_id) for text in _HERE])
            self._database.collect()
        return self._database.read(lambda tx: _read_of_user(tx, request, here), one_statement=True)

    def _may_see(self, row: Row, user_id: str, known: set[str]) -> bool:
        """Of other users' profiles only those with whom the user has a one-to-one conversation."""
        if row.kind != Kind.PROFILE_UPDATED or row.user_id == user_id:
            return True
        return ids.single(user_id, row.user_id, self._database.pair_key) in known


def read_log(tx: Tx, start: pb.Position) -> Log:
    """The log from a position on; nowhere yet: from now on."""
    (row,) = tx.fetch_all(EVERYTHING, start.at if start.epoch else None)
    log = _log(start, *row)
    return read_log(tx, pb.Position())._replace(gap=log.gap) if log.gap else log


def read_piece(tx: Tx, start: pb.Position) -> Log:
    """The same of at most MAX_PIECE rows, unless one position alone has more: then of up to MAX_READ. Rows are read in
    the order of their positions, so those before the last one's are all there are."""
    (row,) = tx.fetch_all(PIECE, start.at if start.epoch else None)
    log = _log(start, *row)
    last = max((each.position for each in log.rows), default=0)
    if len(log.rows) <= MAX_PIECE and not log.gap:
        return log
    if log.gap or last <= start.at:
        return read_log(tx, start)
    return log._replace(now=pb.Position(epoch=log.now.epoch, at=min(last, log.now.at)))


def kept_epoch(tx: Tx, position: pb.Position) -> str:
    """What a reader keeps of its position's epoch in the database; "" where the position is not of this timeline."""
    of_log, of_positions = _epochs(tx)
    return of_log if position.epoch == of_positions else ""


def kept_position(tx: Tx, epoch: str, at: int) -> pb.Position:
    """The position that a reader keeps in the database. It was complete when it was written down, so all before it is
    there wherever it is read: it goes on, on whatever timeline."""
    of_log, of_positions = _epochs(tx)
    return pb.Position(epoch=of_positions if epoch == of_log else epoch, at=at)


def _epochs(tx: Tx) -> tuple[str, str]:
    """Of the log, and of positions."""
    ((of_log, of_positions),) = tx.fetch_all(f"SELECT ({_LOG_EPOCH[tx.postgres]}), ({_EPOCH[tx.postgres]})")
    return of_log, of_positions


def _rooms(tx: Tx, text: str, user_id: str) -> str:
    return json.dumps([conversation_id for (conversation_id,) in tx.fetch_all(text, user_id)])


def _read_of_user(tx: Tx, request: pb.OpenFeedRequest, here: Sequence[str]) -> tuple[Log, set[str], set[str]]:
    """What of the log might concern the user, the conversations that they are in now, and the groups that they were in
    until those were dissolved. Raises NOT_FOUND, UNAUTHORIZED where the session has ended, PERMISSION_DENIED where
    nobody may act as the user any more. here: the user's rows of _HERE, as JSON, where they were read before."""
    start, user_id, session_id = request.start, request.user_id, request.session_id
    statement = OF_USER_HERE if here else OF_USER
    (row,) = tx.fetch_all(statement, start.at if start.epoch else None, user_id, session_id, *here)
    *read, status, has_session, known, dissolved = row
    if status is None:
        raise not_found("user", "user_id")
    if request.is_acted_for and status != ACTIVE:
        raise not_active()
    if session_id and not has_session:
        raise ended()
    log = _log(start, *read)
    if log.gap:
        nowhere = pb.OpenFeedRequest(user_id=user_id, session_id=session_id, is_acted_for=request.is_acted_for)
        from_now, known_now, _ = _read_of_user(tx, nowhere, here)
        return from_now._replace(gap=log.gap), known_now, set()
    return log, _ids(known), _ids(dissolved)


def _ids(table: Any) -> set[str]:
    return {conversation_id for (conversation_id,) in Tx.decode_rows(table)}


def _log(start: pb.Position, epoch: str, oldest: int, now: int, table: Any) -> Log:
    """Of what was read."""
    rows = sorted({Row(*row) for row in Tx.decode_rows(table)}, key=lambda row: row.order)
    here = pb.Position(epoch=epoch, at=now)
    gap = pb.GAP_UNSPECIFIED
    if start.epoch and (start.epoch != here.epoch or start.at > now):
        gap = pb.GAP_OTHER_DATABASE
    elif start.epoch and start.at < oldest:
        gap = pb.GAP_TOO_OLD
    elif len(rows) > MAX_READ:
        gap = pb.GAP_TOO_MUCH
    return Log(here, rows, gap)


def _change(row: Row) -> pb.Change:
    columns: dict[str, Any] = row._asdict()
    del columns["order"]
    return pb.Change(**columns)
