"""What the calls of one serving loop share, and the limits on requests that are arriving.

Everything here belongs to the serving thread and needs no lock, except for three things: `answer`, by which any thread
hands an answer over; `connections`, whose counters have a lock of their own; and `wake_lock`.
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

ARRIVAL_TIMEOUT = 0.5  # seconds that a request may have arrived without the loop having got to it


class OpenCall(Protocol):
    """call: grpcio's."""

    call: Any
    connection: Connection

    def refuse(self, status: Status) -> None:
        """Ends the call without having run anything."""


class OpenStream(OpenCall, Protocol):
    def pump(self) -> None:
        """Sends the next message if there is one and none is being sent."""


class Answered(Protocol):
    """A call whose answer is made. call: grpcio's."""

    call: Any

    def send(self) -> None:
        """Called once, on the serving thread."""


@dataclass
class State:
    """What the calls of one loop share.

    calls: all that are not over. half_open: calls whose request has not arrived -> the time by which it must. idle:
    streams that want a further request -> the same. sending: streams of Subscriptions of which a message or the status
    is being sent -> the time by which it must be taken. All three are in the order of these times. crowded: connections
    that may have more than MAX_HALF_OPEN half-open calls. answers: made and not yet sent; the first of them was made at
    `first_answer_at`. dropped: how many calls were ended because their clients did not send or take something in time.
    serving_thread: its identifier. is_closed: the completion queue is.

    wake_lock: another thread holds it while it adds an answer and wakes the loop; the loop holds it while it closes the
    completion queue. Every answer belongs to a call that is not over, so none comes after that; a Subscription may call
    `wake` at any time, so `pump_soon` looks at is_closed. So nobody wakes a loop whose queue is closed.
    """

    admission: Admission
    executors: Executors
    connections: Connections = field(default_factory=Connections)
    calls: dict[OpenCall, None] = field(default_factory=dict)
    half_open: dict[OpenCall, float] = field(default_factory=dict)
    idle: dict[OpenStream, float] = field(default_factory=dict)
    streams: dict[OpenStream, None] = field(default_factory=dict)
    sending: dict[OpenStream, float] = field(default_factory=dict)
    answers: deque[Answered] = field(default_factory=deque)
    to_pump: deque[OpenStream] = field(default_factory=deque)
    crowded: dict[Connection, None] = field(default_factory=dict)
    dropped: int = 0
    is_closed: bool = False
    serving_thread: int = 0
    first_answer_at: float = 0.0
    wake_lock: threading.Lock = field(default_factory=threading.Lock)
    _is_waking: bool = False

    def expect_request(self, call: OpenCall) -> None:
        """The call's request must arrive within REQUEST_TIMEOUT."""
        call.connection.half_open += 1
        self.half_open[call] = time.monotonic() + REQUEST_TIMEOUT
        if call.connection.half_open > MAX_HALF_OPEN:
            self.crowded[call.connection] = None
        if len(self.half_open) > MAX_HALF_OPEN_IN_ALL:  # an ordinary client's request is never the oldest for long
            self.give_up(next(iter(self.half_open)), TOO_MANY_HALF_OPEN)

    def request_arrived(self, call: OpenCall) -> bool:
        """Returns False if the request is not expected any more."""
        if self.half_open.pop(call, None) is None:
            return False
        call.connection.half_open -= 1
        return True

    def give_up(self, call: OpenCall, status: Status) -> None:
        """Ends a call whose request has not arrived."""
        if self.request_arrived(call):
            self.dropped += 1
            call.refuse(status)

    def drop_excess(self, now: float, max_dropped: int) -> None:
        """Ends the newest half-open calls, at most so many, of connections that have more than MAX_HALF_OPEN. This is
        not done when a call begins: of calls that begin together all requests may have arrived, and the loop has only
        not got to them yet."""
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
        for call in extra[:max_dropped]:
            self.give_up(call, TOO_MANY_HALF_OPEN)
        self.crowded = {each: None for each in self.crowded if each.half_open > MAX_HALF_OPEN}

    def answer(self, call: Answered) -> None:
        """Has the loop send the call's answer. Any thread may call this.

        The loop is woken once for all answers that are there when it wakes up, so that many answers cost one switch of
        threads. No answer is left behind: `_is_waking` is set under the lock, after the answer was added, and the loop
        clears it (`_on_wake`) before it looks at the answers. So a thread that finds it set has added its answer before
        the loop looks.
        """
        if threading.get_ident() == self.serving_thread:
            self._add_answer(call)
            return
        with self.wake_lock:
            self._add_answer(call)
            self._wake(call)

    def pump_soon(self, stream: OpenStream) -> None:
        """Has the loop pump the stream, in the way of `answer`. Any thread may call this."""
        if threading.get_ident() == self.serving_thread:
            self.to_pump.append(stream)
            return
        with self.wake_lock:
            if not self.is_closed:
                self.to_pump.append(stream)
                self._wake(stream)

    def _wake(self, call: Answered | OpenStream) -> None:
        """With wake_lock."""
        if not self._is_waking:
            self._is_waking = True
            core.wake(call.call, self._on_wake)

    def _add_answer(self, call: Answered) -> None:
        if not self.answers:
            self.first_answer_at = time.monotonic()
        self.answers.append(call)

    def _on_wake(self, event: core.Event) -> None:  # noqa: ARG002 - a tag
        self._is_waking = False

    def pump_streams(self, number: int) -> None:
        """Pumps so many of those that are to be pumped."""
        for _ in range(min(number, len(self.to_pump))):
            stream = self.to_pump.popleft()
            try:
                stream.pump()
            except Exception:
                log.exception("a stream could not be pumped")
                stream.call.cancel()

    def send_answers(self) -> None:
        while self.answers:
            try:
                self.answers.popleft().send()
            except Exception:
                log.exception("an answer was not sent")
