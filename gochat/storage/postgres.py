"""PostgreSQL: connection pools to one server. Any thread may call the methods (pool.py says why)."""

import os
import re
import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import peewee
import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, parse_dsn

from gochat.config import ConfigError
from gochat.context import Lane, current
from gochat.errors import unavailable
from gochat.storage.database import (
    DatabaseInUseError,
    T,
    Tx,
    Work,
    driver_error,
    is_database_failure,
    unavailable_on_failure,
)
from gochat.storage.pool import MAX_CONTROL, Pool

MAX_ATTEMPTS = 3
RETRYABLE = {"40001", "40P01"}  # serialization_failure, deadlock_detected: nothing was written
READ_ONLY = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
OPTIONS = (
    "-c statement_timeout=30s -c idle_in_transaction_session_timeout=60s"
    " -c client_connection_check_interval=1s"  # ends a query, or a wait for a lock, whose connection was cut
)
IN_USE_LOCK = 0x676F63686175  # an advisory lock's number: any but that of migrate.py
LOCK_TIMEOUT = 3.0  # seconds: PostgreSQL takes a moment to notice that a process that held the lock is gone


class PostgresDatabase:
    """url: postgresql://user:password@host:port/name, as libpq reads it.

    Each connection holds an advisory lock on the database: a shared one or, if exclusive, one that excludes all others.
    """

    enqueue = None

    def __init__(self, url: str, pool_min: int, pool_max: int, *, exclusive: bool = False) -> None:
        """exclusive: for one connection, which has no time limits. Raises ConfigError and ChatError; DatabaseInUseError
        if exclusive."""
        _check_url(url)
        self._url, self._exclusive = url, exclusive
        self.pair_key = b""
        with unavailable_on_failure():
            self._pool = Pool(self._connect, _is_usable, min_size=pool_min, max_size=pool_max, interrupt=_interrupt)
            # With an exclusive lock a second connection would not get its own.
            control_min = 0 if exclusive else 1
            self._control = Pool(
                self._connect, _is_usable, min_size=control_min, max_size=MAX_CONTROL, interrupt=_interrupt
            )

    def _connect(self) -> peewee.Database:
        database = _open(self._url, "" if self._exclusive else OPTIONS)
        if _lock(database, exclusive=self._exclusive):
            return database
        database.close()
        if self._exclusive:
            raise DatabaseInUseError("the database is in use by another gochat process")
        raise unavailable("the database is in use by gochat copy")

    def read(self, work: Work[T], *, one_statement: bool = False) -> T:
        return self._transact("" if one_statement else READ_ONLY, work, False)

    def write(self, work: Work[T], *, one_statement: bool = False) -> T:
        # READ COMMITTED: a statement that waited for a row's lock sees what the lock's holder committed.
        return self._transact("" if one_statement else "BEGIN", work, True)

    def write_each(self, works: Sequence[Work[T]]) -> list[T]:
        return [self.write(work) for work in works]

    def _transact(self, begin: str, work: Work[T], writes: bool) -> T:
        with unavailable_on_failure():
            for _ in range(MAX_ATTEMPTS - 1):
                try:
                    return self._attempt(begin, work, writes)
                except _RetryableError:
                    continue
            return self._attempt(begin, work, writes)

    def _attempt(self, begin: str, work: Work[T], writes: bool) -> T:
        """Raises _RetryableError where nothing can have been written."""
        committing = writes and not begin  # a single statement commits when it is executed
        pool = self._pool if writes or current().lane is not Lane.CONTROL else self._control
        with pool.connection() as database:
            try:
                if begin:
                    database.execute_sql(begin)
                tx = Tx(database)
                answer = work(tx)
                if begin:
                    committing = writes
                    tx.sql("COMMIT")
                return answer
            except Exception as error:
                lost = bool(database.connection().closed)
                if begin and not lost:
                    database.execute_sql("ROLLBACK")
                # If the connection was lost during a COMMIT, the transaction may be durable: it is not repeated.
                if (lost and not committing and is_database_failure(error)) or _sqlstate(error) in RETRYABLE:
                    raise _RetryableError(*error.args) from error
                raise

    def statistics(self) -> dict[str, int]:
        return {"connections_used": self._pool.in_use, "connections_max": self._pool.max_size}

    def close(self) -> None:
        self._pool.close()
        self._control.close()


@contextmanager
def postgres_snapshot(url: str) -> Iterator[Tx]:
    """A transaction that sees one state of the database for as long as the block lasts."""
    _check_url(url)
    with unavailable_on_failure():
        database = _open(url, "")
        try:
            database.execute_sql(READ_ONLY)
            yield Tx(database)
        finally:
            database.connection().close()


def server_of(url: str) -> str:
    """HOST:PORT/NAME of the database, as libpq reads them."""
    words = parse_dsn(url)
    host, port = words.get("host") or os.environ.get("PGHOST") or "local socket", words.get("port") or "5432"
    return f"{host}:{port}/{words.get('dbname', '')}"


def _check_url(url: str) -> None:
    """Raises ConfigError where libpq would misread it. The message does not quote it: it may hold a password."""
    try:
        parse_dsn(url)
    except psycopg2.ProgrammingError:
        raise ConfigError("database.url: is no postgresql:// URL that libpq understands") from None
    if not re.fullmatch(r"\w+://([^@/]*@)?[^@]*", url):  # libpq would take a part of the password for the host
        raise ConfigError("database.url: in a user name or password write @ as %40 and / as %2F")


def _open(url: str, options: str) -> peewee.Database:
    database = peewee.PostgresqlDatabase(
        url,
        thread_safe=False,
        application_name="gochat",
        options=options,
        connect_timeout=3,
        tcp_user_timeout=30_000,  # ms, as long as a call may take: ends the wait for a host that is cut off
    )
    database.connect()
    return database


class _RetryableError(peewee.OperationalError):
    """The transaction was rolled back through no fault of its own and may be run again."""


def _lock(database: peewee.Database, *, exclusive: bool) -> bool:
    """Polls for the lock instead of waiting in PostgreSQL's queue, where one connection that waits for an exclusive
    lock would block all that want a shared one."""
    lock = f"SELECT pg_try_advisory_lock{'' if exclusive else '_shared'}({IN_USE_LOCK})"
    until = time.monotonic() + LOCK_TIMEOUT
    while not database.execute_sql(lock).fetchone()[0]:
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def _is_usable(database: peewee.Database) -> bool:
    connection = database.connection()
    if connection.closed or connection.get_transaction_status() != TRANSACTION_STATUS_IDLE:
        return False
    # PostgreSQL sends nothing on an idle connection, unless it closes it.
    readable = select.poll()
    readable.register(connection.fileno(), select.POLLIN)
    return not readable.poll(0)


def _interrupt(database: peewee.Database) -> None:
    """Shuts the socket down. libpq itself waits for an answer for as long as the host is reachable."""
    with suppress(psycopg2.Error, OSError), socket.socket(fileno=os.dup(database.connection().fileno())) as shared:
        shared.shutdown(socket.SHUT_RDWR)


def _sqlstate(error: Exception) -> str:
    return getattr(driver_error(error), "pgcode", None) or ""
