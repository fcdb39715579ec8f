"""A gRPC client of raw HTTP/2 frames for `gochat bench --push`: it shares the cores with the server that it measures,
and costs a tenth of what grpcio's clients do. It checks nothing that a measurement does not need."""

import re
import socket
import struct
from collections.abc import Iterator

from gochat.headers import AUTHORIZATION

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_MAX_WINDOW = 2**31 - 1
_WINDOW_STEP = 2**30  # bytes that a connection has received after which its window is opened again
_READ_SIZE = 256 * 1024
_STATUS = re.compile(rb"grpc-status(?:\x01(\d)|\x02(\d\d))")
_FRAME = struct.Struct(">HBBBI")


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return _FRAME.pack(len(payload) >> 8, len(payload) & 255, kind, flags, stream) + payload


# Without a header table the server writes each header out, so that a status can be read without an HPACK decoder.
_OPENING = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + _frame(_SETTINGS, 0, 0, struct.pack(">HIHI", 1, 0, 4, _MAX_WINDOW))
    + _frame(_WINDOW_UPDATE, 0, 0, (_MAX_WINDOW - 65_535).to_bytes(4, "big"))
)


def _header(name: str, value: str) -> bytes:
    """HPACK, literal and not indexed."""
    return b"\0" + b"".join(_length(len(text)) + text.encode() for text in (name, value))


def _length(size: int) -> bytes:
    """An HPACK integer behind one bit."""
    if size < 127:
        return bytes([size])
    rest, octets = size - 127, [127]
    while rest >= 128:
        octets.append(rest % 128 + 128)
        rest //= 128
    return bytes([*octets, rest])


def headers(path: str, token: str) -> bytes:
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost", "te": "trailers"}
    fields |= {"content-type": "application/grpc", AUTHORIZATION: f"Bearer {token}"}
    return b"".join(_header(*field) for field in fields.items())


class Connection:
    """calls: how many it has begun. Raises OSError where the server has closed it."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(_OPENING)
        self.calls = 0
        self._kept = b""
        self._received = 0

    def call(self, block: bytes, request: bytes) -> int:
        """Begins a call; returns its number. block: of headers()."""
        stream = 2 * self.calls + 1
        self.calls += 1
        message = struct.pack(">BI", 0, len(request)) + request
        self.socket.sendall(_frame(_HEADERS, _END_HEADERS, stream, block) + _frame(_DATA, _END_STREAM, stream, message))
        return stream

    def receive(self) -> Iterator[tuple[int, bytes, int | None]]:
        """Reads once; returns (number of the call, bytes of messages, gRPC status at its end)."""
        data = self.socket.recv(_READ_SIZE)
        if not data:
            raise OSError("the server has closed the connection")
        kept, at = self._kept + data, 0
        self._widen(len(data))
        while len(kept) - at >= 9:
            high, low, kind, flags, stream = _FRAME.unpack_from(kept, at)
            end = at + 9 + (high << 8) + low
            if len(kept) < end:
                break
            payload = kept[at + 9 : end]
            at = end
            if kind == _DATA:
                yield stream, payload, None
            elif kind == _HEADERS and (found := _STATUS.search(payload)):
                yield stream, b"", int(found[1] or found[2])
            elif kind == _RST_STREAM:
                yield stream, b"", 1
            elif kind in (_SETTINGS, _PING) and not flags & _ACK:
                self.socket.sendall(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
            elif kind == _GOAWAY:
                raise OSError("the server asks for a new connection")
        self._kept = kept[at:]

    def _widen(self, received: int) -> None:
        self._received += received
        if self._received > _WINDOW_STEP:
            self.socket.sendall(_frame(_WINDOW_UPDATE, 0, 0, self._received.to_bytes(4, "big")))
            self._received = 0

    def close(self) -> None:
        self.socket.close()
