"""The Connect protocol (connectrpc.com/docs/protocol): unary calls by POST, and by GET where the RPC has no side
effects; server streams. https://github.com/connectrpc/conformance tests it (tests/web/conformance)."""

import json
import math
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs

from google.protobuf import any_pb2, descriptor_pool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2, status_pb2

from gochat.headers import REQUEST_ID, STATUS_DETAILS
from gochat.serving.call import Answer
from gochat.serving.endpoints import TOO_LARGE, Status
from gochat.web.codec import CODECS, WebCodec
from gochat.web.encoding import to_json
from gochat.web.exchange import Reading
from gochat.web.messages import (
    GZIP,
    MIN_COMPRESSED,
    Headers,
    NotServedError,
    RefusedError,
    Request,
    Response,
    Trailing,
    accepts_gzip,
    compress,
    decompress,
    envelope,
    header_value,
    is_gzip,
    message_envelope,
    read_envelope,
)

UNARY_TYPES = {f"application/{name}": codec for name, codec in CODECS.items()}
STREAM_TYPES = {f"application/connect+{name}": codec for name, codec in CODECS.items()}
END_STREAM = 0x02  # the flag of the last envelope
MAX_TIMEOUT_DIGITS = 10
MAX_QUERY_FIELDS = 100
_JSON_TYPE = (("content-type", "application/json"),)
_GZIPPED = ("content-encoding", GZIP)
_NOT_STORED = (("cache-control", "no-store"),)  # of answers to GET, which are a user's own

HTTP_STATUS = {
    code_pb2.OK: 200,
    code_pb2.CANCELLED: 499,
    code_pb2.UNKNOWN: 500,
    code_pb2.INVALID_ARGUMENT: 400,
    code_pb2.DEADLINE_EXCEEDED: 504,
    code_pb2.NOT_FOUND: 404,
    code_pb2.ALREADY_EXISTS: 409,
    code_pb2.PERMISSION_DENIED: 403,
    code_pb2.RESOURCE_EXHAUSTED: 429,
    code_pb2.FAILED_PRECONDITION: 400,
    code_pb2.ABORTED: 409,
    code_pb2.OUT_OF_RANGE: 400,
    code_pb2.UNIMPLEMENTED: 501,
    code_pb2.INTERNAL: 500,
    code_pb2.UNAVAILABLE: 503,
    code_pb2.DATA_LOSS: 500,
    code_pb2.UNAUTHENTICATED: 401,
}
_NAMES = {
    number: "canceled" if number == code_pb2.CANCELLED else code_pb2.Code.Name(number).lower() for number in HTTP_STATUS
}
BAD_VERSION = Status(code_pb2.INVALID_ARGUMENT, 'connect-protocol-version must be "1"')
BAD_TIMEOUT = Status(code_pb2.INVALID_ARGUMENT, "connect-timeout-ms must be a whole number of at most 10 digits")
BAD_QUERY = Status(code_pb2.INVALID_ARGUMENT, "the query needs one message, in percent-encoding or with base64=1")


def read_post(request: Request, codec: WebCodec, max_size: int) -> Reading:
    """A unary call. codec: by its content type, of UNARY_TYPES. Raises NotServedError."""
    named = request.named
    encoding = named.get("content-encoding", "")
    exchange = UnaryExchange(codec, gzip=accepts_gzip(named.get("accept-encoding", encoding)))
    try:
        seconds = _seconds(named)
        data = _unpacked(request.body, is_gzip(encoding), max_size)
    except RefusedError as refused:
        raise NotServedError(exchange.refuse(refused.status)) from None
    return Reading(exchange, data, seconds)


def read_get(request: Request, max_size: int) -> Reading:
    """A unary call of an RPC without side effects. Raises NotServedError."""
    try:
        query = {name: values[-1] for name, values in _parsed(request.query).items()}
    except ValueError:
        query = {}
    codec = CODECS.get(query.get("encoding", ""))
    if codec is None:
        raise NotServedError(unsupported(UNARY_TYPES))
    encoding = query.get("compression", "")
    gzip = accepts_gzip(request.named.get("accept-encoding", encoding))
    exchange = UnaryExchange(codec, gzip=gzip, added=_NOT_STORED)
    try:
        seconds = _seconds(request.named)
        if query.get("connect", "v1") != "v1":
            raise RefusedError(BAD_VERSION)
        data = _unpacked(_message(query), is_gzip(encoding), max_size)
    except RefusedError as refused:
        raise NotServedError(exchange.refuse(refused.status)) from None
    return Reading(exchange, data, seconds)


def read_stream(request: Request, kind: type[Message], codec: WebCodec, max_size: int) -> Reading:
    """A call of a streaming RPC. kind: of the messages of its response. codec: by its content type, of STREAM_TYPES.
    Raises NotServedError."""
    named = request.named
    encoding = named.get("connect-content-encoding", "")
    exchange = StreamExchange(codec, kind, gzip=accepts_gzip(named.get("connect-accept-encoding", encoding)))
    try:
        seconds = _seconds(named)
        data = read_envelope(request.body, gzip=is_gzip(encoding), max_size=max_size)
    except RefusedError as refused:
        raise NotServedError(exchange.refuse(refused.status)) from None
    return Reading(exchange, data, seconds)


def unsupported(types: Iterable[str]) -> Response:
    """types: those that would be served."""
    accepted = ", ".join(types)
    text = f"content-type, or encoding of a GET, must be one of: {accepted}\n"
    return Response(415, (("content-type", "text/plain"), ("accept-post", accepted)), text.encode())


def error_response(status: Status) -> Response:
    """An error as Connect's unary calls have it, for whoever calls a path that is not served."""
    return Response(HTTP_STATUS[status.code], _JSON_TYPE, _dumped(_error(status, None)))


class UnaryExchange:
    """gzip: the client takes it. added: headers of the response."""

    __slots__ = ("_added", "_gzip", "codec")

    def __init__(self, codec: WebCodec, *, gzip: bool, added: Headers = ()) -> None:
        self.codec, self._gzip, self._added = codec, gzip, added

    def answer(self, answer: Answer) -> Response:
        data, code, message, trailing = answer
        if data is None:
            details = next((value for name, value in trailing if name == STATUS_DETAILS), None)
            response = Response(
                HTTP_STATUS[code], (*_JSON_TYPE, *_trailers(trailing)), _dumped(_error(Status(code, message), details))
            )
        else:
            response = Response(200, (self.codec.unary_type, *self._added, *_trailers(trailing)), data)
        if self._gzip and len(response.body) >= MIN_COMPRESSED:
            return Response(response.status, (*response.headers, _GZIPPED), compress(response.body))
        return response

    def refuse(self, status: Status) -> Response:
        return error_response(status)


class StreamExchange:
    __slots__ = ("_gzip", "_kind", "codec")

    def __init__(self, codec: WebCodec, kind: type[Message], *, gzip: bool) -> None:
        self.codec, self._kind, self._gzip = codec, kind, gzip

    def answer(self, answer: Answer) -> Response:
        data, code, message, trailing = answer
        assert data is None or code == code_pb2.OK
        return Response(200, self.begin(), self.end(Status(code, message), trailing))

    def refuse(self, status: Status) -> Response:
        return Response(200, self.begin(), self.end(status))

    def begin(self) -> Headers:
        kind = ("content-type", f"application/connect+{self.codec.name}")
        return (kind, ("connect-content-encoding", GZIP)) if self._gzip else (kind,)

    def message(self, data: bytes) -> bytes:
        return message_envelope(self.codec.transcode(self._kind, data), gzip=self._gzip)

    def end(self, status: Status, trailing: Trailing = ()) -> bytes:
        ended: dict[str, Any] = {}
        details: str | bytes | None = None
        for name, value in trailing:
            if name == STATUS_DETAILS:
                details = value
            else:
                ended.setdefault("metadata", {}).setdefault(name, []).append(header_value(value))
        if status.code:
            ended["error"] = _error(status, details)
        return envelope(_dumped(ended), END_STREAM)


def _seconds(named: Mapping[str, str]) -> float:
    """Until the client's deadline. Raises RefusedError, also for another version of the protocol."""
    if named.get("connect-protocol-version", "1") != "1":
        raise RefusedError(BAD_VERSION)
    timeout = named.get("connect-timeout-ms")
    if timeout is None:
        return math.inf
    if not (timeout.isascii() and timeout.isdigit() and len(timeout) <= MAX_TIMEOUT_DIGITS):
        raise RefusedError(BAD_TIMEOUT)
    return int(timeout) / 1000


def _unpacked(data: bytes, gzip: bool, max_size: int) -> bytes:
    if gzip and data:
        return decompress(data, max_size)
    if len(data) > max_size:
        raise RefusedError(TOO_LARGE)
    return data


def _parsed(query: str) -> dict[str, list[str]]:
    """Octets as characters of Latin-1, since a message may be any. Raises ValueError."""
    return parse_qs(query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS, encoding="latin-1")


def _message(query: Mapping[str, str]) -> bytes:
    """Raises RefusedError."""
    try:
        message = query["message"].encode("latin-1")
        if query.get("base64") != "1":
            return message
        return b64decode(message + b"=" * (-len(message) % 4), altchars=b"-_", validate=True)
    except (KeyError, ValueError):
        raise RefusedError(BAD_QUERY) from None


def _trailers(trailing: Trailing) -> list[tuple[str, str]]:
    """As headers; the request id under its own name, for those who read it with curl."""
    return [
        (name if name == REQUEST_ID else f"trailer-{name}", header_value(value))
        for name, value in trailing
        if name != STATUS_DETAILS
    ]


def _error(status: Status, details: str | bytes | None) -> dict[str, Any]:
    """details: a serialised google.rpc.Status, of which the error has the details."""
    error: dict[str, Any] = {"code": _NAMES[status.code]}
    if status.message:
        error["message"] = status.message
    if isinstance(details, bytes):
        error["details"] = [_detail(detail) for detail in status_pb2.Status.FromString(details).details]
    return error


def _detail(packed: any_pb2.Any) -> dict[str, Any]:
    name = packed.type_url.rpartition("/")[2]
    detail: dict[str, Any] = {"type": name, "value": b64encode(packed.value).decode().rstrip("=")}
    try:
        kind = GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))
        detail["debug"] = json.loads(to_json(kind.FromString(packed.value)))
    except (KeyError, DecodeError):  # a type that this program does not know: the value says it all
        pass
    return detail


def _dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
