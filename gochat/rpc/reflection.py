"""gRPC reflection, as grpcio-reflection answers it, without a thread for each stream."""

from google.protobuf.message import DecodeError
from google.rpc import code_pb2
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from gochat.serving.endpoints import Status, StreamEndpoint

SERVICE = reflection.SERVICE_NAME
MAX_REQUEST = 4096  # bytes
MAX_STREAMS = 10  # of a connection
IDLE = 60.0  # seconds that a client may take between two questions

_MALFORMED = Status(code_pb2.INVALID_ARGUMENT, "the request is not a ServerReflectionRequest")


def endpoints(services: tuple[str, ...]) -> dict[str, StreamEndpoint]:
    """services: by their full names, that are offered."""
    servicer = reflection.ReflectionServicer(services)
    return {
        f"/{SERVICE}/ServerReflectionInfo": StreamEndpoint(
            lambda: _Questions(servicer), MAX_REQUEST, MAX_STREAMS, IDLE
        ),
    }


class _Questions:
    """A Stream with one answer for each question; the next is read when that was sent."""

    asks = True

    def __init__(self, servicer: reflection.ReflectionServicer) -> None:
        self._servicer = servicer
        self._messages: list[bytes] = []
        self.ended: Status | None = None

    def receive(self, data: bytes) -> None:
        try:
            question = ServerReflectionRequest.FromString(data)
        except DecodeError:
            self.ended = _MALFORMED
            return
        (answer,) = self._servicer.ServerReflectionInfo(iter((question,)), None)  # type: ignore[arg-type]  # it has no use for a context
        self._messages.append(answer.SerializeToString())

    def next(self) -> bytes | None:
        return self._messages.pop() if self._messages else None
