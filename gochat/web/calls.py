"""The calls by HTTP, unary ones and streams of Subscriptions: each is the Transport of its ServerCall.

A call begins on the loop's thread, is run by an executor, and comes back by `State.hand_over`. Between these the
executor's thread has the ServerCall. Two fields are written by the loop at any time meanwhile, each with a single
assignment: `_left`, which makes an executor skip a call that waits; and nothing else. `_response` is set by the
executor's thread before it hands the call over.

A stream sends one message, and the next one when that was taken; the rest is the Subscription's to bound. `wake` of the
Subscription is called by any thread.
"""

import asyncio
import logging
import math
from functools import partial

from gochat.context import Lane
from gochat.errors import ChatError, deadline_exceeded
from gochat.serving.call import ServerCall
from gochat.serving.endpoints import (
    FAILED,
    MAX_WAITING,
    STOPPING,
    TOO_MANY_WAITING,
    Status,
    Subscription,
    UnaryEndpoint,
)
from gochat.serving.executors import start
from gochat.web.connection import PLAIN, HttpConnection
from gochat.web.exchange import Exchange, Reading, StreamExchange
from gochat.web.messages import Request, Response, metadata
from gochat.web.state import State

LARGE_REQUEST = 32 * 1024  # bytes; one of this size or more is parsed on a thread of the pool
MAX_PUMPED = 16  # messages that a stream sends in one go

log = logging.getLogger(__name__)


def begin(
    state: State, connection: HttpConnection, request: Request, endpoint: UnaryEndpoint, reading: Reading
) -> None:
    if state.draining:
        connection.respond(reading.exchange.refuse(STOPPING))
    elif state.waiting >= MAX_WAITING:
        connection.respond(reading.exchange.refuse(TOO_MANY_WAITING))
    else:
        kind = SubscribeCall if endpoint.method.streams else UnaryCall
        kind(state, connection, reading.exchange).start(request, endpoint, reading)


class UnaryCall:
    """_call: None once its outcome was recorded. _response: made, and not yet sent. _left: the client has left, or its
    deadline has passed."""

    __slots__ = ("_call", "_connection", "_exchange", "_left", "_response", "_state", "_timer")

    def __init__(self, state: State, connection: HttpConnection, exchange: Exchange) -> None:
        self._state, self._connection, self._exchange = state, connection, exchange
        self._call: ServerCall | None = None
        self._response: Response | None = None
        self._left = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self, request: Request, endpoint: UnaryEndpoint, reading: Reading) -> None:
        state = self._state
        self._connection.current = self
        state.waiting += 1
        self._call = call = ServerCall(
            state.admission,
            endpoint.method,
            endpoint.metrics,
            reading.data,
            metadata(request.headers),
            request.peer,
            reading.seconds,
            self,
            self._exchange.codec,
        )
        if reading.seconds < math.inf:
            self._timer = state.loop.call_later(reading.seconds, self._on_deadline)
        begin_call = partial(start, call, Lane.POOLED, endpoint.executor, state.executors.look_up)
        if len(reading.data) < LARGE_REQUEST or not state.executors.calls.submit(begin_call):
            begin_call()

    # The Transport of the ServerCall: called by the thread that has it.

    def on_done(self, call: ServerCall) -> None:
        self._response = self._exchange.answer(call.answer())
        self._state.hand_over(self)

    def on_wait(self) -> None:
        """Nothing: the connection tells when its client leaves."""

    def skip_error(self, call: ServerCall) -> ChatError | None:  # noqa: ARG002 - of the Transport
        return deadline_exceeded() if self._left else None  # any error will do: nobody gets it

    # On the loop's thread

    def proceed(self) -> None:
        """The call is done."""
        self._state.waiting -= 1
        self._stop_timer()
        response, self._response = self._response, None
        if self._left:
            self._record(delivered=False)
        else:
            assert response is not None
            self._connection.respond(response)

    def on_sent(self, taken: bool) -> None:
        self._record(delivered=taken)

    def on_left(self) -> None:
        self._left = True
        self._stop_timer()

    def abort(self) -> None:
        self._connection.abort()

    def _on_deadline(self) -> None:
        """The client gets an answer, whatever becomes of the call."""
        self._timer, self._left = None, True
        self._connection.current = PLAIN
        error = deadline_exceeded()
        self._connection.respond(self._exchange.refuse(Status(error.status, error.message)))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _record(self, *, delivered: bool) -> None:
        call, self._call = self._call, None  # breaks a reference cycle, which only the garbage collector would free
        if call is not None:
            call.record_outcome(delivered)


class SubscribeCall(UnaryCall):
    """_subscription: from its opening until it is closed. _is_ready: it is handed over already."""

    __slots__ = ("_is_ready", "_subscription")
    _exchange: StreamExchange

    def __init__(self, state: State, connection: HttpConnection, exchange: Exchange) -> None:
        super().__init__(state, connection, exchange)
        self._subscription: Subscription | None = None
        self._is_ready = False

    def on_done(self, call: ServerCall) -> None:
        if call.failed:
            super().on_done(call)
            return
        subscription: Subscription = call.response
        subscription.wake = self._wake
        self._subscription = subscription
        self._wake()

    def _wake(self) -> None:
        """Any thread. A call that is handed over already is not once more: `proceed` clears the mark, then looks."""
        if not self._is_ready:
            self._is_ready = True
            self._state.hand_over(self)

    def proceed(self) -> None:
        self._is_ready = False
        subscription = self._subscription
        if subscription is None:
            if self._call is not None:
                super().proceed()
            return
        if self._call is not None:
            self._open()
        if self._left:
            self._close()
        elif not self._connection.is_sending:
            self._pump(subscription)

    def _open(self) -> None:
        """The call is answered: its latency is the time until the stream was opened."""
        self._state.waiting -= 1
        self._state.streams += 1
        self._record(delivered=not self._left)
        if not self._left:
            self._connection.begin(self._exchange.begin())

    def _pump(self, subscription: Subscription) -> None:
        """Sends messages, each once the one before was taken, or the end."""
        for _ in range(MAX_PUMPED):
            try:
                data = subscription.next()
                status = subscription.over if data is None else None
                part = b"" if data is None else self._exchange.message(data)
            except Exception:
                log.exception("a stream failed")
                data, status = None, FAILED
            if data is not None:
                if not self._connection.send(part):
                    return
            elif status is not None:
                self._finish(status)
                return
            else:
                return
        self._wake()

    def _finish(self, status: Status) -> None:
        self._close()
        self._connection.finish(self._exchange.end(status))

    def on_sent(self, taken: bool) -> None:
        if self._subscription is None:
            super().on_sent(taken)
        elif taken:
            self._pump(self._subscription)

    def on_left(self) -> None:
        super().on_left()
        if self._subscription is not None and self._call is None:
            self._close()

    def _on_deadline(self) -> None:
        if self._subscription is None or self._call is not None:
            super()._on_deadline()
            return
        self._timer, error = None, deadline_exceeded()
        if self._connection.is_sending:
            self._connection.abort()
        else:
            self._finish(Status(error.status, error.message))

    def _close(self) -> None:
        """The end is being sent, or the client has left. The Subscription, which others may keep, lets go of this."""
        if (subscription := self._subscription) is None:
            return
        self._subscription = None
        self._stop_timer()
        subscription.wake = _do_nothing
        self._state.streams -= 1
        subscription.closed()


def _do_nothing() -> None:
    pass
