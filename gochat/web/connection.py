"""One connection of HTTP/1.1: it reads requests, one after the other, and writes what answers them.

A client may send requests before their turn comes (pipelining); they wait, MAX_PIPELINED at most. Everything runs on
the loop's thread.

What is written goes to the kernel at once, as far as it has room; the rest, `unsent`, is kept by the transport, and
until it was taken nothing else is written. So a client that does not read costs one answer, or one message of a stream.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Protocol

from gochat.web.messages import Headers, Request, Response
from gochat.web.parsing import Arrived, Parser
from gochat.web.state import LINGER_TIMEOUT, State

MAX_PIPELINED = 32  # requests that wait for the answer to one before them
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_END = b"0\r\n\r\n"
_REASONS = {status.value: status.phrase for status in HTTPStatus} | {499: "Client Closed Request"}
_LINES = {status: f"HTTP/1.1 {status} {reason}\r\n".encode() for status, reason in _REASONS.items()}
_EVERYWHERE = b"x-content-type-options: nosniff\r\n"


class Answering(Protocol):
    """What answers the current request. All of it is called on the loop's thread."""

    def on_sent(self, taken: bool) -> None:
        """What was written was taken, or will never be."""

    def on_left(self) -> None:
        """The client has left."""


class _Plain:
    """Answers with what is there already."""

    def on_sent(self, taken: bool) -> None: ...

    def on_left(self) -> None: ...


PLAIN = _Plain()


class HttpConnection(asyncio.Protocol):
    """current: answers the request whose turn it is; None while there is none. added: headers of every response to it.
    is_sending: a part of the response was not taken yet.

    _is_paused: something is unsent. _is_ending: what is being sent is the end of the response. _is_over: nothing more
    is read. _is_closing: the transport is closed, or will be once it has sent what it has.
    """

    __slots__ = (
        *("_chunked", "_head_only", "_is_closing", "_is_ending", "_is_over", "_is_paused", "_keep_alive", "_max_body"),
        *("_parser", "_queue", "_serve", "_state", "_transport", "added", "current", "is_sending"),
    )

    def __init__(self, state: State, serve: Callable[["HttpConnection", Request], None], max_body: int) -> None:
        """serve: answers a request by `respond` or `begin`, now or later."""
        self._state, self._serve, self._max_body = state, serve, max_body
        self._transport: asyncio.Transport
        self._parser: Parser
        self.current: Answering | None = None
        self.added: Headers = ()
        self._queue: deque[Arrived] = deque()
        self._is_paused = self.is_sending = self._is_ending = self._is_over = self._is_closing = False
        self._keep_alive = self._chunked = self._head_only = False

    # Of asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # `pause_writing` is called once anything was not taken. (With 0 a transport of TLS would call it every time.)
        transport.set_write_buffer_limits(high=1, low=0)
        self._parser = Parser(self._max_body, _peer(transport.get_extra_info("peername")))
        self._state.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        parser, half_open = self._parser, self._state.half_open
        arrived = parser.feed(data)
        if arrived or not parser.is_partial:
            half_open.pop(self, None)
        if parser.is_partial and self not in half_open:
            self._state.arrives(self)
        for each in arrived:
            self._add(each)
        if parser.refused and not self._is_over:
            self._reject(parser.refused)
        elif parser.upgrades:
            self._is_over = True
        elif parser.awaits_continue and self.current is None:
            parser.awaits_continue = False
            self._transport.write(_CONTINUE)

    def pause_writing(self) -> None:
        self._is_paused = True
        self._state.sends(self)

    def resume_writing(self) -> None:
        self._is_paused = False
        self._state.sending.pop(self, None)
        if self._is_ending:
            self._end()
        elif self.is_sending and self.current:
            self.is_sending = False
            self.current.on_sent(True)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - of asyncio.Protocol
        self._is_over = self._is_closing = True
        self._state.closed(self)
        self._queue.clear()
        self._parser.close()
        if current := self.current:
            self.current = None
            if self.is_sending or self._is_ending:
                current.on_sent(False)
            current.on_left()

    # Answers

    def _add(self, arrived: Arrived) -> None:
        if self.current is None:
            self._begin(arrived)
            return
        self._queue.append(arrived)
        self._transport.pause_reading()
        if len(self._queue) > MAX_PIPELINED:
            self.abort()

    def _begin(self, arrived: Arrived) -> None:
        """The turn of this request has come."""
        self._state.idle.pop(self, None)
        request, self._keep_alive, self._chunked = arrived
        self._head_only = request.method == "HEAD"
        self.current, self.added = PLAIN, ()
        self._serve(self, request)

    def respond(self, response: Response) -> None:
        """The whole response."""
        status, headers, body = response
        length = b"" if status in (204, 304) else b"content-length: %d\r\n" % len(body)
        head = self._response_head(status, headers, length)
        self._finish(head if self._head_only else head + body)

    def begin(self, headers: Headers) -> None:
        """The head of a response whose body follows by `send` and ends by `finish`."""
        if not self._chunked:
            self._keep_alive = False
        self._write(self._response_head(200, headers, b"transfer-encoding: chunked\r\n" if self._chunked else b""))

    def send(self, data: bytes) -> bool:
        """A part of the body, not while `is_sending`. Was it taken? Else `on_sent` tells when it is."""
        self._write(self._chunk(data))
        return not self.is_sending

    def finish(self, data: bytes) -> None:
        """The last part of the body."""
        self._finish(self._chunk(data) + (_END if self._chunked else b""))

    def _write(self, data: bytes) -> None:
        """A transport with TLS may pause and resume within `write`. So only what is still unsent after it is
        reported by `resume_writing`."""
        self._transport.write(data)
        self.is_sending = self._is_paused

    def _finish(self, data: bytes) -> None:
        self._transport.write(data)
        self._is_ending = True
        if not self._is_paused:
            self._end()

    def _chunk(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data

    def _response_head(self, status: int, headers: Headers, length: bytes) -> bytes:
        if self._state.draining:
            self._keep_alive = False
        lines = "".join([f"{name}: {value}\r\n" for name, value in (*headers, *self.added)])
        close = b"" if self._keep_alive else b"connection: close\r\n"
        return b"".join(
            (_LINES[status], self._state.date, lines.encode("latin-1", "replace"), _EVERYWHERE, length, close, b"\r\n")
        )

    def _end(self) -> None:
        """The response was taken."""
        self._is_ending = self.is_sending = False
        current, self.current = self.current, None
        if current:
            current.on_sent(True)
        if not self._keep_alive or (self._is_over and not self._queue):
            self._close()
        elif self._queue:
            arrived = self._queue.popleft()
            if not self._queue:
                self._transport.resume_reading()
            self._begin(arrived)
        elif self not in self._state.half_open:
            self._state.rests(self)

    def _reject(self, status: int) -> None:
        """What has arrived is no request, or too large a one. The rest is dropped for a moment: a connection that is
        closed while something is unread takes the answer away from the client."""
        self._is_over = True
        self._state.half_open.pop(self, None)
        if self.current is not None:
            self.abort()
            return
        self._keep_alive, self._head_only, self.added = True, False, ()
        headers = (("connection", "close"),)
        self.current = PLAIN
        self._transport.write(self._response_head(status, headers, b"content-length: 0\r\n"))
        self._state.loop.call_later(LINGER_TIMEOUT, self._close)

    # Of the State

    @property
    def unsent(self) -> int:
        return 0 if self._is_closing else self._transport.get_write_buffer_size()

    def time_out(self) -> None:
        self._reject(408)

    def close_if_idle(self) -> None:
        self._state.idle.pop(self, None)
        self._close()

    def abort(self) -> None:
        self._is_over = self._is_closing = True
        self._transport.abort()

    def _close(self) -> None:
        """Once, since TLS transports do not bear it twice."""
        self._is_over = True
        if not self._is_closing:
            self._is_closing = True
            self._transport.close()


def _peer(address: Any) -> str:
    if not address:
        return ""
    host, port = address[:2]
    return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
