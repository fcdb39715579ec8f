"""HTTP/2 frames by hand, for what no gRPC client sends."""

import re
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

import grpc

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CANCEL, ENHANCE_YOUR_CALM = 8, 11


@dataclass(frozen=True)
class Frame:
    kind: int
    stream: int
    payload: bytes
    flags: int = 0

    @property
    def error(self) -> int:
        """Of RST_STREAM and GOAWAY."""
        return int.from_bytes(self.payload[-4:] if self.kind == RST_STREAM else self.payload[4:8], "big")


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(*values: tuple[int, int]) -> bytes:
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", *value) for value in values))


HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE, MAX_WINDOW = 1, 4, 2**31 - 1
# Without a table the server writes each header out, so that a status can be read without an HPACK decoder.
WIDE = (
    PREFACE
    + settings((HEADER_TABLE_SIZE, 0), (INITIAL_WINDOW_SIZE, MAX_WINDOW))
    + frame(WINDOW_UPDATE, payload=(MAX_WINDOW - 65535).to_bytes(4, "big"))
)
SHUT = PREFACE + settings((HEADER_TABLE_SIZE, 0), (INITIAL_WINDOW_SIZE, 0))
"""Openings of connections that take any number of bytes, and none."""


def header(name: str, value: str) -> bytes:
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


def request(path: str, *metadata: tuple[str, str]) -> bytes:
    """The headers of a gRPC call."""
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost", "te": "trailers"}
    fields |= {"content-type": "application/grpc", **dict(metadata)}
    return b"".join(header(*field) for field in fields.items())


def message(data: bytes) -> bytes:
    """A gRPC message: what DATA frames carry."""
    return struct.pack(">BI", 0, len(data)) + data


def data(stream: int, payload: bytes, flags: int = 0) -> bytes:
    """DATA frames of the largest size that a server takes unasked."""
    parts = [payload[start : start + 16_384] for start in range(0, len(payload), 16_384)] or [b""]
    frames = [frame(DATA, 0, stream, part) for part in parts[:-1]]
    return b"".join([*frames, frame(DATA, flags, stream, parts[-1])])


_STATUS = re.compile(rb"grpc-status(?:\x01(\d)|\x02(\d\d))")
_STATUS_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


def long_headers(path: str, size: int) -> bytes:
    """About so many bytes of them, in one HEADERS frame and as many CONTINUATION frames as that takes."""
    fields = [header(f"x-{position}", "v" * 110) for position in range(size // 118)]
    block, step = request(path) + b"".join(fields), 16_000
    parts = [block[start : start + step] for start in range(0, len(block), step)]
    frames = [frame(CONTINUATION if index else HEADERS, 0, 1, part) for index, part in enumerate(parts)]
    return b"".join([*frames, frame(CONTINUATION, END_HEADERS, 1)])


FLOODS: dict[str, bytes] = {
    "settings": frame(SETTINGS) * 1000,
    "settings that change something": frame(SETTINGS, payload=b"\0\4\0\0\xff\xff" * 100) * 100,
    "window updates": frame(WINDOW_UPDATE, payload=b"\0\0\0\1") * 1000,
    "priorities": frame(PRIORITY, stream=1, payload=b"\0\0\0\3\0") * 1000,
    "frames of no known kind": frame(0x77, payload=b"x" * 100) * 100,
    "goaway": frame(GOAWAY, payload=b"\0" * 8) * 100,
    "garbage": b"\xff" * 10_000,
    "another protocol": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100,
    "data of no call": frame(DATA, stream=1, payload=b"x" * 1000) * 100,
    "a frame that is too large": frame(HEADERS, END_HEADERS, 1, b"\0" * 100_000),
    "headers that are no headers": frame(HEADERS, END_HEADERS, 1, b"\xff" * 1000),
    "an answer to a ping nobody sent": frame(PING, 1, payload=b"12345678") * 1000,
}


class Raw:
    """A connection that sends what it is given and reads nothing until it is asked to.

    acks: whether it acknowledges the settings and pings that it reads. ended: by stream, the status (such as "OK") or
    "RST_STREAM", as far as it was read; statuses only after an opening without a header table. cut: whether the server
    was found to have ended the connection.
    """

    def __init__(self, address: str, opening: bytes = PREFACE + frame(SETTINGS), *, acks: bool = False) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=30)
        self._kept = b""
        self._acks = acks
        self.ended: dict[int, str] = {}
        self.cut = False
        self.send(opening)

    def send(self, data: bytes, seconds: float | None = None) -> bool:
        """False once the server has cut the connection, or takes no more within so many seconds, where given."""
        if seconds is not None:
            self._socket.settimeout(seconds)
        try:
            self._socket.sendall(data)
        except TimeoutError:
            return False
        except OSError:
            self.cut = True
        return not self.cut

    def frames(self, seconds: float) -> Iterator[Frame]:
        """What arrives within this time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                return
            except OSError:
                data = b""
            if not data:
                self.cut = True
                return
            self._kept += data
            while len(self._kept) >= 9 and len(self._kept) >= (size := 9 + int.from_bytes(self._kept[:3], "big")):
                kind, flags, stream = struct.unpack(">BBI", self._kept[3:9])
                received = Frame(kind, stream, self._kept[9:size], flags)
                self._kept = self._kept[size:]
                self._note(received)
                yield received

    def _note(self, received: Frame) -> None:
        if received.kind == RST_STREAM:
            self.ended.setdefault(received.stream, "RST_STREAM")
        elif received.kind == HEADERS and (found := _STATUS.search(received.payload)):
            self.ended.setdefault(received.stream, _STATUS_NAMES[int(found[1] or found[2])])
        elif self._acks and received.kind in (SETTINGS, PING) and not received.flags & ACK:
            self.send(frame(received.kind, ACK, payload=received.payload if received.kind == PING else b""))

    def close(self) -> None:
        self._socket.close()
