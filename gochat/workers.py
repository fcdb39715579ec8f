"""Several processes on one port: the parent, which starts the workers, watches them and stops them. It serves nobody.

The kernel gives each new connection to one of the workers (SO_REUSEPORT). Between the parent and a worker there is a
pipe: the worker says on it that it serves, again and again, or why it cannot; when it closes, the other end is dead.
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
from gochat.monitoring.board import Board, Memory
from gochat.rpc.server import held

log = logging.getLogger(__name__)

STEADY = 10.0  # seconds: who ran so long and ends is replaced at once, others after a pause
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds; each is twice the one before
CLOSING = 3.25  # seconds beyond the grace: more than lifecycle.WORKER_CLOSING_TIMEOUT and LAST_WORDS_TIMEOUT
OWN_CLOSING = 4.5  # seconds beyond the grace after which the parent ends too, by force
BEAT = 4.0  # seconds between two signs of life of a worker
MISSED = 5  # of them after which it is taken for hung
REAPING = 1.0  # seconds that a process takes to end after its pipe has

Ready = Callable[[str], None]
Alive = Callable[[], bool]
"""Has the process served, or been able to, since this was last asked?"""

Serves = Callable[[str, Alive], None]
"""(line, alive): the process can serve."""

Work = Callable[[str, Memory, Serves], None]
Errors = tuple[type[Exception], ...]

_spawn = multiprocessing.get_context("spawn")  # a fork would inherit gRPC's threads without their locks' owners


class WorkerError(Exception):
    """The first workers cannot start; the message says why, as they do."""


def run(listen: str, grace: float, work: Work, boards: Sequence[Board], errors: Errors, ready: Ready) -> None:
    """Runs work(HOST:PORT, memory, serves) in a process for each board until SIGTERM or SIGINT, then lets them drain.

    ready(line) is called once, with what the first worker said, when all serve. grace: seconds that draining takes at
    most. errors: what work raises when it cannot start. A second signal ends all at once, by SystemExit. Raises
    WorkerError, ListenError.
    """
    told = _signals()
    with held(listen) as address:
        workers = [
            _Worker(number, partial(work, address, board.memory), board, errors)
            for number, board in enumerate(boards, 1)
        ]
        try:
            # The first starts alone: it migrates the database, makes the signing key, and finds what is wrong.
            for some in (workers[:1], workers[1:]):
                for worker in some:
                    worker.start()
                if not _all_serve(some, told):
                    return
            ready(workers[0].line)
            _watch(workers, told)
        finally:
            _stop(workers, told, grace)
    log.info("all workers stopped")


class _Worker:
    """One process after the other. pipe: None while there is none. silent: beats without a sign of life; None until it
    serves. error: why the last one ended."""

    def __init__(self, number: int, work: Callable[[Serves], None], board: Board, errors: Errors) -> None:
        self._number = number
        self._board = board
        self._arguments = work, errors
        self._pause = 0.0
        self.process: SpawnProcess
        self.pipe: Connection | None = None
        self.started_at = self.due_at = 0.0
        self.line = self.error = ""
        self.silent: int | None = None

    def start(self) -> None:
        """Raises OSError where there is no memory, process or descriptor for it."""
        self.silent = None
        self.started_at = time.monotonic()
        ours, theirs = _spawn.Pipe()
        with theirs:  # closed here, so that the pipe ends with the worker
            self.process = _spawn.Process(target=_work, args=(*self._arguments, theirs), name=f"worker {self._number}")
            try:
                self.process.start()
            except BaseException:
                ours.close()
                raise
        self.pipe = ours

    def serves(self) -> bool:
        """Takes what the worker says; if that is its end, cleans up after it."""
        assert self.pipe is not None
        try:
            serves, text = self.pipe.recv()
        except (EOFError, OSError):
            serves, text = False, ""
        if serves:
            if self.silent is None:
                self.line = text
                log.info("worker %d serves: process %d", self._number, self.process.pid)
            self.silent = 0
            return True
        self.pipe.close()
        self.pipe = None
        self.process.join(REAPING)
        _end([self.process])
        self._board.settle()
        self.error = text or f"worker {self._number} (process {self.process.pid}) {_how(self.process.exitcode)}"
        return False

    def beat(self) -> None:
        """Counts, and ends who has said nothing for MISSED beats: its pipe tells the rest."""
        if self.pipe and self.silent is not None:
            self.silent += 1
            if self.silent > MISSED:
                log.error("worker %d has hung for %g s: ended by force", self._number, MISSED * BEAT)
                self.process.kill()

    def put_off(self) -> None:
        """Sets the time at which the next process starts."""
        steady = time.monotonic() - self.started_at >= STEADY
        self._pause = 0.0 if steady else min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * self._pause))
        self.due_at = time.monotonic() + self._pause
        log.error("%s; worker %d starts anew in %g s", self.error, self._number, self._pause)


def _signals() -> int:
    """A file descriptor with a byte, its number, for each SIGTERM and SIGINT."""
    told, tell = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: os.write(tell, bytes([received])))
    return told


def _all_serve(workers: Sequence[_Worker], told: int) -> bool:
    """Waits for workers that have just been started. False on a signal. Raises WorkerError if one cannot."""
    waiting = {worker.pipe: worker for worker in workers if worker.pipe}
    while waiting:
        for source in wait([told, *waiting]):
            if source == told:
                os.read(told, 1)
                return False
            assert isinstance(source, Connection)
            worker = waiting.pop(source)
            if not worker.serves():
                raise WorkerError(worker.error)
    return True


def _watch(workers: Sequence[_Worker], told: int) -> None:
    """Starts workers anew that end or hang, until a signal."""
    beat_at = time.monotonic() + BEAT
    while True:
        running = {worker.pipe: worker for worker in workers if worker.pipe}
        until = min([beat_at, *(worker.due_at for worker in workers if not worker.pipe)])
        for source in wait([told, *running], max(0.0, until - time.monotonic())):
            if source == told:
                os.read(told, 1)
                return
            assert isinstance(source, Connection)
            if not running[source].serves():
                running[source].put_off()
        for worker in workers:
            if not worker.pipe and worker.due_at <= time.monotonic():
                try:
                    worker.start()
                except Exception as error:  # noqa: BLE001 - the others go on, and this one is tried again
                    worker.error = f"no process: {error}"
                    worker.put_off()
        # Counted, not timed: who was stopped together with us is not to blame for it.
        if beat_at <= time.monotonic():
            beat_at = time.monotonic() + BEAT
            for worker in workers:
                worker.beat()


def _stop(workers: Sequence[_Worker], told: int, grace: float) -> None:
    """Lets them drain; who takes too long is ended, and all are on another signal."""
    end_after(grace + OWN_CLOSING)
    running = [worker.process for worker in workers if worker.pipe]
    for process in running:
        process.terminate()
    until = time.monotonic() + grace + CLOSING
    while running := [process for process in running if process.is_alive()]:
        over = wait([told, *(process.sentinel for process in running)], max(0.0, until - time.monotonic()))
        if told in over:
            _end(running)
            raise SystemExit(128 + os.read(told, 1)[0])
        if not over:
            log.warning("%d workers did not end within %g s: ended by force", len(running), grace + CLOSING)
            _end(running)


def _end(processes: Sequence[SpawnProcess]) -> None:
    for process in processes:
        process.kill()
        process.join(REAPING)


def _how(code: int | None) -> str:
    """code: as Process.exitcode."""
    return f"was ended by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with code {code}"


def _work(work: Callable[[Serves], None], errors: Errors, pipe: Connection) -> None:
    """What a worker process runs."""
    threading.Thread(target=_end_with_parent, args=(pipe,), name="parent", daemon=True).start()

    with ExitStack() as loops:

        def serves(line: str, alive: Alive) -> None:
            pipe.send((True, line))
            loops.enter_context(periodic("heartbeat", partial(_beat, pipe, alive), BEAT))

        try:
            work(serves)
        except errors as error:
            pipe.send((False, str(error)))
            sys.exit(1)


def _beat(pipe: Connection, alive: Alive) -> None:
    if alive():
        with suppress(OSError):  # of a parent that is gone, see _end_with_parent
            pipe.send((True, ""))


def _end_with_parent(pipe: Connection) -> None:
    with suppress(Exception):  # whatever it is, it is no parent that says something
        pipe.recv()
    os.kill(os.getpid(), signal.SIGTERM)
