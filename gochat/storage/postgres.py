"""PostgreSQL: connection pools to one server. Any thread may call the methods (pool.py says why)."""

import math
import os
import random
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any

import peewee
import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE, TRANSACTION_STATUS_IDLE, parse_dsn, set_wait_callback

from gochat.background import periodic
from gochat.context import Lane, current, current_deadline
from gochat.storage.connecting import CALL_LIMITS, UNLIMITED, look_at
from gochat.storage.database import T, Tx, Work, Writability, unavailable_on_failure
from gochat.storage.distributed import is_distributed
from gochat.storage.failures import DISK_FULL, READ_ONLY, RETRYABLE, Failure, failure, sqlstate
from gochat.storage.fence import LOOK_INTERVAL, Fence
from gochat.storage.leases import DatabaseLease
from gochat.storage.pool import CHECK_TIMEOUT, MAX_CONTROL, Driver, NoRoomError, Pool
from gochat.storage.replica import NotOnReplicaError, Replica

MAX_ATTEMPTS = 3
RETRY_PAUSE = 0.05  # seconds at most, before the first attempt after a failed one; then twice as long
SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# A statement that waited for a row's lock sees what the lock's holder committed.
WRITING = "BEGIN ISOLATION LEVEL READ COMMITTED"
SPARE = 3  # connections of the server that are left to others: an administrator, a backup

# How many more connections the server has for us.
_ROOM = """
SELECT (
    SELECT sum(CASE name WHEN 'max_connections' THEN setting::int ELSE -setting::int END) FROM pg_settings
    WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')
) - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')"""
_COLLECT = "SELECT collect_changes()"
# An update finds room in the page that it is in; that the disk has room again only something large shows.
_FILL = (
    "CREATE TEMPORARY TABLE gochat_room ON COMMIT DROP AS SELECT n, md5(n::text) FROM generate_series(1, 20000) AS n"
)


class PostgresDatabase:
    """url: postgresql://user:password@host:port/name, as libpq reads it.

    Once it is claimed, other processes may use it too or, if exclusive, none does (leases.py).
    """

    enqueue = None

    def __init__(self, url: str, pool_min: int, pool_max: int, *, exclusive: bool = False) -> None:
        """exclusive: without time limits. Raises ConfigError and ChatError."""
        self._server, self._exclusive = look_at(url), exclusive
        self.pair_key, self.distributed = b"", False
        self._writability = Writability()
        self._replica: Replica | None = None
        self._after_commit: Callable[[], None] = lambda: None
        self._was_full = False  # a write has failed since the disk was full
        self._lease = DatabaseLease(self._write, alone=exclusive)
        driver = Driver(self._connect, self._is_usable, _answers, _interrupt)
        self._fence, self._loops = Fence(self._server.each), ExitStack()
        with unavailable_on_failure():
            if self._fence.servers:
                self._fence.look()
                self._loops.enter_context(periodic("all servers of the database", self._fence.look, LOOK_INTERVAL))
            self._pool = Pool(driver, min_size=pool_min, max_size=pool_max)
            self._control = Pool(driver, min_size=0 if exclusive else 1, max_size=MAX_CONTROL)

    def _is_usable(self, database: peewee.Database) -> bool:
        return _is_usable(database) and self._fence.is_current(database)

    def _connect(self) -> peewee.Database:
        """Raises NoRoomError rather than take the last connections of the server."""
        database = self._connect_to_newest({} if self._exclusive else CALL_LIMITS)
        if self._server.pooled or int(database.execute_sql(_ROOM).fetchone()[0]) >= SPARE:
            return database
        database.close()
        raise NoRoomError

    def claim(self, show: Callable[[str], None] = lambda _: None) -> None:
        """Has this process use the database, as the lease says (DatabaseLease.claim)."""
        self._lease.claim(show)

    @property
    def pooled(self) -> bool:
        """Do the connections go through a pooler of transactions? They have no sessions then."""
        return self._server.pooled

    def _connect_to_newest(self, limits: Mapping[str, str]) -> peewee.Database:
        """Where an old primary is in the way, to another server of the URL."""
        database = self._server.connect(limits)
        if self._fence.admits(database):
            return database
        database.close()
        for server in self._fence.servers:
            with suppress(peewee.OperationalError):
                database = server.connect(limits)
                if self._fence.admits(database):
                    return database
                database.close()
        raise peewee.OperationalError("the only server that takes writes is an old primary")

    @property
    def may_lose_commits(self) -> bool:
        """By a failover."""
        return bool(self._fence.servers) and not self._server.is_synchronous

    def connect_listener(self) -> peewee.Database:
        """A connection for NOTIFY (notify.py), without time limits. Raises peewee's OperationalError."""
        return self._connect_to_newest({})

    def on_commit(self, hint: Callable[[], None]) -> None:
        self._after_commit = hint

    def follow_replica(self, url: str, pool_max: int, max_lag: float) -> None:
        """Has reads that may be from a replica made there. Raises ConfigError, ChatError."""

        def driver(connect: Callable[[], peewee.Database]) -> Driver:
            return Driver(connect, _is_usable, _answers, _interrupt)

        self._replica = Replica(self, self._server.at("database.replica_url", url), driver, pool_max, max_lag)

    def read(self, work: Work[T], *, one_statement: bool = False, replica: bool = False) -> T:
        begin = _begin(SNAPSHOT, one_statement)
        if replica and self._replica:
            with suppress(NotOnReplicaError):
                return self._replica.read(begin, work)
        return self._transact(begin, work, False)

    def write(self, work: Work[T], *, one_statement: bool = False) -> T:
        self._lease.must_hold()
        if one_statement:
            return self._write(work, one_statement=True)

        def fenced(tx: Tx) -> T:
            answer = work(tx)
            self._lease.must_hold()  # the process may have been stopped meanwhile
            return answer

        return self._write(fenced)

    def _write(self, work: Work[T], *, one_statement: bool = False) -> T:
        return self._transact(_begin(WRITING, one_statement), work, True)

    def write_each(self, works: Sequence[Work[T]]) -> list[T]:
        return [self.write(work) for work in works]

    def _transact(self, begin: str, work: Work[T], writes: bool) -> T:
        with unavailable_on_failure():
            for number in range(1, MAX_ATTEMPTS):
                try:
                    return self._attempt(begin, work, writes)
                except _RetryableError:
                    # The other transaction of a deadlock goes first, or both would meet again.
                    time.sleep(random.uniform(0, number * RETRY_PAUSE))  # noqa: S311 - no secret
            return self._attempt(begin, work, writes)

    def _attempt(self, begin: str, work: Work[T], writes: bool) -> T:
        """Raises _RetryableError where nothing can have been written."""
        committing = writes and not begin  # a single statement commits when it is executed
        pool = self._control if current().lane is Lane.CONTROL else self._pool
        with pool.connection() as database:
            try:
                if begin:
                    database.execute_sql(begin)
                tx = Tx(database, distributed=self.distributed)
                answer = work(tx)
                if begin:
                    committing = writes
                    tx.sql("COMMIT")
                if writes and pool is not self._control:  # the server's own writes are of no interest to streams
                    self._after_commit()
                return answer
            except Exception as error:
                lost = bool(database.connection().closed)
                self._was_full = self._was_full or sqlstate(error) == DISK_FULL
                if writes and sqlstate(error) == READ_ONLY:  # perhaps of this server alone, and another has taken over
                    database.connection().close()
                elif begin and not lost:
                    database.execute_sql("ROLLBACK")
                # If the connection was lost during a COMMIT, the transaction may be durable: it is not repeated.
                if (lost and not committing and failure(error) is Failure.LOST) or sqlstate(error) in RETRYABLE:
                    raise _RetryableError(*error.args) from error
                raise

    def collect(self) -> None:
        if self.distributed:  # nobody is hinted: it is done for those who read
            self._transact("", lambda tx: tx.sql(_COLLECT), writes=False)

    @property
    def is_writable(self) -> bool:
        return self._writability.lately

    def probe(self) -> int:
        if self._was_full:
            self._write(lambda tx: tx.sql(_FILL))
            self._was_full = False
        now = self._lease.renew()
        self._writability.note()
        return now

    def interruptible(self) -> AbstractContextManager[None]:
        return interruptible()

    def statistics(self) -> dict[str, int]:
        of_replica = self._replica.statistics() if self._replica else {}
        return {"connections_used": self._pool.in_use, "connections_max": self._pool.max_size, **of_replica}

    def close(self) -> None:
        self._lease.release()
        self._loops.close()
        if self._replica:
            self._replica.close()
        self._pool.close()
        self._control.close()


def _begin(statement: str, one_statement: bool) -> str:
    """ "" for a single statement, which needs none. Outside of any call nothing limits how long it takes."""
    if current_deadline() == math.inf:
        return f"{statement}; {UNLIMITED}"
    return "" if one_statement else statement


@contextmanager
def interruptible() -> Iterator[None]:
    """While the block lasts, Ctrl-C on the main thread cancels the statement that runs there; otherwise libpq would
    finish it first. Not for COPY, which psycopg2 does not do by a wait callback."""
    interrupted = []

    def wait(connection: Any) -> None:
        while (state := connection.poll()) != POLL_OK:
            try:
                readable, writable = [connection] * (state == POLL_READ), [connection] * (state == POLL_WRITE)
                select.select(readable, writable, [])
            except KeyboardInterrupt:
                interrupted.append(True)
                connection.cancel()

    set_wait_callback(wait)
    try:
        yield
    except Exception:
        if interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        set_wait_callback(None)


@contextmanager
def postgres_snapshot(url: str) -> Iterator[Tx]:
    """A transaction that sees one state of the database for as long as the block lasts."""
    server = look_at(url, writing=False)
    with interruptible(), unavailable_on_failure():
        database = server.connect({})
        try:
            database.execute_sql(f"{SNAPSHOT}; {UNLIMITED}")
            yield Tx(database, distributed=is_distributed(Tx(database)))
        finally:
            database.connection().close()


def server_of(url: str) -> str:
    """HOST:PORT/NAME of the database, as libpq reads them; of several hosts each, separated by commas."""
    words = parse_dsn(url)
    hosts = (words.get("host") or os.environ.get("PGHOST") or "local socket").split(",")
    ports = (words.get("port") or "5432").split(",")
    if len(ports) == 1:  # of all hosts
        ports *= len(hosts)
    addresses = ",".join(f"{host}:{port or 5432}" for host, port in zip(hosts, ports, strict=False))
    return f"{addresses}/{words.get('dbname', '')}"


class _RetryableError(peewee.OperationalError):
    """The transaction was rolled back through no fault of its own and may be run again."""


def _is_usable(database: peewee.Database) -> bool:
    connection = database.connection()
    if connection.closed or connection.get_transaction_status() != TRANSACTION_STATUS_IDLE:
        return False
    # PostgreSQL sends nothing on an idle connection, unless it closes it.
    readable = select.poll()
    readable.register(connection.fileno(), select.POLLIN)
    return not readable.poll(0)


def _answers(database: peewee.Database) -> bool:
    """Within CHECK_TIMEOUT. libpq itself waits as long as the host is reachable, so another thread cuts the wait."""
    settling, outcome = threading.Lock(), list[bool]()

    def settle(answered: bool) -> None:
        with settling:
            outcome.append(answered)
            if outcome == [False]:
                _interrupt(database)

    timer = threading.Timer(CHECK_TIMEOUT, settle, (False,))
    timer.start()
    try:
        database.connection().cursor().execute("SELECT 1")
    except psycopg2.Error:
        return False
    finally:
        timer.cancel()
        settle(True)
    return outcome[0]


def _interrupt(database: peewee.Database) -> None:
    """Shuts the socket down. libpq itself waits for an answer for as long as the host is reachable."""
    with suppress(psycopg2.Error, OSError), socket.socket(fileno=os.dup(database.connection().fileno())) as shared:
        shared.shutdown(socket.SHUT_RDWR)
