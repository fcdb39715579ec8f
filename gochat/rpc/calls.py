"""The calls of the serving loop (loop.py): what each waits for, and what happens when that comes.

All of it runs on the loop's thread, but for what a UnaryCall is as a Transport, which any thread calls. A
call is over when none of its operations is open; then it is forgotten, and with it the stream of its connection.
"""

import time

from gochat.domain.access import Cost
from gochat.errors import ChatError, busy, deadline_exceeded
from gochat.rpc import grpcio_internals as core
from gochat.rpc.state import State
from gochat.serving.call import Answer, ServerCall
from gochat.serving.connections import Connection, largest
from gochat.serving.endpoints import (
    MAX_STREAMS,
    MAX_WAITING,
    NO_MESSAGE,
    OK,
    TOO_LARGE,
    TOO_MANY_STREAMS,
    TOO_MANY_WAITING,
    TOO_MUCH_UNSENT,
    UNKNOWN_METHOD,
    Status,
    StreamEndpoint,
    Unary,
)
from gochat.serving.executors import start

LARGE = 64 * 1024  # bytes from which an answer is not kept for a connection that takes none


class UnaryCall:
    """Also the Transport of its ServerCall."""

    __slots__ = (
        *("_cancelled", "_closes", "_metadata", "_over", "_receiving", "_reply", "_server_call", "_size", "_state"),
        *("_unary", "_until", "_watched", "call", "connection"),
    )

    def __init__(self, state: State, connection: Connection, event: core.Event, unary: Unary) -> None:
        self._state, self.connection, self._unary = state, connection, unary
        self.call, self._metadata, self._until = event.call, event.invocation_metadata, event.call_details.deadline
        self._receiving = self._watched = self._closes = self._cancelled = self._over = False
        self._server_call: ServerCall | None = None
        self._reply: Answer | None = None
        self._size = 0

    def begin(self) -> None:
        self._state.expect(self)
        self._receiving = True
        core.receive(self.call, self._arrived)

    def _arrived(self, event: core.Event) -> None:
        state = self._state
        self._receiving = False
        if not state.arrived(self):
            self._forget_if_over()
            return
        data = core.received(event)
        if data is None:
            self.refuse(NO_MESSAGE)
        elif self._unary.method.rule.cost is Cost.CONTROL:
            self._start(data)
        elif state.connections.waiting >= MAX_WAITING:
            self.refuse(TOO_MANY_WAITING)
        elif self.connection.full(time.monotonic(), privileged=True):  # who calls is not known yet
            self.refuse(TOO_MUCH_UNSENT)
        else:
            self._start(data)

    def _start(self, data: bytes) -> None:
        state, unary = self._state, self._unary
        self._server_call = call = ServerCall(
            state.admission,
            unary.method,
            unary.counts,
            data,
            self._metadata,
            self.connection.peer,
            self._until - time.time(),
            self,
        )
        state.connections.begun()
        start(call, unary.lane, unary.executor, state.admission.tokens, state.executors.keys.submit)

    def on_wait(self) -> None:
        """By any thread that has the call, as on_done and refusal; before the answer, so that `_sent` knows."""
        if not self._watched:
            self._watched = self._closes = True
            core.receive_close(self.call, self._closed)

    def refusal(self, call: ServerCall) -> ChatError | None:
        if self._cancelled:
            return deadline_exceeded()  # which nobody reads
        if self.connection.full(time.monotonic(), privileged=call.call.caller.privileged):
            return busy(TOO_MUCH_UNSENT.message)
        return None

    def on_done(self, call: ServerCall) -> None:
        """Afterwards the call is the loop's again."""
        state = self._state
        answer = call.answer()
        self._size = len(answer.data) if answer.data else 0
        if self._size > LARGE and (refusal := self.refusal(call)):
            answer = call.withhold(refusal)  # a read: of writes the answers are small
            self._size = 0
        self._reply = answer
        state.connections.sending(self.connection, self._size, ran=True)
        state.answer(self)

    def send(self) -> None:
        assert self._reply is not None
        core.send_answer(self.call, *self._reply, self._sent, close=not self._watched)
        self._reply = None

    def refuse(self, status: Status) -> None:
        """Answers without having run anything."""
        self._state.connections.sending(self.connection, 0)
        core.send_answer(self.call, None, *status, None, self._sent, close=True)

    def _sent(self, event: core.Event) -> None:
        self._over = True
        self._state.connections.sent(self.connection, self._size, taken=event.success)
        if (call := self._server_call) is not None:
            left = not event.success if self._watched else core.was_cancelled(event)
            call.record_outcome(not left)
            self._server_call = None  # it knows us: together they would wait for the garbage collector
        self._forget_if_over()

    def _closed(self, event: core.Event) -> None:
        self._closes = False
        self._cancelled = core.was_cancelled(event)
        self._forget_if_over()

    def _forget_if_over(self) -> None:
        if self._over and not self._receiving and not self._closes:
            self._state.calls.pop(self, None)


class StreamCall:
    """One message is on its way at a time; the next is asked of the stream when that was sent."""

    __slots__ = (
        *("_begun", "_closing", "_counted", "_endpoint", "_finished", "_over", "_receiving", "_sending", "_size"),
        *("_state", "_stream", "call", "connection"),
    )

    def __init__(
        self, state: State, connection: Connection, event: core.Event, endpoint: StreamEndpoint | None
    ) -> None:
        self._state, self.connection, self._endpoint, self.call = state, connection, endpoint, event.call
        self._stream = endpoint.open() if endpoint else None
        self._counted = bool(endpoint and endpoint.max_per_connection)
        self._begun = False  # a message was sent
        self._receiving = self._sending = False
        self._finished = False  # the client has sent its last message
        self._over = False  # the status is on its way, or the client has left
        self._closing = True
        self._size = 0

    def begin(self) -> None:
        core.receive_close(self.call, self._closed)
        state, endpoint = self._state, self._endpoint
        if endpoint is None:
            self.refuse(UNKNOWN_METHOD)
        elif self._counted and self.connection.streams >= endpoint.max_per_connection:
            self._counted = False
            self.refuse(TOO_MANY_STREAMS)
        else:
            state.expect(self)
            if self._counted:
                self._count()
            self._receive()

    def _count(self) -> None:
        state = self._state
        self.connection.streams += 1
        state.streams[self] = None
        if len(state.streams) > MAX_STREAMS:
            most = largest((each.connection for each in state.streams), "streams")
            next(each for each in state.streams if each.connection is most).refuse(TOO_MANY_STREAMS)

    def _receive(self) -> None:
        self._receiving = True
        core.receive(self.call, self._arrived)

    def _arrived(self, event: core.Event) -> None:
        state, endpoint, stream = self._state, self._endpoint, self._stream
        assert endpoint is not None
        assert stream is not None
        self._receiving = False
        first = state.arrived(self)
        state.asked.pop(self, None)
        data = core.received(event)
        if self._over:
            self._forget_if_over()
        elif data is None:
            self._finished = True
            if first:
                self.refuse(NO_MESSAGE)
            else:
                self.pump()
        elif len(data) > endpoint.max_request:
            self.refuse(TOO_LARGE)
        else:
            stream.receive(data)
            self.pump()

    def pump(self) -> None:
        """Sends what there is to send, unless something is on its way; then that is done when it has arrived."""
        stream, state = self._stream, self._state
        if self._sending or self._over or stream is None or self in state.half_open:
            return
        data, ended = stream.next(), stream.ended
        if data is None and ended is None and stream.asks:
            if self._finished:
                ended = OK
            elif not self._receiving:
                assert self._endpoint is not None
                state.asked[self] = time.monotonic() + self._endpoint.idle
                self._receive()
        if ended is not None:
            self._end(data, ended)
        elif data is not None:
            self._sending = True
            self._take(data)
            core.send_message(self.call, data, self._sent, first=not self._begun)
            self._begun = True

    def refuse(self, status: Status) -> None:
        """Ends it, whatever there was still to send."""
        if self._sending:
            self.call.cancel()
        elif not self._over:
            self._end(None, status)

    def _end(self, data: bytes | None, status: Status) -> None:
        self._leave()
        self._sending = True
        self._take(data or b"")
        core.send_end(self.call, data, *status, self._sent, first=not self._begun)

    def _take(self, data: bytes) -> None:
        self._size = len(data)
        self._state.connections.sending(self.connection, self._size)

    def _sent(self, event: core.Event) -> None:
        self._sending = False
        self._state.connections.sent(self.connection, self._size, taken=event.success)
        if event.success:
            self.pump()
        self._forget_if_over()

    def _closed(self, event: core.Event) -> None:  # noqa: ARG002 - a tag
        self._closing = False
        self._leave()
        self._forget_if_over()

    def _leave(self) -> None:
        """Nothing more is sent, but for a status that is on its way."""
        state = self._state
        self._over = True
        state.arrived(self)
        state.asked.pop(self, None)
        if self._counted:
            self._counted = False
            self.connection.streams -= 1
            del state.streams[self]

    def _forget_if_over(self) -> None:
        if self._over and not (self._sending or self._receiving or self._closing):
            self._state.calls.pop(self, None)
