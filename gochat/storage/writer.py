"""The thread that writes to SQLite: group commits, with one fsync for all jobs that are queued.

SQLite allows one writer at a time, and a commit waits for the disk. So one thread takes all jobs that have come in by
the time that it is free, runs them in one transaction, commits, and only then reports each of them as done.
"""

import logging
import sqlite3
import threading
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, cast

import peewee

from gochat.context import Call, OnDone, Run, current, entered
from gochat.errors import ChatError, deadline_exceeded
from gochat.storage.database import T, Tx, Work, unavailable_on_failure

MAX_BATCH = 500  # jobs
INTERRUPT_INTERVAL = 0.05  # seconds
BATCHES = tuple(2**power for power in range(11))  # sizes up to which transactions are counted together

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Job:
    """Something to do within a batch, for a call. on_done(error) is called once, after the commit; error says why
    nothing of the job was written."""

    call: Call
    run: Run
    on_done: OnDone
    error: Exception | None = None


class Writer:
    """Owns the one connection that writes, on a thread of its own.

    Any thread calls `enqueue` and `write_each`, which put jobs into a queue that has its own lock; the writer's thread
    takes them out and does everything else. The connection is used by that thread alone while it runs, so that it needs
    no lock. The counters have that thread as their only writer; statistics() reads them from others, and may be one
    transaction behind.
    """

    def __init__(self, connection: peewee.Database, before_commit: Callable[[], None] = lambda: None) -> None:
        """before_commit(): raises ChatError if what would be committed would be lost."""
        self.connection = connection
        self._before_commit = before_commit
        self.after_commit: Callable[[], None] = lambda: None
        self._committed = 0  # jobs
        self._batches = [0] * (len(BATCHES) + 1)  # transactions, by the number of their jobs
        self._interrupted = False
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()

    def is_current_thread(self) -> bool:
        """Is the caller a job, which may use the connection?"""
        return threading.get_ident() == self._thread.ident

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    def enqueue(self, call: Call, run: Run, on_done: OnDone) -> None:
        """Has run(call) called within the next transaction, which `read` and `write` of the database join there; then
        on_done(None) once that is durable, or on_done(error): nothing of it was written. run may be called twice."""
        self._queue.put(_Job(call, run, on_done))

    def write_each(self, works: Sequence[Work[T]]) -> list[T]:
        if self.is_current_thread():
            return [work(Tx(self.connection)) for work in works]
        waiting = [_WaitingWork(work, self.connection) for work in works]
        for one in waiting:
            self.enqueue(current(), one.run, one.on_done)
        return [cast("T", one.result()) for one in waiting]

    def statistics(self) -> dict[str, int]:
        return {
            "writes_waiting": self._queue.qsize(),
            "writes_committed": self._committed,
            **{f"batches_{size}": count for size, count in zip((*BATCHES, "more"), self._batches, strict=True)},
        }

    def interrupt(self) -> None:
        """Ends the statement that runs, whose transaction is rolled back. `close` must follow: it ends those that the
        job would go on with."""
        self._interrupted = True
        cast("sqlite3.Connection", self.connection.connection()).interrupt()

    def close(self) -> None:
        """Returns when everything that was queued before is done or, after an interruption, has ended."""
        self._queue.put(None)
        while self._interrupted and self._thread.is_alive():
            self.interrupt()  # it ends no statement that has not begun
            self._thread.join(INTERRUPT_INTERVAL)
        self._thread.join()
        self.connection.close()

    def _work(self) -> None:
        """What the thread runs. It refers to no job while it waits for the next one: a job refers to a call, and so to
        a connection, which would stay open."""
        while self._write_batch(self._queue.get()):
            pass

    def _write_batch(self, job: _Job | None) -> bool:
        """Runs the job, and what else is queued, in one transaction. False for None, which ends the thread."""
        if job is None:
            return False
        batch = [job]
        while len(batch) < MAX_BATCH and not self._queue.empty():
            if (job := self._queue.get()) is None:
                self._queue.put(None)
                break
            batch.append(job)
        self._commit(batch)
        for job in batch:
            _report(job)
        return True

    def _commit(self, batch: list[_Job]) -> None:
        try:
            with unavailable_on_failure():
                if not self._try_commit(batch, savepoints=False):
                    self._try_commit(batch, savepoints=True)
        except Exception as error:  # noqa: BLE001 - it is reported to each call of the batch
            # Nothing of the batch is on disk, although some of its jobs ran without an error.
            for job in batch:
                job.error = error
            try:
                if not is_outside_transaction(self.connection):
                    self.connection.execute_sql("ROLLBACK")
            except peewee.PeeweeException:
                log.exception("a transaction was not taken back")  # the next BEGIN will fail, and be reported

    def _try_commit(self, batch: list[_Job], *, savepoints: bool) -> bool:
        """Runs and commits the batch. Without savepoints, returns False and rolls everything back if a job has failed
        after it wrote something; then the batch is to be run again with a savepoint for each job, which is slower."""
        self.connection.execute_sql("BEGIN IMMEDIATE")
        for job in batch:
            if not self._run(job, savepoints):
                self.connection.execute_sql("ROLLBACK")
                return False
        self._before_commit()
        Tx(self.connection).sql("COMMIT")
        self.after_commit()
        self._committed += len(batch)
        self._batches[bisect_left(BATCHES, len(batch))] += 1
        return True

    def _run(self, job: _Job, savepoint: bool) -> bool:
        """Runs one job and keeps its error in it. Returns False for an error that leaves writes behind; raises the
        error if SQLite has ended the transaction."""
        job.error = None
        if job.call.remaining() <= 0:
            job.error = deadline_exceeded()
            return True
        connection: sqlite3.Connection = self.connection.connection()
        changes = connection.total_changes
        if savepoint:
            self.connection.execute_sql("SAVEPOINT job")
        try:
            job.run(job.call)
        except Exception as error:
            if is_outside_transaction(self.connection):
                raise  # a full disk, an I/O error
            if savepoint:
                self.connection.execute_sql("ROLLBACK TO job")
            elif not isinstance(error, ChatError) or connection.total_changes > changes:
                return False
            job.error = error
        if savepoint:
            self.connection.execute_sql("RELEASE job")
        return True


def _report(job: _Job) -> None:
    """Calls on_done. The error is taken out of the job, since the frames of its traceback refer to the job: only the
    garbage collector would free this cycle. (This is a function because the caller's frame would be one of them.)"""
    error, job.error = job.error, None
    try:
        job.on_done(error)
    except Exception:
        log.exception("a call was not answered")


class _WaitingWork:
    """A job whose result another thread waits for. The writer's thread calls `run` and `on_done`; the lock `_done`,
    which on_done releases, makes what they have set visible to the thread in `result`."""

    def __init__(self, work: Work[Any], connection: peewee.Database) -> None:
        self._work = work
        self._connection = connection
        self._done = threading.Lock()
        self._done.acquire()
        self._result: Any = None
        self._error: Exception | None = None

    def run(self, call: Call) -> None:
        with entered(call):
            self._result = self._work(Tx(self._connection))

    def on_done(self, error: Exception | None) -> None:
        self._error = error
        self._done.release()

    def result(self) -> Any:
        """Raises what the work raised; or DEADLINE_EXCEEDED, after which the work may still be done."""
        if not self._done.acquire(timeout=min(max(0.0, current().remaining()), threading.TIMEOUT_MAX)):
            raise deadline_exceeded()
        if self._error is not None:
            raise self._error
        return self._result


def is_outside_transaction(connection: peewee.Database) -> bool:
    return not connection.connection().in_transaction
