"""The streams of a process, and what feeds them: the tail of the change log, and signals of other processes.

One thread, the hub's, has the log's position, the registry of streams (registry.py) and every stream that is in it; so
none of them needs a lock. Other threads post functions for it to run. A stream that is not registered, since it begins
or has fallen behind, belongs to the thread that reads the log for it (feeding.py), and comes back by a post. A
transport takes frames from streams on its own thread: see stream.py. Of one stream alone the hub reads nothing: what a
stream missed while it was read for is in `Recent`, or a feeder reads again.

What a stream gets follows from the log alone: it begins with the conversations that its user was in at a position,
and joining and leaving are changes like others. So nothing goes to those who have left, however late they read.
"""

import logging
import random
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic

from gochat import config
from gochat.api.event.v1.event_pb2 import Event, Goodbye, Heartbeat, Ready, SubscribeResponse
from gochat.background import ending
from gochat.context import SERVICE, Call, Caller, Lane, entered
from gochat.domain import cursors
from gochat.domain.changes import Kind, follow, pieces_of
from gochat.errors import ChatError, overloaded, unavailable
from gochat.events.counters import Counters
from gochat.events.ephemeral import Ephemeral
from gochat.events.feeding import CHUNK, READ_TIMEOUT, Feeder, StreamWork, ends, frames_of
from gochat.events.recent import Recent
from gochat.events.registry import Registry, Streams, remove
from gochat.events.relay import Relay
from gochat.events.seen import remember
from gochat.events.stream import Frame, Stream
from gochat.following import PIECE
from gochat.internal.change.v1 import change_pb2 as pb
from gochat.internal.change.v1.change_pb2_grpc import ChangeServiceStub
from gochat.internal.signal.v1 import signal_pb2
from gochat.internal.signal.v1.signal_pb2_grpc import SignalServiceStub

log = logging.getLogger(__name__)

HELD_BACK_INTERVAL = 0.01  # seconds until the log is read again where changes are held back; each time twice as long
GATHER = 0.002  # seconds that a read waits for other commits, to deliver them together
RETRY_INTERVAL = 1.0  # seconds until something is done again that failed
HEARTBEAT = 25  # seconds
CHECK_INTERVAL = 0.5  # seconds between two looks for streams that need a heartbeat or are old, and for what expires
STALL_TIMEOUT = 30.0  # seconds within which a stream must take something of what it has
MIN_AGE, MAX_AGE = 50 * 60.0, 55 * 60.0  # seconds after which a stream ends
STOP_TIMEOUT = 0.25  # seconds
MAX_RETRY_AFTER = 5000  # milliseconds that a client waits before it reconnects after a restart


class Hub:
    """has_ended(session id): is the session known to have ended? Any thread may call it."""

    def __init__(
        self,
        changes: ChangeServiceStub,
        signals: SignalServiceStub,
        relay: Relay,
        settings: config.Events,
        has_ended: Callable[[str], bool],
    ) -> None:
        self._changes, self._signals, self._settings = changes, signals, settings
        self._has_ended = has_ended
        self.counters = Counters()
        self._posted = deque[Callable[[], None]]()
        self._woken = threading.Event()
        self._hinted = self._stopping = False
        self._recording = SimpleQueue[threading.Thread]()  # the last one, once the hub stops
        self._feeder = Feeder(changes, lambda stream: self._post(partial(self._register, stream)), self._retry)
        # Of the hub's thread:
        self._position = pb.Position()  # up to which the log was read; nowhere without streams
        self._recent = Recent()
        self._streams: dict[Stream, float] = {}  # all that are open -> when they have to end
        self._open_of_user: defaultdict[str, Streams] = defaultdict(dict)
        self._registry = Registry()
        self._ephemeral = Ephemeral(relay, self._registry, partial(remember, signals))
        self._retries = deque[tuple[float, Stream, StreamWork]]()  # when, what
        self._check_at = self._read_at = self._retry_at = 0.0
        self._patience = HELD_BACK_INTERVAL
        relay.on_commit = self.hint
        relay.on_signals = lambda signals: self._post(partial(self._ephemeral.heard, signals))
        relay.on_connected = lambda: self._post(self._ephemeral.linked)

    def start(self) -> None:
        self._feeder.start()
        threading.Thread(target=self._run, name="events", daemon=True).start()

    def stop(self) -> None:
        """Ends every stream, and remembers when their users were last seen. The times to come back are spread. By the
        main thread, since the hub's may be waiting for a database; a stream that is opened meanwhile is ended when it
        is admitted."""
        self._stopping = True
        for stream in list(self._streams):  # a single step of the interpreter, so no other thread is in between
            _end_for_restart(stream)
        self._post(lambda: self._recording.put(remember(self._signals, self._ephemeral.last_seen())))

    def close(self) -> None:
        """After the server has drained: waits until that is remembered, but not for a database that hangs."""
        with suppress(Empty):
            self._recording.get(timeout=ending(STOP_TIMEOUT)).join(ending(STOP_TIMEOUT))

    def hint(self) -> None:
        """Something may have been committed. Any thread may call this."""
        self._hinted = True
        if self._position.epoch:  # else there are no streams, and a wake for each commit costs CPU
            self._woken.set()

    def typing(self, conversation_id: str, user_id: str, typing: bool) -> None:
        """The user types there, or does not any more. Any thread may call this."""
        said = signal_pb2.Typing(conversation_id=conversation_id, user_id=user_id, typing=typing)
        self._ephemeral.say_typing(said)
        self._post(lambda: self._ephemeral.heard(signal_pb2.Signals(typing=[said])))

    def connected(self, user_ids: Sequence[str], timeout: float) -> list[str]:
        """Those of them who have a stream, here or in another process. Called by a thread that may wait so many
        seconds. Raises UNAVAILABLE."""
        answer = SimpleQueue[list[str]]()
        self._post(lambda: answer.put(self._ephemeral.connected(user_ids)))
        try:
            return answer.get(timeout=timeout)
        except Empty:
            raise unavailable("who is connected is not known now") from None

    def open(
        self, caller: Caller, user_id: str, start: pb.Position, *, typing: bool, watched: Mapping[str, int]
    ) -> Stream:
        """A stream from a position on; nowhere: from now on. user_id: "" for everything. typing, watched: as of Stream.
        Called by a thread that may wait. Raises ChatError."""
        if len(self._streams) >= self._settings.streams:
            raise overloaded("too many streams are open")
        if self._stopping:
            raise unavailable("the server is stopping")
        stream = Stream(caller, user_id, self._notice, self.counters, typing=typing, watched=watched)
        opened = self._feeder.open_feed(stream, start)
        resumed = bool(start.epoch) and not opened.gap
        # Where there is a gap the client keeps its cursor until it has the Resync.
        position = start if start.epoch else opened.position
        ready = Ready(heartbeat_seconds=HEARTBEAT, resumed=resumed)
        stream.begin(position, SubscribeResponse(cursor=cursors.encode(position), ready=ready))
        self._post(lambda: self._admit(stream))
        if resumed:
            self.counters.resumed()
        try:
            self._feeder.take_up(stream, opened)
        except BaseException:
            stream.closed()
            raise
        return stream

    def _post(self, work: Callable[[], None]) -> None:
        """Has the hub's thread run it. Any thread may call this."""
        self._posted.append(work)
        self._woken.set()

    def _notice(self, stream: Stream) -> None:
        self._post(partial(self._look_at, stream))

    def _retry(self, stream: Stream, work: StreamWork) -> None:
        self._post(lambda: self._retries.append((monotonic() + RETRY_INTERVAL, stream, work)))

    # Of the hub's thread.

    def _run(self) -> None:
        while True:
            self._woken.wait(self._time_to_wait())
            self._woken.clear()
            try:
                self._step()
            except Exception:
                log.exception("delivering changes failed")
                time.sleep(RETRY_INTERVAL)
                self._woken.set()  # the rest of what was posted

    def _time_to_wait(self) -> float | None:
        now = monotonic()
        if self._position.epoch:
            until = self._retry_at if self._hinted else max(self._read_at, self._retry_at)
            return max(0.0, min(until, self._check_at) - now)
        return max(0.0, self._check_at - now) if self._streams or self._ephemeral.is_waiting else None

    def _step(self) -> None:
        while self._posted:
            self._posted.popleft()()
        if (now := monotonic()) >= self._check_at:
            self._check_at = now + CHECK_INTERVAL
            self._check(now)
        if self._position.epoch and now >= self._retry_at and (self._hinted or now >= self._read_at):
            time.sleep(GATHER)
            self._hinted = False  # before the read: what is committed from here on hints again
            self._read_at = now + self._settings.poll
            try:
                with entered(Call(SERVICE, "-", monotonic() + READ_TIMEOUT, SERVICE, lane=Lane.CONTROL)):
                    self._read()
            except ChatError as error:
                log.error("reading the log of changes failed: %s", error)
                self._hinted, self._retry_at = True, monotonic() + RETRY_INTERVAL / 2

    def _read(self) -> None:
        """Delivers what was committed since the last time."""
        answer = self._changes.ReadChanges(pb.ReadChangesRequest(start=self._position))
        if answer.gap:
            log.warning("streams have to read their state again: %s", pb.Gap.Name(answer.gap))
            self._go_to(answer.position)
            for stream in self._registry.all:
                self._suspend(stream)
            return
        delivered = list[pb.Change]()
        for changes, moved in pieces_of(answer.changes, answer.position, PIECE):
            if wanted := self._registry.of_interest(changes):
                self._deliver(wanted, self._feeder.describe(wanted), moved)
            delivered += changes
            if moved:
                self._recent.add(self._position.at, delivered)
                self._position, delivered = moved, []
        self._position = answer.position
        if answer.is_held_back:  # their hint was for this read, so it polls sooner; new hints do not wait for that
            self._read_at = min(self._read_at, monotonic() + self._patience)
            self._patience *= 2
        else:
            self._patience = HELD_BACK_INTERVAL

    def _go_to(self, position: pb.Position) -> None:
        self._position = position
        self._recent.begin(position.at)

    def _deliver(
        self, changes: Sequence[pb.Change], described: Sequence[Sequence[pb.Delivery]], position: pb.Position | None
    ) -> None:
        """position: after them; None where a reader has to begin before them."""
        events: list[Event] = []
        indexes_of: defaultdict[Stream, list[int]] = defaultdict(list)  # of the events of each stream
        ended: Streams = {}
        senders: dict[tuple[str, str], None] = {}
        for change, deliveries in zip(changes, described, strict=True):
            at = change.position
            if change.kind == Kind.MEMBER_JOINED:
                self._registry.join(change)
            for number, delivery in enumerate(deliveries):
                for stream in self._registry.recipients(number, delivery):
                    if stream.position.at <= at:  # else it has read that when it began
                        indexes_of[stream].append(len(events))
                events.append(delivery.event)
                if delivery.event.HasField("message_sent"):
                    senders[change.conversation_id, delivery.event.message_sent.message.from_user_id] = None
            if change.kind in (Kind.MEMBER_LEFT, Kind.GROUP_DISSOLVED):
                self._leave(change)
            elif change.kind == Kind.SESSION_ENDED:
                for stream in [each for each in self._registry.of_user.get(change.user_id, ()) if ends(change, each)]:
                    self._unregister(stream)  # nothing that happened later is delivered to it
                    ended[stream] = None
        frames: dict[tuple[int, ...], list[Frame]] = {}
        for stream, indexes in indexes_of.items():
            key = tuple(indexes)
            if key not in frames:
                frames[key] = list(frames_of([events[index] for index in key], position))
            self._add(stream, frames[key])
        for stream in ended:
            stream.end(Goodbye.REASON_SESSION_ENDED)
        for conversation_id, user_id in senders:
            self._ephemeral.sent(conversation_id, user_id)

    def _leave(self, change: pb.Change) -> None:
        for stream in self._ephemeral.watchers_affected(change):
            self._feeder.submit(stream, self._look_who_is_watched)
        self._registry.leave(change)

    def _look_who_is_watched(self, stream: Stream) -> None:
        """Feeder's thread: of the stream it reads only what never changes, and the users that it watches."""
        request = signal_pb2.ListActivityRequest(user_id=stream.user_id, user_ids=list(stream.watched))
        user_ids = [user.user_id for user in self._signals.ListActivity(request).users]
        self._post(lambda: self._ephemeral.keep_watching(stream, user_ids))

    def _add(self, stream: Stream, frames: Sequence[Frame]) -> None:
        if stream.is_full:
            self._suspend(stream)
            return
        for frame in frames:
            stream.add(*frame)
        stream.wake()

    def _admit(self, stream: Stream) -> None:
        """Counts a stream that was opened."""
        if stream.ended:
            return
        self._streams[stream] = monotonic() + random.uniform(MIN_AGE, MAX_AGE)  # noqa: S311 - no secret
        of_user = self._open_of_user[stream.user_id]
        of_user[stream] = None
        open_ones = [each for each in of_user if not each.ended]
        if stream.user_id and len(open_ones) > self._settings.streams_per_user:
            open_ones[0].end(Goodbye.REASON_REPLACED)
        if self._stopping:
            _end_for_restart(stream)
        else:
            self._ephemeral.opened(stream)

    def _register(self, stream: Stream) -> None:
        """Has the stream, which knows the log up to its position, get what comes. If the hub has read on meanwhile,
        it gets first what it has missed, from memory if it can; after that it is ahead of the hub, or as far."""
        if stream not in self._streams or stream.ended:
            return
        if not self._position.epoch:
            self._go_to(stream.position)
        is_known = stream.position.epoch == self._position.epoch
        if not is_known or stream.position.at < self._position.at:
            missed = self._recent.since(stream.position.at) if is_known else None
            if missed is None:
                self._feeder.submit(stream, self._feeder.catch_up)
                return
            stream.goal, user_id = self._position, stream.user_id
            wanted = [change for change in missed if not user_id or follow(stream.known, change, user_id)]
            stream.backlog = pieces_of(wanted, stream.goal, CHUNK)
            if stream.backlog:
                self._feeder.submit(stream, self._feeder.feed)
                return
            stream.position = stream.goal
        self._registry.add(stream)
        self._ephemeral.registered(stream)

    def _look_at(self, stream: Stream) -> None:
        """It was closed, or has taken all that it had."""
        if stream.is_closed:
            self._forget(stream)
        elif stream.is_hungry and not stream.ended:
            stream.is_hungry = False
            self._feeder.submit(stream, self._feeder.feed if stream.backlog else self._feeder.catch_up)

    def _forget(self, stream: Stream) -> None:
        self._unregister(stream)
        if self._streams.pop(stream, None) is None:
            return
        remove(self._open_of_user, stream.user_id, stream)
        self._ephemeral.closed(stream)
        if not self._streams:
            self._position = pb.Position()

    def _unregister(self, stream: Stream) -> None:
        self._registry.remove(stream)
        self._ephemeral.unregistered(stream)

    def _suspend(self, stream: Stream) -> None:
        """Drops what it was not sent: it reads the log again from there once it has taken all."""
        stream.drop()
        self._unregister(stream)
        stream.wake()

    def _check(self, now: float) -> None:
        """Heartbeats, streams that have to end, and what is to be done later."""
        while self._retries and self._retries[0][0] <= now:
            _, stream, work = self._retries.popleft()
            self._feeder.submit(stream, work)
        self._ephemeral.check(now)
        for stream, until in list(self._streams.items()):
            if stream.is_stalled(now, STALL_TIMEOUT):
                stream.abandon()
                self._forget(stream)
            elif stream.ended:
                continue
            elif self._has_ended(stream.caller.session_id):
                # The log says so too, but not while it is held back, and late where a hint was lost.
                stream.end(Goodbye.REASON_SESSION_ENDED)
            elif now >= until:
                _end_for_restart(stream)
            elif now - stream.added_at >= HEARTBEAT and not stream.is_full:
                ahead = stream in self._registry and stream.position.at < self._position.at
                stream.say(self._position if ahead else None, heartbeat=Heartbeat())
                stream.wake()


def _end_for_restart(stream: Stream) -> None:
    stream.end(Goodbye.REASON_RECONNECT, random.randint(0, MAX_RETRY_AFTER))  # noqa: S311 - no secret
