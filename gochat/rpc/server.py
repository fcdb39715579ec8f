"""The gRPC server: bound services, health and reflection on one port, on the serving loop or on grpcio's own."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import grpc

from gochat.config import Config, Limits, parse_address
from gochat.context import Lane
from gochat.listening import ListenError, as_text, resolve
from gochat.rpc import TESTED_GRPCIO, reflection
from gochat.rpc.grpcio_internals import Server
from gochat.rpc.health import SERVICE as HEALTH
from gochat.rpc.health import Health
from gochat.rpc.loop import ServingLoop
from gochat.rpc.plain import PlainServer
from gochat.rpc.state import State
from gochat.rpc.tls import server_credentials
from gochat.serving.admission import Admission
from gochat.serving.binding import Method
from gochat.serving.endpoints import StreamEndpoint, UnaryEndpoint
from gochat.serving.executors import Executors, execute_here
from gochat.serving.metrics import Metrics

log = logging.getLogger(__name__)

MAX_SEAM_OVERHEAD = 128 * 1024  # bytes that the logic half may add: senders and digests of a thousand messages
MAX_METADATA = 16 * 1024  # bytes
MAX_PENDING = 10_000  # calls
# A connection whose client was asked to reconnect stays open for so many seconds, while it has calls: longer than any
# stream. So streams are not cut but end with a goodbye, and their clients open the next ones on a new connection.
MAX_STREAM_AGE = 3600.0
KILL_TIMEOUT = 2.0  # seconds within which calls must end that were cancelled after the grace period


def _options(limits: Limits, max_request: int, *, shared_port: bool) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", int(shared_port)),  # off without workers, so that a second server on the port fails
        ("grpc.max_receive_message_length", max_request),
        ("grpc.max_metadata_size", MAX_METADATA),
        ("grpc.absolute_max_metadata_size", MAX_METADATA),
        ("grpc.max_allowed_incoming_connections", limits.connections),
        ("grpc.max_concurrent_streams", limits.streams_per_connection),
        # Calls that the serving loop has not accepted yet; beyond the first number gRPC cancels some at random.
        ("grpc.server.max_pending_requests", MAX_PENDING),
        ("grpc.server.max_pending_requests_hard_limit", 2 * MAX_PENDING),
        ("grpc.max_connection_idle_ms", limits.connection_idle * 1000),
        ("grpc.max_connection_age_ms", limits.connection_age * 1000),
        ("grpc.max_connection_age_grace_ms", int(MAX_STREAM_AGE * 1000)),
        ("grpc.server_handshake_timeout_ms", 10_000),
        # A client that sends nothing for a minute is pinged; one that pings the server too often is disconnected.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.ping_timeout_ms", 20_000),  # 60 s unless it is set: the timeout above ends once anything was read
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 2),
    ]


@dataclass
class RpcServer:
    """A server that is bound to its port. address: HOST:PORT with the actual port. fast: is it the serving loop?"""

    address: str
    fast: bool
    health: Health
    _server: ServingLoop | PlainServer
    _seen_checks: int = -1

    def alive(self) -> bool:
        """Has the server's loop run since the last call of this method? Only the heartbeat calls it."""
        seen, self._seen_checks = self._seen_checks, self._server.checks
        return seen != self._seen_checks

    def statistics(self) -> dict[str, int]:
        """By the names of gochat.monitoring.families."""
        return self._server.statistics() | {"fast": self.fast}

    def start(self) -> None:
        self._server.start()
        self.health.change(True)

    def drain(self, grace: float) -> bool:
        """Sets health to NOT_SERVING, refuses new calls, and waits so many seconds for running ones before it cancels
        them. Returns False if calls do not end even then."""
        self.health.end()
        return self._server.drain(grace, KILL_TIMEOUT)


def build(
    methods: Mapping[str, Method],
    admission: Admission,
    metrics: Metrics,
    executors: Executors,
    config: Config,
    *,
    reflect: bool,
    max_request: int,
) -> RpcServer:
    """A server of these methods, bound to its port but not started. max_request: bytes. Raises ListenError,
    ConfigError."""
    fast = config.server.fast and grpc.__version__ in TESTED_GRPCIO
    endpoints: dict[str, UnaryEndpoint | StreamEndpoint] = {}
    for path, method in methods.items():
        executor, lane = (executors.of(method), executors.lane_of(method)) if fast else (execute_here, Lane.POOLED)
        endpoints[path] = UnaryEndpoint(method, metrics.of(path), executor, lane)
    services = tuple(dict.fromkeys(path.split("/")[1] for path in methods))
    health = Health(services)
    endpoints |= health.endpoints()
    if reflect:
        endpoints |= reflection.endpoints((*services, HEALTH, reflection.SERVICE))
    options = _options(config.limits, max_request, shared_port=config.server.workers > 1)
    server: ServingLoop | PlainServer = (
        ServingLoop(Server(options), endpoints, State(admission, executors))
        if fast
        else PlainServer(options, config.server.threads, endpoints, admission)
    )
    health.on_change = server.wake
    listen = config.server.listen
    host, _ = parse_address("server.listen", listen)
    credentials = server_credentials(config.tls) if config.tls.cert else None
    try:
        for found in resolve(listen, "server.listen"):
            port = server.listen(as_text(found), credentials)
    except RuntimeError:
        raise ListenError(listen) from None
    return RpcServer(f"{host}:{port}", fast, health, server)
