"""The gRPC server: bound services, health and reflection on one port, on the serving loop or on grpcio's own."""

import logging
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import grpc

from gochat.config import Config, Limits, parse_address
from gochat.context import Enqueue, Lane
from gochat.domain.access import Cost
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
from gochat.serving.endpoints import StreamEndpoint, Unary
from gochat.serving.executors import Executors, here
from gochat.serving.metrics import Metrics

log = logging.getLogger(__name__)

LARGEST_REQUEST = 1024 * 1024  # bytes
SEAM_ROOM = 64 * 1024  # bytes that the logic half may add to a request: the senders of a thousand messages
LARGEST_METADATA = 16 * 1024  # bytes
MAX_PENDING = 10_000  # calls
KILL_TIMEOUT = 2.0  # seconds for calls to end that were cancelled after the grace


def _options(limits: Limits, largest_request: int, *, shared: bool) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", int(shared)),  # else a second server on the same port is a mistake, not a second worker
        ("grpc.max_receive_message_length", largest_request),
        ("grpc.max_metadata_size", LARGEST_METADATA),
        ("grpc.absolute_max_metadata_size", LARGEST_METADATA),
        ("grpc.max_allowed_incoming_connections", limits.connections),
        ("grpc.max_concurrent_streams", limits.streams_per_connection),
        # Calls that the serving loop has not looked at yet; beyond the first number gRPC cancels some at random.
        ("grpc.server.max_pending_requests", MAX_PENDING),
        ("grpc.server.max_pending_requests_hard_limit", 2 * MAX_PENDING),
        ("grpc.max_connection_idle_ms", limits.connection_idle * 1000),
        ("grpc.max_connection_age_ms", limits.connection_age * 1000),
        ("grpc.max_connection_age_grace_ms", 60_000),  # twice the longest call
        ("grpc.server_handshake_timeout_ms", 10_000),
        # A client that says nothing for a minute is asked whether it is there; one that asks us too often is cut off.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 2),
    ]


@contextmanager
def held(listen: str) -> Iterator[str]:
    """Keeps a port for several servers of ours (server.workers), and from everybody else, without listening on it.

    Yields HOST:PORT, with a free port in place of 0. Raises ListenError.
    """
    host, port = parse_address("server.listen", listen)
    try:
        # Of several addresses (localhost) the first is enough: the others are taken by the servers that listen.
        family, _, _, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        holder = _holder(family, address)
    except OSError:
        raise ListenError(listen) from None
    with holder:
        yield f"{host}:{holder.getsockname()[1]}"


def _holder(family: socket.AddressFamily, address: tuple[str | int | bytes, ...]) -> socket.socket:
    """A socket that is bound so that none can listen on its port but those of this user with SO_REUSEPORT.

    Listening finds out whether the port is free, from other holders too, which share it only with who says so; and the
    probe does not until its place is taken. SO_REUSEADDR lets both pass the remains of closed connections; a holder
    that kept it would let others in. Raises OSError.
    """
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen()
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder = socket.socket(family)
        try:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind(probe.getsockname())
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        except OSError:
            holder.close()
            raise
        return holder


class ListenError(Exception):
    """The address cannot be listened on; the message says which, and the key that names it."""

    def __init__(self, listen: str, key: str = "server.listen") -> None:
        super().__init__(f"cannot listen on {listen}: is the port of {key} taken, or the address not this host's?")


@dataclass
class RpcServer:
    """address: HOST:PORT with the port that is really listened on. fast: on the serving loop."""

    address: str
    fast: bool
    health: Health
    _server: ServingLoop | PlainServer
    _seen: int = -1

    def alive(self) -> bool:
        """Has it served, or been able to, since this was last asked? By the heartbeat alone."""
        seen, self._seen = self._seen, self._server.turns
        return seen != self._seen

    def statistics(self) -> dict[str, int]:
        """By the names of gochat.monitoring.numbers."""
        return self._server.statistics() | {"fast": self.fast}

    def start(self) -> None:
        self._server.start()
        self.health.change(True)

    def drain(self, grace: float) -> bool:
        """Health off, new calls refused, running ones given so many seconds; returns when all is over, or False where
        calls do not end even when they are cancelled."""
        self.health.end()
        return self._server.drain(grace, KILL_TIMEOUT)


def build(
    methods: Mapping[str, Method],
    admission: Admission,
    metrics: Metrics,
    config: Config,
    *,
    reflect: bool,
    largest_request: int,
    enqueue: Enqueue | None,
) -> RpcServer:
    """A server of these methods, bound to its port but not started. Raises ListenError, ConfigError.

    enqueue: see Executors.
    """
    fast = config.server.fast and grpc.__version__ in TESTED_GRPCIO
    executors = Executors(config.server.threads, enqueue) if fast else None
    endpoints: dict[str, Unary | StreamEndpoint] = {}
    for path, method in methods.items():
        cost = method.rule.cost
        inline = cost is Cost.NOTHING or (enqueue is not None and cost is Cost.PAGE)
        lane = Lane.INLINE if inline else Lane.POOLED
        endpoints[path] = Unary(method, metrics.of(path), executors.of(method) if executors else here, lane)
    services = tuple(dict.fromkeys(path.split("/")[1] for path in methods))
    health = Health(services)
    endpoints |= health.endpoints()
    if reflect:
        endpoints |= reflection.endpoints((*services, HEALTH, reflection.SERVICE))
    options = _options(config.limits, largest_request, shared=config.server.workers > 1)
    server: ServingLoop | PlainServer = (
        ServingLoop(Server(options), endpoints, State(admission, executors))
        if executors
        else PlainServer(options, config.server.threads, endpoints, admission)
    )
    health.on_change = server.wake
    listen = config.server.listen
    host, _ = parse_address("server.listen", listen)
    try:
        port = server.listen(listen, server_credentials(config.tls) if config.tls.cert else None)
    except RuntimeError:
        raise ListenError(listen) from None
    return RpcServer(f"{host}:{port}", fast, health, server)
