"""TLS of the HTTP listener, by the files of [tls] that gRPC has too (TLS 1.2 or newer)."""

import asyncio
import logging
import os
import socket
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable
from contextlib import suppress

from gochat.config import ConfigError, Tls
from gochat.listening import BACKLOG
from gochat.web.state import State

HANDSHAKE_TIMEOUT = 10.0  # seconds
ACCEPT_PAUSE = 1.0  # seconds for which nothing is accepted when no more files can be opened

# Each connection has a buffer of this size, from its first byte on: asyncio's 256 KiB were most of what a stream costs.
SSLProtocol.max_size = 16 * 1024

log = logging.getLogger(__name__)


class Certificate:
    """context: for new connections. It follows the files: `renew`, called now and then, rereads them if they have
    changed; if the new ones do not fit together, that is logged and the old ones stay in use."""

    def __init__(self, tls: Tls) -> None:
        """Raises ConfigError."""
        self._tls = tls
        self._seen = self._versions()
        self.context = self._loaded()

    def renew(self) -> None:
        try:
            if (now := self._versions()) == self._seen:
                return
            self._seen = now
            self._loaded()  # a context that was loaded by half would be used
            self._load(self.context)
        except (ConfigError, OSError) as error:
            log.error("the certificate was not reread: %s", error)

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        tls = self._tls
        try:
            context.load_cert_chain(tls.cert, tls.key, password="")
            if tls.client_ca:
                context.load_verify_locations(tls.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(f"tls.cert, tls.key, tls.client_ca: {error}") from None

    def _versions(self) -> list[tuple[int, int, int]]:
        """Raises ConfigError."""
        try:
            found = [os.stat(name) for name in (self._tls.cert, self._tls.key, self._tls.client_ca) if name]
        except OSError as error:
            raise ConfigError(f"tls: {error.filename}: {error.strerror}") from None
        return [(status.st_ino, status.st_mtime_ns, status.st_size) for status in found]


class TlsServer:
    """Takes the connections of a socket as an asyncio.Server does, but counts those that are still shaking hands, whom
    nobody has seen a request of."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listening: socket.socket,
        context: ssl.SSLContext,
        state: State,
        connection: Callable[[], asyncio.Protocol],
    ) -> None:
        self._loop, self._listening, self._context = loop, listening, context
        self._state, self._connection = state, connection
        listening.setblocking(False)
        listening.listen(BACKLOG)
        self._resume()

    def close(self) -> None:
        if self._is_open:
            self._loop.remove_reader(self._listening)
            self._listening.close()
        for handshake in list(self._state.handshakes):
            handshake.cancel()

    @property
    def _is_open(self) -> bool:
        return self._listening.fileno() >= 0

    def _resume(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(BACKLOG):
            try:
                accepted, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.error("no connections are taken for a while: %s", error)
                self._loop.remove_reader(self._listening)
                self._loop.call_later(ACCEPT_PAUSE, self._resume)
                return
            accepted.setblocking(False)
            self._state.shakes_hands(self._begin(accepted))

    def _begin(self, accepted: socket.socket) -> "asyncio.Task[None]":
        def is_over(handshake: "asyncio.Task[None]") -> None:
            self._state.handshakes.pop(handshake, None)
            if handshake.cancelled():
                accepted.close()

        handshake = self._loop.create_task(self._shake_hands(accepted))
        handshake.add_done_callback(is_over)
        return handshake

    async def _shake_hands(self, accepted: socket.socket) -> None:
        with suppress(OSError):  # a client that speaks no TLS, or none that we do, or nothing in time
            await self._loop.connect_accepted_socket(
                self._connection, accepted, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_TIMEOUT
            )
