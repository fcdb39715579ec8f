"""gochat health: asks the running server how it is."""

from argparse import Namespace

from grpc_health.v1 import health_pb2 as pb

from gochat.commands.arguments import REMOTE, Subparsers, add_command, config_of
from gochat.commands.server import server_of
from gochat.rpc.client import channel_to
from gochat.running import find
from gochat.services import LOGIC, REPO


def add_to(commands: Subparsers) -> None:
    add_command(commands, "health", run, "ask the running server how it is; exit code 0 if it serves", REMOTE)


def run(arguments: Namespace) -> int:
    """Returns 0 if the server is SERVING."""
    config = config_of(arguments)
    half = LOGIC if find(config, LOGIC) or not find(config, REPO) else REPO
    with channel_to(*server_of(config, half, arguments.address)) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check", pb.HealthCheckRequest.SerializeToString, pb.HealthCheckResponse.FromString
        )
        status = check(pb.HealthCheckRequest()).status
    print(pb.HealthCheckResponse.ServingStatus.Name(status))
    return 0 if status == pb.HealthCheckResponse.SERVING else 1
