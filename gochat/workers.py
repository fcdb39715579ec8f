"""Several processes on one port: the workers, and their parent, which starts, watches and stops them but serves nobody.

The kernel gives each new connection to one of the workers (SO_REUSEPORT). Between the parent and a worker there is a
pipe. The worker sends heartbeats on it while it serves, or the reason why it cannot; either process sees by the end of
the pipe that the other one is dead.

The parent has one thread for all of this. It waits for the pipes of all workers and for signals at the same time, and
signal handlers only write a byte into a pipe that it reads. A worker has two threads for it: one sends heartbeats, one
waits for the end of the pipe. They do not meet, since one end of a pipe may be written and read at the same time.
"""

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from gochat.background import periodic
from gochat.lifecycle import end_after
from gochat.listening import reserve_port
from gochat.monitoring.shared import Memory, SharedMetrics

log = logging.getLogger(__name__)

STABLE_AFTER = 10.0  # seconds: a worker that ran so long is restarted without a pause
MIN_PAUSE, MAX_PAUSE = 0.5, 30.0  # seconds before other restarts; each pause is twice the one before
WORKER_TIMEOUT = 3.25  # seconds beyond the grace; more than lifecycle.WORKER_CLOSING_TIMEOUT and FLUSH_TIMEOUT together
PARENT_TIMEOUT = 4.5  # seconds beyond the grace after which the parent ends itself by force
HEARTBEAT_INTERVAL = 4.0  # seconds
MAX_MISSED = 5  # heartbeats; a worker that misses more is taken to hang
JOIN_TIMEOUT = 1.0  # seconds that a process takes to end after its pipe has

Alive = Callable[[], bool]
"""Have the process's loops run since this was last called?"""

Ready = Callable[[str, str, Alive], None]
"""(HOST:PORT, URL, alive), called by a process when it can serve; as of gochat.app.serve."""

Work = Callable[[str, Memory, Ready], None]
Errors = tuple[type[Exception], ...]

_spawn = multiprocessing.get_context("spawn")  # a fork would copy gRPC's locks without the threads that hold them


class WorkerError(Exception):
    """The first workers cannot start; the message says why, as they do."""


def run(
    listen: str,
    grace: float,
    work: Work,
    metrics: Sequence[SharedMetrics],
    errors: Errors,
    all_serve: Callable[[str], None],
) -> None:
    """Runs work(HOST:PORT, memory, ready) in a worker for each of the metrics until SIGTERM or SIGINT, then lets the
    workers drain.

    all_serve(HOST:PORT) is called once, when all workers can serve, with the address of the first. grace: seconds that
    draining takes at most. errors: what work raises when it cannot start. A second signal kills all workers and raises
    SystemExit. Raises WorkerError, ListenError.
    """
    signals = _signals()
    with reserve_port(listen) as address:
        workers = [
            _Worker(number, partial(work, address, each.memory), each, errors) for number, each in enumerate(metrics, 1)
        ]
        try:
            # The first worker starts before the others: it migrates the database and makes the signing key, and if it
            # cannot start, neither can they.
            for some in (workers[:1], workers[1:]):
                for worker in some:
                    worker.start()
                if not _wait_until_serving(some, signals):
                    return
            all_serve(workers[0].address)
            _supervise(workers, signals)
        finally:
            _stop(workers, signals, grace)
    log.info("all workers stopped")


class _Worker:
    """A worker, which is one process after another. pipe: to the present process; None while there is none. missed:
    heartbeats that did not come in time; None until the process serves. due_at: when to start the next process.
    address: of the last process that served. error: why the last one ended."""

    def __init__(self, number: int, work: Callable[[Ready], None], metrics: SharedMetrics, errors: Errors) -> None:
        self._number = number
        self._metrics = metrics
        self._arguments = work, errors
        self._pause = 0.0
        self.process: SpawnProcess
        self.pipe: Connection | None = None
        self.started_at = self.due_at = 0.0
        self.address = self.error = ""
        self.missed: int | None = None

    def start(self) -> None:
        """Raises OSError where the system has no memory, process or file descriptor for it."""
        self.missed = None
        self.started_at = time.monotonic()
        ours, theirs = _spawn.Pipe()
        with theirs:  # the parent closes its copy, so that the pipe ends when the worker does
            self.process = _spawn.Process(
                target=_run_worker, args=(*self._arguments, theirs), name=f"worker {self._number}"
            )
            try:
                self.process.start()
            except BaseException:
                ours.close()
                raise
        self.pipe = ours

    def receive(self) -> bool:
        """Receives a message of the worker. If it is a heartbeat, returns True; if the worker has ended, or is about
        to, cleans up after it and returns False."""
        assert self.pipe is not None
        try:
            serves, text = self.pipe.recv()
        except (EOFError, OSError):
            serves, text = False, ""
        if serves:
            if self.missed is None:
                self.address = text
                log.info("worker %d serves: process %d", self._number, self.process.pid)
            self.missed = 0
            return True
        self.pipe.close()
        self.pipe = None
        self.process.join(JOIN_TIMEOUT)
        _kill([self.process])
        self._metrics.close_out()
        self.error = text or f"worker {self._number} (process {self.process.pid}) {_how_ended(self.process.exitcode)}"
        return False

    def miss_heartbeat(self) -> None:
        """Called every HEARTBEAT_INTERVAL: counts a heartbeat as missed until `receive` gets one. Kills a process that
        has missed too many; the end of its pipe does the rest."""
        if self.pipe and self.missed is not None:
            self.missed += 1
            if self.missed > MAX_MISSED:
                log.error("worker %d has hung for %g s: ended by force", self._number, MAX_MISSED * HEARTBEAT_INTERVAL)
                self.process.kill()

    def schedule_restart(self) -> None:
        stable = time.monotonic() - self.started_at >= STABLE_AFTER
        self._pause = 0.0 if stable else min(MAX_PAUSE, max(MIN_PAUSE, 2 * self._pause))
        self.due_at = time.monotonic() + self._pause
        log.error("%s; worker %d is restarted in %g s", self.error, self._number, self._pause)


def _signals() -> int:
    """A file descriptor from which a byte, the signal's number, can be read for each SIGTERM and SIGINT."""
    readable, writable = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: os.write(writable, bytes([received])))
    return readable


def _wait_until_serving(workers: Sequence[_Worker], signals: int) -> bool:
    """Waits for workers that were just started. False on a signal. Raises WorkerError if one of them cannot start."""
    waiting = {worker.pipe: worker for worker in workers if worker.pipe}
    while waiting:
        for source in wait([signals, *waiting]):
            if source == signals:
                os.read(signals, 1)
                return False
            assert isinstance(source, Connection)
            worker = waiting.pop(source)
            if not worker.receive():
                raise WorkerError(worker.error)
    return True


def _supervise(workers: Sequence[_Worker], signals: int) -> None:
    """Restarts workers that end or hang, until a signal comes."""
    heartbeat_at = time.monotonic() + HEARTBEAT_INTERVAL
    while True:
        running = {worker.pipe: worker for worker in workers if worker.pipe}
        until = min([heartbeat_at, *(worker.due_at for worker in workers if not worker.pipe)])
        for source in wait([signals, *running], max(0.0, until - time.monotonic())):
            if source == signals:
                os.read(signals, 1)
                return
            assert isinstance(source, Connection)
            if not running[source].receive():
                running[source].schedule_restart()
        for worker in workers:
            if not worker.pipe and worker.due_at <= time.monotonic():
                try:
                    worker.start()
                except Exception as error:  # noqa: BLE001 - the others go on, and this one is tried again
                    worker.error = f"no process: {error}"
                    worker.schedule_restart()
        # Heartbeats are counted here, and not timed: if all processes were stopped for a while (SIGSTOP, a machine that
        # slept), the time in between is not held against the workers.
        if heartbeat_at <= time.monotonic():
            heartbeat_at = time.monotonic() + HEARTBEAT_INTERVAL
            for worker in workers:
                worker.miss_heartbeat()


def _stop(workers: Sequence[_Worker], signals: int, grace: float) -> None:
    """Lets the workers drain; kills those that take too long, and all of them on another signal."""
    end_after(grace + PARENT_TIMEOUT)
    running = [worker.process for worker in workers if worker.pipe]
    for process in running:
        process.terminate()
    until = time.monotonic() + grace + WORKER_TIMEOUT
    while running := [process for process in running if process.is_alive()]:
        over = wait([signals, *(process.sentinel for process in running)], max(0.0, until - time.monotonic()))
        if signals in over:
            _kill(running)
            raise SystemExit(128 + os.read(signals, 1)[0])
        if not over:
            log.warning("%d workers did not end within %g s: ended by force", len(running), grace + WORKER_TIMEOUT)
            _kill(running)


def _kill(processes: Sequence[SpawnProcess]) -> None:
    for process in processes:
        process.kill()
        process.join(JOIN_TIMEOUT)


def _how_ended(code: int | None) -> str:
    """code: as Process.exitcode."""
    return f"was ended by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with code {code}"


def _run_worker(work: Callable[[Ready], None], errors: Errors, pipe: Connection) -> None:
    """What a worker process runs."""
    threading.Thread(target=_end_with_parent, args=(pipe,), name="parent", daemon=True).start()

    with ExitStack() as loops:

        def ready(address: str, _: str, alive: Alive) -> None:
            pipe.send((True, address))
            loops.enter_context(periodic("heartbeat", partial(_send_heartbeat, pipe, alive), HEARTBEAT_INTERVAL))

        try:
            work(ready)
        except errors as error:
            pipe.send((False, str(error)))
            sys.exit(1)


def _send_heartbeat(pipe: Connection, alive: Alive) -> None:
    if alive():
        with suppress(OSError):  # the parent is dead: _end_with_parent sees to that
            pipe.send((True, ""))


def _end_with_parent(pipe: Connection) -> None:
    """Waits for the end of the pipe, since the parent sends nothing, and then has this process drain and end."""
    with suppress(Exception):
        pipe.recv()
    os.kill(os.getpid(), signal.SIGTERM)
