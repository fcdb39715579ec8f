"""PostgreSQL: a pool of connections to one server."""

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
    MAX_CONTROL,
    DatabaseInUseError,
    Pool,
    T,
    Tx,
    Work,
    driver_error,
    failures_named,
    is_lost,
)

ATTEMPTS = 3
REPEATABLE = {"40001", "40P01"}  # serialization_failure, deadlock_detected: nothing was written
READ_ONLY = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
OPTIONS = (
    "-c statement_timeout=30s -c idle_in_transaction_session_timeout=60s"
    " -c client_connection_check_interval=1s"  # a query, or a wait for a lock, whose connection we cut ends
)
IN_USE = 0x676F63686175  # of an advisory lock: any number, but not that of migrate.py
PATIENCE = 3.0  # seconds: PostgreSQL takes a moment to notice that who held the lock is gone


class PostgresDatabase:
    """url: postgresql://user:password@host:port/name, as libpq reads it.

    Each connection holds a lock on the database: a shared one, or, alone, one that nobody else has with it.
    """

    enqueue = None

    def __init__(self, url: str, pool_min: int, pool_max: int, *, alone: bool = False) -> None:
        """alone: without time limits. Raises ConfigError, ChatError, and alone DatabaseInUseError."""
        _must_be_understood(url)
        self._url, self._alone = url, alone
        self.pair_key = b""
        with failures_named():
            self._pool = Pool(self._connect, _usable, warm=pool_min, most=pool_max, cut=_cut)
            # Alone, a second connection would not get the lock.
            self._control = Pool(self._connect, _usable, warm=0 if alone else 1, most=MAX_CONTROL, cut=_cut)

    def _connect(self) -> peewee.Database:
        database = _connected(self._url, "" if self._alone else OPTIONS)
        if _locked(database, alone=self._alone):
            return database
        database.close()
        if self._alone:
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
                # After a COMMIT without an answer nobody knows whether it happened: that is not repeated.
                if (lost and not committing and is_lost(error)) or _sqlstate(error) in REPEATABLE:
                    raise _Again(*error.args) from error
                raise

    def statistics(self) -> dict[str, int]:
        return {"connections_used": self._pool.used, "connections_most": self._pool.most}

    def close(self) -> None:
        self._pool.close()
        self._control.close()


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
    if not re.fullmatch(r"\w+://([^@/]*@)?[^@]*", url):  # libpq would take half a password for the host, and quote it
        raise ConfigError("database.url: in a user name or password write @ as %40 and / as %2F")


def _connected(url: str, options: str) -> peewee.Database:
    database = peewee.PostgresqlDatabase(
        url,
        thread_safe=False,
        application_name="gochat",
        options=options,
        connect_timeout=3,
        tcp_user_timeout=30_000,  # ms: a host that is cut off is not waited for longer than a call may take
    )
    database.connect()
    return database


class _Again(peewee.OperationalError):
    """The transaction was taken back by no fault of its own and may be run again."""


def _locked(database: peewee.Database, *, alone: bool) -> bool:
    """Asks again and again, and does not wait in line: who waits to be alone keeps out those who would share."""
    lock = f"SELECT pg_try_advisory_lock{'' if alone else '_shared'}({IN_USE})"
    until = time.monotonic() + PATIENCE
    while not database.execute_sql(lock).fetchone()[0]:
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def _usable(database: peewee.Database) -> bool:
    connection = database.connection()
    if connection.closed or connection.get_transaction_status() != TRANSACTION_STATUS_IDLE:
        return False
    # An idle server says nothing: what there is to read is its farewell.
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    return not waiting.poll(0)


def _cut(database: peewee.Database) -> None:
    """libpq waits for an answer as long as the host is there, however long its server is silent."""
    with suppress(psycopg2.Error, OSError), socket.socket(fileno=os.dup(database.connection().fileno())) as shared:
        shared.shutdown(socket.SHUT_RDWR)


def _sqlstate(error: Exception) -> str:
    return getattr(driver_error(error), "pgcode", None) or ""
