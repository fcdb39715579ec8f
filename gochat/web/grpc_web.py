"""gRPC-Web (PROTOCOL-WEB.md of grpc/grpc): unary calls and server streams, binary and as text in base64.

The status comes in a last envelope with the flag TRAILERS, whose message is lines of HTTP headers.
"""

import math
from base64 import b64decode, b64encode
from collections.abc import Mapping
from urllib.parse import quote

from google.protobuf.message import Message
from google.rpc import code_pb2

from gochat.serving.call import Answer
from gochat.serving.endpoints import Status
from gochat.web.codec import JSON, PROTO, WebCodec
from gochat.web.exchange import Reading
from gochat.web.messages import (
    GZIP,
    Headers,
    NotServedError,
    RefusedError,
    Request,
    Response,
    Trailing,
    accepts_gzip,
    envelope,
    header_value,
    is_gzip,
    message_envelope,
    read_envelope,
)

_BINARY, _TEXT = "application/grpc-web", "application/grpc-web-text"
TYPES: dict[str, WebCodec] = {
    _BINARY: PROTO,
    f"{_BINARY}+proto": PROTO,
    f"{_BINARY}+json": JSON,
    _TEXT: PROTO,
    f"{_TEXT}+proto": PROTO,
}
TRAILERS = 0x80  # the flag of the last envelope
MAX_TIMEOUT_DIGITS = 8
BAD_TIMEOUT = Status(code_pb2.INVALID_ARGUMENT, "grpc-timeout must be at most 8 digits and a unit")
NOT_BASE64 = Status(code_pb2.INVALID_ARGUMENT, "the request is not base64")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_UNESCAPED = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def read(request: Request, content_type: str, kind: type[Message], max_size: int) -> Reading:
    """content_type: of TYPES. kind: of the messages of the response. Raises NotServedError."""
    named = request.named
    encoding = named.get("grpc-encoding", "")
    exchange = GrpcWebExchange(content_type, kind, gzip=accepts_gzip(named.get("grpc-accept-encoding", encoding)))
    try:
        seconds = _seconds(named)
        body = request.body
        if content_type.startswith(_TEXT):
            body = _from_text(body)
        data = read_envelope(body, gzip=is_gzip(encoding), max_size=max_size)
    except RefusedError as refused:
        raise NotServedError(exchange.refuse(refused.status)) from None
    return Reading(exchange, data, seconds)


class GrpcWebExchange:
    __slots__ = ("_gzip", "_kind", "_type", "codec")

    def __init__(self, content_type: str, kind: type[Message], *, gzip: bool) -> None:
        self.codec = TYPES[content_type]
        self._type, self._kind, self._gzip = content_type, kind, gzip

    def answer(self, answer: Answer) -> Response:
        data, code, message, trailing = answer
        messages = b"" if data is None else self._written(message_envelope(data, gzip=self._gzip))
        return Response(200, self.begin(), messages + self.end(Status(code, message), trailing))

    def refuse(self, status: Status) -> Response:
        return Response(200, self.begin(), self.end(status))

    def begin(self) -> Headers:
        kind = ("content-type", self._type)
        return (kind, ("grpc-encoding", GZIP)) if self._gzip else (kind,)

    def message(self, data: bytes) -> bytes:
        return self._written(message_envelope(self.codec.transcode(self._kind, data), gzip=self._gzip))

    def end(self, status: Status, trailing: Trailing = ()) -> bytes:
        lines = [("grpc-status", str(status.code))]
        if status.message:
            lines.append(("grpc-message", quote(status.message, safe=_UNESCAPED)))
        lines += [(name, header_value(value)) for name, value in trailing]
        return self._written(envelope("".join(f"{name}: {value}\r\n" for name, value in lines).encode(), TRAILERS))

    def _written(self, enveloped: bytes) -> bytes:
        return b64encode(enveloped) if self._type.startswith(_TEXT) else enveloped


def _seconds(named: Mapping[str, str]) -> float:
    """Until the client's deadline. Raises RefusedError."""
    timeout = named.get("grpc-timeout")
    if timeout is None:
        return math.inf
    number, unit = timeout[:-1], timeout[-1:]
    if unit not in _UNITS or not (number.isascii() and number.isdigit() and len(number) <= MAX_TIMEOUT_DIGITS):
        raise RefusedError(BAD_TIMEOUT)
    return int(number) * _UNITS[unit]


def _from_text(body: bytes) -> bytes:
    """Raises RefusedError."""
    try:
        return b64decode(body, validate=True)
    except ValueError:
        raise RefusedError(NOT_BASE64) from None
