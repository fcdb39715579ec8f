"""grpc.health.v1: one answer for every service of this process, which has one database behind them all."""

import threading
from typing import Any

import grpc
from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

LAST_WORD = 1.0  # seconds in which who watches takes in that it is over


class Health(health.HealthServicer):
    """Check is answered where it comes in: also while every thread waits for a database that is gone."""

    def __init__(self, services: tuple[str, ...]) -> None:
        super().__init__()
        self._services = ("", *services)
        self._watching: set[Any] = set()
        self.serving = False

    def Check(self, request: HealthCheckRequest, context: grpc.ServicerContext) -> HealthCheckResponse:  # noqa: N802
        if request.service not in self._services:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such service here")
        return self._answer()

    Check.inline = True  # type: ignore[attr-defined]

    def Watch(self, request: Any, context: Any, send_response_callback: Any = None) -> Any:  # noqa: N802
        self._watching.add(send_response_callback)
        context.add_callback(lambda: self._watching.discard(send_response_callback))
        return super().Watch(request, context, send_response_callback)

    def change(self, serving: bool) -> threading.Thread:
        """Returns the thread that tells those who watch: one of them may be slow to listen."""
        self.serving = serving
        telling = threading.Thread(target=self._tell, daemon=True)
        telling.start()
        return telling

    def end(self) -> None:
        """NOT_SERVING for good, and the end of every Watch, for which draining would wait otherwise."""
        self.change(False).join(LAST_WORD)
        for send in list(self._watching):
            send(None)

    def _tell(self) -> None:
        for service in self._services:
            self.set(service, self._answer().status)

    def _answer(self) -> HealthCheckResponse:
        return HealthCheckResponse(
            status=HealthCheckResponse.SERVING if self.serving else HealthCheckResponse.NOT_SERVING
        )
