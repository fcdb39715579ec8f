"""Reads from a streaming replica of PostgreSQL, which are as new as those from the primary.

A replica is always a little behind. What a caller, another device of theirs, another process or a stream has seen
before the read must be in it. So each read first asks the primary how far its log is flushed, which covers all that
was acknowledged or delivered by then, and takes place once the replica has replayed as much: within WAIT, or else on
the primary. That question is all that the primary has to do, and reads that come in together share it (`Shared`).

It is the flushed position and not the inserted one, which the replica may not get for 200 ms (wal_writer_delay). What a
replica has replayed its next snapshot sees. It may see a commit a moment before the primary shows it.

A position means something on one history only. So the connection that reads is asked which timeline it is on, as a row
says that each process writes on the primary (`_MARK`): a standby of an old primary never has that of the new one. Where
the replica's connections lead to several servers, each is asked by itself.

Threads: any may call `read`. One of its own calls `_watch` every second, and it alone finds a replica fit. What they
share is read and written as a whole, but for the counts.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from time import monotonic, sleep
from typing import Generic, NamedTuple, TypeVar

import peewee
import psycopg2

from gochat.background import periodic
from gochat.config import ConfigError
from gochat.context import SERVICE, Call, Lane, current, entered
from gochat.errors import ChatError
from gochat.storage.connecting import CALL_LIMITS, Server
from gochat.storage.database import Database, T, Tx, Work
from gochat.storage.failures import describe
from gochat.storage.fence import TIMELINE
from gochat.storage.pool import Driver, NoRoomError, Pool

WAIT = 0.02  # seconds that a read waits for the replica; after that the primary is quicker
MIN_PAUSE = 0.0005  # seconds until the replica is asked again, then twice as long
ASK_TIMEOUT = 1.0  # seconds within which either server answers how far it is
RETRY_INTERVAL = 0.1  # seconds without a read from a replica that a read has waited for in vain
WATCH_INTERVAL = 1.0  # seconds between two looks, one of which has to find a replica fit that failed
MAX_SAMPLES = 4000  # of the primary's position, to measure how far behind a replica is; more than max_lag has seconds

_PRIMARY = f"SELECT pg_current_wal_flush_lsn()::text, {TIMELINE}"
_MARK = f"""
INSERT INTO secrets (name, value) VALUES ('timeline', {TIMELINE})
ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE secrets.value <> excluded.value"""  # noqa: S608 - a constant
_EPOCH = "SELECT value FROM secrets WHERE name = 'epoch'"
_REPLICA = """
SELECT pg_last_wal_replay_lsn()::text, pg_is_in_recovery(),
    (SELECT string_agg(value, ' ' ORDER BY name) FROM secrets WHERE name IN ('epoch', 'timeline'))"""
_MAY_SEE_SYSTEM = "SELECT has_function_privilege('pg_control_system()', 'EXECUTE')"
_SYSTEM = "SELECT system_identifier::text FROM pg_control_system()"

A = TypeVar("A")
log = logging.getLogger(__name__)


class NotOnReplicaError(Exception):
    """The read is to be made on the primary."""


_ERRORS = (peewee.PeeweeException, psycopg2.Error, ChatError, NoRoomError, ConfigError, TimeoutError)


class Shared(Generic[A]):
    """One answer for all who ask while the question before is under way: each gets that of a question that began after
    they had asked. Threads: the first of them asks, as soon as the one before has its answer."""

    def __init__(self, ask: Callable[[], A]) -> None:
        self._ask = ask
        self._lock, self._asking = threading.Lock(), threading.Lock()
        self._next: Future[A] | None = None

    def get(self, timeout: float) -> A:
        """Raises what asking raises, and TimeoutError."""
        with self._lock:
            is_first = self._next is None
            answer = self._next = self._next or Future()
        if is_first:
            with self._asking:
                with self._lock:  # who comes now is too late for it
                    self._next = None
                try:
                    answer.set_result(self._ask())
                except BaseException as error:  # noqa: BLE001 - it is the answer
                    answer.set_exception(error)
        return answer.result(timeout)


class Position(NamedTuple):
    """Of the log of PostgreSQL, in bytes. history: of which database and timeline."""

    at: int
    history: str


class Replica:
    """server: how to connect to it. driver(connect): of its connections. max_lag: seconds behind the primary beyond
    which nothing is read from it."""

    def __init__(
        self,
        primary: Database,
        server: Server,
        driver: Callable[[Callable[[], peewee.Database]], Driver],
        max_size: int,
        max_lag: float,
    ) -> None:
        """Raises ConfigError where the server is of another cluster; not where it cannot be reached."""
        self._database, self._server, self._max_lag = primary, server, max_lag
        self._epoch = primary.read(lambda tx: tx.fetch_all(_EPOCH))[0][0]
        self._system = primary.read(lambda tx: _system(tx.connection))
        self._pool = Pool(driver(self._connect), min_size=0, max_size=max_size)
        self._primary = Shared(self._ask_primary)
        self._marked = ""
        self._unfit: str | None = None  # why nothing is read from it; None before the first look
        self._retry_at = 0.0
        self._samples = deque[tuple[float, int]](maxlen=MAX_SAMPLES)  # times at which the primary was where
        self._replayed = 0
        self._lag, self._lag_bytes = 0.0, 0
        self._counting, self._reads, self._passed_on = threading.Lock(), 0, 0
        self._loops = ExitStack()
        try:
            self._watch()
        except BaseException:
            self._pool.close()
            raise
        self._loops.enter_context(periodic("watching the replica", self._watch, WATCH_INTERVAL))

    def _connect(self) -> peewee.Database:
        database = self._server.connect(CALL_LIMITS)
        there = _system(database.connection())
        if there and self._system and there != self._system:
            database.close()
            raise ConfigError(
                f"database.replica_url: is of another cluster than database.url (system identifier {there}, not"
                f" {self._system}): name a streaming replica of that server"
            )
        return database

    def _ask_primary(self) -> Position:
        """A call of its own, so that no caller's deadline is that of the others."""
        with entered(Call(SERVICE, "-", monotonic() + ASK_TIMEOUT, SERVICE)):
            ((at, timeline),) = self._database.read(lambda tx: tx.fetch_all(_PRIMARY), one_statement=True)
        return Position(_bytes(at), f"{self._epoch} {timeline}")

    def read(self, begin: str, work: Work[T]) -> T:
        """begin: of a transaction; "" for a single statement. Raises NotOnReplicaError."""
        try:
            if self._unfit != "" or monotonic() < self._retry_at:
                raise NotOnReplicaError
            answer = self._attempt(begin, work)
        except (NotOnReplicaError, *_ERRORS) as error:
            # A ChatError or a TimeoutError is of the primary, or there is no time left; the call finds that out there.
            if not isinstance(error, (NotOnReplicaError, ChatError, TimeoutError)) and current().remaining() > 0:
                self._say(f"failed: {describe(error)}")
            self._count(passed_on=1)
            raise NotOnReplicaError from None
        self._count(reads=1)
        if isinstance(answer, ChatError):
            raise answer
        return answer

    def _attempt(self, begin: str, work: Work[T]) -> T | ChatError:
        """What work raises of its own is an answer too."""
        needed = self._primary.get(2 * ASK_TIMEOUT)
        with self._pool.connection() as database:
            if not self._reaches(database, needed):
                self._retry_at = monotonic() + RETRY_INTERVAL
                raise NotOnReplicaError
            if begin:
                database.execute_sql(begin)
            answer: T | ChatError
            try:
                answer = work(Tx(database))
            except ChatError as error:
                answer = error
            if begin:
                database.execute_sql("COMMIT")
            return answer

    def _reaches(self, database: peewee.Database, needed: Position) -> bool:
        """Within WAIT."""
        until, pause = monotonic() + WAIT, MIN_PAUSE
        while True:
            there, is_standby = _position(database)
            if there.history != needed.history or not is_standby:
                return False
            if there.at >= needed.at:
                return True
            if monotonic() + pause > until:
                return False
            sleep(pause)
            pause *= 2

    def _watch(self) -> None:
        """Finds out whether it is fit to be read from, and how far behind it is. Raises ChatError if the primary does
        not answer, ConfigError for another cluster."""
        asked_at = monotonic()
        primary = self._primary.get(2 * ASK_TIMEOUT)
        with entered(Call(SERVICE, "-", monotonic() + 2 * ASK_TIMEOUT, SERVICE, lane=Lane.CONTROL)):
            if primary.history != self._marked:
                self._database.write(lambda tx: tx.sql(_MARK), one_statement=True)
                self._marked = primary.history
                self._samples.clear()  # of another history
        self._samples.append((asked_at, primary.at))
        try:
            with entered(Call(SERVICE, "-", monotonic() + ASK_TIMEOUT, SERVICE)), self._pool.connection() as database:
                there, is_standby = _position(database)
                if there.history != primary.history or not is_standby:
                    database.connection().close()  # of several servers another one may be fit
                    self._pool.drop_idle()
        except ConfigError:
            self._unfit = "is of another cluster"
            raise
        except _ERRORS as error:
            self._pool.interrupt()  # who reads from it would wait as long
            self._say(f"failed: {describe(error)}")
        else:
            self._replayed = there.at
            if not is_standby:
                self._say("is no standby")
            elif there.history != primary.history:
                self._say("does not follow the primary, or is far behind")
            else:
                self._say(f"is more than {self._max_lag:g} s behind" if self._behind() > self._max_lag else "")
        self._lag, self._lag_bytes = self._behind(), max(0, primary.at - self._replayed)

    def _behind(self) -> float:
        """Seconds since the primary was first seen where the replica is not yet."""
        while self._samples and self._samples[0][1] <= self._replayed:
            self._samples.popleft()
        return monotonic() - self._samples[0][0] if self._samples else 0.0

    def _say(self, unfit: str) -> None:
        if unfit and not self._unfit:
            log.warning("the replica %s: reads are made on the primary", unfit)
        elif not unfit and self._unfit != "":
            log.info("lists, history and searches are read from the replica")
        self._unfit = unfit

    def _count(self, *, reads: int = 0, passed_on: int = 0) -> None:
        with self._counting:
            self._reads += reads
            self._passed_on += passed_on

    def statistics(self) -> dict[str, int]:
        """By the names of gochat.monitoring.families."""
        return {
            "replica_reads": self._reads,
            "replica_reads_passed_on": self._passed_on,
            "replica_lag": round(self._lag),
            "replica_lag_bytes": self._lag_bytes,
        }

    def close(self) -> None:
        self._loops.close()
        self._pool.close()


def _position(database: peewee.Database) -> tuple[Position, bool]:
    """(how far it has replayed the log, is it a standby?). A server that is none may have replayed nothing."""
    at, is_standby, history = database.execute_sql(_REPLICA).fetchone()
    return Position(_bytes(at or "0/0"), history or ""), bool(is_standby)


def _bytes(position: str) -> int:
    """Of PostgreSQL's type pg_lsn."""
    high, _, low = position.partition("/")
    return int(high, 16) << 32 | int(low, 16)


def _system(connection: "psycopg2.extensions.connection") -> str:
    """Which cluster this server is of; "" where the role may not see it."""
    cursor = connection.cursor()
    cursor.execute(_MAY_SEE_SYSTEM)
    if not cursor.fetchall()[0][0]:
        return ""
    cursor.execute(_SYSTEM)
    return str(cursor.fetchall()[0][0])
