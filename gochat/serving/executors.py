"""Where an admitted call runs: inline, pooled, queued (for SQLite's writer) or batched.

Handing a call to another thread costs more than a short call does. So calls that soon end run inline, on the
transport's serving thread, while every other call waits; if one takes long after all, it goes to a pool. Writes to
SQLite are queued for the one thread that writes, which commits many of them in one transaction.
"""

import os
from collections.abc import Callable, Collection
from functools import partial

from gochat.context import Enqueue, Lane, entered
from gochat.domain.access import Cost
from gochat.errors import overloaded
from gochat.serving.acting import LookUpNeeded
from gochat.serving.batcher import MAX_BATCH, Batcher
from gochat.serving.binding import Method
from gochat.serving.call import Executor, ServerCall
from gochat.serving.inline import Inline
from gochat.serving.pool import Pool, in_lane

CORES = os.cpu_count() or 1
HASHING_THREADS = CORES + 2
SEARCH_THREADS = max(1, CORES - 1)  # searches leave a core to everything else
MAX_READS = 16  # calls of one: the largest lists are 1.6 MB, and all answers are one across the seam
CONTROL_THREADS = 2
OPENING_THREADS = 4
FETCHING_THREADS = 8
ASKING_THREADS = 32
MAX_WAITING_HASHES = 400
MAX_WAITING_SEARCHES = 64
MAX_WAITING_OPENINGS = 1000  # streams; half of the calls that may wait in all are left to others
MAX_WAITING_FOR_KEYS = 64  # calls whose token has a key that is looked for
LOOK_UP_THREADS = 4  # that look up users that services name
MAX_RUNNING_PER_USER = 2  # calls of one user on threads at a time: the largest answers are tens of megabytes
MAX_WAITING_PER_USER = 250
MAX_WAITING_HASHES_PER_USER = MAX_WAITING_SEARCHES_PER_USER = 4
MAX_WAITING_OPENINGS_PER_USER = 20


class Executors:
    """The executors of one process. `of` chooses one for a method, by the cost of its RPC; with two exceptions: a
    method with a batch handler is batched, unless the database is a file of this process, which no trip leads to; and
    streams that are opened by reads have a pool of their own.

    enqueue: of a database that is a file of this process (SQLite): its writes are queued, and reads of a page run
    inline. None for other databases, where both run in a pool. asking: the paths of RPCs that ask another server first;
    they have a pool of their own, and are neither queued nor batched.
    """

    def __init__(self, threads: int, enqueue: Enqueue | None, asking: Collection[str] = ()) -> None:
        self.calls = Pool(
            "call", threads, max_running_per_user=MAX_RUNNING_PER_USER, max_waiting_per_user=MAX_WAITING_PER_USER
        )
        # Pools of their own, so that a flood of sign-ins or searches does not delay other calls, nor do the streams of
        # all clients that come back at once after a restart.
        self.hashing = Pool(
            "hash",
            HASHING_THREADS,
            max_waiting=MAX_WAITING_HASHES,
            max_running_per_user=1,
            max_waiting_per_user=MAX_WAITING_HASHES_PER_USER,
        )
        self.searches = Pool(
            "search",
            SEARCH_THREADS,
            max_waiting=MAX_WAITING_SEARCHES,
            max_running_per_user=1,
            max_waiting_per_user=MAX_WAITING_SEARCHES_PER_USER,
        )
        self.openings = Pool(
            "opening",
            # Threads that read SQLite compete for the interpreter, among each other and with the serving thread.
            1 if enqueue else OPENING_THREADS,
            max_waiting=MAX_WAITING_OPENINGS,
            max_running_per_user=1,
            max_waiting_per_user=MAX_WAITING_OPENINGS_PER_USER,
        )
        # The logins of others may be slow.
        self.fetching = Pool(
            "fetch",
            FETCHING_THREADS,
            max_waiting=MAX_WAITING_HASHES,
            max_running_per_user=1,
            max_waiting_per_user=MAX_WAITING_HASHES_PER_USER,
        )
        # So may whoever is asked before messages are stored. One at a time of a user, so that theirs stay in order.
        self.asking = Pool("ask", ASKING_THREADS, max_running_per_user=1, max_waiting_per_user=MAX_WAITING_PER_USER)
        self.control = Pool("control", CONTROL_THREADS, Lane.CONTROL, max_running_per_user=1, max_waiting_per_user=0)
        self.keys = Pool("keys", 1, max_waiting=MAX_WAITING_FOR_KEYS, max_running_per_user=1, max_waiting_per_user=0)
        # Apart from keys, which anybody may have looked for.
        self.users = Pool("users", 1 if enqueue else LOOK_UP_THREADS, max_running_per_user=1, max_waiting_per_user=0)
        self.inline = Inline(self.calls.execute)
        self.batchers: list[Batcher] = []
        self._enqueue, self._asking = enqueue, asking
        self._of_path: dict[str, Executor] = {}
        self._of_cost: dict[Cost, Executor] = {
            Cost.NOTHING: self.inline.execute,
            Cost.PAGE: self.inline.execute_read if enqueue else self.calls.execute,
            Cost.WRITE: self._queue if enqueue else self.calls.execute,
            Cost.USUAL: self.calls.execute,
            Cost.HASH: self.hashing.execute,
            Cost.FETCH: self.fetching.execute,
            Cost.SEARCH: self.searches.execute,
            Cost.CONTROL: self.control.execute,
        }

    def of(self, method: Method) -> Executor:
        """The same for every transport, so that the limits of users hold for all together."""
        if method.path not in self._of_path:
            self._of_path[method.path] = self._chosen(method)
        return self._of_path[method.path]

    def lane_of(self, method: Method) -> Lane:
        """For a transport whose serving thread runs short calls itself."""
        inline = self.inline.execute, self.inline.execute_read
        return Lane.INLINE if self.of(method) in inline else Lane.POOLED

    def _chosen(self, method: Method) -> Executor:
        if method.path in self._asking:
            return self.asking.execute
        executor = self._of_cost[method.rule.cost]
        if method.streams and executor == self.calls.execute:
            return self.openings.execute
        if method.batch is None or self._enqueue:
            return executor
        most = MAX_BATCH if method.rule.cost is Cost.WRITE else MAX_READS
        self.batchers.append(Batcher(method.batch, executor, most))
        return self.batchers[-1].execute

    def _queue(self, call: ServerCall) -> None:
        assert self._enqueue is not None
        self._enqueue(call.call, call.run, call.done)

    def look_up(self, needed: LookUpNeeded, work: Callable[[], None]) -> bool:
        """Has work() run by a thread that may wait. False where too much waits already."""
        return (self.users if needed.is_user else self.keys).submit(work)

    def statistics(self) -> dict[str, int]:
        """By the names of gochat.monitoring.families."""
        return {
            "calls_waiting": self.calls.waiting + sum(batcher.waiting for batcher in self.batchers),
            "calls_on_threads": self.calls.active,
            "call_threads": self.calls.threads,
            "hashes_waiting": self.hashing.waiting,
            "hashes_on_threads": self.hashing.active,
            "hash_threads": self.hashing.threads,
            "fetches_waiting": self.fetching.waiting,
            "fetches_on_threads": self.fetching.active,
            "fetch_threads": self.fetching.threads,
            "asks_waiting": self.asking.waiting,
            "asks_on_threads": self.asking.active,
            "ask_threads": self.asking.threads,
            "searches_waiting": self.searches.waiting,
            "searches_on_threads": self.searches.active,
            "search_threads": self.searches.threads,
            "openings_waiting": self.openings.waiting,
            "openings_on_threads": self.openings.active,
            "opening_threads": self.openings.threads,
        }


LookUp = Callable[[LookUpNeeded, Callable[[], None]], bool]
"""As Executors.look_up."""


def start(call: ServerCall, lane: Lane, executor: Executor, look_up: LookUp) -> None:
    """Admits the call and has the executor run it. lane: the executor's. look_up: for a call of which something is to
    be looked up before it can be admitted."""
    try:
        call.admit(lane)
    except LookUpNeeded as needed:
        if not look_up(needed, partial(_start_once_known, call, executor, needed)):
            call.done(overloaded("too many calls wait for something to be looked up"))
    except Exception as error:  # noqa: BLE001 - it is the answer
        call.done(error)
    else:
        executor(call)


def _start_once_known(call: ServerCall, executor: Executor, needed: LookUpNeeded) -> None:
    """Runs on a thread that may wait. The call is admitted in Lane.POOLED, so that an inline executor passes it on to
    its fallback: only the serving thread runs calls inline."""
    try:
        _admit_once_known(call, needed)
    except Exception as error:  # noqa: BLE001 - it is the answer
        call.done(error)
    else:
        executor(call)


def _admit_once_known(call: ServerCall, needed: LookUpNeeded) -> None:
    """Looks up one thing after the other, each once."""
    looked_up = set[str]()
    while needed.what not in looked_up:
        looked_up.add(needed.what)
        with entered(in_lane(call.call, Lane.POOLED)):
            needed.look_up()
        try:
            call.admit(Lane.POOLED)
        except LookUpNeeded as other:
            needed = other
        else:
            return
    raise needed.error


def execute_here(call: ServerCall) -> None:
    """An Executor that runs the call on the thread that it is called on, which may wait."""
    error: Exception | None = None
    try:
        call.run(call.call)
    except Exception as raised:  # noqa: BLE001 - it is the answer
        error = raised
    call.done(error)
