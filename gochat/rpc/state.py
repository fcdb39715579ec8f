"""What the calls of one serving loop share, and the limits on requests that are on their way.

All of it is for the loop's thread, but for `answers`, which a thread that has just been replaced may add to, and
`connections`, whose counts have a lock.
"""

import logging
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Protocol

from gochat.serving.admission import Admission
from gochat.serving.connections import MAX_HALF_OPEN, MAX_HALF_OPEN_IN_ALL, Connection, Connections
from gochat.serving.endpoints import REQUEST_TIMEOUT, TOO_MANY_HALF_OPEN, Status
from gochat.serving.executors import Executors

log = logging.getLogger(__name__)

ARRIVAL_TIMEOUT = 0.5  # seconds in which a request may be there and not be looked at yet


class OpenCall(Protocol):
    """call: of grpcio."""

    call: Any
    connection: Connection

    def refuse(self, status: Status) -> None:
        """Ends it without having run anything."""


class OpenStream(OpenCall, Protocol):
    def pump(self) -> None:
        """Sends what there is to send, unless something is on its way."""


class Answered(Protocol):
    def send(self) -> None:
        """Once."""


@dataclass
class State:
    """What the calls of one loop share.

    half_open, asked: by when a request must be there, in that order. crowded: connections that may have too many.
    answers, gathered_at: made on the serving thread and not yet sent, the first at that time. dropped: calls ended for
    what their clients left undone. serving: the thread.
    """

    admission: Admission
    executors: Executors
    connections: Connections = field(default_factory=Connections)
    calls: dict[OpenCall, None] = field(default_factory=dict)
    half_open: dict[OpenCall, float] = field(default_factory=dict)
    asked: dict[OpenStream, float] = field(default_factory=dict)
    streams: dict[OpenStream, None] = field(default_factory=dict)
    answers: deque[Answered] = field(default_factory=deque)
    crowded: dict[Connection, None] = field(default_factory=dict)
    dropped: int = 0
    serving: int = 0
    gathered_at: float = 0.0

    def expect(self, call: OpenCall) -> None:
        """A request is to come, within REQUEST_TIMEOUT."""
        call.connection.half_open += 1
        self.half_open[call] = time.monotonic() + REQUEST_TIMEOUT
        if call.connection.half_open > MAX_HALF_OPEN:
            self.crowded[call.connection] = None
        if len(self.half_open) > MAX_HALF_OPEN_IN_ALL:  # an ordinary client's request is never the oldest for long
            self.give_up(next(iter(self.half_open)), TOO_MANY_HALF_OPEN)

    def thin_out(self, now: float, most: int) -> None:
        """Ends the newest requests, at most so many, of connections with too many on their way. Not when they begin,
        since those that come in one go may be all there, and only not looked at yet."""
        if not self.crowded:
            return
        begun_before = now + REQUEST_TIMEOUT - ARRIVAL_TIMEOUT
        seen: Counter[Connection] = Counter()
        extra = []
        for call, until in self.half_open.items():
            if call.connection in self.crowded:
                seen[call.connection] += 1
                if seen[call.connection] > MAX_HALF_OPEN and until < begun_before:
                    extra.append(call)
        for call in extra[:most]:
            self.give_up(call, TOO_MANY_HALF_OPEN)
        self.crowded = {each: None for each in self.crowded if each.half_open > MAX_HALF_OPEN}

    def arrived(self, call: OpenCall) -> bool:
        """Its request is there. False if it is not waited for any more."""
        if self.half_open.pop(call, None) is None:
            return False
        call.connection.half_open -= 1
        return True

    def send_answers(self) -> None:
        """A deque, since a thread that has just been replaced as the one that serves may add its last."""
        while self.answers:
            try:
                self.answers.popleft().send()
            except Exception:
                log.exception("an answer was not sent")

    def give_up(self, call: OpenCall, status: Status) -> None:
        """Ends a call whose request is not there."""
        if self.arrived(call):
            self.dropped += 1
            call.refuse(status)
