"""What the server holds for each connection: requests that are arriving, answers not yet taken, open streams.

The limits hold for each connection, so that no client uses up what others need. Where all connections together reach a
limit, the connection that holds the most loses, not the one that comes last.
"""

import threading
import time
from collections.abc import Iterable

MAX_HALF_OPEN = 256  # half-open calls of a connection; more are refused
MAX_HALF_OPEN_IN_ALL = 8000
MAX_UNSENT = 3 * 1024 * 1024  # bytes of answers to a user's connection that takes none; then no large ones are added
MAX_UNSENT_READING = 16 * 1024 * 1024  # the same while it takes some, and of services; then all its calls are refused
MAX_UNSENT_IN_ALL = 64 * 1024 * 1024
ANSWER_OVERHEAD = 8 * 1024  # bytes of memory that an answer takes beside its message
READING_TIMEOUT = 0.25  # seconds without taking an answer after which a connection counts as not reading
SEND_TIMEOUT = 30.0  # seconds after which a connection that takes nothing is closed
IDLE_TIMEOUT = 10.0  # seconds without a call after which a connection is forgotten


class Connection:
    """peer: as the transport names it.

    half_open: how many calls have sent their headers and not yet their request. streams: how many are open, without
    those of Subscriptions, which are `subscribed`. unsent: bytes of answers that the connection has not taken.
    pending: how many of these answers have a message.
    On the clock of time.monotonic(): used_at, when the connection last began a call; took_at, when it last took an
    answer; pending_since, the later of took_at and the time at which `pending` last rose from 0.
    """

    __slots__ = (
        *("half_open", "peer", "pending", "pending_since", "streams", "subscribed", "took_at", "unsent", "used_at"),
    )

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.half_open = self.streams = self.subscribed = self.unsent = self.pending = 0
        self.pending_since = self.took_at = self.used_at = 0.0

    def is_full(self, now: float, *, privileged: bool = False) -> bool:
        """Has it left so much untaken that it gets no more? privileged: its caller is a service or an admin."""
        if self.unsent <= MAX_UNSENT:
            return False
        return self.unsent > MAX_UNSENT_READING or not (privileged or now - self.took_at < READING_TIMEOUT)


class Connections:
    """All connections of a server, and their totals. unsent: bytes. waiting: calls that have no answer yet. subscribed:
    open streams of Subscriptions.

    The serving thread calls every method; `send_started` is also called by other threads, whichever has made an answer.
    Hence the lock around the counters, which is held for a few additions and never while waiting. What is read without
    it (`unsent`, `waiting`, `is_full`) is a number that may be a moment old, which the limits tolerate.
    """

    def __init__(self) -> None:
        self._of: dict[bytes, Connection] = {}
        self._lock = threading.Lock()
        self.unsent = self.waiting = self.subscribed = 0

    def of(self, peer: bytes, now: float) -> Connection:
        connection = self._of.get(peer)
        if connection is None:
            connection = self._of[peer] = Connection(peer.decode(errors="replace"))
        connection.used_at = now
        return connection

    def call_started(self) -> None:
        """Counts a call as waiting, until `send_started` with ran=True."""
        with self._lock:
            self.waiting += 1

    def stream_opened(self, connection: Connection) -> None:
        """A call that was counted as waiting is a stream of a Subscription from now on."""
        with self._lock:
            self.waiting -= 1
        connection.subscribed += 1
        self.subscribed += 1

    def stream_ended(self, connection: Connection) -> None:
        connection.subscribed -= 1
        self.subscribed -= 1

    def send_started(self, connection: Connection, size: int, *, ran: bool = False) -> None:
        """size: bytes of the message; 0 for a status alone, which is sent even to a client that does not read, and so
        does not count as pending. ran: it answers a call that was counted as waiting."""
        with self._lock:
            self.waiting -= ran
            if size:
                if not connection.pending:
                    connection.pending_since = time.monotonic()
                connection.pending += 1
            connection.unsent += size + ANSWER_OVERHEAD
            self.unsent += size + ANSWER_OVERHEAD

    def send_ended(self, connection: Connection, size: int, *, taken: bool) -> None:
        """taken: the connection took it; otherwise it will never be sent."""
        with self._lock:
            if size:
                connection.pending -= 1
                if taken:
                    connection.took_at = connection.pending_since = time.monotonic()
            connection.unsent -= size + ANSWER_OVERHEAD
            self.unsent -= size + ANSWER_OVERHEAD

    def unresponsive(self, now: float) -> list[Connection]:
        """The connections to close: those that have taken nothing for SEND_TIMEOUT; or, where all together hold too
        much, the largest of those that do not read at the moment."""
        not_reading = [
            each for each in self._of.values() if each.pending and now - each.pending_since > READING_TIMEOUT
        ]
        found = [each for each in not_reading if now - each.pending_since > SEND_TIMEOUT]
        if self.unsent > MAX_UNSENT_IN_ALL and not_reading and not found:
            found = [largest(not_reading, "unsent")]
        return found

    def forget_idle(self, now: float) -> None:
        """Drops the connections for which nothing is held and that have not called for IDLE_TIMEOUT."""
        for peer, each in list(self._of.items()):
            is_used = each.half_open or each.streams or each.subscribed or each.unsent
            if not is_used and now - each.used_at > IDLE_TIMEOUT:
                del self._of[peer]


def largest(holders: Iterable[Connection], key: str) -> Connection:
    """key: half_open, streams or unsent."""
    return max(holders, key=lambda each: int(getattr(each, key)))
