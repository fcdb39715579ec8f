"""Links to other processes, by which signals go (relay.py). A link that is down is reported once, tries to connect
again every second, and loses what it is given meanwhile.

A link receives on one thread and sends on another, each of which waits on the network and on nothing else; they share
an Outbox. So whoever sends never waits.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from time import monotonic
from typing import Any, Protocol

from gochat.background import periodic
from gochat.context import SERVICE, Call, entered
from gochat.errors import unavailable
from gochat.internal.signal.v1 import signal_pb2 as pb
from gochat.internal.signal.v1.signal_pb2_grpc import SignalServiceStub

RETRY_INTERVAL = 1.0  # seconds
WAIT = 0.4  # seconds that a thread waits at most before it looks whether the link is to stop
TIMEOUT = 3.0  # seconds that the other side has to answer
MAX_QUEUED = 1000  # messages that were not sent yet; older ones are lost

Heard = Callable[[bytes], None]


class Link(Protocol):
    def start(self, heard: Heard, connected: Callable[[], None]) -> None:
        """heard(message): another process has said it, or this one. connected(): from now on messages are heard."""

    def send(self, data: bytes) -> None:
        """Never waits. Any thread may call this."""

    def stop(self) -> None: ...


class Outbox:
    """Messages that are to be sent. Any thread puts, one takes."""

    def __init__(self) -> None:
        self._messages = deque[bytes](maxlen=MAX_QUEUED)
        self._woken = threading.Event()

    def put(self, data: bytes) -> None:
        self._messages.append(data)
        self._woken.set()

    def take(self) -> Iterator[bytes]:
        """Those that there are, after a wait for the first one, of at most WAIT seconds."""
        self._woken.wait(WAIT)
        self._woken.clear()
        for _ in range(len(self._messages)):
            yield self._messages.popleft()


class SeamLink:
    """From a process of the logic half to the repo half, which passes on what it is sent and what it hears."""

    def __init__(self, signals: SignalServiceStub) -> None:
        self._signals = signals
        self._outbox = Outbox()
        self._responses: Any = None
        self._loops = ExitStack()

    def start(self, heard: Heard, connected: Callable[[], None]) -> None:
        self._loops.enter_context(
            periodic("hearing the repo half", lambda: self._receive(heard, connected), 0, retry=RETRY_INTERVAL)
        )
        self._loops.enter_context(periodic("publishing to the repo half", self._send, 0, retry=RETRY_INTERVAL))

    def send(self, data: bytes) -> None:
        self._outbox.put(data)

    def stop(self) -> None:
        if (responses := self._responses) is not None:
            responses.cancel()
        self._loops.close()

    def _receive(self, heard: Heard, connected: Callable[[], None]) -> None:
        """Waits for the next response, as long as that takes. Raises ChatError, after which the stream is opened
        again."""
        if self._responses is None:
            self._responses = self._signals.Watch(pb.WatchRequest())
        try:
            response = next(self._responses, None)
        except Exception:
            self._responses = None
            raise
        if response is None:
            self._responses = None
            raise unavailable("the repo half has ended the stream of signals")
        if response.HasField("signals"):
            heard(response.signals.SerializeToString())
        else:
            connected()

    def _send(self) -> None:
        for data in self._outbox.take():
            with entered(Call(SERVICE, "-", monotonic() + TIMEOUT, SERVICE)):
                self._signals.Publish(pb.PublishRequest(signals=pb.Signals.FromString(data)))
