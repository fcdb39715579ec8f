"""HTTP/2 frames by hand, for what no gRPC client sends."""

import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_HEADERS = 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CANCEL, ENHANCE_YOUR_CALM = 8, 11


@dataclass(frozen=True)
class Frame:
    kind: int
    stream: int
    payload: bytes

    @property
    def error(self) -> int:
        """Of RST_STREAM and GOAWAY."""
        return int.from_bytes(self.payload[-4:] if self.kind == RST_STREAM else self.payload[4:8], "big")


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def header(name: str, value: str) -> bytes:
    """HPACK, literal and not indexed; both under 127 bytes."""
    return b"\0" + b"".join(bytes([len(text)]) + text.encode() for text in (name, value))


def request(path: str) -> bytes:
    """The headers of a gRPC call, without a token."""
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost", "te": "trailers"}
    return b"".join(header(*field) for field in {**fields, "content-type": "application/grpc"}.items())


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
    """A connection that sends what it is told to and reads nothing until it is asked to."""

    def __init__(self, address: str, opening: bytes = PREFACE + frame(SETTINGS)) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=30)
        self._kept = b""
        self.cut = False
        self.send(opening)

    def send(self, data: bytes) -> bool:
        """False once the server has cut the connection, or takes no more."""
        try:
            self._socket.sendall(data)
        except OSError:
            self.cut = True
        return not self.cut

    def frames(self, seconds: float) -> Iterator[Frame]:
        """What arrives within this time; cut is true if the server then ended the connection."""
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
                kind, _, stream = struct.unpack(">BBI", self._kept[3:9])
                yield Frame(kind, stream, self._kept[9:size])
                self._kept = self._kept[size:]

    def close(self) -> None:
        self._socket.close()
