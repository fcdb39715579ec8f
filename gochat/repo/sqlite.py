"""SQLite: one file, one connection that writes, in batches."""

import fcntl
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import peewee

from gochat.config import ConfigError
from gochat.context import current, entered
from gochat.errors import ChatError, deadline_exceeded
from gochat.repo.database import Pool, T, Tx, Work, failures_named

READERS = 8  # more find no more of the interpreter's time


class DatabaseInUseError(Exception):
    """Another process has the database open; the message names it."""


class _Job:
    """One queued write, with the call that it belongs to."""

    def __init__(self, work: Work[Any]) -> None:
        self.work = work
        self.call = current()
        self.done = False
        self.answer: Any = None
        self.error: Exception | None = None


class SqliteDatabase:
    """Exactly one connection writes and checkpoints; readers have their own and never wait for it (WAL).

    Group commit: a writer queues its work and takes the write lock. Whoever gets the lock commits everything queued
    by then in one transaction with one fsync, a savepoint each; the others wake to find theirs done.
    """

    def __init__(self, path: Path) -> None:
        """Creates the file if it is missing. Raises DatabaseInUseError."""
        self.pair_key = b""
        self._lock_file = _lock(path)
        self._writer = _open(path, journal_mode="wal", synchronous="full", foreign_keys=1, busy_timeout=5000)
        self._readers = Pool(
            lambda: _open(path, query_only=1, cache_size=-1024), _outside_transaction, warm=1, most=READERS
        )
        # Of its own, so that what is quick never waits for what is not.
        self._quick = _open(path, query_only=1)
        self._quick_lock = threading.Lock()
        self._queue: deque[_Job] = deque()
        self._write_lock = threading.Lock()

    def read(self, work: Work[T], *, one_statement: bool = False, quick: bool = False) -> T:
        if quick:
            with failures_named(), self._quick_lock:
                return work(Tx(self._quick))
        with failures_named(), self._readers.lent() as database:
            if one_statement:
                return work(Tx(database))
            database.execute_sql("BEGIN")
            try:
                return work(Tx(database))
            finally:
                database.execute_sql("ROLLBACK")

    def write(self, work: Work[T], *, one_statement: bool = False) -> T:  # noqa: ARG002 - all share a transaction
        return self.write_each([work])[0]

    def write_each(self, works: Sequence[Work[T]]) -> list[T]:
        jobs = [_Job(work) for work in works]
        self._queue.extend(jobs)
        if not self._write_lock.acquire(timeout=max(0.0, current().remaining())):
            raise deadline_exceeded()
        try:
            if not jobs[-1].done:
                self._commit_queued()
        finally:
            self._write_lock.release()
        for job in jobs:
            if job.error is not None:
                raise job.error
        return [cast("T", job.answer) for job in jobs]

    def _commit_queued(self) -> None:
        batch = [self._queue.popleft() for _ in range(len(self._queue))]
        try:
            with failures_named():
                if not self._commits(batch, savepoints=False):
                    self._commits(batch, savepoints=True)
        except Exception as error:  # noqa: BLE001 - each caller of the batch raises it
            # Nothing of the batch is on disk, whatever its jobs believe.
            for job in batch:
                job.error = error
            if not _outside_transaction(self._writer):
                self._writer.execute_sql("ROLLBACK")
        finally:
            for job in batch:
                job.done = True

    def _commits(self, batch: list[_Job], *, savepoints: bool) -> bool:
        """A savepoint a job is dear, and needed only to take one back that fails after it has written something:
        without savepoints that takes the whole batch back and returns False."""
        self._writer.execute_sql("BEGIN IMMEDIATE")
        for job in batch:
            if not self._run(job, savepoints):
                self._writer.execute_sql("ROLLBACK")
                return False
        self._writer.execute_sql("COMMIT")
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
            with entered(job.call):
                job.answer = job.work(Tx(self._writer))
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

    def close(self) -> None:
        with self._write_lock:
            self._readers.close()
            self._quick.close()
            self._writer.close()
            os.close(self._lock_file)


@contextmanager
def sqlite_snapshot(path: Path) -> Iterator[Tx]:
    """One state of a file that another process may be writing, for as long as it is read. Raises ConfigError where
    there is none.

    mode=ro is no second writer: SQLite opens the file O_RDONLY, so this connection can neither write nor checkpoint,
    not even when it closes last; of a crashed server's WAL it makes the index anew (-shm) and leaves the rest to the
    next start. It holds up the server's checkpoints alone: meanwhile the WAL grows.
    """
    if not path.is_file():
        raise ConfigError(f"server.data: there is no database {path}")
    database = peewee.SqliteDatabase(f"{path.absolute().as_uri()}?mode=ro", uri=True, thread_safe=False)
    with failures_named():
        database.connect()
        try:
            database.execute_sql("BEGIN")
            yield Tx(database)
        finally:
            database.close()


def _lock(path: Path) -> int:
    """Holds path.lock until the process ends, however it ends: one process alone may write a database (the WAL-reset
    bug of SQLite 3.7.0 to 3.51.2 needs two). A file of its own, since SQLite locks ranges of the database file."""
    handle = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise DatabaseInUseError(f"{path} is in use by another gochat process") from None
    return handle


def _open(path: Path, **pragmas: str | int) -> peewee.Database:
    # Peewee's own thread safety is a connection a thread; here the pool and the write lock lend each connection to
    # one thread at a time.
    database = peewee.SqliteDatabase(str(path), pragmas=pragmas, thread_safe=False, check_same_thread=False)
    with failures_named():
        database.connect()
        # SQLite opens the WAL with the first read: now, and not when there may be no file descriptor left.
        database.execute_sql("SELECT 1 FROM sqlite_schema").fetchall()
    return database


def _outside_transaction(database: peewee.Database) -> bool:
    return not database.connection().in_transaction
