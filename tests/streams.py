"""Clients that listen: they keep what streams tell, and wait for what a test expects."""

import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from gochat.api.event.v1 import event_pb2, event_pb2_grpc
from gochat.api.event.v1.event_pb2 import SubscribeResponse
from gochat.serving.executors import MAX_WAITING_OPENINGS_PER_USER
from tests.attacks import wire
from tests.attacks.hostile import SUBSCRIBE, called, numbers
from tests.attacks.wire import DATA, WIDE, Raw
from tests.harness import Deployment, new_connection

TIMEOUT = 20.0  # seconds within which what is expected must come

NARROW = WIDE + wire.settings((wire.INITIAL_WINDOW_SIZE, 100))
"""The opening of a connection whose streams take the first message, and no other one until they say so."""

FULL_LENGTH = os.environ.get("FULL_LENGTH") == "1"


def scaled(short: int, full: int) -> int:
    """A number of a test that also has a long form: full with FULL_LENGTH=1."""
    return full if FULL_LENGTH else short


class Listener:
    """One stream. responses: all of them, in order. cursor: the newest. error: that it ended with."""

    def __init__(
        self, channel: grpc.Channel, metadata: Any, request: event_pb2.SubscribeRequest, timeout: float | None = None
    ) -> None:
        self.responses: list[event_pb2.SubscribeResponse] = []
        self.cursor = request.cursor
        self.error: grpc.RpcError | None = None
        self._came = threading.Condition()
        self.call = event_pb2_grpc.EventServiceStub(channel).Subscribe(request, metadata=metadata, timeout=timeout)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for response in self.call:
                with self._came:
                    self.responses.append(response)
                    self.cursor = response.cursor or self.cursor
                    self._came.notify_all()
        except grpc.RpcError as error:
            self.error = error
        with self._came:
            self.error = self.error or grpc.RpcError()
            self._came.notify_all()

    @property
    def events(self) -> list[event_pb2.Event]:
        return [event for response in list(self.responses) for event in response.batch.events]

    @property
    def kinds(self) -> list[str]:
        return [str(event.WhichOneof("event")) for event in self.events]

    def of_kind(self, kind: str) -> list[Any]:
        """What the events of this kind say."""
        return [getattr(event, kind) for event in self.events if event.HasField(kind)]

    @property
    def contents(self) -> list[str]:
        """Of the messages that were sent."""
        return [sent.message.content for sent in self.of_kind("message_sent")]

    def until(self, holds: Callable[["Listener"], object], seconds: float = TIMEOUT) -> "Listener":
        """Returns once that is true of the listener."""
        with self._came:
            assert self._came.wait_for(lambda: holds(self), seconds), f"it did not come to that: {self}"
        return self

    def ready(self) -> event_pb2.Ready:
        self.until(lambda each: each.responses or each.error)
        assert self.responses, self.error
        return self.responses[0].ready

    def ended(self) -> str:
        """The name of the status, once it has ended."""
        self.until(lambda each: each.error)
        return str(self.error.code().name) if isinstance(self.error, grpc.Call) else "OK"

    @property
    def goodbye(self) -> str:
        """The reason, once it has ended."""
        self.ended()
        return next((_reason(r.goodbye, event_pb2.Goodbye) for r in self.responses if r.HasField("goodbye")), "")

    @property
    def resync(self) -> str:
        return next((_reason(r.resync, event_pb2.Resync) for r in self.responses if r.HasField("resync")), "")

    def close(self) -> str:
        """Leaves; returns the newest cursor."""
        self.call.cancel()
        self._thread.join(TIMEOUT)
        return self.cursor

    def __repr__(self) -> str:
        others = [str(r.WhichOneof("payload")) for r in self.responses if not r.HasField("batch")]
        return f"{others[-20:]} {self.kinds[-20:]} {self.error}"


def _reason(message: Any, kind: Any) -> str:
    return str(kind.Reason.Name(message.reason)).removeprefix("REASON_")


def received(number: int) -> Callable[[Listener], bool]:
    """Is it of so many messages?"""
    return lambda listener: len(listener.contents) >= number


@contextmanager
def listening(
    app: Deployment,
    metadata: Any,
    *,
    own_connection: bool = True,
    address: str = "",
    channel: Any = None,
    **request: Any,
) -> Iterator[Listener]:
    """A stream, once it is ready. address, channel: of another server than the app's. request: fields of
    SubscribeRequest."""
    own_connection = own_connection and channel is None
    channel = channel or (new_connection(address or app.address) if own_connection else app.channel)
    listener = Listener(channel, metadata, event_pb2.SubscribeRequest(**request))
    try:
        listener.ready()
        yield listener
    finally:
        listener.close()
        if own_connection:
            channel.close()


class RawStreams:
    """Many streams on one connection of raw frames, without a thread for each. messages: of each stream, undecoded.
    kinds: of the frames that came."""

    def __init__(self, address: str, metadata: Any, opening: bytes = WIDE) -> None:
        self.raw = Raw(address, opening, acks=True)
        self.messages: defaultdict[int, list[bytes]] = defaultdict(list)
        self.kinds = set[int]()
        self._metadata = metadata
        self._unfinished: defaultdict[int, bytes] = defaultdict(bytes)
        self._opened = 0

    def open(self, number: int = 1, cursor: str = "") -> list[int]:
        """Returns the numbers of the streams once they are ready. They are opened a few at a time: few of a user may
        wait, and one is ready a moment before it counts as opened."""
        request = event_pb2.SubscribeRequest(cursor=cursor).SerializeToString()
        opened = list[int]()
        while len(opened) < number:
            streams = numbers(min(MAX_WAITING_OPENINGS_PER_USER // 2, number - len(opened)), self._opened)
            self._opened += len(streams)
            self.raw.send(called(streams, SUBSCRIBE, request, self._metadata))
            self.until(lambda streams=streams: all(self.messages[stream] for stream in streams))
            opened += streams
        return opened

    def until(self, holds: Callable[[], object], seconds: float = TIMEOUT) -> None:
        """Reads until that is true."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert not self.raw.cut, "the server has closed the connection"
            assert time.monotonic() < deadline, f"it did not come to that: {len(self.messages)} streams"
            self.read(0.01)

    def read(self, seconds: float) -> None:
        for frame in self.raw.frames(seconds):
            self.kinds.add(frame.kind)
            if frame.kind == DATA:
                self._take(frame.stream, frame.payload)

    def _take(self, stream: int, data: bytes) -> None:
        data = self._unfinished[stream] + data
        while len(data) >= 5 and len(data) >= (end := 5 + int.from_bytes(data[1:5], "big")):
            self.messages[stream].append(data[5:end])
            data = data[end:]
        self._unfinished[stream] = data

    def responses(self, stream: int) -> list[SubscribeResponse]:
        return [SubscribeResponse.FromString(each) for each in self.messages[stream]]

    def contents(self, stream: int) -> list[str]:
        """Of the messages that were delivered to the stream."""
        events = [event for response in self.responses(stream) for event in response.batch.events]
        return [event.message_sent.message.content for event in events if event.HasField("message_sent")]
