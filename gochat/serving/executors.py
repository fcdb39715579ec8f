"""Where an admitted call runs: inline, pooled, queued (for the thread that writes), batched.

Switching the interpreter from thread to thread costs more than a short call does. So calls that are soon done run
inline, on the transport's serving thread, while every other call waits, and get a thread only if they take longer after
all; writes to SQLite are queued for the one thread that does many of them in one transaction.
"""

import logging
import os
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue

from gochat.context import Call, Enqueue, Lane, TooLongError
from gochat.domain.access import Cost
from gochat.domain.tokens import Tokens, UnknownKeyError
from gochat.errors import busy, unauthorized
from gochat.serving.batcher import Batcher
from gochat.serving.binding import Method
from gochat.serving.call import ServerCall

CORES = os.cpu_count() or 1
HASHING_THREADS = CORES + 2
SEARCH_THREADS = max(1, CORES - 1)  # searches leave a core to everything else
CONTROL_THREADS = 2
MAX_QUEUED = 1000  # calls that wait for a thread, in the queue or in a line; more are refused
MAX_HASHES = 400  # that wait for a thread
MAX_UNKNOWN_KEYS = 64  # calls whose token's key is looked for
MAX_SEARCHES = 64  # that wait for a thread
DEVICE_PAUSE = 1.0  # seconds without inline reads after one waited for a device
USER_PAUSE = 0.05  # seconds without those of a user after one of theirs took too long
MAX_SLOW = 1000  # users whose reads get a thread for that reason
MAX_SHARE = 2  # calls of one user that threads run side by side, of the largest answers tens of megabytes
MAX_LINE = 250  # further ones of the same user
MAX_HASH_LINE = MAX_SEARCH_LINE = 4

log = logging.getLogger(__name__)

Executor = Callable[[ServerCall], None]
"""Has an admitted call run, here or elsewhere, and its `done` called."""


class Pool:
    """Threads, made when they are needed, that run calls in the order in which they come in.

    queued: work that may wait; more is refused. share: calls of one user that run at once; the user's further ones wait
    in a line of their own, of `line` calls, so that they delay nobody else. Services have no line.
    """

    def __init__(
        self, name: str, threads: int, lane: Lane = Lane.POOLED, *, queued: int = MAX_QUEUED, share: int, line: int
    ) -> None:
        self._name, self.threads, self._lane, self._max_queued = name, threads, lane, queued
        self._share, self._max_line = share, line
        self._running: Counter[str] = Counter()  # or in the queue, by user
        self._lines: defaultdict[str, deque[ServerCall]] = defaultdict(deque)
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = threading.Lock()  # of all these numbers: held for a moment, or until a thread has started
        self._started = 0
        self._free = 0  # threads that wait for work, less the work that is on its way to them
        self._in_lines = 0
        self.busy = 0

    @property
    def waiting(self) -> int:
        return self._queue.qsize() + self._in_lines

    def execute(self, call: ServerCall) -> None:
        """An Executor."""
        call.transport.on_wait()
        user = _user(call)
        with self._lock:
            if user and self._running[user] >= self._share:
                line = self._lines[user]
                full = len(line) >= self._max_line or self.waiting >= self._max_queued
                if not full:
                    line.append(call)
                    self._in_lines += 1
            elif not (full := not self._enqueue(partial(self._run, call))) and user:
                self._running[user] += 1
        if full:
            call.done(busy("too many calls wait for a thread"))

    def _leave(self, user: str) -> None:
        """A call of the user's is over: the next one in line may run."""
        if not user:
            return
        with self._lock:
            if line := self._lines.get(user):
                self._in_lines -= 1
                self._queue.put(partial(self._run, line.popleft()))  # for this thread, at the latest
                self._free -= 1
                return
            self._lines.pop(user, None)
            self._running[user] -= 1
            if not self._running[user]:
                del self._running[user]

    def submit(self, work: Callable[[], None]) -> bool:
        """False where too much waits already."""
        with self._lock:
            return self._enqueue(work)

    def _enqueue(self, work: Callable[[], None]) -> bool:
        """Under the lock. False where too much waits already, or the system has no thread for the first."""
        if self.waiting >= self._max_queued:
            return False
        if self._free <= 0 and self._started < self.threads:
            try:
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
            except RuntimeError:  # no more threads are to be had
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
                self.busy += 1
            try:
                work()
            except Exception:
                log.exception("a call was not answered")
            del work  # it holds a call, which would hold its connection's stream until the next one comes
            with self._lock:
                self.busy -= 1

    def _run(self, call: ServerCall) -> None:
        error: Exception | None = call.refusal()
        if error is None:
            try:
                call.run(in_lane(call.call, self._lane))
            except Exception as raised:  # noqa: BLE001 - it is the answer
                error = raised
        try:
            call.done(error)
        finally:
            self._leave(_user(call))


def _user(call: ServerCall) -> str:
    """Who has a share: "" for services and admins, who have no limits."""
    caller = call.call.caller
    return "" if caller.privileged else caller.user_id


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
        self._slow: dict[str, float] = {}  # user, or "" for all -> until when their reads get a thread
        self.executed = 0
        self.replaced: set[int] = set()  # threads

    def execute(self, call: ServerCall) -> None:
        """An Executor, on the serving thread; from another one the call goes to the pool."""
        if call.call.lane is not Lane.INLINE:
            self._otherwise(call)
            return
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
            if user := call.call.caller.user_id:
                self._pause(user, USER_PAUSE)
            self._otherwise(call)
        else:
            call.done(error)

    def _pause(self, user: str, seconds: float) -> None:
        if len(self._slow) >= MAX_SLOW:
            self._slow.clear()
        self._slow[user] = time.monotonic() + seconds

    def execute_read(self, call: ServerCall) -> None:
        """For calls that read from a disk: for a while after one was too slow they get a thread; those of one user also
        after one of theirs took too long, so that many of a kind do not hold up all others one after the other."""
        if self._slow and time.monotonic() < max(
            self._slow.get(call.call.caller.user_id, 0.0), self._slow.get("", 0.0)
        ):
            self._otherwise(call)
        else:
            self.execute(call)

    def take_over(self, longest: float, waits: Callable[[], bool]) -> bool:
        """Has a call run for `longest` seconds, and waits()? Then its thread serves no more after it, and for a while
        no read is run inline."""
        for number, began in list(self._running.items()):
            if time.monotonic() - began >= longest and waits() and self._running.pop(number, None) is not None:
                self._pause("", DEVICE_PAUSE)
                return True
        return False


class Executors:
    """The executors of one server, and which of them a method has. A table of costs, with one exception: what can be
    done as a batch is, where writes have no thread of their own.

    enqueue: of a database that is a file of this process, where writes have one thread, and a page of rows is read
    without waiting for anyone; None elsewhere.
    """

    def __init__(self, threads: int, enqueue: Enqueue | None) -> None:
        self.calls = Pool("call", threads, share=MAX_SHARE, line=MAX_LINE)
        # A flood of sign-ins leaves the others alone.
        self.hashing = Pool("hash", HASHING_THREADS, queued=MAX_HASHES, share=1, line=MAX_HASH_LINE)
        self.searches = Pool("search", SEARCH_THREADS, queued=MAX_SEARCHES, share=1, line=MAX_SEARCH_LINE)
        self.control = Pool("control", CONTROL_THREADS, Lane.CONTROL, share=1, line=0)
        self.keys = Pool("keys", 1, queued=MAX_UNKNOWN_KEYS, share=1, line=0)
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
    call's token needs that, and then has it run by an executor that is not inline."""
    try:
        call.admit(lane)
    except UnknownKeyError:
        if not submit(partial(_start_with_new_keys, call, executor, tokens)):
            call.done(busy("too many calls wait for a key to be looked for"))
    except Exception as error:  # noqa: BLE001 - it is the answer
        call.done(error)
    else:
        executor(call)


def _start_with_new_keys(call: ServerCall, executor: Executor, tokens: Tokens) -> None:
    """Not on the serving thread, on which alone calls run inline: here they may wait."""
    try:
        tokens.look_for_keys()
        call.admit(Lane.POOLED)
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
