"""gRPC reflection: the answers of grpcio-reflection, without a thread for each stream."""

from google.protobuf.message import DecodeError
from google.rpc import code_pb2
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from gochat.serving.endpoints import Status, StreamEndpoint

SERVICE = reflection.SERVICE_NAME
MAX_REQUEST = 4096  # bytes
MAX_STREAMS = 10  # per connection
IDLE_TIMEOUT = 60.0  # seconds that a client may take between two requests

_MALFORMED = Status(code_pb2.INVALID_ARGUMENT, "the request is not a ServerReflectionRequest")


def endpoints(services: tuple[str, ...]) -> dict[str, StreamEndpoint]:
    """services: full names of those to list."""
    servicer = reflection.ReflectionServicer(services)
    return {
        f"/{SERVICE}/ServerReflectionInfo": StreamEndpoint(
            lambda: _ReflectionStream(servicer), MAX_REQUEST, MAX_STREAMS, IDLE_TIMEOUT
        ),
    }


class _ReflectionStream:
    """A Stream with one answer for each request. The transport reads the next request once the answer was sent."""

    wants_request = True

    def __init__(self, servicer: reflection.ReflectionServicer) -> None:
        self._servicer = servicer
        self._messages: list[bytes] = []
        self.ended: Status | None = None

    def receive(self, data: bytes) -> None:
        try:
            request = ServerReflectionRequest.FromString(data)
        except DecodeError:
            self.ended = _MALFORMED
            return
        (answer,) = self._servicer.ServerReflectionInfo(iter((request,)), None)  # type: ignore[arg-type]  # it does not use the context
        self._messages.append(answer.SerializeToString())

    def next(self) -> bytes | None:
        return self._messages.pop() if self._messages else None
