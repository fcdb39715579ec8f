"""Signals between processes: that something was committed, and what is ephemeral. See signal.proto for what they say.

A process says what it has to say by its *links* (links.py), to processes that have the same database or broker; a
process of the repo half also to those of the logic half that *watch* it. What comes by a link goes on to the watching
ones, and what one of those publishes goes on to the links and to the other ones. Nothing that came by a link goes to
a link again, so nothing goes round in circles; a process knows its own signals by the name in them.

Signals carry no truth. One that is lost, since a link is down or a queue is full, costs time: the change log is read
every poll interval in any case, and presence is said again.
"""

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from google.protobuf.message import DecodeError
from google.rpc import code_pb2

from gochat.events.links import Link
from gochat.internal.signal.v1 import signal_pb2 as pb
from gochat.serving.endpoints import Status

SEND_INTERVAL = 0.02  # seconds between two messages of a process: what comes in between goes together
WATCH_INTERVAL = 0.005  # the same where all who hear it watch this process, which costs less than a link
MAX_PENDING = 20_000  # ephemeral signals that wait for that; more are lost
MAX_SIZE = 5 * 1024  # bytes of a message, unless one signal alone has more: PostgreSQL takes 8,000 characters of base64
MAX_UNSENT = 1000  # messages that a watching process has not taken; older ones are lost

_STOPPED = Status(code_pb2.UNAVAILABLE, "the server is stopping")

Signal = pb.Typing | pb.LastActive | pb.Left | str
"""One ephemeral signal. str: a user who is online."""


class Relay:
    """Threads: any may call `committed`, `say` and `publish`. The relay's own thread collects what this process says
    and sends it. `heard` and `connected` are called by the threads of links. They share a deque, events and flags, and
    _watches, which a lock guards. The callbacks are set before `start`, and are called by any of these threads.

    on_commit: something may have been committed. on_signals: another process has said this. on_connected: a link works
    from now on.
    """

    def __init__(self, links: Sequence[Link] = ()) -> None:
        self.process = secrets.token_hex(8)
        self.on_commit: Callable[[], None] = lambda: None
        self.on_signals: Callable[[pb.Signals], None] = lambda _: None
        self.on_connected: Callable[[], None] = lambda: None
        self._links = list(links)
        self._pending = deque[Signal](maxlen=MAX_PENDING)
        self._has_committed = self._asks = self._stopped = False
        self._woken = threading.Event()
        self._watches: dict[Watch, None] = {}
        self._watching = threading.Lock()

    @property
    def has_links(self) -> bool:
        """Are there other processes that could hear this one?"""
        return bool(self._links)

    def add_link(self, link: Link) -> None:
        """Before `start`."""
        self._links.append(link)

    def start(self) -> None:
        threading.Thread(target=self._run, name="relay", daemon=True).start()
        for link in self._links:
            link.start(self._heard, self._connected)

    def stop(self) -> None:
        """Ends the links, and the streams of those that watch: a server that drains would wait for them. What a link
        waits for, while its other side hangs, is waited for beside that."""
        self._stopped = True
        for link in self._links:
            threading.Thread(target=link.stop, name="stopping", daemon=True).start()
        for watch in self._all_watches():
            watch.end()

    def committed(self) -> None:
        """Something was committed by this process. Called by every thread that commits, so it only sets flags."""
        self.on_commit()
        if self._links or self._watches:
            self._has_committed = True
            self._woken.set()

    def say(self, *signals: Signal, asks: bool = False) -> None:
        """Has other processes hear of it. It never waits."""
        if self._links or self._watches:
            self._asks = self._asks or asks
            self._pending.extend(signals)
            self._woken.set()

    def publish(self, signals: pb.Signals) -> None:
        """Passes on what a process said that watches this one."""
        data = signals.SerializeToString()
        for link in self._links:
            link.send(data)
        self._pass_on(signals)
        self._take(signals)

    def watch(self) -> "Watch":
        watch = Watch(self._forget)
        with self._watching:
            self._watches[watch] = None
        if self._stopped:
            watch.end()
        return watch

    def _forget(self, watch: "Watch") -> None:
        with self._watching:
            self._watches.pop(watch, None)

    def _all_watches(self) -> list["Watch"]:
        with self._watching:
            return list(self._watches)

    def _connected(self) -> None:
        """What was said and heard while the link was down is lost: everybody looks."""
        self.committed()
        self.on_connected()

    def _heard(self, data: bytes) -> None:
        try:
            signals = pb.Signals.FromString(data)
        except DecodeError:  # whoever else uses the channel
            return
        if signals.process != self.process:
            self._pass_on(signals)
            self._take(signals)

    def _pass_on(self, signals: pb.Signals) -> None:
        if self._watches:
            data = pb.WatchResponse(signals=signals).SerializeToString()
            for watch in self._all_watches():
                watch.add(data)

    def _take(self, signals: pb.Signals) -> None:
        if signals.committed:
            self.on_commit()
        if signals.typing or signals.online_user_ids or signals.left or signals.offline or signals.asks:
            self.on_signals(signals)

    def _run(self) -> None:
        """The first signal after a while is sent at once; the pause comes after it, so that a flood is a message each
        interval."""
        while not self._stopped:
            self._woken.wait()
            self._woken.clear()
            for signals in self._collect():
                data = signals.SerializeToString()
                for link in self._links:
                    link.send(data)
                self._pass_on(signals)
            time.sleep(SEND_INTERVAL if self._links else WATCH_INTERVAL)

    def _collect(self) -> Iterator[pb.Signals]:
        """What there is to say, as messages of at most MAX_SIZE. A flag is cleared only where it was seen: one that
        another thread sets in between is not lost."""
        if committed := self._has_committed:
            self._has_committed = False
        if asks := self._asks:
            self._asks = False
        signals = pb.Signals(process=self.process, committed=committed, asks=asks)
        is_empty, size = not (committed or asks), 0
        for _ in range(len(self._pending)):
            signal = self._pending.popleft()
            added = (len(signal) if isinstance(signal, str) else signal.ByteSize()) + 4
            if size + added > MAX_SIZE:
                yield signals
                signals, size = pb.Signals(process=self.process), 0
            is_empty, size = False, size + added
            if isinstance(signal, str):
                signals.online_user_ids.append(signal)
            elif isinstance(signal, pb.Typing):
                signals.typing.append(signal)
            elif isinstance(signal, pb.Left):
                signals.left.append(signal)
            else:
                signals.offline.append(signal)
        if not is_empty:
            yield signals


class Watch:
    """The stream of a process that watches: a Subscription (serving/endpoints.py). Any thread adds to it; the serving
    thread takes. They share a deque, whose append and popleft are atomic, and which drops the oldest if it is full."""

    def __init__(self, forget: Callable[["Watch"], None]) -> None:
        self.wake: Callable[[], None] = lambda: None
        self._forget = forget
        self._messages = deque([pb.WatchResponse().SerializeToString()], MAX_UNSENT)
        self._ended: Status | None = None

    def add(self, data: bytes) -> None:
        self._messages.append(data)
        self.wake()

    def end(self) -> None:
        self._ended = _STOPPED
        self.wake()

    def next(self) -> bytes | None:
        try:
            return self._messages.popleft()
        except IndexError:
            return None

    @property
    def over(self) -> Status | None:
        return self._ended

    def closed(self) -> None:
        self._forget(self)
