"""Transactions behind one small face, `read(work)` and `write(work)`; sqlite.py and postgres.py are behind it.

`work` is a function of a transaction (Tx). It may run more than once, so it must have no effect outside of it.
"""

import json
import logging
import math
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any, ClassVar, Protocol, TypeVar, cast

import peewee

from gochat.background import periodic
from gochat.context import Enqueue, current, due
from gochat.errors import deadline_exceeded, unavailable

log = logging.getLogger(__name__)

LOOK = 0.25  # seconds between two looks for connections that are overdue
MAX_CONTROL = 2  # connections of Lane.CONTROL: a count of all rows holds one, what is asked every second has the other

_named_by_peewee = peewee.__exception_wrapper__  # type: ignore[attr-defined]

T = TypeVar("T")
Row = tuple[Any, ...]
Work = Callable[["Tx"], T]


class DatabaseInUseError(Exception):
    """Another process has the database open; the message names it."""


def is_lost(error: BaseException) -> bool:
    """Has the database itself failed us (unreachable, full, timed out), as against a query that is wrong?"""
    if not isinstance(error, (peewee.OperationalError, peewee.InterfaceError)):
        return False
    # SQLITE_ERROR is SQLite's word for a wrong query.
    return getattr(driver_error(error), "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR


def driver_error(error: BaseException) -> Any:
    """The exception of the database driver that Peewee wrapped."""
    return getattr(error, "orig", None)


class Tx:
    """One transaction: runs Peewee queries, and SQL written by hand with ? for each parameter and no other ? or %.

    SQL by hand is SQLite's; where PostgreSQL has other words (_POSTGRES) they are put in for it.
    """

    slow_after: ClassVar[float] = math.inf
    """Seconds after which a statement is told to the log."""

    def __init__(self, database: peewee.Database) -> None:
        self._database = database
        self.postgres = isinstance(database, peewee.PostgresqlDatabase)
        self.lock = " FOR UPDATE" if self.postgres else ""
        """Ends a SELECT whose rows must not change until the commit. SQLite writes one transaction at a time anyway."""

    @property
    def connection(self) -> Any:
        """Of the database driver."""
        return self._database.connection()

    def sql(self, text: str, *parameters: Any) -> Any:
        """A DB-API cursor."""
        started = time.monotonic()
        cursor = self._execute(text, parameters)
        self._note(started, text)
        return cursor

    def fetch_one(self, text: str, *parameters: Any) -> Row | None:
        # All rows, since SQLite ends a statement (a RETURNING) only when its last row was fetched.
        return next(iter(self.fetch_all(text, *parameters)), None)

    def fetch_all(self, text: str, *parameters: Any) -> list[Row]:
        started = time.monotonic()
        cursor = self._execute(text, parameters)
        with _named_by_peewee:  # which does so itself only while a statement begins; SQLite looks for most rows now
            rows = cast("list[Row]", cursor.fetchall())
        self._note(started, text)
        return rows

    @staticmethod
    def decode_rows(value: Any) -> list[Any]:
        """The rows that json_group_array(json_array(...)) made of a subquery, in no order. Many rows as one: SQLite
        lets go of the interpreter at each row it hands out, and takes it back among all other threads."""
        return (json.loads(value) if isinstance(value, str) else value) or []

    def run(self, query: Any) -> Any:
        """Executes a Peewee query: the number of rows that a write changed, or the cursor of a select."""
        started = time.monotonic()
        answer = query.execute(self._database)
        self._note(started, query)
        return answer

    def model_one(self, query: Any) -> Any:
        """The first row of a Peewee select, or None."""
        return next(iter(self.model_all(query.limit(1))), None)

    def model_all(self, query: Any) -> list[Any]:
        cursor = self.run(query)
        with _named_by_peewee:
            return list(cursor)

    def _execute(self, text: str, parameters: tuple[Any, ...]) -> Any:
        if self.postgres:
            return self._database.execute_sql(_for_postgres(text), parameters)
        with _named_by_peewee:  # past Peewee, which takes longer than a short statement
            return self._database.connection().execute(text, parameters)

    def _note(self, started: float, query: Any) -> None:
        """query: SQL, or Peewee's. Of its parameters nothing is told."""
        if (seconds := time.monotonic() - started) >= self.slow_after:
            text = query if isinstance(query, str) else self._database.get_sql_context().parse(query)[0]
            said = {"statement": " ".join(text.split())[:1000], "duration_ms": round(seconds * 1e3, 3)}
            log.warning("slow: %(duration_ms).0f ms: %(statement)s", said)


_POSTGRES = {
    "?": "%s",
    "json_group_array(": "json_agg(",
    "json_array(": "json_build_array(",
    " INDEXED BY messages_withdrawn": "",  # its planner finds that by itself
    " INDEXED BY members_unread": "",
    " INDEXED BY members_hiding": "",
}


@lru_cache(maxsize=1000)
def _for_postgres(text: str) -> str:
    for word, other in _POSTGRES.items():
        text = text.replace(word, other)
    return text


def placeholders(items: Sequence[Any]) -> str:
    """?, ?, ? for the list of an SQL IN, which must not be empty."""
    return ", ".join("?" * len(items))


class Database(Protocol):
    """What the handlers of gochat/repo hold. one_statement: work runs a single statement, which is a transaction by
    itself and is spared the words around one. pair_key: of ids.single, in this database. enqueue: None where there is
    no one thread that writes; see sqlite.py."""

    pair_key: bytes

    @property
    def enqueue(self) -> Enqueue | None: ...

    def read(self, work: Work[T], *, one_statement: bool = False) -> T:
        """Runs work in a transaction that sees one state of the database and writes nothing. In Lane.CONTROL it takes a
        connection that no other lane takes."""

    def write(self, work: Work[T], *, one_statement: bool = False) -> T:
        """Runs work in a transaction; returns when it is durable. What work raises takes its writes back."""

    def write_each(self, works: Sequence[Work[T]]) -> list[T]:
        """Runs each work as by `write`. What one raises is raised at the end or at once; others may be durable then."""

    def statistics(self) -> dict[str, int]:
        """How busy it is at the moment, by the names of gochat.monitoring.numbers."""

    def close(self) -> None: ...


class Pool:
    """Connections, each lent to one thread at a time, the one used last first.

    usable(connection) -> is it alive and in no transaction? Asked before it is lent, and when it comes back.
    cut(connection), for a driver that waits without end: what waits on it fails. Done to one that is lent beyond the
    deadline of the call in hand.
    """

    def __init__(
        self,
        connect: Callable[[], peewee.Database],
        usable: Callable[[peewee.Database], bool],
        *,
        warm: int,
        most: int,
        cut: Callable[[peewee.Database], None] | None = None,
    ) -> None:
        self._connect = connect
        self._usable = usable
        self._cut = cut
        self._due: dict[peewee.Database, float] = {}
        self._closed = threading.Event()
        self._idle = deque(connect() for _ in range(warm))
        self._places = threading.Semaphore(most)
        self._loops = ExitStack()
        if cut:
            self._loops.enter_context(
                periodic("overdue connections", lambda: self._cut_overdue(time.monotonic()), LOOK)
            )
        self.most = most

    @property
    def used(self) -> int:
        return self.most - self._places._value

    @contextmanager
    def connection(self) -> Iterator[peewee.Database]:
        """Waits for a free place until the deadline of the call in hand; raises UNAVAILABLE then, and DEADLINE_EXCEEDED
        if that has passed already."""
        if (remaining := current().remaining()) <= 0:
            raise deadline_exceeded()
        if not self._places.acquire(timeout=remaining):
            raise unavailable("the database is busy: every connection is in use")
        try:
            if self._closed.is_set():
                raise unavailable("the server is stopping")
            database = self._take() or self._connect()
            self._due[database] = due()
            try:
                yield database
            finally:
                if not self._due.pop(database, 0.0):
                    pass  # it is being cut, and closed when both threads have let go of it
                elif self._usable(database):
                    self._idle.append(database)
                else:
                    _discard(database)
        finally:
            self._places.release()

    def _cut_overdue(self, now: float) -> None:
        """Whoever takes a connection out of _due may do with it as they like: cut it, or lend it again."""
        for database, deadline in list(self._due.items()):
            if deadline <= now and self._cut and self._due.pop(database, 0.0):
                log.error("the database did not answer in time: a connection is cut")
                self._cut(database)

    def _take(self) -> peewee.Database | None:
        """An idle connection that did not die meanwhile."""
        while True:
            try:
                database = self._idle.pop()
            except IndexError:
                return None
            if self._usable(database):
                return database
            _discard(database)

    def close(self) -> None:
        """Closes what is idle, and cuts what is not."""
        self._closed.set()
        self._loops.close()
        self._cut_overdue(math.inf)
        while (database := self._take()) is not None:
            _discard(database)


def _discard(database: peewee.Database) -> None:
    try:
        database.connection().close()
    except Exception as error:  # noqa: BLE001 - it is being thrown away
        log.debug("closing a dead connection: %s", error)


class failures_named:  # noqa: N801 - used as a function; a class since every call enters one
    """A context manager: a database that cannot be reached, is full or times out is UNAVAILABLE to the caller; the log
    says what it is."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None and is_lost(error):
            log.error("the database failed: %s", error)
            raise unavailable("the database is not available") from error
