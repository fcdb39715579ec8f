"""The HTTP listener: a thread with an asyncio loop, on which connections are read and answered.

Three kinds of threads meet here.

- The *loop's thread* has every connection, call and stream (connection.py, calls.py). It never waits, and runs no
  handler: what a call does on it is its admission, unless the request is large, and sending its answer.
- *Executor threads*, those of gRPC's calls, run handlers and write the answer (serving/executors.py). They hand it over
  by `State.hand_over`, which wakes the loop once for all that is there.
- The *main thread* calls `start`, `stop_accepting` and `drain`. They ask the loop for what they need
  (call_soon_threadsafe), and wait for it by an event.

asyncio and httptools carry it, and no ASGI server: a ServerCall is answered by a callback and a Subscription is pulled
from, so a task for each request would only wait; and the limits on headers, bodies and readers belong into the
connection, where ASGI servers have none.
"""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from gochat.config import Config, Http, is_loopback, parse_address
from gochat.listening import BACKLOG, ListenError, listening_sockets, reserve_port
from gochat.serving.admission import Admission
from gochat.serving.endpoints import MAX_REQUEST, UnaryEndpoint
from gochat.serving.executors import Executors
from gochat.web.connection import HttpConnection
from gochat.web.cors import Cors
from gochat.web.files import Files
from gochat.web.router import Read, Router, reader
from gochat.web.state import CHECK_INTERVAL, State
from gochat.web.tls import Certificate, TlsServer

KEY = "http.listen"
START_TIMEOUT = 10.0  # seconds
KILL_TIMEOUT = 2.0  # seconds within which connections must end that were cut off after the grace period
RENEW_INTERVAL = 10  # checks of the timers between two looks at the certificate

LOOPBACK_NAMES = {"127.0.0.1", "[::1]", "localhost"}

log = logging.getLogger(__name__)

T = TypeVar("T")


class Health(Protocol):
    """serving: is that of this process SERVING?"""

    serving: bool


class WebListener:
    """Bound to its port by the constructor. url: http://HOST:PORT, with the actual port. read: how calls are read; by
    default by reader()."""

    def __init__(
        self,
        config: Config,
        endpoints: Mapping[str, UnaryEndpoint],
        admission: Admission,
        executors: Executors,
        health: Health,
        *,
        max_request: int = MAX_REQUEST,
        read: Read | None = None,
    ) -> None:
        """Raises ListenError, ConfigError."""
        self._certificate = Certificate(config.tls) if config.tls.cert else None
        self._sockets, self._servers = _bound(config), list[asyncio.Server | TlsServer]()
        host, _ = parse_address(KEY, config.http.listen)
        self.url = url(config.with_settings("http", listen=f"{host}:{self._sockets[0].getsockname()[1]}"))
        self._state = State(admission, executors, config.limits.connections)
        router = Router(
            self._state,
            endpoints,
            read or reader(max_request),
            Files(),
            Cors(config.http.origins),
            lambda: health.serving,
        )
        max_body = max_request * 4 // 3 + 1024  # of gRPC-Web as text: base64, and envelopes
        self._connection = lambda: HttpConnection(self._state, router.serve, max_body)
        self._loop = asyncio.new_event_loop()
        self._over = threading.Event()
        self._seen_checks = -1

    def start(self) -> None:
        """Returns when connections are taken."""
        started = threading.Event()
        threading.Thread(target=self._run, args=(started,), name="web", daemon=True).start()
        started.wait(START_TIMEOUT)

    def statistics(self) -> dict[str, int]:
        """By the names of gochat.monitoring.families."""
        return {"streams_open": self._state.streams, "calls_dropped": self._state.dropped}

    def alive(self) -> bool:
        """Has the loop run since the last call of this method?"""
        seen, self._seen_checks = self._seen_checks, self._state.checks
        return seen != self._seen_checks

    def stop_accepting(self) -> None:
        """Takes no new connections, and no new requests on those that there are."""
        self._ask(self._stop_accepting)

    def drain(self, grace: float) -> bool:
        """Gives running calls so many seconds, then cuts their connections off. False if some do not end even then."""
        self._ask(self._stop_accepting)
        if self._over.wait(grace):
            return True
        self._ask(self._abort)
        return self._over.wait(KILL_TIMEOUT)

    def _ask(self, what: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is over
            self._loop.call_soon_threadsafe(what)

    # On the loop's thread

    def _run(self, started: threading.Event) -> None:
        loop, state = self._loop, self._state
        asyncio.set_event_loop(loop)
        state.begin(loop)
        try:
            loop.run_until_complete(self._listen())
            self._check()
            started.set()
            loop.run_forever()
        except Exception:
            log.exception("the HTTP listener failed")
        finally:
            started.set()
            state.close()
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
            self._over.set()

    async def _listen(self) -> None:
        for each in self._sockets:
            server: asyncio.Server | TlsServer
            if self._certificate:
                server = TlsServer(self._loop, each, self._certificate.context, self._state, self._connection)
            else:
                server = await self._loop.create_server(self._connection, sock=each, backlog=BACKLOG)
            self._servers.append(server)

    def _check(self) -> None:
        """Checks the timers, again and again."""
        state = self._state
        try:
            state.check_timers()
            if self._certificate and not state.checks % RENEW_INTERVAL:
                self._certificate.renew()
        except Exception:
            log.exception("the timers of HTTP failed")
        if state.draining and not state.connections:
            self._loop.stop()
        else:
            self._loop.call_later(CHECK_INTERVAL, self._check)

    def _stop_accepting(self) -> None:
        for server in self._servers:
            server.close()
        self._state.draining = True

    def _abort(self) -> None:
        for connection in list(self._state.connections):
            connection.abort()


class NoListener:
    """In place of a WebListener where there is none."""

    url = ""

    def start(self) -> None: ...

    def statistics(self) -> dict[str, int]:
        return {}

    def alive(self) -> bool:
        return True

    def stop_accepting(self) -> None: ...

    def drain(self, grace: float) -> bool:  # noqa: ARG002 - as of WebListener
        return True


def url(config: Config) -> str:
    """Of [http] listen; "" where there is none."""
    scheme = "https" if config.tls.cert else "http"
    return f"{scheme}://{config.http.listen}" if config.http.listen else ""


def origins(url: str) -> list[str]:
    """Of the pages that a listener of this URL serves, as their addresses begin. What other hosts call it only the
    operator knows."""
    if not url:
        return []
    parts = urlsplit(url)
    names = LOOPBACK_NAMES if is_loopback(parts.hostname or "") else {parts.netloc.rpartition(":")[0]}
    return [f"{parts.scheme}://{name}:{parts.port}" for name in sorted(names)]


@contextmanager
def reserved(config: Config) -> Iterator[Config]:
    """Reserves [http] listen for the workers of this program; yields the configuration with the port. Raises
    ListenError."""
    listen = config.http.listen
    with ExitStack() as reserving:
        if listen:
            listen = _default_or_free(lambda address: reserving.enter_context(reserve_port(address, KEY)), listen)
        yield config.with_settings("http", listen=listen)


def _bound(config: Config) -> list[socket.socket]:
    """Sockets on [http] listen, one for each address of the host. Raises ListenError."""
    shared_port = config.server.workers > 1
    return _default_or_free(lambda each: listening_sockets(each, KEY, shared_port=shared_port), config.http.listen)


def _default_or_free(listen_on: Callable[[str], T], listen: str) -> T:
    """If the default port is taken, a free one is used: nobody has asked for that port. Raises ListenError."""
    try:
        return listen_on(listen)
    except ListenError:
        if listen != Http().listen:
            raise
        return listen_on(f"{parse_address(KEY, listen)[0]}:0")
