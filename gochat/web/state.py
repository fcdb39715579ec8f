"""What the connections and calls of one listener share, and the limits on them.

Everything here belongs to the loop's thread and needs no lock, except for `hand_over`, by which any thread has the loop
go on with a call.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from email.utils import formatdate
from itertools import islice
from typing import Protocol, TypeVar

from gochat.serving.admission import Admission
from gochat.serving.connections import MAX_UNSENT_IN_ALL, READING_TIMEOUT, SEND_TIMEOUT
from gochat.serving.endpoints import REQUEST_TIMEOUT
from gochat.serving.executors import Executors

KEEP_ALIVE_TIMEOUT = 75.0  # seconds without a request after which a connection is closed
CHECK_INTERVAL = 0.1  # seconds between two checks of the timers
MAX_ENDED = 100  # connections that are ended for one reason at one check
MAX_HANDSHAKING = 0.25  # of all connections that may be open: as many as take the place of others
LINGER_TIMEOUT = 1.0  # seconds in which a client that was refused may read why, while what it sends is dropped

log = logging.getLogger(__name__)

T = TypeVar("T")


class Resumable(Protocol):
    def proceed(self) -> None:
        """Called on the loop's thread, once for each time that it was handed over."""

    def abort(self) -> None:
        """Its connection cannot be used any more."""


class OpenConnection(Protocol):
    @property
    def unsent(self) -> int:
        """Bytes that the client has not taken."""

    def time_out(self) -> None:
        """Its request has not arrived in time."""

    def close_if_idle(self) -> None: ...

    def abort(self) -> None:
        """Without sending what is unsent."""


class State:
    """connections: all that are open. handshakes: of TLS, of those that are not open yet, the oldest first. half_open:
    those of which a request is arriving -> the time by which it must have. idle: those without a request -> the time at
    which they are closed. sending: those that have not taken all of what was sent -> (the time at which that is looked
    at again, how much it was). All three are in the order of these times. waiting: calls that have no answer yet.
    streams: open ones. dropped: calls and connections that were ended because their clients did not send or take
    something in time. draining: no new requests are taken. date: a header.

    lock: another thread holds it while it hands a call over; the loop holds it while it closes. So nobody wakes a loop
    that is closed.
    """

    def __init__(self, admission: Admission, executors: Executors, max_connections: int) -> None:
        self.admission, self.executors, self._max_connections = admission, executors, max_connections
        self.connections: dict[OpenConnection, None] = {}
        self.handshakes: dict[asyncio.Task[None], None] = {}
        self.half_open: dict[OpenConnection, float] = {}
        self.idle: dict[OpenConnection, float] = {}
        self.sending: dict[OpenConnection, tuple[float, int]] = {}
        self.waiting = self.streams = self.dropped = self.checks = 0
        self.draining = False
        self.date = b""
        self.loop: asyncio.AbstractEventLoop
        self.lock = threading.Lock()
        self._is_closed = False
        self._thread = 0
        self._handed = deque[Resumable]()
        self._is_waking = False

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called by the loop's thread."""
        self.loop, self._thread = loop, threading.get_ident()

    def close(self) -> None:
        """From now on nobody wakes the loop."""
        with self.lock:
            self._is_closed = True

    def hand_over(self, call: Resumable) -> None:
        """Has the loop call call.proceed(). Any thread may call this.

        The loop is woken once for all calls that are there when it wakes up, so that many answers cost one switch of
        threads. None is left behind: `_is_waking` is set under the lock, after the call was added, and the loop clears
        it before it looks at the calls. So a thread that finds it set has added its call before the loop looks.
        """
        with self.lock:
            if self._is_closed:
                return
            self._handed.append(call)
            if self._is_waking:
                return
            self._is_waking = True
        if threading.get_ident() == self._thread:
            self.loop.call_soon(self._proceed)
        else:
            with suppress(RuntimeError):  # the loop was closed in between
                self.loop.call_soon_threadsafe(self._proceed)

    def _proceed(self) -> None:
        self._is_waking = False
        for _ in range(len(self._handed)):
            call = self._handed.popleft()
            try:
                call.proceed()
            except Exception:
                log.exception("an answer was not sent")
                call.abort()
        if self._handed and not self._is_waking:
            self._is_waking = True
            self.loop.call_soon(self._proceed)

    def opened(self, connection: OpenConnection) -> None:
        """Where there are too many, the one that was idle for longest is closed; if none is idle, the new one."""
        self.connections[connection] = None
        self.rests(connection)
        if len(self.connections) > self._max_connections:
            next(iter(self.idle)).close_if_idle()

    def shakes_hands(self, handshake: "asyncio.Task[None]") -> None:
        """A connection that is not open yet. Where there are too many with it, the one that was idle for longest is
        closed; if none is idle, or many shake hands, the oldest of those, as nobody needs long for that."""
        self.handshakes[handshake] = None
        if len(self.connections) + len(self.handshakes) <= self._max_connections:
            return
        if self.idle and len(self.handshakes) <= self._max_connections * MAX_HANDSHAKING:
            next(iter(self.idle)).close_if_idle()
        else:
            oldest = next(iter(self.handshakes))
            del self.handshakes[oldest]  # or the next one would find it again
            oldest.cancel()

    def closed(self, connection: OpenConnection) -> None:
        self.connections.pop(connection, None)
        for timers in (self.half_open, self.idle, self.sending):
            timers.pop(connection, None)

    def rests(self, connection: OpenConnection) -> None:
        """The connection has no request."""
        self.idle[connection] = time.monotonic() + KEEP_ALIVE_TIMEOUT

    def arrives(self, connection: OpenConnection) -> None:
        """A request of the connection begins to arrive."""
        self.idle.pop(connection, None)
        self.half_open[connection] = time.monotonic() + REQUEST_TIMEOUT

    def sends(self, connection: OpenConnection) -> None:
        """The connection has not taken all of what was sent; it counts from now on."""
        self.sending[connection] = time.monotonic() + SEND_TIMEOUT, connection.unsent

    def check_timers(self) -> None:
        """Ends what is overdue, MAX_ENDED at a time so that others are not held up."""
        now = time.monotonic()
        if not self.checks % 10:
            self.date = f"date: {formatdate(usegmt=True)}\r\n".encode()
        self.checks += 1
        for connection in list(_due(self.half_open, now)):
            del self.half_open[connection]
            self.dropped += 1
            connection.time_out()
        for connection in list(_due(self.idle, now)):
            connection.close_if_idle()
        for connection, (until, before) in list(islice(self.sending.items(), MAX_ENDED)):
            if until > now:
                break
            del self.sending[connection]
            if connection.unsent < before:
                self.sends(connection)
            else:
                self._drop(connection)
        if sum(each.unsent for each in self.sending) > MAX_UNSENT_IN_ALL:
            since = now + SEND_TIMEOUT - READING_TIMEOUT
            if slow := [each for each, (until, _) in self.sending.items() if until < since]:
                self._drop(max(slow, key=lambda each: each.unsent))
        if self.draining:
            for connection in list(self.idle):
                connection.close_if_idle()

    def _drop(self, connection: OpenConnection) -> None:
        self.dropped += 1
        connection.abort()


def _due(deadlines: dict[T, float], now: float) -> Iterator[T]:
    """The first keys whose time has come, at most MAX_ENDED. deadlines: in the order of their times."""
    for key, until in islice(deadlines.items(), MAX_ENDED):
        if until > now:
            return
        yield key
