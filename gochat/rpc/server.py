"""The grpcio server: bound services, health and reflection on one port."""

from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gochat.config import parse_address
from gochat.rpc.bind import Method
from gochat.rpc.guard import Guard

OPTIONS = (
    ("grpc.so_reuseport", 0),  # a second server on the same port is a mistake, not a second worker
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
)


class ListenError(Exception):
    """The address cannot be listened on; the message says which."""


@dataclass(frozen=True)
class RpcServer:
    """address: HOST:PORT with the port that is really listened on."""

    address: str
    _server: grpc.Server
    _health: health.HealthServicer
    _services: tuple[str, ...]

    def start(self) -> None:
        self._server.start()
        for service in ("", *self._services):
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)

    def drain(self, grace: float) -> None:
        """Health off, new calls refused, running ones given so many seconds; returns when all is over."""
        self._health.enter_graceful_shutdown()
        self._server.stop(grace).wait()


def build(methods: Mapping[str, Method], guard: Guard, *, listen: str, threads: int, reflect: bool) -> RpcServer:
    """A server of these methods, bound to its port but not started. Raises ListenError."""
    by_service: dict[str, dict[str, grpc.RpcMethodHandler[bytes, Message]]] = defaultdict(dict)
    for path, method in methods.items():
        _, service, name = path.split("/")
        by_service[service][name] = grpc.unary_unary_rpc_method_handler(
            guard.wrap(method), response_serializer=method.response_class.SerializeToString
        )
    server = grpc.server(ThreadPoolExecutor(threads, thread_name_prefix="call"), options=OPTIONS)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(service, handlers) for service, handlers in by_service.items()]
    )
    services = tuple(by_service)
    health_servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    if reflect:
        reflection.enable_server_reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    host, _ = parse_address("server.listen", listen)
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError:
        raise ListenError(f"cannot listen on {listen}: is the port taken, or the address not this host's?") from None
    return RpcServer(f"{host}:{port}", server, health_servicer, services)
