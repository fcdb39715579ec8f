"""The private names of grpcio that the serving loop uses; no other file touches any.

Used only with versions of grpcio that the tests ran with (gochat.rpc.TESTED_GRPCIO). The loop relies on the following.
Each point was seen in grpcio's sources, and there are tests that fail without it:

- `poll` releases the GIL while it waits, returns one completed batch with its tag, and is called by one thread at a
  time. A deadline less than 200 ms away ends the wait in time even if the system's clock is set meanwhile, since it is
  converted to a monotonic one on entry.
- `start_server_batch` may be called by any thread and does not block. Its tag comes back exactly once, also when the
  call was cancelled or the connection broke (`success` is false then). An empty batch completes immediately, which
  wakes the poll.
- A send completes when the transport has taken all of it, so a peer that does not read keeps it open. `cancel`
  completes every operation of a call.
- After `shutdown` no new call is handed over; its own tag comes when all calls have ended.
- References to an event, and to a call whose last operation has completed, must be dropped before the next `poll`:
  they keep the connection's stream open.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]

Event = Any
"""Attributes: success, batch_operations; for a new call also call, call_details (method, deadline) and
invocation_metadata."""

Call = Any
"""Methods: start_server_batch, cancel, peer."""

Tag = Callable[[Event], None]


class Server:
    """A server with one completion queue. options: gRPC channel arguments."""

    def __init__(self, options: Sequence[tuple[str, int]]) -> None:
        self._queue = cygrpc.CompletionQueue()
        self._server = cygrpc.Server([(name.encode(), value) for name, value in options], False)
        self._server.register_completion_queue(self._queue)
        self.poll: Callable[[float], Event] = self._queue.poll
        """Waits until a Unix time for an event. The event's tag is None if there was none by then."""

    def listen(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        """Returns the port. Raises RuntimeError."""
        arguments = (credentials._credentials,) if credentials else ()  # type: ignore[attr-defined]
        port: int = self._server.add_http2_port(address.encode(), *arguments)
        if not port:
            raise RuntimeError(f"cannot listen on {address}")
        return port

    def start(self) -> None:
        self._server.start()

    def register(self, path: str) -> None:
        """Has the calls of this method kept apart from those of others. Called before `start`."""
        self._server.register_method(path)

    def request_call(self, tag: Tag) -> None:
        """Has the next call that comes in delivered with this tag."""
        self._server.request_call(self._queue, self._queue, tag)

    def request_call_of(self, path: str, tag: Tag) -> None:
        """The same for a registered method. Its event has no method in call_details."""
        self._server.request_registered_call(self._queue, self._queue, path, tag)

    def shut_down(self, tag: Tag) -> None:
        self._server.shutdown(self._queue, tag)

    def cancel_all_calls(self) -> None:
        """Called after shut_down."""
        self._server.cancel_all_calls()

    def close(self) -> None:
        """Called after the tag of shut_down has come, when no operation is open."""
        self._server.destroy()
        self._queue.shutdown()
        while self._queue.poll(time.time() + 0.1).completion_type != cygrpc.CompletionType.queue_shutdown:
            pass


def receive(call: Call, tag: Tag) -> None:
    call.start_server_batch((cygrpc.ReceiveMessageOperation(0),), tag)


def received(event: Event) -> bytes | None:
    """The message; None if the client has no more to send, or has left."""
    message: bytes | None = event.batch_operations[0].message()
    return message


def receive_close(call: Call, tag: Tag) -> None:
    """Completes when the call is over, whichever side ended it."""
    call.start_server_batch((cygrpc.ReceiveCloseOnServerOperation(0),), tag)


def was_cancelled(event: Event) -> bool:
    """Has the client left? event: of a batch whose last operation receives the close."""
    return not event.success or bool(event.batch_operations[-1].cancelled())


def send_answer(
    call: Call, data: bytes | None, status: int, message: str, trailing: Any, tag: Tag, *, close: bool
) -> None:
    """Sends everything that a unary call answers as one batch. close: the batch receives the close as well, which saves
    an operation of its own."""
    operations = [
        cygrpc.SendInitialMetadataOperation(None, 0),
        cygrpc.SendStatusFromServerOperation(trailing, status, message, 0),
    ]
    if data is not None:
        operations.append(cygrpc.SendMessageOperation(data, 0))
    if close:
        operations.append(cygrpc.ReceiveCloseOnServerOperation(0))
    call.start_server_batch(operations, tag)


def send_message(call: Call, data: bytes, tag: Tag, *, first: bool) -> None:
    operations = [cygrpc.SendMessageOperation(data, 0)]
    if first:
        operations.append(cygrpc.SendInitialMetadataOperation(None, 0))
    call.start_server_batch(operations, tag)


def send_end(call: Call, data: bytes | None, status: int, message: str, tag: Tag, *, first: bool) -> None:
    """The last message of a stream, if there is one, and its status."""
    operations = [cygrpc.SendStatusFromServerOperation(None, status, message, 0)]
    if data is not None:
        operations.append(cygrpc.SendMessageOperation(data, 0))
    if first:
        operations.append(cygrpc.SendInitialMetadataOperation(None, 0))
    call.start_server_batch(operations, tag)


def wake(call: Call, tag: Tag) -> None:
    """Has `poll` return with this tag. Any thread may call this."""
    call.start_server_batch((), tag)
