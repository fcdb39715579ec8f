"""A pool of database connections."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import peewee

from gochat.background import periodic
from gochat.context import current, current_deadline
from gochat.errors import deadline_exceeded, unavailable

log = logging.getLogger(__name__)

OVERDUE_INTERVAL = 0.25  # seconds between two checks for connections whose call is past its deadline
MAX_CONTROL = 2  # connections of Lane.CONTROL: a count of all rows takes one, the polls of every second the other


class Pool:
    """A connection pool. It hands out the connection that was used last, so that few are in use and stay warm.

    is_usable(connection): is it alive and in no transaction? Asked before it is handed out and when it comes back.
    interrupt(connection), for a driver that may wait forever: makes whatever waits on the connection fail. It is called
    for a connection whose call is past its deadline.

    Threads: `_slots` counts the connections that may still be handed out, and blocks a thread when there are none.
    `_idle` holds connections that nobody uses; append and pop of a deque are atomic in CPython. With `interrupt`, a
    periodic thread interrupts connections in `_deadlines`. It and the thread that uses the connection may want the same
    entry; dict.pop is atomic too, so exactly one of them gets it, and that one decides: the periodic thread interrupts
    the connection, or the user's thread puts it back.
    """

    def __init__(
        self,
        connect: Callable[[], peewee.Database],
        is_usable: Callable[[peewee.Database], bool],
        *,
        min_size: int,
        max_size: int,
        interrupt: Callable[[peewee.Database], None] | None = None,
    ) -> None:
        """min_size: connections to open now."""
        self._connect = connect
        self._is_usable = is_usable
        self._interrupt = interrupt
        self._deadlines: dict[peewee.Database, float] = {}  # of the calls that use the connections
        self._closed = threading.Event()
        self._idle = deque(connect() for _ in range(min_size))
        self._slots = threading.Semaphore(max_size)
        self._loops = ExitStack()
        if interrupt:
            self._loops.enter_context(
                periodic("overdue connections", lambda: self._interrupt_overdue(time.monotonic()), OVERDUE_INTERVAL)
            )
        self.max_size = max_size

    @property
    def in_use(self) -> int:
        return self.max_size - self._slots._value

    @contextmanager
    def connection(self) -> Iterator[peewee.Database]:
        """Waits for a connection until the deadline of the current call; then raises UNAVAILABLE. Raises
        DEADLINE_EXCEEDED if the deadline has passed already."""
        if (remaining := current().remaining()) <= 0:
            raise deadline_exceeded()
        if not self._slots.acquire(timeout=remaining):
            raise unavailable("the database is busy: every connection is in use")
        try:
            if self._closed.is_set():
                raise unavailable("the server is stopping")
            database = self._take_idle() or self._connect()
            self._deadlines[database] = current_deadline()
            try:
                yield database
            finally:
                if not self._deadlines.pop(database, 0.0):
                    pass  # it was interrupted; it is closed when no thread refers to it any more
                elif self._is_usable(database):
                    self._idle.append(database)
                else:
                    _discard(database)
        finally:
            self._slots.release()

    def _interrupt_overdue(self, now: float) -> None:
        """By the periodic thread; and by `close`, for all connections in use."""
        for database, deadline in list(self._deadlines.items()):
            if deadline <= now and self._interrupt and self._deadlines.pop(database, 0.0):
                log.error("the database did not answer in time: a connection is cut")
                self._interrupt(database)

    def _take_idle(self) -> peewee.Database | None:
        """An idle connection that is still usable, or None."""
        while True:
            try:
                database = self._idle.pop()
            except IndexError:
                return None
            if self._is_usable(database):
                return database
            _discard(database)

    def close(self) -> None:
        """Closes the idle connections and interrupts the others."""
        self._closed.set()
        self._loops.close()
        self._interrupt_overdue(math.inf)
        while (database := self._take_idle()) is not None:
            _discard(database)


def _discard(database: peewee.Database) -> None:
    try:
        database.connection().close()
    except Exception as error:  # noqa: BLE001 - the connection is of no use any more
        log.debug("closing a dead connection: %s", error)
