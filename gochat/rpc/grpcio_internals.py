"""The private names of grpcio that the serving loop uses; no other file touches any.

Used only with versions of grpcio that the tests ran with (gochat.rpc.TESTED_GRPCIO). What the loop relies on, each seen
in grpcio's sources and shown by the tests that break without it:

- `poll` gives up the interpreter while it waits, returns one completed operation with the tag of its batch, and is
  called by one thread at a time. A deadline less than 200 ms away ends it in that time even if the clock is set
  meanwhile: it is turned into a monotonic one on entry.
- `start_server_batch` may be called by any thread, does not block, and its tag comes back exactly once, also when the
  call was cancelled or the connection broke (`success` is then false). A batch of no operations completes at once:
  that wakes the poll.
- A send completes when the transport has taken it all, so a peer that does not read keeps it open; `cancel` completes
  every operation of a call.
- After `shutdown` no call is handed over; its own tag comes when all calls have ended.
- An event, and a call whose last operation has completed, must be let go of before the next `poll`: they keep the
  connection's stream.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]

Event = Any
"""success; batch_operations; of a new call also call, call_details (method, deadline), invocation_metadata."""

Call = Any
"""start_server_batch, cancel, peer."""

Tag = Callable[[Event], None]


class Server:
    """A server with one completion queue. options: of channels, by name."""

    def __init__(self, options: Sequence[tuple[str, int]]) -> None:
        self._queue = cygrpc.CompletionQueue()
        self._server = cygrpc.Server([(name.encode(), value) for name, value in options], False)
        self._server.register_completion_queue(self._queue)
        self.poll: Callable[[float], Event] = self._queue.poll
        """Until a Unix time. The event's tag is None when that has come."""

    def listen(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        """The port. Raises RuntimeError."""
        encrypted = (credentials._credentials,) if credentials else ()  # type: ignore[attr-defined]
        port: int = self._server.add_http2_port(address.encode(), *encrypted)
        if not port:
            raise RuntimeError(f"cannot listen on {address}")
        return port

    def start(self) -> None:
        self._server.start()

    def request_call(self, tag: Tag) -> None:
        """The next call that comes in completes with this tag."""
        self._server.request_call(self._queue, self._queue, tag)

    def shut_down(self, tag: Tag) -> None:
        self._server.shutdown(self._queue, tag)

    def cancel_all_calls(self) -> None:
        """After shut_down."""
        self._server.cancel_all_calls()

    def close(self) -> None:
        """After the tag of shut_down, when no operation is open."""
        self._server.destroy()
        self._queue.shutdown()
        while self._queue.poll(time.time() + 0.1).completion_type != cygrpc.CompletionType.queue_shutdown:
            pass


def receive(call: Call, tag: Tag) -> None:
    call.start_server_batch((cygrpc.ReceiveMessageOperation(0),), tag)


def received(event: Event) -> bytes | None:
    """The message; None where the client has sent its last, or has left."""
    message: bytes | None = event.batch_operations[0].message()
    return message


def receive_close(call: Call, tag: Tag) -> None:
    """Completes when the call is over, by the client's doing or ours."""
    call.start_server_batch((cygrpc.ReceiveCloseOnServerOperation(0),), tag)


def was_cancelled(event: Event) -> bool:
    """Of a batch whose last operation is to receive the close: has the client left?"""
    return not event.success or bool(event.batch_operations[-1].cancelled())


def send_answer(
    call: Call, data: bytes | None, status: int, message: str, trailing: Any, tag: Tag, *, close: bool
) -> None:
    """All that a unary call sends, as one batch. close: receives the close as well, so that a call costs one operation
    less."""
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
    """Has the tag come out of the poll, from any thread."""
    call.start_server_batch((), tag)
