"""gochat health: asks the running server how it is."""

from argparse import Namespace

from grpc_health.v1 import health_pb2 as pb

from gochat.commands import config_of
from gochat.rpc.client import channel_to


def run(arguments: Namespace) -> int:
    """0 if the server says SERVING."""
    config = config_of(arguments)
    with channel_to(arguments.address or config.server.listen, config.tls) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check", pb.HealthCheckRequest.SerializeToString, pb.HealthCheckResponse.FromString
        )
        status = check(pb.HealthCheckRequest()).status
    print(pb.HealthCheckResponse.ServingStatus.Name(status))
    return 0 if status == pb.HealthCheckResponse.SERVING else 1
