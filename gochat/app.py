"""The composition root: puts a server together from the configuration. The only place that knows "split or not"."""

import ipaddress
import logging
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing

from gochat import logic, repo
from gochat.api.logic.v1 import logic_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.api.repo.v1.repo_pb2_grpc import RepoServiceStub
from gochat.api.session.v1 import session_pb2
from gochat.api.store.v1 import store_pb2
from gochat.api.store.v1.store_pb2_grpc import StoreServiceStub
from gochat.config import Config, ConfigError, parse_address, signing_key
from gochat.domain import policy
from gochat.domain.tokens import Tokens
from gochat.errors import ChatError
from gochat.repo.engine import DatabaseInUseError, MigrationError, open_database
from gochat.rpc import server
from gochat.rpc.bind import Method, bind, repeatable_paths
from gochat.rpc.client import SEAM_FAILURES, NetworkChannel
from gochat.rpc.guard import Guard
from gochat.rpc.local import LocalChannel

log = logging.getLogger(__name__)

LOGIC_SERVICES = tuple(
    file.DESCRIPTOR.services_by_name[name]
    for file, name in ((logic_pb2, "LogicService"), (session_pb2, "SessionService"))
)
REPO_SERVICES = tuple(
    file.DESCRIPTOR.services_by_name[name] for file, name in ((repo_pb2, "RepoService"), (store_pb2, "StoreService"))
)
TARGETS = ("all", "logic", "repo")
STARTUP_ERRORS = (ConfigError, MigrationError, DatabaseInUseError, server.ListenError, ChatError)
"""What stops a start with a reason that a person can act on."""


def serve(config: Config, target: str | None, ready: Callable[[str], None]) -> None:
    """Serves until SIGTERM or SIGINT, then drains. ready(line) is called once, when it can serve.

    target: all, logic or repo; None: logic if [repo] address is set, else all. Raises STARTUP_ERRORS.
    """
    target = _target(config, target)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    tokens = Tokens(signing_key(config, make=True))
    with ExitStack() as resources:
        methods: dict[str, Method] = {}
        if target != "logic":
            database = resources.enter_context(closing(open_database(config)))
            methods |= bind(REPO_SERVICES, repo.handlers(database))
        if target != "repo":
            channel = LocalChannel(methods) if target == "all" else _network_channel(config, tokens)
            resources.callback(channel.close)
            stubs = RepoServiceStub(channel), StoreServiceStub(channel)
            if target == "logic" and not _repo_answers(stubs[0], config.repo.address, stopped):
                return
            methods = methods | bind(LOGIC_SERVICES, logic.handlers(*stubs, tokens, config.auth))
        rpc_server = server.build(
            methods,
            Guard(tokens, config.server.error_mode),
            listen=config.server.listen,
            threads=config.server.threads,
            reflect=config.server.reflection or _is_loopback(config.server.listen),
        )
        rpc_server.start()
        ready(f"gochat ready on {rpc_server.address} ({'logic, repo' if target == 'all' else target})")
        stopped.wait()
        log.info("draining: %g s for running calls", config.server.grace)
        rpc_server.drain(config.server.grace)
    log.info("stopped")


def _target(config: Config, target: str | None) -> str:
    if target is None:
        return "logic" if config.repo.address else "all"
    if (target == "logic") != bool(config.repo.address) and target != "repo":
        raise ConfigError("repo.address: goes with --target logic, and --target logic with it")
    return target


def _network_channel(config: Config, tokens: Tokens) -> NetworkChannel:
    repeatable = repeatable_paths(REPO_SERVICES)
    return NetworkChannel(
        config.repo.address,
        credential=tokens.for_service,
        repeatable=lambda path, request: path in repeatable or policy.names_itself(request),
    )


def _repo_answers(stub: RepoServiceStub, address: str, stopped: threading.Event) -> bool:
    """Waits until the repo half answers. False if the process was told to stop before. Raises ConfigError."""
    while not stopped.is_set():
        try:
            stub.GetUsers(repo_pb2.GetUsersRequest())
            return True
        except ChatError as error:
            if error.reason == "CREDENTIAL_REFUSED":
                raise ConfigError(f"auth.secret: the repo at {address} signs with another key") from None
            if error.reason == "NOT_OFFERED":
                raise ConfigError(f"repo.address: {address}: {SEAM_FAILURES[error.reason]}") from None
            log.info("waiting for the repo at %s: %s", address, error)
            stopped.wait(1)
    return False


def _is_loopback(listen: str) -> bool:
    host, _ = parse_address("server.listen", listen)
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
