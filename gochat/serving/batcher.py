"""Calls that are run as one: what comes in while one batch is under way makes up the next.

A call to a database or a host elsewhere costs much the same for one message as for many, and a thread for each call
costs more than the rest of it.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

from gochat.context import entered
from gochat.errors import deadline_exceeded
from gochat.serving.binding import Batch
from gochat.serving.call import ServerCall

THREADS = 4
MAX_BATCH = 50  # calls; of the largest messages no more go into the largest request of the seam
MAX_WAIT = 0.05  # seconds: what is under way for longer is not waited for, it may hang

log = logging.getLogger(__name__)


class Batcher:
    """One thread runs what has come in, the next waits for it to be done; the others only matter where something hangs.

    unbatched: the executor of calls that are not run as a batch, and of all while every thread hangs.
    """

    def __init__(self, batch: Batch, unbatched: Callable[[ServerCall], None]) -> None:
        self._batch = batch
        self._unbatched = unbatched
        self._queue: SimpleQueue[ServerCall] = SimpleQueue()
        self._next = threading.Lock()
        self._under_way = threading.Lock()
        self._free = threading.Semaphore(THREADS)
        for _ in range(THREADS):
            threading.Thread(target=self._work, name="batcher", daemon=True).start()

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    def execute(self, call: ServerCall) -> None:
        """An Executor."""
        if self._free._value:
            self._queue.put(call)
        else:
            self._unbatched(call)

    def _work(self) -> None:
        while True:
            self._run_next()

    def _run_next(self) -> None:
        """A function of its own, so that no thread keeps the calls of its last batch while it waits for the next."""
        with self._next:
            calls = [self._queue.get()]
            first = self._under_way.acquire(timeout=MAX_WAIT)
            while len(calls) < MAX_BATCH and not self._queue.empty():
                calls.append(self._queue.get())
            self._free.acquire()
        try:
            self._run(calls)
        except Exception:
            log.exception("a batch was not run")
        finally:
            self._free.release()
            if first:
                self._under_way.release()

    def _run(self, calls: list[ServerCall]) -> None:
        in_time = [call for call in calls if call.call.remaining() > 0]
        answers = dict(zip(in_time, self._answers(in_time), strict=True)) if in_time else {}
        for call in calls:
            try:
                self._finish(call, answers[call] if call in answers else deadline_exceeded())
            except Exception:
                log.exception("a call was not answered")

    def _answers(self, calls: list[ServerCall]) -> Sequence[Any]:
        """Runs as the first of these calls, for as long as one of them may take."""
        try:
            with entered(replace(calls[0].call, deadline=max(call.call.deadline for call in calls))):
                return self._batch([(call.call, call.request) for call in calls])
        except Exception as error:  # noqa: BLE001 - it is the answer to each of them
            return [error] * len(calls)

    def _finish(self, call: ServerCall, answer: Any) -> None:
        if answer is None:
            self._unbatched(call)
        elif isinstance(answer, Exception):
            call.done(answer)
        else:
            call.response = answer
            call.done()
