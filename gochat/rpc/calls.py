"""The calls of the serving loop (loop.py), as state machines: each method starts an operation of grpcio's or is the tag
that the operation completes with.

Everything runs on the serving thread, and so without locks, except for the Transport methods of a UnaryCall (`on_wait`,
`skip_error`, `on_done`): those are called by the thread that has the ServerCall. That is safe because the loop does not
touch the ServerCall, nor the fields that these methods set, until `on_done` has handed the call back by `State.answer`.
(Two fields are the exception. `_cancelled` and `_close_pending` are set by the loop at any time, each with a single
assignment; a reader that sees the old value only runs a call for a client that has just left.)

A call is over when none of its operations is open. Then it is removed from `State.calls`: what refers to a call keeps
the HTTP/2 stream of its connection open.
"""

import time

from gochat.domain.access import Cost
from gochat.errors import ChatError, deadline_exceeded, overloaded
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
    UnaryEndpoint,
)
from gochat.serving.executors import start

LARGE_ANSWER = 64 * 1024  # bytes; an answer from this size on is not kept for a connection that is full


class UnaryCall:
    """A unary call, and the Transport of its ServerCall.

    _receiving: the request is being received. _watches_close: the receipt of the close is an operation of its own,
    which is open while _close_pending. _over: the answer was sent, or will never be.
    """

    __slots__ = (
        *("_cancelled", "_close_pending", "_deadline", "_endpoint", "_metadata", "_over", "_receiving", "_reply"),
        *("_server_call", "_size", "_state", "_watches_close", "call", "connection"),
    )

    def __init__(self, state: State, connection: Connection, event: core.Event, endpoint: UnaryEndpoint) -> None:
        self._state, self.connection, self._endpoint = state, connection, endpoint
        self.call, self._metadata, self._deadline = event.call, event.invocation_metadata, event.call_details.deadline
        self._receiving = self._watches_close = self._close_pending = self._cancelled = self._over = False
        self._server_call: ServerCall | None = None
        self._reply: Answer | None = None
        self._size = 0

    def begin(self) -> None:
        self._state.expect_request(self)
        self._receiving = True
        core.receive(self.call, self._on_request)

    def _on_request(self, event: core.Event) -> None:
        state = self._state
        self._receiving = False
        if not state.request_arrived(self):
            self._forget_if_over()
            return
        data = core.received(event)
        if data is None:
            self.refuse(NO_MESSAGE)
        elif self._endpoint.method.rule.cost is Cost.CONTROL:
            self._start(data)
        elif state.connections.waiting >= MAX_WAITING:
            self.refuse(TOO_MANY_WAITING)
        elif self.connection.is_full(time.monotonic(), privileged=True):  # the caller is not authenticated yet
            self.refuse(TOO_MUCH_UNSENT)
        else:
            self._start(data)

    def _start(self, data: bytes) -> None:
        state, endpoint = self._state, self._endpoint
        self._server_call = call = ServerCall(
            state.admission,
            endpoint.method,
            endpoint.metrics,
            data,
            self._metadata,
            self.connection.peer,
            self._deadline - time.time(),
            self,
        )
        state.connections.call_started()
        start(call, endpoint.lane, endpoint.executor, state.executors.look_up)

    def on_wait(self) -> None:
        if not self._watches_close:
            self._watches_close = self._close_pending = True
            core.receive_close(self.call, self._on_close)

    def skip_error(self, call: ServerCall) -> ChatError | None:
        if self._cancelled:
            return deadline_exceeded()  # any error will do: the client has left
        if self.connection.is_full(time.monotonic(), privileged=call.call.is_by_privileged):
            return overloaded(TOO_MUCH_UNSENT.message)
        return None

    def on_done(self, call: ServerCall) -> None:
        state = self._state
        answer = call.answer()
        self._size = len(answer.data) if answer.data else 0
        if self._size > LARGE_ANSWER and (error := self.skip_error(call)):
            answer = call.withhold(error)  # this was a read: the answers to writes are small
            self._size = 0
        self._reply = answer
        state.connections.send_started(self.connection, self._size, ran=True)
        state.answer(self)

    def send(self) -> None:
        assert self._reply is not None
        core.send_answer(self.call, *self._reply, self._on_sent, close=not self._watches_close)
        self._reply = None

    def refuse(self, status: Status) -> None:
        self._state.connections.send_started(self.connection, 0)
        core.send_answer(self.call, None, *status, None, self._on_sent, close=True)

    def _on_sent(self, event: core.Event) -> None:
        self._over = True
        self._state.connections.send_ended(self.connection, self._size, taken=event.success)
        if (call := self._server_call) is not None:
            client_left = not event.success if self._watches_close else core.was_cancelled(event)
            call.record_outcome(not client_left)
            self._server_call = None  # breaks a reference cycle, which only the garbage collector would free
        self._forget_if_over()

    def _on_close(self, event: core.Event) -> None:
        self._close_pending = False
        self._cancelled = core.was_cancelled(event)
        self._forget_if_over()

    def _forget_if_over(self) -> None:
        if self._over and not self._receiving and not self._close_pending:
            self._state.calls.pop(self, None)


class StreamCall:
    """A stream. It sends one message at a time: the next one is taken from the stream when that was sent."""

    __slots__ = (
        *("_begun", "_close_pending", "_counted", "_endpoint", "_finished", "_over", "_receiving", "_sending", "_size"),
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
        self._over = False  # the status is being sent, or the client has left
        self._close_pending = True
        self._size = 0

    def begin(self) -> None:
        core.receive_close(self.call, self._on_close)
        state, endpoint = self._state, self._endpoint
        if endpoint is None:
            self.refuse(UNKNOWN_METHOD)
        elif self._counted and self.connection.streams >= endpoint.max_per_connection:
            self._counted = False
            self.refuse(TOO_MANY_STREAMS)
        else:
            state.expect_request(self)
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
        core.receive(self.call, self._on_request)

    def _on_request(self, event: core.Event) -> None:
        state, endpoint, stream = self._state, self._endpoint, self._stream
        assert endpoint is not None
        assert stream is not None
        self._receiving = False
        first = state.request_arrived(self)
        state.idle.pop(self, None)
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
        """Sends the next message or the status, if there is one and nothing is being sent. `_on_sent` pumps again."""
        stream, state = self._stream, self._state
        if self._sending or self._over or stream is None or self in state.half_open:
            return
        data, ended = stream.next(), stream.ended
        if data is None and ended is None and stream.wants_request:
            if self._finished:
                ended = OK
            elif not self._receiving:
                assert self._endpoint is not None
                state.idle[self] = time.monotonic() + self._endpoint.idle_timeout
                self._receive()
        if ended is not None:
            self._end(data, ended)
        elif data is not None:
            self._sending = True
            self._count_unsent(data)
            core.send_message(self.call, data, self._on_sent, first=not self._begun)
            self._begun = True

    def refuse(self, status: Status) -> None:
        """Ends the stream without sending its remaining messages."""
        if self._sending:
            self.call.cancel()
        elif not self._over:
            self._end(None, status)

    def _end(self, data: bytes | None, status: Status) -> None:
        self._release()
        self._sending = True
        self._count_unsent(data or b"")
        core.send_end(self.call, data, *status, self._on_sent, first=not self._begun)

    def _count_unsent(self, data: bytes) -> None:
        self._size = len(data)
        self._state.connections.send_started(self.connection, self._size)

    def _on_sent(self, event: core.Event) -> None:
        self._sending = False
        self._state.connections.send_ended(self.connection, self._size, taken=event.success)
        if event.success:
            self.pump()
        self._forget_if_over()

    def _on_close(self, event: core.Event) -> None:  # noqa: ARG002 - a tag
        self._close_pending = False
        self._release()
        self._forget_if_over()

    def _release(self) -> None:
        """The stream sends no more messages: it expects no request and does not count any more."""
        state = self._state
        self._over = True
        state.request_arrived(self)
        state.idle.pop(self, None)
        if self._counted:
            self._counted = False
            self.connection.streams -= 1
            del state.streams[self]

    def _forget_if_over(self) -> None:
        if self._over and not (self._sending or self._receiving or self._close_pending):
            self._state.calls.pop(self, None)
