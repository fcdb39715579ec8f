"""What each connection has of the server: requests on their way, answers that it has not taken, streams.

Limits hold per connection, so that no client uses up what others need; where everything together reaches a limit, the
connection with the most loses, not the one that comes last.
"""

import threading
import time
from collections.abc import Iterable

MAX_HALF_OPEN = 256  # requests of a connection that have begun and not arrived; more are refused
MAX_HALF_OPEN_IN_ALL = 8000
MAX_UNSENT = 3 * 1024 * 1024  # bytes of answers to a user's connection that takes none; then no large ones are added
MAX_UNSENT_READING = 16 * 1024 * 1024  # the same while it takes some, and of services; then all its calls are refused
MAX_UNSENT_IN_ALL = 64 * 1024 * 1024
OVERHEAD = 8 * 1024  # bytes that an answer costs beside itself
READING_TIMEOUT = 0.25  # seconds without taking an answer after which a connection does not read
SEND_TIMEOUT = 30.0  # seconds after which a connection that takes nothing is closed
IDLE_TIMEOUT = 10.0  # seconds without a call after which a connection is forgotten


class Connection:
    """peer: as the transport names it. half_open, streams: how many. unsent: bytes. owed: answers with a message that
    it has not taken. On the clock of time.monotonic(), used_at: when it last called; took_at: when it last took an
    answer; owed_since: the same, or when it was first sent one after it had taken all."""

    __slots__ = ("half_open", "owed", "owed_since", "peer", "streams", "took_at", "unsent", "used_at")

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.half_open = self.streams = self.unsent = self.owed = 0
        self.owed_since = self.took_at = self.used_at = 0.0

    def full(self, now: float, *, privileged: bool = False) -> bool:
        """Has it so much that it has not taken that it is not to be given more? privileged: a service or an admin."""
        if self.unsent <= MAX_UNSENT:
            return False
        return self.unsent > MAX_UNSENT_READING or not (privileged or now - self.took_at < READING_TIMEOUT)


class Connections:
    """Used by the serving thread, but for `sending`, which is called by every thread that answers; hence the lock,
    which is held for a few additions and never while waiting. unsent: bytes. waiting: calls that have no answer yet."""

    def __init__(self) -> None:
        self._of: dict[bytes, Connection] = {}
        self._lock = threading.Lock()
        self.unsent = 0
        self.waiting = 0

    def of(self, peer: bytes, now: float) -> Connection:
        connection = self._of.get(peer)
        if connection is None:
            connection = self._of[peer] = Connection(peer.decode(errors="replace"))
        connection.used_at = now
        return connection

    def begun(self) -> None:
        """A call has, which will be answered."""
        with self._lock:
            self.waiting += 1

    def sending(self, connection: Connection, size: int, *, ran: bool = False) -> None:
        """size: bytes of the message; 0: a status alone, which says nothing of a reader, since it needs no window.
        ran: it is the answer to a call that has begun."""
        with self._lock:
            self.waiting -= ran
            if size:
                if not connection.owed:
                    connection.owed_since = time.monotonic()
                connection.owed += 1
            connection.unsent += size + OVERHEAD
            self.unsent += size + OVERHEAD

    def sent(self, connection: Connection, size: int, *, taken: bool) -> None:
        """taken: or else it will not be sent any more."""
        with self._lock:
            if size:
                connection.owed -= 1
                if taken:
                    connection.took_at = connection.owed_since = time.monotonic()
            connection.unsent -= size + OVERHEAD
            self.unsent -= size + OVERHEAD

    def stuck(self, now: float) -> list[Connection]:
        """Those that have taken nothing for SEND_TIMEOUT; where all together have too much, the largest of those that
        take nothing now."""
        idle = [each for each in self._of.values() if each.owed and now - each.owed_since > READING_TIMEOUT]
        found = [each for each in idle if now - each.owed_since > SEND_TIMEOUT]
        if self.unsent > MAX_UNSENT_IN_ALL and idle and not found:
            found = [largest(idle, "unsent")]
        return found

    def forget(self, now: float) -> None:
        """The connections that have nothing here and have not called lately."""
        for peer, each in list(self._of.items()):
            if not (each.half_open or each.streams or each.unsent) and now - each.used_at > IDLE_TIMEOUT:
                del self._of[peer]


def largest(holders: Iterable[Connection], key: str) -> Connection:
    """key: half_open, streams or unsent."""
    return max(holders, key=lambda each: int(getattr(each, key)))
