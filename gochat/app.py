"""The composition root: puts a server together from the configuration. The only place that knows "split or not"."""

import ctypes
import gc
import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

from gochat import lifecycle, logic, logs, repo
from gochat.api.repo.v1 import repo_pb2
from gochat.api.repo.v1.repo_pb2_grpc import RepoServiceStub
from gochat.config import Config, ConfigError, is_loopback, parse_address
from gochat.domain import policy
from gochat.domain.revocation import Revocations
from gochat.domain.tokens import Tokens
from gochat.errors import ChatError
from gochat.internal.account.v1.account_pb2_grpc import AccountServiceStub
from gochat.internal.store.v1.store_pb2_grpc import StoreServiceStub
from gochat.keys import KeyFile
from gochat.monitoring.board import Board, Memory
from gochat.monitoring.running import exported, monitored
from gochat.rpc import server
from gochat.rpc.client import SEAM_FAILURES, NetworkChannel
from gochat.rpc.local import LocalChannel
from gochat.services import LOGIC, REPO, rpcs, served_by
from gochat.serving.admission import Admission
from gochat.serving.binding import Method, bind, repeatable_paths
from gochat.serving.throttle import Throttle
from gochat.storage.database import Database
from gochat.storage.engine import DatabaseInUseError, MigrationError, open_database

log = logging.getLogger(__name__)

READ = {"/gochat.api.logic.v1.LogicService/GetMessageHistory": "messages"}
"""What gives clients messages to read, and the field of the response that they are in."""
LARGE_BLOCK = 256 * 1024  # bytes
_M_MMAP_THRESHOLD = -3  # as in malloc.h
TARGETS = ("all", LOGIC, REPO)
STARTUP_ERRORS = (ConfigError, MigrationError, DatabaseInUseError, server.ListenError, ChatError)
"""What stops a start with a reason that a person can act on."""


def serve(
    config: Config,
    target: str | None,
    ready: Callable[[str, Callable[[], bool]], None],
    *,
    insecure: bool = False,
    memory: Memory | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, then drains. ready(line, alive) is called once, when it can serve;
    alive() says whether it served, or was able to, since it was last asked.

    target: all, logic or repo; None: logic if [repo] address is set, else all. insecure: other hosts may be talked to
    without encryption. memory: of a board of shared_boards(), whose numbers another process serves. Raises
    STARTUP_ERRORS.
    """
    target = _target(config, target)
    if not insecure:
        _must_be_private(config)
    _must_share(config, target)
    stop = lifecycle.stop_signals(config.server.grace, alone=config.server.workers == 1)
    revocations = Revocations(config.auth.access_ttl)
    key_file = KeyFile(config)
    tokens = Tokens(key_file.keys, revocations, key_file.changed)
    board = Board(_paths(target), memory)
    metrics = board.opened(READ)
    with ExitStack() as resources:
        methods: dict[str, Method] = {}
        database: Database | None = None
        if target != "logic":
            database = resources.enter_context(closing(open_database(config)))
            methods |= bind(served_by(REPO), repo.handlers(database))
        # Across the network the control calls have a connection of their own: on one that calls of users fill, they
        # would wait for its window and its streams.
        channel, control = (
            resources.enter_context(_network_channel(config, tokens) if target == "logic" else LocalChannel(methods))
            for _ in range(2)
        )
        repo_stub = RepoServiceStub(channel)
        if target == "logic" and not _repo_answers(repo_stub, config.repo.address, stop):
            return
        if target != "repo":
            stubs = repo_stub, StoreServiceStub(channel), AccountServiceStub(channel)
            methods = methods | bind(served_by(LOGIC), logic.handlers(*stubs, tokens, config.auth))
        rpc_server = server.build(
            methods,
            Admission(tokens, Throttle(config.limits), config.server.error_mode),
            metrics,
            config,
            reflect=config.server.reflection or _is_local(config),
            enqueue=database.enqueue if database else None,
            largest_request=server.LARGEST_REQUEST + (server.SEAM_ROOM if target == "repo" else 0),
        )
        metrics_url = resources.enter_context(
            monitored(config, target, board, rpc_server, database, shared=memory is not None)
        )
        watch = lifecycle.Watch(AccountServiceStub(control), revocations)
        watch.ask()
        resources.enter_context(lifecycle.following(watch, tokens))
        _settle()
        rpc_server.start()
        log.info("served by %s", "the serving loop" if rpc_server.fast else "grpc.server")
        _tell(metrics_url)
        ready(
            f"gochat ready on {rpc_server.address} ({'logic, repo' if target == 'all' else target})", rpc_server.alive
        )
        with lifecycle.reporting(rpc_server.health, watch):
            stop.wait()
        log.info("draining: %g s for running calls", config.server.grace)
        rpc_server.drain(config.server.grace)
    log.info("stopped")


def _settle() -> None:
    """What is there by now stays: the garbage collector is spared it, and may come less often. Large blocks go back to
    the system when they are free: glibc would keep them for each thread that had one."""
    with suppress(AttributeError):  # a C library without it
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def _paths(target: str) -> tuple[str, ...]:
    halves = (LOGIC, REPO) if target == "all" else (target,)
    return tuple(rpcs(served_by(*halves)))


@contextmanager
def shared_boards(
    config: Config, target: str | None, ready: Callable[[str], None]
) -> Iterator[tuple[list[Board], Callable[[str], None]]]:
    """A board for each of several processes that serve(), and what to tell when they do in place of ready. While this
    lasts, the sums of the boards are served on [metrics] listen. Raises ConfigError, ListenError."""
    target = _target(config, target)
    boards = [Board.shared(_paths(target)) for _ in range(config.server.workers)]
    boards[0].counts = True

    def all_serve(line: str) -> None:
        _tell(url)
        ready(line)

    with exported(config, target, boards) as url:
        yield boards, all_serve


def _tell(metrics_url: str) -> None:
    """Before the line on stdout: who has read that finds the URL on stderr."""
    if metrics_url:
        log.info("metrics on %s", metrics_url)
        logs.flush()


def _target(config: Config, target: str | None) -> str:
    if target is None:
        return "logic" if config.repo.address else "all"
    if (target == "logic") != bool(config.repo.address) and target != "repo":
        raise ConfigError("repo.address: goes with --target logic, and --target logic with it")
    return target


def _network_channel(config: Config, tokens: Tokens) -> NetworkChannel:
    repeatable = repeatable_paths(served_by(REPO))
    return NetworkChannel(
        config.repo.address,
        config.tls,
        credential=tokens.for_service,
        repeatable=lambda path, request: path in repeatable or policy.is_idempotent(request),
    )


def _repo_answers(stub: RepoServiceStub, address: str, stop: threading.Event) -> bool:
    """Waits until the repo half answers. False if the process was told to stop before. Raises ConfigError."""
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


def _is_local(config: Config) -> bool:
    """Does it listen for this machine alone?"""
    host, _ = parse_address("server.listen", config.server.listen)
    return is_loopback(host)


def _must_share(config: Config, target: str) -> None:
    """Workers share the database between them, which only PostgreSQL does."""
    if config.server.workers > 1 and target != "logic" and not config.database.is_postgres:
        raise ConfigError(
            "server.workers: must be 1 on SQLite, whose file one process alone may write; for more set database.url to"
            " a PostgreSQL database"
        )


def _must_be_private(config: Config) -> None:
    """Tokens, passwords and messages do not cross a network in the clear unless the operator says so."""
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
