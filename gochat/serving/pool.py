"""A thread pool that runs calls, fair between users."""

import logging
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from queue import SimpleQueue

from gochat.context import Call, Lane
from gochat.errors import overloaded
from gochat.serving.call import ServerCall

MAX_WAITING = 1000  # calls that wait for a thread of a pool; more are refused

log = logging.getLogger(__name__)


class Pool:
    """Threads, started when they are needed, that run calls in the order in which they come in.

    Of one user at most `max_running_per_user` calls are in the pool's queue or on its threads. Further ones wait in a
    queue of that user, at most `max_waiting_per_user`, so that they delay nobody else. Services and admins have no such
    limit. max_waiting: calls that may wait in all queues together; more are refused.

    `execute` and `submit` are called by any thread. The pool's threads call `_work` and what it calls. `_lock` guards
    every counter and the queues of users; it is held for a few additions, or until a new thread has started, never
    while a call runs. A call belongs to the pool's thread from the moment that it is taken from the queue until `done`.
    """

    def __init__(
        self,
        name: str,
        threads: int,
        lane: Lane = Lane.POOLED,
        *,
        max_waiting: int = MAX_WAITING,
        max_running_per_user: int,
        max_waiting_per_user: int,
    ) -> None:
        self._name, self.threads, self._lane, self._max_waiting = name, threads, lane, max_waiting
        self._max_running_per_user, self._max_waiting_per_user = max_running_per_user, max_waiting_per_user
        self._running: Counter[str] = Counter()  # user -> calls on threads or in the pool's queue
        self._user_queues: defaultdict[str, deque[ServerCall]] = defaultdict(deque)
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = threading.Lock()
        self._started = 0  # threads
        self._free = 0  # threads that wait for work, minus the work in the queue
        self._in_user_queues = 0  # calls
        self.active = 0  # threads that run a call

    @property
    def queued(self) -> int:
        """Calls that the next threads take, whosever they are."""
        return self._queue.qsize()

    @property
    def waiting(self) -> int:
        return self.queued + self._in_user_queues

    def execute(self, call: ServerCall) -> None:
        """An Executor."""
        call.transport.on_wait()
        user = _user(call)
        with self._lock:
            if user and self._running[user] >= self._max_running_per_user:
                queue = self._user_queues[user]
                full = len(queue) >= self._max_waiting_per_user or self.waiting >= self._max_waiting
                if not full:
                    queue.append(call)
                    self._in_user_queues += 1
            elif not (full := not self._enqueue(partial(self._run, call))) and user:
                self._running[user] += 1
        if full:
            call.done(overloaded("too many calls wait for a thread"))

    def submit(self, work: Callable[[], None]) -> bool:
        """Has work() run by a thread of the pool. False where too much waits already."""
        with self._lock:
            return self._enqueue(work)

    def _enqueue(self, work: Callable[[], None]) -> bool:
        """Under the lock. False where too much waits already, or where not even one thread can be started."""
        if self.waiting >= self._max_waiting:
            return False
        if self._free <= 0 and self._started < self.threads:
            try:
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
            except RuntimeError:  # the system's limit of threads is reached
                if not self._started:
                    return False
            else:
                self._started += 1
        self._queue.put(work)
        self._free -= 1
        return True

    def _work(self) -> None:
        while True:
            with self._lock:
                self._free += 1
            work = self._queue.get()
            with self._lock:
                self.active += 1
            try:
                work()
            except Exception:
                log.exception("a call was not answered")
            del work  # it refers to a call, and so to a connection, which must not live until the next call comes
            with self._lock:
                self.active -= 1

    def _run(self, call: ServerCall) -> None:
        error: Exception | None = call.skip_error()
        if error is None:
            try:
                call.run(in_lane(call.call, self._lane))
            except Exception as raised:  # noqa: BLE001 - it is the answer
                error = raised
        try:
            call.done(error)
        finally:
            self._start_next_of(_user(call))

    def _start_next_of(self, user: str) -> None:
        """One of the user's calls has ended: moves the next one from their queue into the pool's."""
        if not user:
            return
        with self._lock:
            if queue := self._user_queues.get(user):
                self._in_user_queues -= 1
                self._queue.put(partial(self._run, queue.popleft()))  # this thread takes it, if no other does before
                self._free -= 1
                return
            self._user_queues.pop(user, None)
            self._running[user] -= 1
            if not self._running[user]:
                del self._running[user]


def _user(call: ServerCall) -> str:
    """The user whose limits apply; "" for services and admins, who have none."""
    caller = call.call.caller
    return "" if caller.privileged else caller.user_id


def in_lane(call: Call, lane: Lane) -> Call:
    if lane is call.lane:
        return call
    return replace(call, lane=lane)
