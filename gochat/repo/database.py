"""Transactions behind one small face, `read(work)` and `write(work)`; sqlite.py and postgres.py are behind it.

`work` is a function of a transaction (Tx). It may run more than once, so it must have no effect outside of it.
"""

import json
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Protocol, TypeVar, cast

import peewee

from gochat.context import current
from gochat.errors import unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")
Row = tuple[Any, ...]
Work = Callable[["Tx"], T]


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

    def __init__(self, database: peewee.Database) -> None:
        self._database = database
        self.postgres = isinstance(database, peewee.PostgresqlDatabase)
        self.lock = " FOR UPDATE" if self.postgres else ""
        """Ends a SELECT whose rows must not change until the commit. SQLite writes one transaction at a time anyway."""

    def sql(self, text: str, *parameters: Any) -> Any:
        """A DB-API cursor."""
        return self._database.execute_sql(_for_postgres(text) if self.postgres else text, parameters)

    def row(self, text: str, *parameters: Any) -> Row | None:
        # All rows, since SQLite ends a statement (a RETURNING) only when its last row was fetched.
        return next(iter(self.rows(text, *parameters)), None)

    def rows(self, text: str, *parameters: Any) -> list[Row]:
        return cast("list[Row]", self.sql(text, *parameters).fetchall())

    @staticmethod
    def table(value: Any) -> list[Any]:
        """The rows that json_group_array(json_array(...)) made of a subquery, in no order. Many rows as one: SQLite
        lets go of the interpreter at each row it hands out, and takes it back among all other threads."""
        return (json.loads(value) if isinstance(value, str) else value) or []

    def run(self, query: Any) -> Any:
        """Executes a Peewee query: the number of rows that a write changed, or the cursor of a select."""
        return query.execute(self._database)

    def one(self, query: Any) -> Any:
        """The first row of a Peewee select, or None."""
        return next(iter(self.all(query.limit(1))), None)

    def all(self, query: Any) -> list[Any]:
        return list(self.run(query))


_POSTGRES = {
    "?": "%s",
    "json_group_array(": "json_agg(",
    "json_array(": "json_build_array(",
    " INDEXED BY messages_withdrawn": "",  # its planner finds that by itself
}


@lru_cache(maxsize=1000)
def _for_postgres(text: str) -> str:
    for word, other in _POSTGRES.items():
        text = text.replace(word, other)
    return text


def marks(items: Sequence[Any]) -> str:
    """?, ?, ? for the list of an SQL IN, which must not be empty."""
    return ", ".join("?" * len(items))


class Database(Protocol):
    """What the handlers of this package hold. one_statement: work runs a single statement, which is a transaction by
    itself and is spared the words around one. pair_key: of ids.single, in this database."""

    pair_key: bytes

    def read(self, work: Work[T], *, one_statement: bool = False, quick: bool = False) -> T:
        """Runs work in a transaction that sees one state of the database and writes nothing.

        quick: a single statement that reads a few rows by index.
        """

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
    """

    def __init__(
        self,
        connect: Callable[[], peewee.Database],
        usable: Callable[[peewee.Database], bool],
        *,
        warm: int,
        most: int,
    ) -> None:
        self._connect = connect
        self._usable = usable
        self._idle = deque(connect() for _ in range(warm))
        self._places = threading.Semaphore(most)
        self.most = most

    @property
    def used(self) -> int:
        return self.most - self._places._value

    @contextmanager
    def lent(self) -> Iterator[peewee.Database]:
        """Waits for a free place until the deadline of the call in hand; raises UNAVAILABLE then."""
        if not self._places.acquire(timeout=max(0.0, current().remaining())):
            raise unavailable("the database is busy: every connection is in use")
        try:
            database = self._take() or self._connect()
            try:
                yield database
            finally:
                if self._usable(database):
                    self._idle.append(database)
                else:
                    _discard(database)
        finally:
            self._places.release()

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
        """Closes what is idle."""
        while (database := self._take()) is not None:
            _discard(database)


def _discard(database: peewee.Database) -> None:
    try:
        database.connection().close()
    except Exception as error:  # noqa: BLE001 - it is being thrown away
        log.debug("closing a dead connection: %s", error)


@contextmanager
def failures_named() -> Iterator[None]:
    """A database that cannot be reached, is full or times out is UNAVAILABLE to the caller; the log says what it is."""
    try:
        yield
    except peewee.PeeweeException as error:
        if not is_lost(error):
            raise
        log.error("the database failed: %s", error)
        raise unavailable("the database is not available") from error
