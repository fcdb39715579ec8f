"""What the calls of one serving loop share, and the limits on requests that are on their way.

All of it is for the loop's thread, but for `answer`, by which every thread hands over its answers, and `connections`,
whose counts have a lock.
"""

import logging
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Protocol

from gochat.rpc import grpcio_internals as core
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
    """call: of grpcio."""

    call: Any

    def send(self) -> None:
        """Once."""


@dataclass
class State:
    """What the calls of one loop share.

    half_open, asked: by when a request must be there, in that order. crowded: connections that may have too many.
    answers, gathered_at: made and not yet sent, the first at that time. dropped: calls ended for what their clients
    left undone. serving: the thread. waking: held for a moment by other threads that wake the loop, and by the loop
    when it closes the completion queue, which nobody may use afterwards.
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
    waking: threading.Lock = field(default_factory=threading.Lock)
    _woken: bool = False

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

    def answer(self, call: Answered) -> None:
        """Has it sent by the loop, by any thread. The loop is woken once for all answers that are there when it looks,
        so that many cost one change of threads. None is forgotten: who finds that the loop is being woken has added an
        answer before that, and after `_wakes` the loop looks at the answers."""
        if threading.get_ident() == self.serving:
            self._gather(call)
            return
        with self.waking:
            self._gather(call)
            if not self._woken:
                self._woken = True
                core.wake(call.call, self._wakes)

    def _gather(self, call: Answered) -> None:
        if not self.answers:
            self.gathered_at = time.monotonic()
        self.answers.append(call)

    def _wakes(self, event: core.Event) -> None:  # noqa: ARG002 - a tag
        self._woken = False

    def send_answers(self) -> None:
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
