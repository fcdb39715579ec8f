"""Transactions by two methods, `read(work)` and `write(work)`, which sqlite.py and postgres.py implement.

`work` is a function of a transaction (Tx). It may run more than once, so it must have no effect outside of the
transaction.

Threads: any thread may call the methods of a Database. A connection, and a Tx on it, belongs to one
thread at a time: the one that took it from the pool, until it is put back.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, TypeVar, cast

import peewee

from gochat.context import Enqueue
from gochat.errors import unavailable
from gochat.storage.dialect import for_driver
from gochat.storage.failures import Failure, describe, failure, without_values
from gochat.storage.kept import Kept

log = logging.getLogger(__name__)

_peewee_errors = peewee.__exception_wrapper__  # type: ignore[attr-defined]

WRITE_TIMEOUT = 3.0  # seconds without a successful write after which the database counts as read-only

T = TypeVar("T")
Row = tuple[Any, ...]
Work = Callable[["Tx"], T]


class DatabaseInUseError(Exception):
    """Another process has the database open; the message names it."""


class Tx:
    """One transaction: runs Peewee queries, and handwritten SQL with a ? for each parameter and no other ? or %.

    Handwritten SQL is in SQLite's dialect: see dialect.py.
    """

    slow_after: ClassVar[float] = math.inf
    """Seconds; statements that take longer are logged."""

    def __init__(self, database: peewee.Database, *, distributed: bool = False) -> None:
        """distributed: is it on a Citus cluster (distributed.py)?"""
        self._database, self.distributed = database, distributed
        self.postgres = isinstance(database, peewee.PostgresqlDatabase)
        self.lock = " FOR NO KEY UPDATE" if self.postgres else ""
        """To be appended to a SELECT whose rows must not change until the commit. SQLite needs no lock: its
        transactions write one after the other. (FOR UPDATE would also hold up every insert of a row that refers to
        the locked one, such as the messages of a user.)

        Locks are taken in one order everywhere: users, sessions, conversations, members, messages; several of a kind
        by their key. What is judged is read after its lock was taken, by another statement."""

    @property
    def connection(self) -> Any:
        """The database driver's connection."""
        return self._database.connection()

    def sql(self, text: str, *parameters: Any) -> Any:
        """Executes the statement; returns a DB-API cursor."""
        started = time.monotonic()
        cursor = self._execute(text, parameters)
        self._log_if_slow(started, text)
        return cursor

    def fetch_one(self, text: str | Kept, *parameters: Any) -> Row | None:
        # Fetches all rows, since SQLite finishes a statement (a RETURNING) only when its last row was fetched.
        return next(iter(self.fetch_all(text, *parameters)), None)

    def fetch_all(self, text: str | Kept, *parameters: Any) -> list[Row]:
        if isinstance(text, Kept):
            text = text.call if self.postgres else text.text
        started = time.monotonic()
        cursor = self._execute(text, parameters)
        with _peewee_errors:  # Peewee wraps errors of execute() only, but SQLite runs most of a statement here
            rows = cast("list[Row]", cursor.fetchall())
        self._log_if_slow(started, text)
        return rows

    def fetch_each(self, kept: Kept, parameters: Sequence[Sequence[Any]]) -> list[list[Row]]:
        """The rows of the statement with each of these parameters; on PostgreSQL in one round trip."""
        if not self.postgres:
            return [self.fetch_all(kept, *values) for values in parameters]
        flat = [value for number, values in enumerate(parameters) for value in (number, *values)]
        found: list[list[Row]] = [[] for _ in parameters]
        for number, *row in self.fetch_all(kept.call_each(len(parameters)), *flat):
            found[number].append(tuple(row))
        return found

    @staticmethod
    def decode_rows(value: Any) -> list[Any]:
        """The rows that json_group_array(json_array(...)) made of a subquery, in no order. A query of many rows returns
        them as one: sqlite3 releases the GIL at each row, and has to compete for it with all other threads."""
        return (json.loads(value) if isinstance(value, str) else value) or []

    def run(self, query: Any) -> Any:
        """Executes a Peewee query; returns the number of rows that a write changed, or the cursor of a select."""
        started = time.monotonic()
        answer = query.execute(self._database)
        self._log_if_slow(started, query)
        return answer

    def model_one(self, query: Any) -> Any:
        """The first row of a Peewee select, or None."""
        return next(iter(self.model_all(query.limit(1))), None)

    def model_all(self, query: Any) -> list[Any]:
        cursor = self.run(query)
        with _peewee_errors:
            return list(cursor)

    def _execute(self, text: str, parameters: tuple[Any, ...]) -> Any:
        if self.postgres:
            return self._database.execute_sql(for_driver(text), parameters)
        with _peewee_errors:  # not through Peewee, which takes longer than a short statement
            return self._database.connection().execute(text, parameters)

    def _log_if_slow(self, started: float, query: Any) -> None:
        """query: SQL, or Peewee's. Its parameters are not logged."""
        if (seconds := time.monotonic() - started) >= self.slow_after:
            text = query if isinstance(query, str) else self._database.get_sql_context().parse(query)[0]
            fields = {"statement": " ".join(text.split())[:1000], "duration_ms": round(seconds * 1e3, 3)}
            log.warning("slow: %(duration_ms).0f ms: %(statement)s", fields)


def placeholders(items: Sequence[Any]) -> str:
    """?, ?, ? for the list of an SQL IN. items: not empty."""
    return ", ".join("?" * len(items))


class Database(Protocol):
    """What the handlers of gochat/repo use.

    one_statement: work runs a single statement, which is a transaction without BEGIN and COMMIT. pair_key: the key of
    ids.single in this database. distributed: is it on a Citus cluster? enqueue: queues a call for the writer
    (writer.py); None on PostgreSQL, which has none.
    """

    pair_key: bytes
    distributed: bool

    @property
    def enqueue(self) -> Enqueue | None: ...

    def on_commit(self, hint: Callable[[], None]) -> None:
        """Has hint() called after each commit of this process, by the thread that made it."""

    def read(self, work: Work[T], *, one_statement: bool = False, replica: bool = False) -> T:
        """Runs work in a transaction that sees one state of the database and writes nothing. replica: it may do so on
        a replica that has all that was committed when the call came in; for what costs more than to ask that."""

    def write(self, work: Work[T], *, one_statement: bool = False) -> T:
        """Runs work in a transaction; returns when it is durable. An exception of work rolls its writes back."""

    def write_each(self, works: Sequence[Work[T]]) -> list[T]:
        """Runs each work as `write` does. If one raises, that is raised here; others may be durable nevertheless."""

    def collect(self) -> None:
        """On a Citus cluster: has the log what its nodes have of it (sql/routines.distributed.sql)."""

    @property
    def is_writable(self) -> bool:
        """Has a write succeeded lately? `probe` makes one every second."""

    def probe(self) -> int:
        """Writes something, on connections of Lane.CONTROL, and returns what the clock of the database's host shows, in
        Unix milliseconds. Raises ChatError."""

    def statistics(self) -> dict[str, int]:
        """Gauges and counters by the names of gochat.monitoring.families."""

    def close(self) -> None: ...


class Writability:
    """When a write last succeeded. One thread sets it and others read it; a float is read and written as a whole."""

    def __init__(self) -> None:
        self._written_at = time.monotonic()

    def note(self) -> None:
        """A write has succeeded."""
        self._written_at = time.monotonic()

    @property
    def lately(self) -> bool:
        return time.monotonic() - self._written_at < WRITE_TIMEOUT


class unavailable_on_failure:  # noqa: N801 - used as a function; a class, which is faster, since every call enters one
    """A context manager: a failure of the database itself (unreachable, full, timed out) is logged, and raised as
    UNAVAILABLE; a wrong statement is raised as it is, but without the values that PostgreSQL quotes."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None or (kind := failure(error)) is None:
            return
        without_values(error)
        if kind is not Failure.BUG:
            log.error("the database failed (%s): %s", kind.value, describe(error))
            raise unavailable("the database is not available") from error
