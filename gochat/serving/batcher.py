"""Batches: calls that come in while one batch runs make up the next batch, which a handler runs as one.

A round trip to a database or another host costs much the same for one message as for many, and a thread for each call
costs more than the rest of the call.
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
MAX_BATCH = 50  # calls; more of the largest messages would not fit into one request across the seam
MAX_WAIT = 0.05  # seconds that a batch waits for the one before it, which may hang

log = logging.getLogger(__name__)


class Batcher:
    """Runs calls of one RPC in batches, on THREADS threads of its own.

    Any thread calls `execute`, which only queues the call. One batcher thread at a time collects a batch
    (`_collecting`): it takes the first call, waits until no batch runs (`_running`), and meanwhile more calls queue
    up. So in the normal case one thread more works, which collects the next; the others take over where a
    batch hangs for longer than MAX_WAIT. A call belongs to the thread that took it from the queue until it is done.

    unbatched: the executor for calls that the handler leaves out of the batch, and for all calls while every thread
    hangs. most: calls of a batch.
    """

    def __init__(self, batch: Batch, unbatched: Callable[[ServerCall], None], most: int = MAX_BATCH) -> None:
        self._batch, self._most = batch, most
        self._unbatched = unbatched
        self._queue: SimpleQueue[ServerCall] = SimpleQueue()
        self._collecting = threading.Lock()
        self._running = threading.Semaphore()
        self._free = threading.Semaphore(THREADS)  # threads that are not running a batch
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
        """A separate function so that its local variables, and the calls in them, are freed before the next wait."""
        with self._collecting:
            calls = [self._queue.get()]
            first = self._running.acquire(timeout=MAX_WAIT)
            while len(calls) < self._most and not self._queue.empty():
                calls.append(self._queue.get())
            self._free.acquire()
        try:
            self._run(calls)
        except Exception:
            log.exception("a batch was not run")
        finally:
            self._free.release()
            if first:
                self._running.release()

    def _run(self, calls: list[ServerCall]) -> None:
        in_time = [call for call in calls if call.call.remaining() > 0]
        answers = dict(zip(in_time, self._answers(in_time), strict=True)) if in_time else {}
        for call in calls:
            try:
                self._finish(call, answers[call] if call in answers else deadline_exceeded())
            except Exception:
                log.exception("a call was not answered")

    def _answers(self, calls: list[ServerCall]) -> Sequence[Any]:
        """Runs the batch as the first of these calls (its request id), with the latest of their deadlines."""
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
