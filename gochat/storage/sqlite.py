"""SQLite: one file, one connection that writes (writer.py), and pools of connections that read."""

import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import peewee

from gochat.config import ConfigError
from gochat.context import Enqueue, Lane, TooLongError, current
from gochat.domain.clock import clock
from gochat.errors import unavailable
from gochat.folders import open_or_create
from gochat.storage.database import (
    DatabaseInUseError,
    T,
    Tx,
    Work,
    Writability,
    unavailable_on_failure,
)
from gochat.storage.failures import driver_error
from gochat.storage.pool import MAX_CONTROL, Driver, Pool
from gochat.storage.writer import Writer, is_outside_transaction

log = logging.getLogger(__name__)

OLDEST = (3, 35)  # of SQLite's versions: RETURNING
READERS = 8  # connections; more do not help, since they would compete for the GIL
# SQLite's defaults are a cache of 2 MB and a checkpoint each 1000 pages of WAL. At 2000 sends a second these reread
# most pages and checkpointed 10 times a second, which was a sixth of the CPU of a send.
WRITER_PRAGMAS = {"cache_size": -8192, "wal_autocheckpoint": 4000}
WAL_LIMIT = 32 * 2**20  # bytes that the WAL keeps of what a long read had it grow to; its checkpoints come at 16 MB
BUSY_TIMEOUT = 2000  # milliseconds that a write waits for another program that writes the file
INLINE_TIMEOUT = 0.003  # seconds that a read in Lane.INLINE may take, since every other call waits for it
INLINE_STEPS = 10_000  # of SQLite's virtual machine between two checks of that, of 1 us; a page takes 3000 to 7000
SNAPSHOT_STEPS = 1_000_000  # the same between two chances for a Ctrl-C


class SqliteDatabase:
    """Exactly one connection writes and checkpoints. Readers have connections of their own and never wait for it (WAL).

    Any thread may call the methods. A read runs on the calling thread, by the lane of its call: in POOLED and CONTROL
    on a connection of a pool; in INLINE on a connection of its own, which `_inline_lock` gives to one thread at a time
    and which no other lane uses, so that a short read never waits for a long one. (Only the serving thread is in
    Lane.INLINE; the lock is for the moment when another thread takes that over.) On the writer's thread, that is inside
    of a job, reads and writes join the writer's transaction.
    """

    def __init__(self, path: Path) -> None:
        """Creates the file if it is missing. Raises DatabaseInUseError, ConfigError."""
        if sqlite3.sqlite_version_info < OLDEST:
            needed = ".".join(map(str, OLDEST))
            raise ConfigError(f"this Python has SQLite {sqlite3.sqlite_version}: {needed} or newer is needed")
        self.pair_key, self.distributed = b"", False
        self._locks = lock(path, create=True)
        pragmas = WRITER_PRAGMAS | {"busy_timeout": BUSY_TIMEOUT, "journal_size_limit": WAL_LIMIT, "foreign_keys": 1}
        self._files = _Files(path)
        self._writer = Writer(_open(path, journal_mode="wal", synchronous="full", **pragmas), self._files.must_be_there)
        self._files.remember()
        self._writability = Writability()
        self._readers, self._control = (
            Pool(
                Driver(lambda: _open(path, query_only=1, cache_size=-1024), is_outside_transaction),
                min_size=1,
                max_size=max_size,
            )
            for max_size in (READERS, MAX_CONTROL)
        )
        self._inline = _open(path, query_only=1, cache_size=-8192)
        self._inline_lock = threading.Lock()
        self._inline_until = 0.0  # on the clock of time.monotonic()
        self._inline.connection().set_progress_handler(self._is_too_long, INLINE_STEPS)

    def claim(self, show: Callable[[str], None] = lambda _: None) -> None:
        """As of PostgresDatabase: nothing, since opening the file was that."""

    def on_commit(self, hint: Callable[[], None]) -> None:
        self._writer.after_commit = hint

    @property
    def enqueue(self) -> Enqueue:
        return self._writer.enqueue

    def read(self, work: Work[T], *, one_statement: bool = False, replica: bool = False) -> T:  # noqa: ARG002 - none
        if self._writer.is_current_thread():
            return work(Tx(self._writer.connection))
        lane = current().lane
        if lane is Lane.INLINE:
            return self._read_inline(work, one_statement)
        pool = self._control if lane is Lane.CONTROL else self._readers
        with unavailable_on_failure(), pool.connection() as database:
            if one_statement:
                return work(Tx(database))
            database.execute_sql("BEGIN")
            try:
                return work(Tx(database))
            finally:
                database.execute_sql("ROLLBACK")

    def _read_inline(self, work: Work[T], one_statement: bool) -> T:
        """Raises TooLongError, also where it would have to wait for another such read."""
        if not one_statement or not self._inline_lock.acquire(blocking=False):
            raise TooLongError
        with unavailable_on_failure():
            try:
                self._inline_until = time.monotonic() + INLINE_TIMEOUT
                return work(Tx(self._inline))
            except peewee.OperationalError as error:
                if driver_error(error).sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                    raise TooLongError from None
                raise
            finally:
                self._inline_lock.release()

    def _is_too_long(self) -> bool:
        """A progress handler: SQLite interrupts the statement if this returns True. It compares time and not CPU, since
        a read that waits for the disk is to wait in a pool. A single wait within SQLite cannot be interrupted; for that
        another thread takes over the serving (rpc/loop.py)."""
        return time.monotonic() > self._inline_until

    def write(self, work: Work[T], *, one_statement: bool = False) -> T:  # noqa: ARG002 - all share a transaction
        return self._writer.write_each([work])[0]

    def write_each(self, works: Sequence[Work[T]]) -> list[T]:
        return self._writer.write_each(works)

    def collect(self) -> None:
        pass

    @property
    def is_writable(self) -> bool:
        return self._writability.lately

    def probe(self) -> int:
        """Writes the one number in a file's header that SQLite leaves to the application."""

        def work(tx: Tx) -> None:
            ((number,),) = tx.fetch_all("PRAGMA user_version")
            tx.sql(f"PRAGMA user_version = {(number + 1) % 2**31}")

        self.write(work)
        self._writability.note()
        return clock.host_ms()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Ctrl-C on the main thread ends what the writer runs meanwhile, and takes it back. The database is then to be
        closed."""
        try:
            yield
        except KeyboardInterrupt:
            self._writer.interrupt()
            raise

    def statistics(self) -> dict[str, int]:
        used = {"connections_used": self._readers.in_use, "connections_max": self._readers.max_size}
        return used | self._writer.statistics()

    def close(self) -> None:
        """Returns when everything that was queued before is done."""
        self._writer.close()
        self._readers.close()
        self._control.close()
        self._inline.close()
        self._locks.close()


@contextmanager
def sqlite_snapshot(path: Path) -> Iterator[Tx]:
    """A transaction that sees one state of a file for as long as the block lasts; another process may be writing the
    file. Raises ConfigError where there is none, and errors of Peewee.

    With mode=ro this is not a second writer: SQLite opens the file O_RDONLY, so this connection can neither write nor
    checkpoint, not even when it is the last one to close. From the WAL of a crashed server it rebuilds the index
    (-shm), and leaves the recovery to the next start. It only delays the server's checkpoints, so the WAL grows
    meanwhile.
    """
    if not path.is_file():
        raise ConfigError(f"server.data: there is no database {path}")
    database = peewee.SqliteDatabase(f"{path.absolute().as_uri()}?mode=ro", uri=True, thread_safe=False)
    try:
        database.connect()
        # Python handles a Ctrl-C when it next runs: without this, after the statement. An exception here ends it.
        database.connection().set_progress_handler(lambda: 0, SNAPSHOT_STEPS)
        database.execute_sql("BEGIN")
        yield Tx(database)
    except (peewee.OperationalError, sqlite3.OperationalError) as error:
        if driver_error(error).sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            raise KeyboardInterrupt from None
        raise
    finally:
        database.close()


class _Files:
    """The files that SQLite has open: the database, its WAL and the index of that. If one is deleted or replaced, what
    is written to it is lost with the last connection. Used by the writer's thread."""

    def __init__(self, path: Path) -> None:
        self._paths = [f"{path.resolve()}{suffix}" for suffix in ("", "-wal", "-shm")]
        self._identities: list[tuple[int, int]] = []
        self._are_there = True

    def remember(self) -> None:
        self._identities = [_identity(path) for path in self._paths]

    def must_be_there(self) -> None:
        """Raises UNAVAILABLE unless each is the one that was opened."""
        for path, identity in zip(self._paths, self._identities, strict=False):
            if _identity(path) != identity:
                if self._are_there:
                    log.error("%s was replaced or deleted: put it back, or stop the server and look at both", path)
                self._are_there = False
                raise unavailable("the database is not available")
        self._are_there = True


def _identity(path: str) -> tuple[int, int]:
    """Device and inode; (0, 0) for a file that is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


def lock(path: Path, *, create: bool = False) -> ExitStack:
    """Locks a database until the returned stack is closed or the process ends, however it ends. So only one process
    writes it, which SQLite 3.7.0 to 3.51.2 need: their WAL-reset bug takes two. Raises DatabaseInUseError.

    Two locks: of path.lock, which is there before the file is; and with create, which makes it if need be, of the file
    itself, whatever name it is reached by. (SQLite locks ranges of the file by fcntl, which flock has nothing to do
    with. Closing any descriptor of a file drops this process's fcntl locks, so this one is closed after the rest.)
    """
    real = path.resolve()
    with ExitStack() as locks:
        for name in [f"{real}.lock", *([str(real)] if create else [])]:
            handle = open_or_create(Path(name))
            locks.callback(os.close, handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise DatabaseInUseError(f"{path} is in use by another gochat process") from None
        return locks.pop_all()


def _open(path: Path, **pragmas: str | int) -> peewee.Database:
    # With thread_safe Peewee would open a connection for each thread; here one thread at a time uses each connection.
    database = peewee.SqliteDatabase(str(path), pragmas=pragmas, thread_safe=False, check_same_thread=False)
    with unavailable_on_failure():
        database.connect()
        # SQLite opens the WAL at the first read: does so now, since later there may be no file descriptor left.
        database.execute_sql("SELECT 1 FROM sqlite_schema").fetchall()
    return database
