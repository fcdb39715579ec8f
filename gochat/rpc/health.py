"""grpc.health.v1: all services of this process have the same health, since one database is behind them all."""

from collections.abc import Callable

from google.protobuf.message import DecodeError
from google.rpc import code_pb2
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from gochat.serving.endpoints import OK, Status, StreamEndpoint

SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
MAX_REQUEST = 4096  # bytes
MAX_WATCHES = 20  # per connection; a client has one for each service that it uses

_NOT_FOUND = Status(code_pb2.NOT_FOUND, "no such service here")
_MALFORMED = Status(code_pb2.INVALID_ARGUMENT, "the request is not a HealthCheckRequest")
_UNKNOWN = HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN).SerializeToString()
_ANSWERS = {
    True: HealthCheckResponse(status=HealthCheckResponse.SERVING).SerializeToString(),
    False: HealthCheckResponse(status=HealthCheckResponse.NOT_SERVING).SerializeToString(),
}


class Health:
    """serving: whether SERVING or NOT_SERVING is answered. over: the server is stopping, and every Watch ends.

    `change` and `end` are called by any thread; the streams below run on the serving thread. They share two booleans,
    each read and written as a whole, and `on_change` (set by the server) makes the serving thread look at them again.
    """

    def __init__(self, services: tuple[str, ...]) -> None:
        self.services = frozenset(("", *services))
        self.serving = self.over = False
        self.on_change: Callable[[], None] = lambda: None

    def change(self, serving: bool) -> None:
        """Any thread may call this."""
        self.serving = serving
        self.on_change()

    def end(self) -> None:
        """Answers NOT_SERVING from now on, and ends every Watch, which draining would otherwise wait for."""
        self.over = True
        self.change(False)

    def endpoints(self) -> dict[str, StreamEndpoint]:
        return {
            f"/{SERVICE}/Check": StreamEndpoint(lambda: _Check(self), MAX_REQUEST, 0, 0.0),
            f"/{SERVICE}/Watch": StreamEndpoint(lambda: _Watch(self), MAX_REQUEST, MAX_WATCHES, 0.0),
        }


class _Check:
    """A Stream with one answer: the health of the service at the time of the request."""

    wants_request = False  # beyond the first request, which the transport reads in any case

    def __init__(self, health: Health) -> None:
        self._health = health
        self._messages: list[bytes] = []
        self.ended: Status | None = None

    def receive(self, data: bytes) -> None:
        try:
            known = HealthCheckRequest.FromString(data).service in self._health.services
        except DecodeError:
            self.ended = _MALFORMED
        else:
            self._answer(known)

    def _answer(self, known: bool) -> None:
        if known:
            self._messages.append(_ANSWERS[self._health.serving])
        self.ended = OK if known else _NOT_FOUND

    def next(self) -> bytes | None:
        return self._messages.pop() if self._messages else None


class _Watch(_Check):
    """A Stream with the health now and whenever it changes. A client that reads slowly gets only the latest."""

    _sent: bool | None = None
    _watches = False

    def _answer(self, known: bool) -> None:
        self._watches = known
        if not known:  # the protocol lets the stream go on, but here no service is added later
            self._messages.append(_UNKNOWN)
            self.ended = _NOT_FOUND

    def next(self) -> bytes | None:
        if not self._watches:
            return super().next()
        over, serving = self._health.over, self._health.serving and not self._health.over
        if over:
            self.ended = OK
        if serving is self._sent:
            return None
        self._sent = serving
        return _ANSWERS[serving]
