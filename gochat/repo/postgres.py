"""PostgreSQL: a pool of connections to one server."""

import select
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import peewee
import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, parse_dsn

from gochat.config import ConfigError
from gochat.repo.database import Pool, T, Tx, Work, driver_error, failures_named, is_lost

ATTEMPTS = 3
REPEATABLE = {"40001", "40P01"}  # serialization_failure, deadlock_detected: nothing was written
READ_ONLY = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
OPTIONS = "-c statement_timeout=30s -c idle_in_transaction_session_timeout=60s"


class PostgresDatabase:
    """url: postgresql://user:password@host:port/name, as libpq reads it."""

    def __init__(self, url: str, pool_min: int, pool_max: int) -> None:
        _must_be_understood(url)
        self._url = url
        self.pair_key = b""
        with failures_named():
            self._pool = Pool(self._connect, _usable, warm=pool_min, most=pool_max)

    def _connect(self) -> peewee.Database:
        return _connected(self._url, OPTIONS)

    def read(self, work: Work[T], *, one_statement: bool = False, quick: bool = False) -> T:
        return self._transact("" if one_statement or quick else READ_ONLY, work, False)

    def write(self, work: Work[T], *, one_statement: bool = False) -> T:
        # READ COMMITTED: a statement that waited for a row's lock sees what the lock's holder committed.
        return self._transact("" if one_statement else "BEGIN", work, True)

    def write_each(self, works: Sequence[Work[T]]) -> list[T]:
        return [self.write(work) for work in works]

    def _transact(self, begin: str, work: Work[T], writes: bool) -> T:
        with failures_named():
            for _ in range(ATTEMPTS - 1):
                try:
                    return self._once(begin, work, writes)
                except _Again:
                    continue
            return self._once(begin, work, writes)

    def _once(self, begin: str, work: Work[T], writes: bool) -> T:
        """Raises _Again where nothing can have been written."""
        committing = writes and not begin  # a statement by itself commits by itself
        with self._pool.lent() as database:
            try:
                if begin:
                    database.execute_sql(begin)
                answer = work(Tx(database))
                if begin:
                    committing = writes
                    database.execute_sql("COMMIT")
                return answer
            except Exception as error:
                lost = bool(database.connection().closed)
                if begin and not lost:
                    database.execute_sql("ROLLBACK")
                # After a COMMIT without an answer nobody knows whether it happened: that is not repeated.
                if (lost and not committing and is_lost(error)) or _sqlstate(error) in REPEATABLE:
                    raise _Again(*error.args) from error
                raise

    def close(self) -> None:
        self._pool.close()


@contextmanager
def postgres_snapshot(url: str) -> Iterator[Tx]:
    """One state of the database, for as long as it is read."""
    _must_be_understood(url)
    with failures_named():
        database = _connected(url, "")
        try:
            database.execute_sql(READ_ONLY)
            yield Tx(database)
        finally:
            database.connection().close()


def _must_be_understood(url: str) -> None:
    try:
        parse_dsn(url)
    except psycopg2.ProgrammingError:
        # Not told: libpq quotes what it does not understand, which may be the password.
        raise ConfigError("database.url: is no postgresql:// URL that libpq understands") from None


def _connected(url: str, options: str) -> peewee.Database:
    database = peewee.PostgresqlDatabase(
        url,
        thread_safe=False,
        application_name="gochat",
        options=options,
        connect_timeout=5,
        tcp_user_timeout=30_000,  # ms: a host that is cut off is not waited for longer than a call may take
    )
    database.connect()
    return database


class _Again(peewee.OperationalError):
    """The transaction was taken back by no fault of its own and may be run again."""


def _usable(database: peewee.Database) -> bool:
    connection = database.connection()
    if connection.closed or connection.get_transaction_status() != TRANSACTION_STATUS_IDLE:
        return False
    # An idle server says nothing: what there is to read is its farewell.
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    return not waiting.poll(0)


def _sqlstate(error: Exception) -> str:
    return getattr(driver_error(error), "pgcode", None) or ""
