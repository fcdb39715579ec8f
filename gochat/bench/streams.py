"""The client processes of `gochat bench --push`: one that holds streams, one that sends.

Each runs `work`, on one thread: it reads commands from its pipe and frames from its connections, whichever come. What a
message says is when it was sent, on a clock that all processes of a host share; so the one that holds the streams knows
how long a message took without reading more of it.
"""

import multiprocessing
import random
import re
import selectors
import signal
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from multiprocessing.connection import Connection as Pipe
from typing import Any

from gochat.api.event.v1.event_pb2 import SubscribeRequest
from gochat.api.logic.v1.logic_pb2 import SendMessageRequest
from gochat.bench.http2 import Connection, headers
from gochat.config import ConfigError

SUBSCRIBE = "/gochat.api.event.v1.EventService/Subscribe"
SEND = "/gochat.api.logic.v1.LogicService/SendMessage"
MAX_CALLS = 1000  # of a connection at a time; what [limits] streams_per_connection allows
OPENING = 200  # streams that are being opened at a time
ANSWER_TIMEOUT = 120.0  # seconds
RETRY = 1.0  # seconds, at most, until a stream that was refused is tried again
_STAMP = re.compile(rb"@(\d{19})@")
_KEPT = 20  # bytes: less than a stamp, so that none is found twice


@dataclass
class Sent:
    """latencies: of the sends that succeeded, in nanoseconds. errors: of the others. seconds: in all."""

    latencies: list[int] = field(default_factory=list)
    errors: int = 0
    seconds: float = 0.0


@dataclass
class Opened:
    """latencies: nanoseconds that each stream took until its first response, from the first try. refused: tries that
    were, by gRPC status."""

    latencies: list[int] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)


class Listeners:
    """Holds streams, and keeps how long messages took until they came."""

    def __init__(self, address: str, token: str) -> None:
        self._address, self._block = address, headers(SUBSCRIBE, token)
        self._selector = selectors.DefaultSelector()
        self._last: Connection | None = None
        self._opening: dict[tuple[Connection, int], tuple[int, bytes]] = {}  # -> when first tried, request
        self._waiting: deque[tuple[float, int, bytes]] = deque()  # when to try again -> the same
        self._lags: list[int] = []
        self._ends: dict[tuple[Connection, int], bytes] = {}  # of what came last: a stamp may be cut between two frames
        self._opened = Opened()
        self._ended = 0

    def open(self, streams: Sequence[tuple[str, str]], per_connection: int, at_once: int) -> Opened:
        """streams: user id and cursor of each. at_once: how many are opened at a time. One that is refused is tried
        again within RETRY seconds. Raises ConfigError."""
        now, self._opened = time.monotonic_ns(), Opened()
        for user_id, cursor in streams:
            request = SubscribeRequest(user_id=user_id, cursor=cursor).SerializeToString()
            self._waiting.append((0.0, now if at_once >= len(streams) else 0, request))
        until = time.monotonic() + ANSWER_TIMEOUT
        while self._waiting or self._opening:
            while self._waiting and len(self._opening) < at_once and self._waiting[0][0] <= time.monotonic():
                _, began, request = self._waiting.popleft()
                connection = self._connection(per_connection)
                number = connection.call(self._block, request)
                self._opening[connection, number] = began or time.monotonic_ns(), request
            self.read(0.01)
            if self._ended or time.monotonic() > until:
                left = len(self._waiting) + len(self._opening) + self._ended
                raise ConfigError(f"{left} of {len(streams)} streams did not open: {dict(self._opened.refused)}")
        return self._opened

    def _connection(self, per_connection: int) -> Connection:
        if self._last is None or self._last.calls >= per_connection:
            self._last = Connection(self._address)
            self._selector.register(self._last.socket, selectors.EVENT_READ, self._last)
        return self._last

    def read(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            connection: Connection = key.data
            for number, data, status in connection.receive():
                now = time.monotonic_ns()
                if self._opening and (opening := self._opening.pop((connection, number), None)):
                    self._first(*opening, now, status)
                elif status is not None:
                    self._ended += 1
                seen = self._ends.get((connection, number), b"") + data
                self._ends[connection, number] = seen[-_KEPT:]
                self._lags.extend(now - int(stamp) for stamp in _STAMP.findall(seen))

    def _first(self, began: int, request: bytes, now: int, status: int | None) -> None:
        if status is None:
            self._opened.latencies.append(now - began)
        else:
            self._opened.refused[status] += 1
            self._waiting.append((time.monotonic() + random.uniform(0, RETRY), began, request))  # noqa: S311 - no secret

    def taken(self) -> list[int]:
        """The lags since the last time."""
        self._lags, lags = [], self._lags
        return lags

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            key.data.close()
        self._selector.close()


class Sender:
    """Sends to conversations in turn, for their members in turn."""

    def __init__(self, address: str, token: str) -> None:
        self._address, self._block = address, headers(SEND, token)
        self._connection = Connection(address)
        self._began: dict[int, int] = {}

    def run(self, targets: Sequence[tuple[str, str]], seconds: float, rate: float, most: int, number: int) -> Sent:
        """targets: conversation and sender of each send. rate: sends a second; 0: as many as are answered. most: in
        flight at a time. number: of sends; 0: as many as come in so many seconds."""
        sent, following = Sent(), cycle(targets)
        started = time.monotonic()
        begun, over = 0, False
        while not over or self._began:
            elapsed = time.monotonic() - started
            over = over or elapsed >= seconds or bool(number and begun >= number)
            due = len(self._began) < most and not over and (not rate or begun < elapsed * rate)
            if due:
                self._send(*next(following))
                begun += 1
                continue
            pause = 0.05 if over or not rate else max(0.0, begun / rate - elapsed)
            self._read(sent, min(pause, 0.05) if len(self._began) < most else 0.05)
            if elapsed > seconds + ANSWER_TIMEOUT:
                raise ConfigError("sends were not answered")
        sent.seconds = time.monotonic() - started
        return sent

    def _send(self, conversation_id: str, user_id: str) -> None:
        if self._connection.calls >= 2**29:
            self._connection = Connection(self._address)
        now = time.monotonic_ns()
        request = SendMessageRequest(
            conversation_id=conversation_id, from_user_id=user_id, content=f"@{now:019d}@ and some more words to say"
        )
        self._began[self._connection.call(self._block, request.SerializeToString())] = now

    def _read(self, sent: Sent, seconds: float) -> None:
        self._connection.socket.settimeout(max(seconds, 0.0001))
        try:
            for number, _, status in self._connection.receive():
                if status is None:
                    continue
                began = self._began.pop(number)
                if status:
                    sent.errors += 1
                else:
                    sent.latencies.append(time.monotonic_ns() - began)
        except TimeoutError:
            pass
        finally:
            self._connection.socket.settimeout(30)

    def read(self, seconds: float) -> None:
        """Between two runs nothing comes."""
        time.sleep(seconds)

    def close(self) -> None:
        self._connection.close()


def work(pipe: Pipe, kind: type, address: str, token: str) -> None:
    """What a client process runs, until the pipe is closed. A message is (name of a method, its arguments); the answer
    is what it returns, or the error that it raises."""
    worker = kind(address, token)
    while True:
        while not pipe.poll(0 if isinstance(worker, Listeners) else None):
            worker.read(0.01)
        try:
            name, *arguments = pipe.recv()
        except EOFError:
            return
        try:
            answer = getattr(worker, name)(*arguments)
        except (ConfigError, OSError) as error:
            answer = ConfigError(str(error))
        pipe.send(answer)


class Remote:
    """A client process. Its calls may overlap with those of others: begin(), then end()."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def begin(self, name: str, *arguments: Any) -> None:
        self._pipe.send((name, *arguments))

    def end(self) -> Any:
        """Raises ConfigError."""
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError):
            raise ConfigError("a process that made calls has ended") from None
        if isinstance(answer, ConfigError):
            raise answer
        return answer

    def __call__(self, name: str, *arguments: Any) -> Any:
        self.begin(name, *arguments)
        return self.end()


@contextmanager
def remote(kind: type, address: str, token: str) -> Iterator[Remote]:
    """kind: Listeners or Sender."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=work, args=(theirs, kind, address, token), daemon=True)
    # Ctrl-C goes to this process, which then stops its children. They inherit the blocked signals.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    theirs.close()
    try:
        started = Remote(ours)
        started("read", 0)  # returns once the process has begun
        yield started
    finally:
        ours.close()
        process.terminate()
        process.join()
