"""A pool of database connections."""

import logging
import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import peewee

from gochat.background import periodic
from gochat.context import current, current_deadline
from gochat.errors import deadline_exceeded, unavailable

log = logging.getLogger(__name__)

OVERDUE_INTERVAL = 0.25  # seconds between two checks for connections whose call is past its deadline
CHECK_INTERVAL = 1.0  # seconds between two looks at the idle connections
CHECK_AFTER = 2.0  # seconds without use or check after which an idle connection is checked
STALE_AFTER = 4.0  # seconds after which it is checked before a call gets it: the periodic thread is late
CHECK_TIMEOUT = 1.0  # seconds within which a check must be answered
MAX_AGE = (
    1800.0  # seconds after which a connection is replaced: half as long again for some, so that not all go at once
)
ROOM_INTERVAL = 0.05  # seconds between two looks for an idle connection while the server has no room for another
GROW_INTERVAL = 0.2  # seconds after which another connection is tried then
REFUSAL_TIMEOUT = 1.0  # seconds; a server that takes longer to refuse a connection is not there
MAX_CONTROL = 2  # connections of Lane.CONTROL: a count of all rows takes one, the polls of every second the other


class NoRoomError(Exception):
    """The server has no connection to spare."""


@dataclass(slots=True, eq=False)
class _Connection:
    """Times are on the clock of time.monotonic()."""

    database: peewee.Database
    replace_at: float
    checked_at: float = field(default_factory=time.monotonic)
    """When it was last known to work."""


@dataclass(frozen=True)
class Driver:
    """What a pool must know of its connections.

    connect() -> a new one; raises NoRoomError. is_usable(connection): is it alive, as far as can be seen without
    asking, and in no transaction? answers(connection): does it answer within CHECK_TIMEOUT? interrupt(connection), for
    a driver that may wait forever: makes whatever waits on the connection fail.
    """

    connect: Callable[[], peewee.Database]
    is_usable: Callable[[peewee.Database], bool]
    answers: Callable[[peewee.Database], bool] | None = None
    interrupt: Callable[[peewee.Database], None] | None = None


class Pool:
    """A connection pool. It hands out the connection that was used last, so that few are in use and stay warm. It
    finds out by itself which idle connections a network has dropped, before a call does.

    Threads: `_slots` counts the connections that may still be handed out, and blocks a thread when there are none.
    `_idle` holds connections that nobody uses; append and pop of a deque are atomic in CPython, as are add
    and discard of a set. A periodic thread
    checks those idle for long, each under a slot of its own, so that no more than max_size are ever open. Another one
    interrupts connections in `_deadlines`. It and the thread that uses the connection may want the same entry; dict.pop
    is atomic too, so exactly one of them gets it, and that one decides: the periodic thread interrupts the connection,
    or the user's thread puts it back.
    """

    def __init__(self, driver: Driver, *, min_size: int, max_size: int) -> None:
        """min_size: connections to open now, and to keep open as long as the server has room."""
        self._driver = driver
        self._deadlines: dict[_Connection, float] = {}  # of the calls that use the connections
        self._closed = threading.Event()
        self._growing = threading.Lock()  # held while a connection is tried that the server may have no room for
        self._grow_at = 0.0  # no connection is tried before
        self._idle: deque[_Connection] = deque()
        self._open_ones: set[_Connection] = set()  # idle, in use, or between the two
        self._min_size = min_size
        self.max_size = max_size
        self._slots = threading.Semaphore(max_size)
        self._loops = ExitStack()
        for _ in range(min_size):
            try:
                self._idle.append(self._open())
            except NoRoomError:
                if not self._idle:
                    raise unavailable("the database has no connection to spare") from None
                log.warning("the database has room for %d connections now, not for %d", len(self._idle), min_size)
                break
        if driver.answers:
            self._loops.enter_context(periodic("idle connections", self._check_idle, CHECK_INTERVAL))
        if driver.interrupt:
            self._loops.enter_context(
                periodic("overdue connections", lambda: self._interrupt_overdue(time.monotonic()), OVERDUE_INTERVAL)
            )

    @property
    def in_use(self) -> int:
        return self.max_size - self._slots._value

    @contextmanager
    def connection(self) -> Iterator[peewee.Database]:
        """Waits for a connection until the deadline of the current call; then raises UNAVAILABLE. Raises
        DEADLINE_EXCEEDED if the deadline has passed already."""
        if (remaining := current().remaining()) <= 0:
            raise deadline_exceeded()
        if not self._slots.acquire(timeout=min(remaining, threading.TIMEOUT_MAX)):
            raise _busy()
        try:
            taken = self._take()
            if current().remaining() <= 0:  # it took a while to connect, as past a host that is down
                self._idle.append(taken)
                raise deadline_exceeded()
            self._deadlines[taken] = current_deadline()
            try:
                yield taken.database
            finally:
                if not self._deadlines.pop(taken, 0.0):
                    pass  # it was interrupted; it is closed when no thread refers to it any more
                elif self._driver.is_usable(taken.database):
                    taken.checked_at = time.monotonic()
                    self._idle.append(taken)
                else:
                    self._discard(taken)
        finally:
            self._slots.release()

    def _take(self) -> _Connection:
        """Of the idle ones, or a new one; where the server has no room for that, waits for one that comes back."""
        while True:
            if self._closed.is_set():
                raise unavailable("the server is stopping")
            taken = self._take_idle() or self._grow()
            if taken:
                return taken
            if (remaining := current().remaining()) <= 0:
                raise _busy()
            time.sleep(min(ROOM_INTERVAL, remaining))

    def _grow(self) -> _Connection | None:
        """A new connection, or None if the server has no room. Once it had none, one thread at a time finds out."""
        was_full, began = self._grow_at > 0, time.monotonic()
        if began < self._grow_at or (was_full and not self._growing.acquire(blocking=False)):
            return None
        try:
            opened = self._open()
            self._grow_at = 0.0
            return opened
        except NoRoomError:
            pass
        except peewee.OperationalError:
            # A server that refuses while others of ours are open is full, or the role has its share.
            if not self._open_ones or time.monotonic() - began >= REFUSAL_TIMEOUT:
                raise
        finally:
            if was_full:
                self._growing.release()
        self._grow_at = time.monotonic() + GROW_INTERVAL
        log.warning("the database gives no connection beyond these %d: calls wait for one", self.in_use)
        return None

    def _open(self) -> _Connection:
        lifetime = MAX_AGE * random.uniform(1.0, 1.5)  # noqa: S311 - no secret
        opened = _Connection(self._driver.connect(), time.monotonic() + lifetime)
        self._open_ones.add(opened)
        return opened

    def _take_idle(self) -> _Connection | None:
        """An idle connection that still works, or None."""
        while True:
            try:
                taken = self._idle.pop()
            except IndexError:
                return None
            if self._works(taken, STALE_AFTER):
                return taken
            self._discard(taken)

    def _works(self, taken: _Connection, unchecked_for: float) -> bool:
        """Asks the server if the connection has not been used or checked for so many seconds."""
        now = time.monotonic()
        if now >= taken.replace_at or not self._driver.is_usable(taken.database):
            return False
        if self._driver.answers and now - taken.checked_at >= unchecked_for:
            if not self._driver.answers(taken.database):
                log.warning("an idle connection to the database was dropped without a word: it is replaced")
                self._discard_unchecked_since(taken.checked_at)
                return False
            taken.checked_at = time.monotonic()
        return True

    def _discard_unchecked_since(self, moment: float) -> None:
        """What has dropped one connection has dropped those that were last heard of before it."""
        for _ in range(len(self._idle)):
            try:
                other = self._idle.popleft()
            except IndexError:
                return
            if other.checked_at <= moment + CHECK_TIMEOUT:
                self._discard(other)
            else:
                self._idle.append(other)

    def _check_idle(self) -> None:
        """By a periodic thread: finds out which idle connections are dead or old, and keeps min_size of them open."""
        for _ in range(len(self._idle)):
            self._with_slot(self._check_longest_idle)
        while not self._closed.is_set() and len(self._idle) + self.in_use < self._min_size:
            if not self._with_slot(lambda: self._idle.appendleft(self._open())):
                return

    def _with_slot(self, work: Callable[[], None]) -> bool:
        """False if all connections are in use, or the server has no room for another."""
        if not self._slots.acquire(blocking=False):
            return False
        try:
            work()
        except IndexError:  # another thread has taken the idle one
            return False
        except (NoRoomError, peewee.OperationalError) as error:
            log.debug("no connection to keep in store: %s", error)
            return False
        finally:
            self._slots.release()
        return True

    def _check_longest_idle(self) -> None:
        taken = self._idle.popleft()
        if self._works(taken, CHECK_AFTER):
            self._idle.append(taken)
        else:
            self._discard(taken)

    def _interrupt_overdue(self, now: float) -> None:
        """By the periodic thread; and by `close`, for all connections in use."""
        for taken, deadline in list(self._deadlines.items()):
            if deadline <= now and self._driver.interrupt and self._deadlines.pop(taken, 0.0):
                log.error("the database did not answer in time: a connection is cut")
                self._open_ones.discard(taken)
                # What has dropped this one may have dropped others: they are checked before their next use, also one
                # that another thread has taken from the idle ones at this moment. First, since the thread that is
                # interrupted may take one right away.
                for other in list(self._open_ones):
                    other.checked_at = -math.inf
                self._driver.interrupt(taken.database)

    def drop_idle(self) -> None:
        """Closes the connections that nobody uses now: they lead to a server that is not the one any more."""
        self._discard_unchecked_since(math.inf)

    def interrupt(self) -> None:
        """Makes whatever waits on a connection fail."""
        self._interrupt_overdue(math.inf)

    def close(self) -> None:
        """Closes the idle connections and interrupts the others."""
        self._closed.set()
        self._loops.close()
        self.interrupt()
        while self._idle:
            self._discard(self._idle.pop())

    def _discard(self, taken: _Connection) -> None:
        self._open_ones.discard(taken)
        try:
            taken.database.connection().close()
        except Exception as error:  # noqa: BLE001 - the connection is of no use any more
            log.debug("closing a dead connection: %s", error)


def _busy() -> Exception:
    return unavailable("the database is busy: every connection is in use")
