"""The composition root: puts a server together from the configuration. Only here it matters whether the halves are
split."""

import ctypes
import gc
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from time import monotonic

from gochat import events, lifecycle, logic, repo, startup, webhooks
from gochat.api.repo.v1 import repo_pb2
from gochat.api.repo.v1.repo_pb2_grpc import RepoServiceStub
from gochat.background import end_within
from gochat.config import Config, ConfigError, Messages
from gochat.context import Lane
from gochat.domain import policy
from gochat.domain.clock import clock
from gochat.domain.rates import OWN_COUNTS, Counts
from gochat.domain.revocation import Revocations
from gochat.domain.shared_rates import SharedCounts
from gochat.domain.tokens import Tokens
from gochat.errors import ChatError
from gochat.events.counters import Counters
from gochat.events.hub import Hub
from gochat.events.links import Link, SeamLink
from gochat.events.relay import Relay
from gochat.internal.account.v1.account_pb2_grpc import AccountServiceStub
from gochat.internal.change.v1.change_pb2_grpc import ChangeServiceStub
from gochat.internal.conversation.v1.conversation_pb2_grpc import ConversationStoreServiceStub
from gochat.internal.group.v1.group_pb2_grpc import GroupStoreServiceStub
from gochat.internal.login.v1.login_pb2_grpc import LoginStoreServiceStub
from gochat.internal.message.v1.message_pb2_grpc import MessageStoreServiceStub
from gochat.internal.push.v1.push_pb2_grpc import PushStoreServiceStub
from gochat.internal.reader.v1.reader_pb2_grpc import ReaderServiceStub
from gochat.internal.signal.v1.signal_pb2_grpc import SignalServiceStub
from gochat.internal.store.v1.store_pb2_grpc import StoreServiceStub
from gochat.internal.user.v1.user_pb2_grpc import UserStoreServiceStub
from gochat.internal.webhook.v1.webhook_pb2_grpc import WebhookStoreServiceStub
from gochat.keys import KeyFile
from gochat.listening import ListenError
from gochat.logic import before_send
from gochat.monitoring.sampling import export_sums, monitor
from gochat.monitoring.shared import Memory, SharedMetrics
from gochat.push import notifying
from gochat.repo.guests import disabling
from gochat.repo.inboxes import Inboxes
from gochat.repo.retention import trimming
from gochat.rpc import server
from gochat.rpc.client import SEAM_FAILURES, NetworkChannel
from gochat.rpc.health import Health
from gochat.rpc.local import LocalChannel, UnaryChannel
from gochat.services import LOGIC, REPO, Audience, rpcs, served_by
from gochat.serving.acting import Users
from gochat.serving.admission import Admission
from gochat.serving.binding import Handlers, Method, bind, repeatable_paths
from gochat.serving.endpoints import MAX_REQUEST, UnaryEndpoint
from gochat.serving.executors import Executors
from gochat.serving.throttle import Throttle
from gochat.storage.database import Database
from gochat.storage.engine import DatabaseError, DatabaseInUseError, MigrationError, explained, open_database
from gochat.storage.notify import NotifyLink
from gochat.storage.postgres import PostgresDatabase
from gochat.web import listener
from gochat.web.listener import NoListener, WebListener
from gochat.webhooks.asking import Asker
from gochat.webhooks.delivery import Stubs
from gochat.webhooks.hooks import Hooks

log = logging.getLogger(__name__)

COUNTED_ITEMS = {"/gochat.api.logic.v1.LogicService/GetMessageHistory": "messages"}
"""The RPC by which clients receive messages, and the field of its response whose elements are counted."""
ENDING_TIMEOUT = 1.5  # seconds for what runs beside calls, once they are done; less than the lifecycle gives
LARGE_BLOCK = 256 * 1024  # bytes
_M_MMAP_THRESHOLD = -3  # as in malloc.h
STARTUP_ERRORS = (ConfigError, MigrationError, DatabaseError, DatabaseInUseError, ListenError, ChatError)
"""What stops a start for a reason that the operator can fix."""


def serve(
    config: Config,
    target: str | None,
    ready: Callable[[str, str, Callable[[], bool]], None],
    *,
    insecure: bool = False,
    memory: Memory | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, then drains. ready(HOST:PORT, URL, alive) is called once, when the server can
    serve; URL is that of the HTTP listener, or ""; alive() says whether its loops have run since the last call of
    alive().

    target: all, logic or repo; None: logic if [repo] address is set, else all. insecure: other hosts may be talked to
    without encryption. memory: of one of worker_metrics(), in a worker, whose parent exports its metrics. Raises
    STARTUP_ERRORS.
    """
    target = startup.checked(config, target, insecure=insecure)
    stop = lifecycle.stop_signals(config.server.grace, supervised=config.server.workers > 1)
    key_file = KeyFile(config)
    revocations = Revocations(config.auth.access_ttl)
    tokens = Tokens(key_file.keys, revocations, key_file.changed)
    own_metrics = SharedMetrics(_paths(target), memory)
    with ExitStack() as resources:
        database = resources.enter_context(closing(open_database(config))) if target != LOGIC else None
        relay = Relay(_links(config, database))
        counts = resources.enter_context(_counts(config))
        repo_methods = resources.enter_context(_repo_methods(config, database, relay, counts)) if database else {}
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
        own_origins: list[str] = []
        logic_methods = _logic_methods(config, channel, tokens, hub, own_origins) if hub else {}
        users = Users(UserStoreServiceStub(channel).ResolveUsers)
        admission = Admission(tokens, Throttle(config.limits, counts), users, config.server.error_mode)
        asking = before_send.PATHS if config.webhooks.before_send else ()
        executors = Executors(config.server.threads, database.enqueue if database else None, asking)
        rpc_server = _rpc_server(config, target, repo_methods | logic_methods, admission, executors, own_metrics)
        web = _listener(config, logic_methods, admission, executors, own_metrics, rpc_server.health)
        own_origins += listener.origins(web.url)
        counters = hub.counters if hub else Counters()
        hooks = Hooks(_hook_stubs(control), config.webhooks, config.events.poll)
        measured = (rpc_server, web, hooks) if rpc_server.fast else (rpc_server, web, hooks, executors)
        metrics_url = resources.enter_context(
            monitor(config, target, own_metrics, measured, counters, database, worker=memory is not None)
        )
        follow = () if database else (clock.follow,)  # whose clock it is: that of the database's host
        watch = lifecycle.SessionWatch(AccountServiceStub(control), revocations, *follow)
        with explained(config):
            watch.poll()
        resources.enter_context(lifecycle.following(watch, tokens))
        if hub:
            hub.start()
        relay.start()
        if hub:
            resources.enter_context(hooks.running())
            push = PushStoreServiceStub(control), ReaderServiceStub(control), hub.connected
            resources.enter_context(notifying(*push, config.push, counters.pushed))
        _return_large_blocks()
        _freeze_gc()
        rpc_server.start()
        web.start()
        log.info("served by %s", "the serving loop" if rpc_server.fast else "grpc.server")
        if database and (memory is None or own_metrics.counts_rows):
            startup.log_first_user(config, database)
            startup.warn_of_failover(database)
        if memory is None:
            resources.enter_context(startup.announced(config, target, rpc_server.address, web.url, metrics_url))
        ready(rpc_server.address, web.url, lambda: rpc_server.alive() & web.alive())
        with lifecycle.reporting(rpc_server.health, watch):
            stop.wait()
        log.info("draining: %g s for running calls", config.server.grace)
        if hub:
            hub.stop()
        relay.stop()
        web.stop_accepting()
        until = monotonic() + config.server.grace
        rpc_server.drain(config.server.grace)
        web.drain(max(0.0, until - monotonic()))
        end_within(ENDING_TIMEOUT)
        if hub:
            hub.close()
    log.info("stopped")


@contextmanager
def worker_metrics(
    config: Config, target: str | None, ready: Callable[[str, str], None]
) -> Iterator[tuple[Config, list[SharedMetrics], Callable[[str], None]]]:
    """For the parent of several processes that serve(): the configuration for them, the metrics of each, and the
    function to call in place of ready when all of them serve, with HOST:PORT. While the block lasts, the port of [http]
    listen is reserved for them, and the sums of the metrics are exported on [metrics] listen. Raises ConfigError,
    ListenError."""
    target = startup.target_of(config, target)
    processes = [SharedMetrics.for_worker(_paths(target)) for _ in range(config.server.workers)]
    processes[0].counts_rows = True

    with ExitStack() as resources:
        if target == REPO:
            config = config.with_settings("http", listen="")
        config = resources.enter_context(listener.reserved(config))
        metrics_url = resources.enter_context(export_sums(config, target, processes))

        def all_serve(address: str) -> None:
            resources.enter_context(startup.announced(config, target, address, listener.url(config), metrics_url))
            ready(address, listener.url(config))

        yield config, processes, all_serve


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
        if not database.pooled:
            return [NotifyLink(database.connect_listener)]
        log.warning(
            "database.url goes through a pooler, which passes no NOTIFY on: other processes look for what is new every"
            " %g s, and neither typing nor presence comes from them: set events.broker",
            config.events.poll,
        )
    return []


@contextmanager
def _counts(config: Config) -> Iterator[Counts]:
    """What the rate limits are counted by: of all processes that have this broker, or of this one."""
    if not config.events.broker:
        yield OWN_COUNTS
        return
    from gochat.events.limits import settling

    counts = SharedCounts()
    with settling(config.events.broker, counts.made):
        yield counts


@contextmanager
def _repo_methods(config: Config, database: Database, relay: Relay, counts: Counts) -> Iterator[dict[str, Method]]:
    """Of every RPC of the repo half; while the block lasts, what that does beside calls is done."""
    inboxes = Inboxes(database)
    with (
        inboxes.refreshing(),
        lifecycle.probing(database),
        trimming(database, config.events.keep),
        disabling(database, config.auth.guest_ttl),
    ):
        yield bind(served_by(REPO), repo_handlers(database, relay, config.messages, inboxes, counts))


def repo_handlers(
    database: Database, relay: Relay, settings: Messages, inboxes: Inboxes, counts: Counts = OWN_COUNTS
) -> Handlers:
    """The objects that serve every RPC of the repo half."""
    handlers = dict(repo.handlers(database, settings, inboxes, counts))
    for name, served in events.relay_handlers(relay).items():
        handlers[name] = (*handlers[name], *served)
    return handlers


def _logic_methods(
    config: Config, channel: UnaryChannel, tokens: Tokens, hub: Hub, own_origins: Sequence[str]
) -> dict[str, Method]:
    """own_origins: of the HTTP listener, which has them once it is bound."""
    stubs = RepoServiceStub(channel), StoreServiceStub(channel), AccountServiceStub(channel)
    talk = MessageStoreServiceStub(channel), ConversationStoreServiceStub(channel), GroupStoreServiceStub(channel)
    users = UserStoreServiceStub(channel)
    pushed = events.handlers(ChangeServiceStub(channel), SignalServiceStub(channel), hub)
    logins = LoginStoreServiceStub(channel), lambda: (*config.http.origins, *own_origins)
    push = PushStoreServiceStub(channel), config.push
    ask = Asker(config.webhooks).ask if config.webhooks.before_send else None
    hooked = webhooks.handlers(WebhookStoreServiceStub(channel), config.webhooks)
    handlers = {**logic.handlers(*stubs, *talk, users, tokens, config.auth, *logins, *push, ask), **pushed, **hooked}
    return bind(served_by(LOGIC), handlers)


def _hook_stubs(channel: UnaryChannel) -> Stubs:
    return Stubs(ChangeServiceStub(channel), ReaderServiceStub(channel), WebhookStoreServiceStub(channel))


def _rpc_server(
    config: Config,
    target: str,
    methods: Mapping[str, Method],
    admission: Admission,
    executors: Executors,
    metrics: SharedMetrics,
) -> server.RpcServer:
    """Bound to its port, but not started."""
    return server.build(
        methods,
        admission,
        metrics.claim(COUNTED_ITEMS),
        executors,
        config,
        reflect=config.server.reflection or startup.is_local("server.listen", config.server.listen),
        max_request=MAX_REQUEST + (server.MAX_SEAM_OVERHEAD if target == REPO else 0),
    )


def _listener(
    config: Config,
    methods: Mapping[str, Method],
    admission: Admission,
    executors: Executors,
    metrics: SharedMetrics,
    health: Health,
) -> WebListener | NoListener:
    """Bound to its port, but not started; of the services that apps may call, where these methods are any."""
    if not (methods and config.http.listen):
        return NoListener()
    counted = metrics.claim(COUNTED_ITEMS, "http")
    endpoints = {
        path: UnaryEndpoint(methods[path], counted.of(path), executors.of(methods[path]), Lane.POOLED)
        for path in rpcs(each for each in served_by(LOGIC) if each.audience in (Audience.APPS, Audience.BACKENDS))
    }
    return WebListener(config, endpoints, admission, executors, health)


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
    return f"gochat ready on {address} ({', '.join(startup.halves(startup.target_of(config, target)))})"


def _paths(target: str) -> tuple[str, ...]:
    """Of the RPCs that a process of this target serves."""
    return tuple(rpcs(served_by(*startup.halves(target))))
