"""The grpcio server: bound services, health and reflection on one port."""

import os
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH
from grpc_reflection.v1alpha import reflection

from gochat.config import Config, Limits, parse_address
from gochat.context import End, Enqueue
from gochat.domain.access import Cost
from gochat.rpc.batcher import Batcher
from gochat.rpc.bind import Method
from gochat.rpc.guard import Guard, Place, Visit
from gochat.rpc.health import Health
from gochat.rpc.metrics import Metrics
from gochat.rpc.pool import CallPool
from gochat.rpc.tls import server_credentials

LARGEST_REQUEST = 1024 * 1024  # bytes
SEAM_ROOM = 64 * 1024  # bytes that the logic half may add to a request: the senders of a thousand messages
LARGEST_METADATA = 16 * 1024  # bytes
HASHING_THREADS = (os.cpu_count() or 1) + 2
MOST_WAITING = 2000  # calls at once, running or waiting for a thread; more are refused


def _options(limits: Limits, largest_request: int, *, shared: bool) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", int(shared)),  # else a second server on the same port is a mistake, not a second worker
        ("grpc.max_receive_message_length", largest_request),
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


@dataclass(frozen=True)
class RpcServer:
    """address: HOST:PORT with the port that is really listened on."""

    address: str
    health: Health
    _server: grpc.Server
    _calls: CallPool
    _hashing: CallPool
    _batchers: tuple[Batcher, ...]

    def statistics(self) -> dict[str, int]:
        """By the names of gochat.monitoring.numbers."""
        return {
            "calls_waiting": self._calls.waiting + sum(batcher.waiting for batcher in self._batchers),
            "calls_on_threads": self._calls.busy_threads,
            "call_threads": self._calls.most,
            "hashes_waiting": self._hashing.waiting,
            "hashes_on_threads": self._hashing.busy_threads,
            "hash_threads": self._hashing.most,
        }

    def start(self) -> None:
        self.health.change(True)
        self._server.start()

    def drain(self, grace: float) -> None:
        """Health off, new calls refused, running ones given so many seconds; returns when all is over."""
        self.health.end()
        self._server.stop(grace).wait()


def build(
    methods: Mapping[str, Method],
    guard: Guard,
    metrics: Metrics,
    config: Config,
    *,
    reflect: bool,
    largest_request: int,
    enqueue: Enqueue | None,
    busy: threading.Lock,
) -> RpcServer:
    """A server of these methods, bound to its port but not started. Raises ListenError, ConfigError.

    enqueue: of a database that is a file of this process, where writes have one thread, and a page of rows is had
    without waiting for anyone. Where there is none, calls that can be done together are.
    """
    by_service: dict[str, dict[str, grpc.RpcMethodHandler[bytes, Message]]] = defaultdict(dict)
    # Password hashes take long: calls that need one have a few threads of their own, so that a flood of them leaves
    # the others be.
    calls = CallPool(config.server.threads, "call", busy)
    hashing = CallPool(HASHING_THREADS, "hash", busy)
    batchers: list[Batcher] = []
    for path, method in methods.items():
        _, service, name = path.split("/")
        behaviour = guard.wrap(method)
        cost = method.rule.cost
        if cost is Cost.NOTHING or (enqueue and cost is Cost.PAGE):
            behaviour.place = calls.at_once
        elif enqueue and cost is Cost.WRITE:
            behaviour.place = _queued(enqueue)
        elif method.together:
            batchers.append(Batcher(method.together, alone=calls.on_thread))
            behaviour.place = batchers[-1].join
        else:
            behaviour.experimental_thread_pool = hashing if cost is Cost.HASH else calls
        by_service[service][name] = grpc.unary_unary_rpc_method_handler(
            behaviour, response_serializer=metrics.of(path).serializer(method.response_class.SerializeToString)
        )
    server = grpc.server(
        calls,
        options=_options(config.limits, largest_request, shared=config.server.workers > 1),
        maximum_concurrent_rpcs=MOST_WAITING,
    )
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(service, handlers) for service, handlers in by_service.items()]
    )
    health = Health(tuple(by_service))
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    if reflect:
        reflection.enable_server_reflection((*by_service, HEALTH, reflection.SERVICE_NAME), server)
    listen = config.server.listen
    host, _ = parse_address("server.listen", listen)
    try:
        if config.tls.cert:
            port = server.add_secure_port(listen, server_credentials(config.tls))
        else:
            port = server.add_insecure_port(listen)
    except RuntimeError:
        raise ListenError(listen) from None
    return RpcServer(f"{host}:{port}", health, server, calls, hashing, tuple(batchers))


def _queued(enqueue: Enqueue) -> Place:
    def place(visit: Visit, end: End) -> None:
        enqueue(visit.call, visit.run, end)

    return place
