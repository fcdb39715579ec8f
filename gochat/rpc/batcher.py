"""Calls that are done together, as one: what comes in while one batch is under way makes up the next.

A call to a database or a host elsewhere costs much the same for one message as for many, and a thread a call costs more
than the rest of it.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

from gochat.context import End, entered
from gochat.errors import deadline_exceeded
from gochat.rpc.bind import Together
from gochat.rpc.guard import Place, Visit

THREADS = 4
MOST = 50  # calls in a batch; of the largest messages no more go into the largest request of the seam
PATIENCE = 0.05  # seconds: what is under way for longer is not waited for, it may hang

log = logging.getLogger(__name__)


class Batcher:
    """One thread does what has come in, the next waits for it to be done; the others only matter where something hangs.

    alone: the place of calls that are not done together, and of all while every thread hangs.
    """

    def __init__(self, together: Together, alone: Place) -> None:
        self._together = together
        self._alone = alone
        self._queue: SimpleQueue[tuple[Visit, End]] = SimpleQueue()
        self._next = threading.Lock()
        self._under_way = threading.Lock()
        self._free = threading.Semaphore(THREADS)
        for _ in range(THREADS):
            threading.Thread(target=self._work, name="batcher", daemon=True).start()

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    def join(self, visit: Visit, end: End) -> None:
        """A place."""
        if self._free._value:
            self._queue.put((visit, end))
        else:
            self._alone(visit, end)

    def _work(self) -> None:
        while True:
            with self._next:
                batch = [self._queue.get()]
                first = self._under_way.acquire(timeout=PATIENCE)
                while len(batch) < MOST and not self._queue.empty():
                    batch.append(self._queue.get())
                self._free.acquire()
            try:
                self._do(batch)
            finally:
                self._free.release()
                if first:
                    self._under_way.release()
                del batch  # else its calls, and so their connections, would last until the next one

    def _do(self, batch: list[tuple[Visit, End]]) -> None:
        in_time = [visit for visit, _ in batch if visit.call.remaining() > 0]
        answers = dict(zip(in_time, self._answers(in_time), strict=True)) if in_time else {}
        for visit, end in batch:
            try:
                self._end(visit, end, answers[visit] if visit in answers else deadline_exceeded())
            except Exception:
                log.exception("a call was not answered")

    def _answers(self, visits: list[Visit]) -> Sequence[Any]:
        """Runs as the first of these calls, for as long as one of them may take."""
        calls = [(visit.call, visit.request) for visit in visits]
        try:
            with entered(replace(calls[0][0], deadline=max(call.deadline for call, _ in calls))):
                return self._together(calls)
        except Exception as error:  # noqa: BLE001 - each of them is told
            return [error] * len(calls)

    def _end(self, visit: Visit, end: End, answer: Any) -> None:
        if answer is None:
            self._alone(visit, end)
        elif isinstance(answer, Exception):
            end(answer)
        else:
            visit.response = answer
            end(None)
