"""Bytes of a connection as requests of HTTP/1.1, within limits. httptools, which has the parser of Node.js, finds the
parts of a request; what it does not limit is limited here."""

from typing import Any, NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from gochat.web.messages import Request

MAX_HEAD = 16 * 1024  # bytes of a request's line and headers, as of gRPC's metadata
MAX_HEADERS = 100
MAX_RECEIVED = 8 * 1024 * 1024  # bytes of a request in all: what is over the limit of a body is read, and dropped
BAD_REQUEST, CONTENT_TOO_LARGE, HEADERS_TOO_LARGE = 400, 413, 431


class Arrived(NamedTuple):
    """chunked: the response may be, as of HTTP/1.1."""

    request: Request
    keep_alive: bool
    chunked: bool


class Parser:
    """max_body: bytes; of a longer one a little more than this is kept, so that it is seen to be too long. peer: as of
    Request.

    is_partial: a part of a request has arrived. awaits_continue: its body comes only after "100 Continue". upgrades:
    the client goes on in another protocol, which is not served.
    """

    __slots__ = (
        *("_arrived", "_body", "_head", "_headers", "_in_body", "_max_body", "_parser", "_peer", "_received"),
        *("_refused", "_size", "_target", "awaits_continue", "is_partial", "upgrades"),
    )

    def __init__(self, max_body: int, peer: str) -> None:
        self._parser: Any = HttpRequestParser(self)
        self._max_body, self._peer = max_body, peer
        self._arrived: list[Arrived] = []
        self._received = self._refused = 0
        self.upgrades = False
        self._reset()

    def _reset(self) -> None:
        self._target, self._body = b"", b""
        self._headers: list[tuple[str, str]] = []
        self._head = self._received = self._size = 0
        self._in_body = self.is_partial = self.awaits_continue = False

    def feed(self, data: bytes) -> list[Arrived]:
        """The requests that are complete now."""
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:  # the request is answered, and nothing follows it
            self.upgrades = True
            self._arrived[-1:] = [each._replace(keep_alive=False) for each in self._arrived[-1:]]
        except HttpParserError:
            self._refused = self._refused or BAD_REQUEST
        if self._received > (MAX_RECEIVED if self._in_body else MAX_HEAD):
            self._refused = CONTENT_TOO_LARGE if self._in_body else HEADERS_TOO_LARGE
        arrived, self._arrived = self._arrived, []
        return arrived

    @property
    def refused(self) -> int:
        """The HTTP status with which the connection is to end, after what has arrived; 0 for none."""
        return self._refused

    def close(self) -> None:
        """Breaks a reference cycle."""
        self._parser = None

    # What follows is called by httptools.

    def on_message_begin(self) -> None:
        self.is_partial = True

    def on_url(self, url: bytes) -> None:
        self._target += url
        self._head += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:  # a trailer
            return
        self._head += len(name) + len(value)
        if self._head > MAX_HEAD or len(self._headers) >= MAX_HEADERS:
            self._refused = HEADERS_TOO_LARGE
        else:
            self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self._in_body = True
        self.awaits_continue = ("expect", "100-continue") in self._headers

    def on_body(self, data: bytes) -> None:
        if self._size <= self._max_body:
            self._body += data
        self._size += len(data)

    def on_message_complete(self) -> None:
        parser = self._parser
        path, _, query = self._target.decode("latin-1").partition("?")
        method, headers = parser.get_method().decode("latin-1"), self._headers
        request = Request(method, path, query, headers, dict(headers), self._body, self._peer)
        if not self._refused:
            self._arrived.append(Arrived(request, parser.should_keep_alive(), parser.get_http_version() == "1.1"))
        self._reset()
