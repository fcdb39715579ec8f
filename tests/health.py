"""Health as load balancers ask for it (grpc.health.v1)."""

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gochat.services import SERVICES
from tests.harness import Deployment
from tests.waiting import status_of

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def check(channel: grpc.Channel, service: str = "", timeout: float = 30) -> int:
    request = health_pb2.HealthCheckRequest(service=service)
    return int(health_pb2_grpc.HealthStub(channel).Check(request, timeout=timeout).status)


def health(app: Deployment) -> set[int]:
    """What the processes say of all their services."""
    found = set()
    for process in app.processes:
        with grpc.insecure_channel(process.address) as channel:
            for name in ("", *(service.descriptor.full_name for service in SERVICES)):
                status = status_of(lambda: found.add(check(channel, name, 1)))  # noqa: B023 - called at once
                assert status == "OK" or (name and status == "NOT_FOUND"), f"{name}: {status}"
    return found
