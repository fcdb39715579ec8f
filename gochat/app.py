"""The composition root: puts a server together from the configuration. Only here it matters whether the halves are
split."""

import ctypes
import gc
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress

from gochat import events, lifecycle, logic, repo, startup
from gochat.api.repo.v1 import repo_pb2
from gochat.api.repo.v1.repo_pb2_grpc import RepoServiceStub
from gochat.config import Config, ConfigError, is_loopback, parse_address
from gochat.domain import policy
from gochat.domain.clock import clock
from gochat.domain.revocation import Revocations
from gochat.domain.tokens import Tokens
from gochat.errors import ChatError
from gochat.events.counters import Counters
from gochat.events.hub import Hub
from gochat.events.links import Link, SeamLink
from gochat.events.relay import Relay
from gochat.internal.account.v1.account_pb2_grpc import AccountServiceStub
from gochat.internal.change.v1.change_pb2_grpc import ChangeServiceStub
from gochat.internal.signal.v1.signal_pb2_grpc import SignalServiceStub
from gochat.internal.store.v1.store_pb2_grpc import StoreServiceStub
from gochat.keys import KeyFile
from gochat.monitoring.sampling import export_sums, monitor
from gochat.monitoring.shared import Memory, SharedMetrics
from gochat.repo.retention import trimming
from gochat.rpc import server
from gochat.rpc.client import SEAM_FAILURES, NetworkChannel
from gochat.rpc.listening import ListenError
from gochat.rpc.local import LocalChannel, UnaryChannel
from gochat.services import LOGIC, REPO, rpcs, served_by
from gochat.serving.admission import Admission
from gochat.serving.binding import Handlers, Method, bind, repeatable_paths
from gochat.serving.metrics import Metrics
from gochat.serving.throttle import Throttle
from gochat.storage.database import Database
from gochat.storage.engine import DatabaseError, DatabaseInUseError, MigrationError, explained, open_database
from gochat.storage.notify import NotifyLink
from gochat.storage.postgres import PostgresDatabase

log = logging.getLogger(__name__)

COUNTED_ITEMS = {"/gochat.api.logic.v1.LogicService/GetMessageHistory": "messages"}
"""The RPC by which clients receive messages, and the field of its response whose elements are counted."""
LARGE_BLOCK = 256 * 1024  # bytes
_M_MMAP_THRESHOLD = -3  # as in malloc.h
TARGETS = ("all", LOGIC, REPO)
STARTUP_ERRORS = (ConfigError, MigrationError, DatabaseError, DatabaseInUseError, ListenError, ChatError)
"""What stops a start for a reason that the operator can fix."""


def serve(
    config: Config,
    target: str | None,
    ready: Callable[[str, Callable[[], bool]], None],
    *,
    insecure: bool = False,
    memory: Memory | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, then drains. ready(HOST:PORT, alive) is called once, when the server can serve;
    alive() says whether its loop has run since the last call of alive().

    target: all, logic or repo; None: logic if [repo] address is set, else all. insecure: other hosts may be talked to
    without encryption. memory: of one of worker_metrics(), in a worker, whose parent exports its metrics. Raises
    STARTUP_ERRORS.
    """
    target = _checked(config, target, insecure=insecure)
    stop = lifecycle.stop_signals(config.server.grace, supervised=config.server.workers > 1)
    key_file = KeyFile(config)
    revocations = Revocations(config.auth.access_ttl)
    tokens = Tokens(key_file.keys, revocations, key_file.changed)
    own_metrics = SharedMetrics(_paths(target), memory)
    rpc_metrics = own_metrics.claim(COUNTED_ITEMS)
    with ExitStack() as resources:
        database = resources.enter_context(closing(open_database(config))) if target != LOGIC else None
        relay = Relay(_links(config, database))
        repo_methods = bind(served_by(REPO), repo_handlers(database, relay)) if database else {}
        if database:
            resources.enter_context(lifecycle.probing(database))
            resources.enter_context(trimming(database, config.events.keep))
        channel = resources.enter_context(_channel(config, target, repo_methods, tokens))
        if target == LOGIC and not _wait_for_repo(RepoServiceStub(channel), config.repo.address, stop):
            return
        # A channel of its own: on a connection that is full of calls of users, these calls would wait.
        control = resources.enter_context(_channel(config, target, repo_methods, tokens))
        if target == LOGIC:
            relay.add_link(SeamLink(SignalServiceStub(control)))
        hub = None
        if target != REPO:
            stubs = ChangeServiceStub(control), SignalServiceStub(control)
            hub = Hub(*stubs, relay, config.events, revocations.is_known)
        if database:
            database.on_commit(relay.committed)
        logic_methods = _logic_methods(config, channel, tokens, hub) if hub else {}
        rpc_server = _rpc_server(config, target, repo_methods | logic_methods, tokens, rpc_metrics, database)
        counters = hub.counters if hub else Counters()
        metrics_url = resources.enter_context(
            monitor(config, target, own_metrics, rpc_server, counters, database, worker=memory is not None)
        )
        follow = () if database else (clock.follow,)  # whose clock it is: that of the database's host
        watch = lifecycle.SessionWatch(AccountServiceStub(control), revocations, *follow)
        with explained(config):
            watch.poll()
        resources.enter_context(lifecycle.following(watch, tokens))
        if hub:
            hub.start()
        relay.start()
        _return_large_blocks()
        _freeze_gc()
        rpc_server.start()
        log.info("served by %s", "the serving loop" if rpc_server.fast else "grpc.server")
        if database and (memory is None or own_metrics.counts_rows):
            startup.log_first_user(config, database)
        if memory is None:
            resources.enter_context(startup.announced(config, target, rpc_server.address, metrics_url))
        ready(rpc_server.address, rpc_server.alive)
        with lifecycle.reporting(rpc_server.health, watch):
            stop.wait()
        log.info("draining: %g s for running calls", config.server.grace)
        if hub:
            hub.stop()
        relay.stop()
        rpc_server.drain(config.server.grace)
        if hub:
            hub.close()
    log.info("stopped")


@contextmanager
def worker_metrics(
    config: Config, target: str | None, ready: Callable[[str], None]
) -> Iterator[tuple[list[SharedMetrics], Callable[[str], None]]]:
    """For the parent of several processes that serve(): the metrics of each, and the function to call in place of ready
    when all of them serve, with HOST:PORT. While the block lasts, the sums of the metrics are exported on [metrics]
    listen. Raises ConfigError, ListenError."""
    target = _target(config, target)
    processes = [SharedMetrics.for_worker(_paths(target)) for _ in range(config.server.workers)]
    processes[0].counts_rows = True

    with ExitStack() as resources:
        url = resources.enter_context(export_sums(config, target, processes))

        def all_serve(address: str) -> None:
            resources.enter_context(startup.announced(config, target, address, url))
            ready(address)

        yield processes, all_serve


def _channel(config: Config, target: str, repo_methods: Mapping[str, Method], tokens: Tokens) -> UnaryChannel:
    """The channel to the repo half. This is where co-located and split differ."""
    if target != LOGIC:
        return LocalChannel(repo_methods)
    repeatable = repeatable_paths(served_by(REPO))
    return NetworkChannel(
        config.repo.address,
        config.tls,
        credential=tokens.for_service,
        repeatable=lambda path, request: path in repeatable or policy.is_idempotent(request),
    )


def _links(config: Config, database: Database | None) -> list[Link]:
    """By which processes that have this broker, or else this database, wake each other."""
    if config.events.broker:
        from gochat.events.broker import BrokerLink

        return [BrokerLink(config.events.broker)]
    if config.events.notify and isinstance(database, PostgresDatabase):
        return [NotifyLink(database.connect_listener)]
    return []


def repo_handlers(database: Database, relay: Relay) -> Handlers:
    """The objects that serve every RPC of the repo half."""
    handlers = dict(repo.handlers(database))
    for name, served in events.relay_handlers(relay).items():
        handlers[name] = (*handlers[name], *served)
    return handlers


def _logic_methods(config: Config, channel: UnaryChannel, tokens: Tokens, hub: Hub) -> dict[str, Method]:
    stubs = RepoServiceStub(channel), StoreServiceStub(channel), AccountServiceStub(channel), ChangeServiceStub(channel)
    pushed = events.handlers(stubs[-1], SignalServiceStub(channel), hub)
    handlers = {**logic.handlers(*stubs, tokens, config.auth), **pushed}
    return bind(served_by(LOGIC), handlers)


def _rpc_server(
    config: Config,
    target: str,
    methods: Mapping[str, Method],
    tokens: Tokens,
    metrics: Metrics,
    database: Database | None,
) -> server.RpcServer:
    """Bound to its port, but not started."""
    return server.build(
        methods,
        Admission(tokens, Throttle(config.limits), config.server.error_mode),
        metrics,
        config,
        reflect=config.server.reflection or _is_local(config),
        enqueue=database.enqueue if database else None,
        max_request=server.MAX_REQUEST + (server.MAX_SEAM_OVERHEAD if target == REPO else 0),
    )


def _wait_for_repo(stub: RepoServiceStub, address: str, stop: threading.Event) -> bool:
    """Waits until the repo half answers. Returns False if the process is to stop before that. Raises ConfigError."""
    while not stop.is_set():
        try:
            stub.GetUsers(repo_pb2.GetUsersRequest())
            return True
        except ChatError as error:
            if error.reason == "CREDENTIAL_REFUSED":
                raise ConfigError(f"auth.secret: the repo at {address} signs with another key") from None
            if error.reason == "NOT_OFFERED":
                raise ConfigError(f"repo.address: {address}: {SEAM_FAILURES[error.reason]}") from None
            log.info("waiting for the repo at %s: %s", address, error)
            stop.wait(1)
    return False


def _return_large_blocks() -> None:
    """Has glibc's malloc give large blocks back to the system when they are freed. By default it raises this threshold
    with use, and keeps the memory for each thread that once had a large block."""
    with suppress(AttributeError):  # a C library without mallopt
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)


def _freeze_gc() -> None:
    """The objects of the start-up live as long as the process: takes them out of what the garbage collector traverses,
    and lets it run less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def ready_line(config: Config, target: str | None, address: str) -> str:
    """Raises ConfigError."""
    return f"gochat ready on {address} ({', '.join(startup.halves(_target(config, target)))})"


def _paths(target: str) -> tuple[str, ...]:
    """Of the RPCs that a process of this target serves."""
    return tuple(rpcs(served_by(*startup.halves(target))))


def _checked(config: Config, target: str | None, *, insecure: bool) -> str:
    """The target to serve. Raises ConfigError for settings that do not go together."""
    target = _target(config, target)
    if not insecure:
        _check_private(config)
    _check_workers(config, target)
    return target


def _target(config: Config, target: str | None) -> str:
    if target is None:
        return "logic" if config.repo.address else "all"
    if (target == "logic") != bool(config.repo.address) and target != "repo":
        raise ConfigError("repo.address: goes with --target logic, and --target logic with it")
    return target


def _is_local(config: Config) -> bool:
    """Does the server listen on a loopback address?"""
    host, _ = parse_address("server.listen", config.server.listen)
    return is_loopback(host)


def _check_workers(config: Config, target: str) -> None:
    """Workers are several processes on one database, which SQLite does not allow here."""
    if config.server.workers > 1 and target != "logic" and not config.database.is_postgres:
        raise ConfigError(
            "server.workers: must be 1 on SQLite, whose file only one process may write; for more set database.url to"
            " a PostgreSQL database"
        )


def _check_private(config: Config) -> None:
    """Tokens, passwords and messages cross a network unencrypted only if the operator says --insecure."""
    if not (config.tls.cert or _is_local(config)):
        raise ConfigError(
            f"server.listen: other hosts can reach {config.server.listen}, in the clear: set tls.cert and tls.key, or"
            " say --insecure if what lies between is yours"
        )
    # A gRPC target: host:port, scheme:///host:port, or scheme:host:port,host:port.
    target = re.fullmatch(r"(?:(?:dns|ipv4|ipv6):(?:///)?)?([^/]*)", config.repo.address)
    hosts = target[1].split(",") if target else [""]
    if config.repo.address and not (config.tls.used or all(is_loopback(host.rpartition(":")[0]) for host in hosts)):
        raise ConfigError(
            f"repo.address: {config.repo.address} is another host, called in the clear: set tls.ca, or say"
            " --insecure if what lies between is yours"
        )
