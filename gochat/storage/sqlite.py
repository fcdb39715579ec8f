"""SQLite: one file, one thread that writes, in batches."""

import fcntl
import logging
import os
import sqlite3
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast

import peewee

from gochat.config import ConfigError
from gochat.context import Call, End, Lane, Run, TooLongError, current, entered
from gochat.errors import ChatError, deadline_exceeded
from gochat.storage.database import MAX_CONTROL, DatabaseInUseError, Pool, T, Tx, Work, driver_error, failures_named

BATCHES = tuple(2**power for power in range(11))  # sizes up to which transactions are counted together
READERS = 8  # more find no more of the interpreter's time
LARGEST_BATCH = 500  # jobs
# What SQLite does by itself is 2 MB of pages and 1000 pages of WAL: at 2000 sends a second it read most pages anew and
# wrote them to the database 10 times a second, which was a sixth of the CPU of a send.
WRITER = {"cache_size": -8192, "wal_autocheckpoint": 4000}
INLINE_TIMEOUT = 0.003  # seconds that a read of Lane.INLINE may take: every other call waits for it
INLINE_STEPS = 10_000  # of SQLite's virtual machine between two looks at the clock, of 1 us; a page takes 3000 to 7000

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Job:
    """Something to do within a batch, with the call that it belongs to. end(error) is called once, after the commit:
    error says why nothing of it happened."""

    call: Call
    run: Run
    end: End
    error: Exception | None = None


class SqliteDatabase:
    """Exactly one connection writes and checkpoints, on a thread of its own; readers have theirs and never wait for it
    (WAL).

    Group commit: what is queued by the time that the thread is free is done in one transaction with one fsync, and
    ended after it.
    """

    def __init__(self, path: Path) -> None:
        """Creates the file if it is missing. Raises DatabaseInUseError."""
        self.pair_key = b""
        self._lock_file = lock(path)
        self._writer = _open(path, journal_mode="wal", synchronous="full", foreign_keys=1, busy_timeout=5000, **WRITER)
        self._readers, self._control = (
            Pool(lambda: _open(path, query_only=1, cache_size=-1024), _outside_transaction, warm=1, most=most)
            for most in (READERS, MAX_CONTROL)
        )
        # Of its own, so that what is quick never waits for what is not.
        self._inline = _open(path, query_only=1, cache_size=-8192)
        self._inline_lock = threading.Lock()
        self._inline_until = 0.0  # on the clock of time.monotonic()
        self._inline.connection().set_progress_handler(self._takes_too_long, INLINE_STEPS)
        self._committed = 0  # writes
        self._batches = [0] * (len(BATCHES) + 1)  # transactions, by size
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write_queued, name="writer", daemon=True)
        self._thread.start()

    def read(self, work: Work[T], *, one_statement: bool = False) -> T:
        if self._in_batch():
            return work(Tx(self._writer))
        lane = current().lane
        if lane is Lane.INLINE:
            return self._read_inline(work, one_statement)
        with failures_named(), (self._control if lane is Lane.CONTROL else self._readers).connection() as database:
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
        with failures_named():
            try:
                self._inline_until = time.monotonic() + INLINE_TIMEOUT
                return work(Tx(self._inline))
            except peewee.OperationalError as error:
                if driver_error(error).sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                    raise TooLongError from None
                raise
            finally:
                self._inline_lock.release()

    def _takes_too_long(self) -> bool:
        """SQLite interrupts the statement if so. Time and not CPU is what counts: a read that waits for the disk is to
        wait on a thread. One wait by itself cannot be cut short: then another thread serves meanwhile (rpc/loop.py)."""
        return time.monotonic() > self._inline_until

    def write(self, work: Work[T], *, one_statement: bool = False) -> T:  # noqa: ARG002 - all share a transaction
        return self.write_each([work])[0]

    def write_each(self, works: Sequence[Work[T]]) -> list[T]:
        if self._in_batch():
            return [work(Tx(self._writer)) for work in works]
        waiting = [_Waiting(work, self._writer) for work in works]
        for one in waiting:
            self.enqueue(current(), one.run, one.end)
        return [cast("T", one.answer()) for one in waiting]

    def enqueue(self, call: Call, run: Run, end: End) -> None:
        """Has run(call) called within the next batch, where `read` and `write` join its transaction; then end(None)
        once that is durable, or end(error): nothing of it was written. run may be called more than once."""
        self._queue.put(_Job(call, run, end))

    def _in_batch(self) -> bool:
        return threading.get_ident() == self._thread.ident

    def _write_queued(self) -> None:
        """What the thread does. It keeps no job while it waits for the next: a job keeps a call, and that its
        connection."""
        while self._write_batch(self._queue.get()):
            pass

    def _write_batch(self, job: _Job | None) -> bool:
        """The job and what else is queued, in one transaction. False for None, after which there is nothing."""
        if job is None:
            return False
        batch = [job]
        while len(batch) < LARGEST_BATCH and not self._queue.empty():
            if (job := self._queue.get()) is None:
                self._queue.put(None)
                break
            batch.append(job)
        self._commit(batch)
        for job in batch:
            _end(job)
        return True

    def _commit(self, batch: list[_Job]) -> None:
        try:
            with failures_named():
                if not self._commits(batch, savepoints=False):
                    self._commits(batch, savepoints=True)
        except Exception as error:  # noqa: BLE001 - each caller of the batch is told
            # Nothing of the batch is on disk, whatever its jobs believe.
            for job in batch:
                job.error = error
            try:
                if not _outside_transaction(self._writer):
                    self._writer.execute_sql("ROLLBACK")
            except peewee.PeeweeException:
                log.exception("a transaction was not taken back")  # nor will the next one begin, and say so

    def _commits(self, batch: list[_Job], *, savepoints: bool) -> bool:
        """A savepoint a job is dear, and needed only to take one back that fails after it has written something:
        without savepoints that takes the whole batch back and returns False."""
        self._writer.execute_sql("BEGIN IMMEDIATE")
        for job in batch:
            if not self._run(job, savepoints):
                self._writer.execute_sql("ROLLBACK")
                return False
        Tx(self._writer).sql("COMMIT")
        self._committed += len(batch)
        self._batches[bisect_left(BATCHES, len(batch))] += 1
        return True

    def _run(self, job: _Job, savepoint: bool) -> bool:
        """Runs one job. An error stays with its job, unless SQLite has given up the transaction. False for an error
        that leaves writes behind."""
        job.error = None
        if job.call.remaining() <= 0:
            job.error = deadline_exceeded()
            return True
        connection = self._writer.connection()
        changes = connection.total_changes
        if savepoint:
            self._writer.execute_sql("SAVEPOINT job")
        try:
            job.run(job.call)
        except Exception as error:
            if _outside_transaction(self._writer):
                raise  # a full disk, an I/O error
            if savepoint:
                self._writer.execute_sql("ROLLBACK TO job")
            elif not isinstance(error, ChatError) or connection.total_changes > changes:
                return False
            job.error = error
        if savepoint:
            self._writer.execute_sql("RELEASE job")
        return True

    def statistics(self) -> dict[str, int]:
        return {
            "connections_used": self._readers.used,
            "connections_most": self._readers.most,
            "writes_waiting": self._queue.qsize(),
            "writes_committed": self._committed,
            **{f"batches_{size}": number for size, number in zip((*BATCHES, "more"), self._batches, strict=True)},
        }

    def close(self) -> None:
        """Everything that was queued is done before."""
        self._queue.put(None)
        self._thread.join()
        self._readers.close()
        self._control.close()
        self._inline.close()
        self._writer.close()
        os.close(self._lock_file)


def _end(job: _Job) -> None:
    """Leaves it without its error, whose traceback has frames that have the job: only garbage collection would end the
    two. Here, since the frame of the caller is one of them."""
    error, job.error = job.error, None
    try:
        job.end(error)
    except Exception:
        log.exception("a call was not answered")


class _Waiting:
    """A piece of work that another thread waits for."""

    def __init__(self, work: Work[Any], writer: peewee.Database) -> None:
        self._work = work
        self._writer = writer
        self._ended = threading.Lock()
        self._ended.acquire()
        self._answer: Any = None
        self._error: Exception | None = None

    def run(self, call: Call) -> None:
        with entered(call):
            self._answer = self._work(Tx(self._writer))

    def end(self, error: Exception | None) -> None:
        self._error = error
        self._ended.release()

    def answer(self) -> Any:
        """Raises what the work did, or DEADLINE_EXCEEDED: then nobody knows whether it will be done."""
        if not self._ended.acquire(timeout=max(0.0, current().remaining())):
            raise deadline_exceeded()
        if self._error is not None:
            raise self._error
        return self._answer


@contextmanager
def sqlite_snapshot(path: Path) -> Iterator[Tx]:
    """One state of a file that another process may be writing, for as long as it is read. Raises ConfigError where
    it cannot be read.

    mode=ro is no second writer: SQLite opens the file O_RDONLY, so this connection can neither write nor checkpoint,
    not even when it closes last; of a crashed server's WAL it makes the index anew (-shm) and leaves the rest to the
    next start. It holds up the server's checkpoints alone: meanwhile the WAL grows.
    """
    if not path.is_file():
        raise ConfigError(f"server.data: there is no database {path}")
    database = peewee.SqliteDatabase(f"{path.absolute().as_uri()}?mode=ro", uri=True, thread_safe=False)
    try:
        database.connect()
        database.execute_sql("BEGIN")
        yield Tx(database)
    except peewee.OperationalError as error:
        raise ConfigError(f"server.data: {path}: {error}") from None
    finally:
        database.close()


def lock(path: Path) -> int:
    """Holds path.lock until it is closed or the process ends, however it ends: one process alone may write a database
    (the WAL-reset bug of SQLite 3.7.0 to 3.51.2 needs two). A file of its own, since SQLite locks ranges of the
    database file. Returns its descriptor."""
    handle = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise DatabaseInUseError(f"{path} is in use by another gochat process") from None
    return handle


def _open(path: Path, **pragmas: str | int) -> peewee.Database:
    # Peewee's own thread safety is a connection a thread; here each connection is used by one thread at a time.
    database = peewee.SqliteDatabase(str(path), pragmas=pragmas, thread_safe=False, check_same_thread=False)
    with failures_named():
        database.connect()
        # SQLite opens the WAL with the first read: now, and not when there may be no file descriptor left.
        database.execute_sql("SELECT 1 FROM sqlite_schema").fetchall()
    return database


def _outside_transaction(database: peewee.Database) -> bool:
    return not database.connection().in_transaction
