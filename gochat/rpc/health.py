"""grpc.health.v1: one answer for every service of this process, which has one database behind them all."""

from collections.abc import Callable

from google.protobuf.message import DecodeError
from google.rpc import code_pb2
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from gochat.serving.endpoints import OK, Status, StreamEndpoint

SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
MAX_REQUEST = 4096  # bytes
MAX_WATCHES = 20  # of a connection; a client has one for each service that it uses

_NOT_FOUND = Status(code_pb2.NOT_FOUND, "no such service here")
_MALFORMED = Status(code_pb2.INVALID_ARGUMENT, "the request is not a HealthCheckRequest")
_UNKNOWN = HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN).SerializeToString()
_ANSWERS = {
    True: HealthCheckResponse(status=HealthCheckResponse.SERVING).SerializeToString(),
    False: HealthCheckResponse(status=HealthCheckResponse.NOT_SERVING).SerializeToString(),
}


class Health:
    """serving, over: what is answered from now on; over: the server ends, and with it every Watch. on_change(): those
    who watch are to be asked again what they have to send."""

    def __init__(self, services: tuple[str, ...]) -> None:
        self.services = frozenset(("", *services))
        self.serving = self.over = False
        self.on_change: Callable[[], None] = lambda: None

    def change(self, serving: bool) -> None:
        """By any thread."""
        self.serving = serving
        self.on_change()

    def end(self) -> None:
        """NOT_SERVING for good, and the end of every Watch, for which draining would wait otherwise."""
        self.over = True
        self.change(False)

    def endpoints(self) -> dict[str, StreamEndpoint]:
        return {
            f"/{SERVICE}/Check": StreamEndpoint(lambda: _Check(self), MAX_REQUEST, 0, 0.0),
            f"/{SERVICE}/Watch": StreamEndpoint(lambda: _Watch(self), MAX_REQUEST, MAX_WATCHES, 0.0),
        }


class _Check:
    """A Stream of one message: the state of the service when it was asked for."""

    asks = False  # the transport reads the first request unasked

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
    """The state now and whenever it changes; a client that does not read is sent only the last."""

    _sent: bool | None = None
    _watches = False

    def _answer(self, known: bool) -> None:
        self._watches = known
        if not known:  # the protocol's word for it; that it may become known later is not so here
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
