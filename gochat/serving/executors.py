"""Where an admitted call runs: inline, pooled, queued (for the thread that writes), batched.

Switching the interpreter from thread to thread costs more than a short call does. So calls that are soon done run
inline, on the transport's serving thread, while every other call waits, and get a thread only if they take longer after
all; writes to SQLite are queued for the one thread that does many of them in one transaction.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue

from gochat.context import Call, Enqueue, Lane, TooLongError
from gochat.domain.access import Cost
from gochat.domain.tokens import Tokens, UnknownKeyError
from gochat.errors import busy, unauthorized
from gochat.serving.batcher import Batcher
from gochat.serving.binding import Method
from gochat.serving.call import ServerCall, overdue

CORES = os.cpu_count() or 1
HASHING_THREADS = CORES + 2
SEARCH_THREADS = max(1, CORES - 1)  # searches leave a core to everything else
CONTROL_THREADS = 2
MAX_QUEUED = 1000  # calls that wait for a thread; more are refused. All limits together are less than MAX_WAITING
MAX_HASHES = 500  # that wait for a thread
MAX_SEARCHES = 64  # that wait for a thread
MAX_SEARCHES_PER_CALLER = 4  # running or waiting

Executor = Callable[[ServerCall], None]
"""Has an admitted call run, here or elsewhere, and its `done` called."""


class Pool:
    """Threads, made when they are needed, that run calls in the order in which they come in.

    max_per_caller: calls of one user that run or wait; 0: any number.
    """

    def __init__(
        self, name: str, threads: int, lane: Lane = Lane.POOLED, queued: int = MAX_QUEUED, max_per_caller: int = 0
    ) -> None:
        self._name, self.threads, self._lane, self._max_queued = name, threads, lane, queued
        self._max_per_caller = max_per_caller
        self._callers: Counter[str] = Counter()
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = threading.Lock()  # of the numbers below and of _callers: held for a moment, never while waiting
        self._started = 0
        self._free = 0  # threads that wait for work, less the work that is on its way to them
        self.busy = 0

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    def execute(self, call: ServerCall) -> None:
        """An Executor."""
        if self._max_per_caller:
            caller = call.call.caller.user_id
            with self._lock:
                full = bool(caller) and self._callers[caller] >= self._max_per_caller
                if not full:
                    self._callers[caller] += 1
            if full:
                call.done(busy(f"{self._max_per_caller} calls of this kind of yours run or wait already"))
                return
        if not self.submit(partial(self._run, call)):
            self._leave(call)
            call.done(busy(f"too many calls wait for a thread ({self._name})"))

    def submit(self, work: Callable[[], None]) -> bool:
        """False where too much waits already. work must not raise."""
        if self._queue.qsize() >= self._max_queued:
            return False
        with self._lock:
            self._free -= 1
            start = self._free < 0 and self._started < self.threads
            self._started += start
        self._queue.put(work)
        if start:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        return True

    def _work(self) -> None:
        while True:
            with self._lock:
                self._free += 1
            work = self._queue.get()
            with self._lock:
                self.busy += 1
            work()
            del work  # it holds a call, which would hold its connection's stream until the next one comes
            with self._lock:
                self.busy -= 1

    def _run(self, call: ServerCall) -> None:
        error: Exception | None = overdue(call)
        if error is None:
            try:
                call.run(in_lane(call.call, self._lane))
            except Exception as raised:  # noqa: BLE001 - it is the answer
                error = raised
        self._leave(call)
        call.done(error)

    def _leave(self, call: ServerCall) -> None:
        if self._max_per_caller:
            with self._lock:
                self._callers[call.call.caller.user_id] -= 1
                self._callers += Counter()  # drops what is 0


class Inline:
    """Runs calls where they come in, on the serving thread.

    What is run may after all wait for a disk. `_running` holds when the call that runs now began, and whoever takes it
    out of there decides, for a dictionary is changed by one thread at a time: the serving thread itself, when the call
    has run; or a thread that watches, when it takes too long (`take_over`), which then has another thread serve. The
    thread that was replaced finds itself in `replaced`, answers the call, and serves no more.
    """

    def __init__(self, otherwise: Executor) -> None:
        """otherwise: of calls that take too long."""
        self._otherwise = otherwise
        self._running: dict[int, float] = {}  # number of the call -> when it began; one at most
        self._suspended_until = 0.0
        self.executed = 0
        self.replaced: set[int] = set()  # threads

    def execute(self, call: ServerCall) -> None:
        self.executed = number = self.executed + 1
        self._running[number] = time.monotonic()
        error: Exception | None = None
        try:
            call.run(call.call)
        except Exception as raised:  # noqa: BLE001 - it is the answer
            error = raised
        if self._running.pop(number, None) is None:
            self.replaced.add(threading.get_ident())
        if isinstance(error, TooLongError):
            self._otherwise(call)
        else:
            call.done(error)

    def execute_read(self, call: ServerCall) -> None:
        """For calls that read from a disk: for a while after one was too slow they get a thread."""
        if self._suspended_until and time.monotonic() < self._suspended_until:
            self._otherwise(call)
        else:
            self.execute(call)

    def take_over(self, longest: float, suspend: float, waits: Callable[[], bool]) -> bool:
        """Has a call run for `longest` seconds, and waits()? Then its thread serves no more after it, and for `suspend`
        seconds reads are not run inline."""
        for number, began in list(self._running.items()):
            if time.monotonic() - began >= longest and waits() and self._running.pop(number, None) is not None:
                self._suspended_until = time.monotonic() + suspend
                return True
        return False


class Executors:
    """The executors of one server, and which of them a method has. A table of costs, with one exception: what can be
    done as a batch is, where writes have no thread of their own.

    enqueue: of a database that is a file of this process, where writes have one thread, and a page of rows is read
    without waiting for anyone; None elsewhere.
    """

    def __init__(self, threads: int, enqueue: Enqueue | None) -> None:
        self.calls = Pool("call", threads)
        self.hashing = Pool("hash", HASHING_THREADS, queued=MAX_HASHES)  # a flood of sign-ins leaves the others alone
        self.searches = Pool("search", SEARCH_THREADS, queued=MAX_SEARCHES, max_per_caller=MAX_SEARCHES_PER_CALLER)
        self.control = Pool("control", CONTROL_THREADS, Lane.CONTROL)
        self.inline = Inline(self.calls.execute)
        self.batchers: list[Batcher] = []
        self._enqueue = enqueue
        self._of_cost: dict[Cost, Executor] = {
            Cost.NOTHING: self.inline.execute,
            Cost.PAGE: self.inline.execute_read if enqueue else self.calls.execute,
            Cost.WRITE: self._queue if enqueue else self.calls.execute,
            Cost.USUAL: self.calls.execute,
            Cost.HASH: self.hashing.execute,
            Cost.SEARCH: self.searches.execute,
            Cost.CONTROL: self.control.execute,
        }

    def of(self, method: Method) -> Executor:
        executor = self._of_cost[method.rule.cost]
        if method.batch is None or executor == self._queue:
            return executor
        self.batchers.append(Batcher(method.batch, unbatched=executor))
        return self.batchers[-1].execute

    def _queue(self, call: ServerCall) -> None:
        assert self._enqueue is not None
        self._enqueue(call.call, call.run, call.done)

    def statistics(self) -> dict[str, int]:
        """By the names of gochat.monitoring.numbers."""
        return {
            "calls_waiting": self.calls.waiting + sum(batcher.waiting for batcher in self.batchers),
            "calls_on_threads": self.calls.busy,
            "call_threads": self.calls.threads,
            "hashes_waiting": self.hashing.waiting,
            "hashes_on_threads": self.hashing.busy,
            "hash_threads": self.hashing.threads,
            "searches_waiting": self.searches.waiting,
            "searches_on_threads": self.searches.busy,
            "search_threads": self.searches.threads,
        }


def start(
    call: ServerCall, lane: Lane, executor: Executor, tokens: Tokens, submit: Callable[[Callable[[], None]], bool]
) -> None:
    """Admits the call and has it run. lane: the executor's. submit: of a pool, where other keys are looked for if the
    call's token needs that."""
    try:
        call.admit(lane)
    except UnknownKeyError:
        if not submit(partial(_start_with_new_keys, call, lane, executor, tokens)):
            call.done(busy("too many calls wait for a thread"))
        return
    except Exception as error:  # noqa: BLE001 - it is the answer
        call.done(error)
        return
    executor(call)


def _start_with_new_keys(call: ServerCall, lane: Lane, executor: Executor, tokens: Tokens) -> None:
    try:
        tokens.look_for_keys()
        call.admit(lane)
    except UnknownKeyError as error:
        call.done(unauthorized(str(error), "BAD_TOKEN"))
    except Exception as error:  # noqa: BLE001 - it is the answer
        call.done(error)
    else:
        executor(call)


def here(call: ServerCall) -> None:
    """An Executor: on the thread that it is called by, which may wait."""
    error: Exception | None = None
    try:
        call.run(call.call)
    except Exception as raised:  # noqa: BLE001 - it is the answer
        error = raised
    call.done(error)


def in_lane(call: Call, lane: Lane) -> Call:
    if lane is call.lane:
        return call
    return Call(call.caller, call.request_id, call.deadline, call.actor, call.peer, lane)
