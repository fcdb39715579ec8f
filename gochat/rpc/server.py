"""The grpcio server: bound services, health and reflection on one port."""

import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gochat.config import Config, Limits, parse_address
from gochat.rpc.bind import Method
from gochat.rpc.guard import Guard
from gochat.rpc.pool import CallPool
from gochat.rpc.tls import server_credentials

LARGEST_REQUEST = 1024 * 1024  # bytes
LARGEST_METADATA = 16 * 1024  # bytes
HASHING_THREADS = (os.cpu_count() or 1) + 2
MOST_WAITING = 2000  # calls at once, running or waiting for a thread; more are refused


def _options(limits: Limits) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),  # a second server on the same port is a mistake, not a second worker
        ("grpc.max_receive_message_length", LARGEST_REQUEST),
        ("grpc.max_metadata_size", LARGEST_METADATA),
        ("grpc.absolute_max_metadata_size", LARGEST_METADATA),
        ("grpc.max_allowed_incoming_connections", limits.connections),
        ("grpc.max_concurrent_streams", limits.streams_per_connection),
        ("grpc.max_connection_idle_ms", limits.connection_idle * 1000),
        ("grpc.max_connection_age_ms", limits.connection_age * 1000),
        ("grpc.max_connection_age_grace_ms", 60_000),  # twice the longest call
        ("grpc.server_handshake_timeout_ms", 10_000),
        # Who says nothing for a minute is asked whether he is there; who asks us that too often is cut off.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 2),
    ]


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


def build(methods: Mapping[str, Method], guard: Guard, config: Config, *, reflect: bool) -> RpcServer:
    """A server of these methods, bound to its port but not started. Raises ListenError, ConfigError."""
    by_service: dict[str, dict[str, grpc.RpcMethodHandler[bytes, Message]]] = defaultdict(dict)
    # Password hashes take long: calls that need one have a few threads of their own, so that a flood of them leaves
    # the others be.
    hashing = CallPool(HASHING_THREADS, "hash")
    for path, method in methods.items():
        _, service, name = path.split("/")
        behaviour = guard.wrap(method)
        if method.rule.hashes:
            behaviour.experimental_thread_pool = hashing  # type: ignore[attr-defined]
        by_service[service][name] = grpc.unary_unary_rpc_method_handler(
            behaviour, response_serializer=method.response_class.SerializeToString
        )
    server = grpc.server(
        CallPool(config.server.threads, "call"),
        options=_options(config.limits),
        maximum_concurrent_rpcs=MOST_WAITING,
    )
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(service, handlers) for service, handlers in by_service.items()]
    )
    services = tuple(by_service)
    health_servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    if reflect:
        reflection.enable_server_reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    listen = config.server.listen
    host, _ = parse_address("server.listen", listen)
    try:
        if config.tls.cert:
            port = server.add_secure_port(listen, server_credentials(config.tls))
        else:
            port = server.add_insecure_port(listen)
    except RuntimeError:
        raise ListenError(f"cannot listen on {listen}: is the port taken, or the address not this host's?") from None
    return RpcServer(f"{host}:{port}", server, health_servicer, services)
