"""What the protocols by HTTP share: a request and a response, how bodies are compressed, how messages are enveloped.

An envelope is one byte of flags and the length in four, before the message: of Connect's streams and of gRPC-Web. Its
lowest flag says that the message is compressed.
"""

import struct
import zlib
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from google.rpc import code_pb2

from gochat.serving.endpoints import TOO_LARGE, Status

IDENTITY, GZIP = "identity", "gzip"
COMPRESSED = 0x01  # the flag
MIN_COMPRESSED = 1024  # bytes; what is shorter is not worth it
MAX_SHARED = 64  # messages of streams whose compressed form is kept, for other streams

_GZIP_BITS = 16 + zlib.MAX_WBITS
_LEVEL = 1  # the fastest: JSON shrinks to a fifth, against a sixth at ten times the CPU
_ENVELOPE = struct.Struct(">BI")

BAD_COMPRESSION = Status(code_pb2.UNIMPLEMENTED, f"this compression is not known; known are {GZIP}, {IDENTITY}")
NOT_GZIP = Status(code_pb2.INVALID_ARGUMENT, "the request is not gzip")
NOT_ONE_MESSAGE = Status(code_pb2.UNIMPLEMENTED, "the call has one request message")
NOT_AN_ENVELOPE = Status(code_pb2.INVALID_ARGUMENT, "the request is not a message in an envelope")
NOT_NEGOTIATED = Status(code_pb2.INTERNAL, "the message is compressed, and the headers name no compression")

Headers = Sequence[tuple[str, str]]
"""(name, value), names in lower case."""


Trailing = Sequence[tuple[str, str | bytes]]
"""Trailing metadata, as of gochat.serving.call.Answer."""


class Request(NamedTuple):
    """headers: every one, as Headers. named: the same by name, the last of each. peer: as gRPC names it,
    ipv4:192.0.2.1:5000."""

    method: str
    path: str
    query: str
    headers: Headers
    named: Mapping[str, str]
    body: bytes
    peer: str


class Response(NamedTuple):
    """headers: without those about the length and the connection, which are the connection's own."""

    status: int
    headers: Headers
    body: bytes = b""


class NotServedError(Exception):
    """The request is answered with this, and nothing is run."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


class RefusedError(Exception):
    """The call is refused with this status, in the way of its protocol."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message)
        self.status = status


def is_gzip(encoding: str) -> bool:
    """encoding: of a request. Raises RefusedError for one that is neither gzip nor identity."""
    if encoding not in ("", IDENTITY, GZIP):
        raise RefusedError(BAD_COMPRESSION)
    return encoding == GZIP


def accepts_gzip(accepted: str) -> bool:
    """accepted: a list of encodings, each with an optional quality."""
    for each in accepted.split(","):
        name, _, quality = each.partition(";")
        if name.strip() == GZIP:
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def compress(data: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_BITS)
    return packer.compress(data) + packer.flush()


def decompress(data: bytes, max_size: int) -> bytes:
    """Of gzip; never makes more than max_size bytes. Raises RefusedError."""
    unpacker = zlib.decompressobj(_GZIP_BITS)
    try:
        unpacked = unpacker.decompress(data, max_size + 1)
    except zlib.error:
        raise RefusedError(NOT_GZIP) from None
    if len(unpacked) > max_size:
        raise RefusedError(TOO_LARGE)
    if not unpacker.eof or unpacker.unused_data:
        raise RefusedError(NOT_GZIP)
    return unpacked


def read_envelope(body: bytes, *, gzip: bool, max_size: int) -> bytes:
    """The one message of a body. Raises RefusedError."""
    if not body:
        raise RefusedError(NOT_ONE_MESSAGE)
    if len(body) < _ENVELOPE.size:
        raise RefusedError(NOT_AN_ENVELOPE)
    flags, size = _ENVELOPE.unpack_from(body)
    if size > max_size:
        raise RefusedError(TOO_LARGE)
    end = _ENVELOPE.size + size
    if flags & ~COMPRESSED or len(body) < end:
        raise RefusedError(NOT_AN_ENVELOPE)
    if len(body) > end:
        raise RefusedError(NOT_ONE_MESSAGE)
    message = body[_ENVELOPE.size :]
    if not flags & COMPRESSED:
        return message
    if not gzip:
        raise RefusedError(NOT_NEGOTIATED)
    return decompress(message, max_size) if message else message


def envelope(data: bytes, flags: int = 0) -> bytes:
    return _ENVELOPE.pack(flags, len(data)) + data


def message_envelope(data: bytes, *, gzip: bool) -> bytes:
    """gzip: the client takes it."""
    if gzip and len(data) >= MIN_COMPRESSED:
        return _compressed_envelope(data)
    return envelope(data)


@lru_cache(MAX_SHARED)
def _compressed_envelope(data: bytes) -> bytes:
    return envelope(compress(data), COMPRESSED)


def header_value(value: str | bytes) -> str:
    """Metadata as the value of an HTTP header; binary metadata is base64 without padding."""
    return b64encode(value).decode().rstrip("=") if isinstance(value, bytes) else value


def metadata(headers: Headers) -> list[tuple[str, str | bytes]]:
    """The headers of a request as metadata."""
    return [(name, _binary(value) if name.endswith("-bin") else value) for name, value in headers]


def _binary(value: str) -> bytes:
    try:
        return b64decode(value + "=" * (-len(value) % 4))
    except (Base64Error, ValueError):
        return b""
