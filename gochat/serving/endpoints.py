"""What a transport serves at a path: a unary method, or a stream. And what it refuses by itself.

Of a stream the transport has one message on its way at a time: it asks for the next when that was sent, or when it is
woken. So a client that does not read costs one message, and nobody waits for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from google.rpc import code_pb2

from gochat.context import Lane
from gochat.serving.binding import Method
from gochat.serving.executors import Executor
from gochat.serving.metrics import Counts

REQUEST_TIMEOUT = 10.0  # seconds in which a request must have come, after its headers
MAX_WAITING = 2000  # calls that run or wait to be run; more are refused
MAX_STREAMS = 2000  # of all connections; then the connection with the most loses its oldest


class Status(NamedTuple):
    """code: of gRPC."""

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
LATE = Status(code_pb2.DEADLINE_EXCEEDED, f"the request did not arrive within {REQUEST_TIMEOUT:g} s")
STOPPING = Status(code_pb2.UNAVAILABLE, "the server is stopping")
SILENT = Status(code_pb2.DEADLINE_EXCEEDED, "nothing was asked for too long")


@dataclass(frozen=True)
class Unary:
    """A bound method. lane: the executor's."""

    method: Method
    counts: Counts
    executor: Executor
    lane: Lane


class Stream(Protocol):
    """All methods are called on the transport's serving thread and must not block."""

    def receive(self, data: bytes) -> None:
        """A request message."""

    def next(self) -> bytes | None:
        """The next message to send; None while there is none."""

    @property
    def asks(self) -> bool:
        """Does it want a further request message?"""

    @property
    def ended(self) -> Status | None:
        """The status that follows the last message, once there is no more to send."""


class StreamEndpoint(NamedTuple):
    """An RPC that is a stream. max_request: bytes. max_per_connection: streams; 0: it is short and not counted.
    idle: seconds that a stream may go without a request message that it asks for."""

    open: Callable[[], Stream]
    max_request: int
    max_per_connection: int
    idle: float
