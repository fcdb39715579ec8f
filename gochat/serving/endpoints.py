"""What a transport serves at a path: a unary method or a stream; and the statuses with which it refuses calls itself.

A transport sends one message of a stream at a time. When that was sent, or when the stream has changed, it calls
`next` for the following one. So a client that does not read costs one message, and nobody waits for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from google.rpc import code_pb2

from gochat.context import Lane
from gochat.serving.binding import Method
from gochat.serving.call import Executor
from gochat.serving.metrics import RpcMetrics

MAX_REQUEST = 1024 * 1024  # bytes of a request message
REQUEST_TIMEOUT = 10.0  # seconds from the headers of a call within which its request must have arrived
MAX_WAITING = 2000  # calls that run or wait to be run; more are refused
MAX_STREAMS = 2000  # of all connections; beyond it the connection with the most loses its oldest stream


class Status(NamedTuple):
    """code: the gRPC status code."""

    code: int
    message: str = ""


OK = Status(code_pb2.OK)
TOO_MANY_HALF_OPEN = Status(code_pb2.RESOURCE_EXHAUSTED, "too many requests of this connection are on their way")
TOO_MANY_WAITING = Status(code_pb2.RESOURCE_EXHAUSTED, "too many calls wait to be answered")
TOO_MANY_STREAMS = Status(code_pb2.RESOURCE_EXHAUSTED, "too many streams are open")
TOO_MUCH_UNSENT = Status(code_pb2.RESOURCE_EXHAUSTED, "this connection has not taken its answers")
TOO_LARGE = Status(code_pb2.RESOURCE_EXHAUSTED, "the request is too large")
NO_MESSAGE = Status(code_pb2.INVALID_ARGUMENT, "a unary call has one request message")
UNKNOWN_METHOD = Status(code_pb2.UNIMPLEMENTED, "Method not found!")
REQUEST_LATE = Status(code_pb2.DEADLINE_EXCEEDED, f"the request did not arrive within {REQUEST_TIMEOUT:g} s")
STOPPING = Status(code_pb2.UNAVAILABLE, "the server is stopping")
FAILED = Status(code_pb2.INTERNAL, "internal error")
STREAM_IDLE = Status(code_pb2.DEADLINE_EXCEEDED, "the stream was idle for too long")


@dataclass(frozen=True)
class UnaryEndpoint:
    """A bound method with the executor that runs its calls. lane: the executor's."""

    method: Method
    metrics: RpcMetrics
    executor: Executor
    lane: Lane


class Subscription(Protocol):
    """What the handler of a streaming RPC returns: the messages of one stream. The transport sends one at a time, and
    calls all of this on its serving thread, so nothing here may block. wake: is set by the transport; any thread may
    call it when there is something to send."""

    wake: Callable[[], None]

    def next(self) -> bytes | None:
        """The next message to send; None while there is none."""

    @property
    def over(self) -> Status | None:
        """The status to end with, once the last message was taken; None before."""

    def closed(self) -> None:
        """Called once: the client has left, or the status was sent."""


class Stream(Protocol):
    """One open stream. The transport calls all of this on its serving thread, so nothing here may block."""

    def receive(self, data: bytes) -> None:
        """A request message."""

    def next(self) -> bytes | None:
        """The next message to send; None while there is none."""

    @property
    def wants_request(self) -> bool:
        """Is it waiting for a further request message? (The transport reads the first one in any case.)"""

    @property
    def ended(self) -> Status | None:
        """The status to end with after the last message; None while more may follow."""


class StreamEndpoint(NamedTuple):
    """A streaming RPC.

    max_request: bytes of a request message. max_per_connection: streams; 0 for a short stream, which is not counted.
    idle_timeout: seconds within which a request message must come when the stream wants one.
    """

    open: Callable[[], Stream]
    max_request: int
    max_per_connection: int
    idle_timeout: float
