"""The streams of a process, and what feeds them: the tail of the change log.

One thread, the hub's, has the log's position, the registries of streams and every stream that is registered; so none
of them needs a lock. Other threads post functions for it to run. A stream that is not registered, since it begins or
has fallen behind, belongs to the thread of a pool that reads the log for it (`_feed`), and comes back by a post. A
transport takes frames from streams on its own thread: see stream.py.

What a stream is told follows from the log alone: it begins with the conversations that its user was in at a position,
and joining and leaving are changes like others. So nothing is told to who has left, however late they read.
"""

import logging
import random
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from time import monotonic

from gochat.api.event.v1.event_pb2 import Event, Goodbye, Heartbeat, Ready, Resync
from gochat.context import SERVICE, Call, Caller, Lane, entered
from gochat.domain.changes import Kind
from gochat.errors import ChatError, overloaded, unavailable
from gochat.events.stream import Stream, frame_of
from gochat.internal.change.v1 import change_pb2 as pb
from gochat.internal.change.v1.change_pb2_grpc import ChangeServiceStub

log = logging.getLogger(__name__)

POLL_INTERVAL = 0.25  # seconds between two reads of the log while no hint comes
GATHER = 0.002  # seconds that a read waits for other commits, to tell of them together
READ_TIMEOUT = 5.0  # seconds
RETRY_INTERVAL = 1.0  # seconds until the log is read again for a stream for which that failed
HEARTBEAT = 25  # seconds
CHECK_INTERVAL = 1.0  # seconds between two looks for streams that need a heartbeat or are old
MIN_AGE, MAX_AGE = 50 * 60.0, 55 * 60.0  # seconds after which a stream ends
MAX_STREAMS, MAX_STREAMS_PER_USER = 20_000, 10
MAX_FRAME = 512 * 1024  # bytes of events, unless one alone has more
CHUNK = 100  # changes that are described together for a stream with a backlog
FEEDERS = 2  # threads
STOP_TIMEOUT = 1.0  # seconds
MAX_RETRY_AFTER = 5000  # milliseconds that a client waits before it reconnects after a restart

_GAPS = {
    pb.GAP_TOO_OLD: Resync.REASON_TOO_OLD,
    pb.GAP_OTHER_DATABASE: Resync.REASON_OTHER_DATABASE,
    pb.GAP_TOO_MUCH: Resync.REASON_TOO_MUCH,
}
_Streams = dict[Stream, None]  # a set that keeps its order


class Hub:
    def __init__(self, changes: ChangeServiceStub) -> None:
        self._changes = changes
        self._posted = deque[Callable[[], None]]()
        self._woken = threading.Event()
        self._feeders = ThreadPoolExecutor(FEEDERS, "feed")
        # Of the hub's thread:
        self._position = pb.Position()  # up to which the log was read; nowhere without streams
        self._streams: dict[Stream, float] = {}  # all that are open -> when they have to end
        self._open_of_user: defaultdict[str, _Streams] = defaultdict(dict)
        self._of_user: defaultdict[str, _Streams] = defaultdict(dict)  # that are registered; "": for everything
        self._in_conversation: defaultdict[str, _Streams] = defaultdict(dict)
        self._check_at = 0.0
        self._stopping = False

    def start(self) -> None:
        threading.Thread(target=self._run, name="events", daemon=True).start()

    def stop(self) -> None:
        """Ends every stream. The times to come back are spread."""
        done = threading.Event()

        def end_all() -> None:
            self._stopping = True
            for stream in list(self._streams):
                stream.end(Goodbye.REASON_RECONNECT, random.randint(0, MAX_RETRY_AFTER))  # noqa: S311 - no secret
            done.set()

        self._post(end_all)
        done.wait(STOP_TIMEOUT)

    def hint(self) -> None:
        """Something may have been committed. Any thread may call this."""
        self._woken.set()

    def open(self, caller: Caller, user_id: str, start: pb.Position) -> Stream:
        """A stream from a position on; nowhere: from now on. user_id: "" for everything. Called by a thread that may
        wait. Raises ChatError."""
        if len(self._streams) >= MAX_STREAMS:
            raise overloaded("too many streams are open")
        if self._stopping:
            raise unavailable("the server is stopping")
        stream = Stream(caller, user_id, self._notice)
        opened = self._open_feed(stream, start)
        resumed = bool(start.epoch) and not opened.gap
        stream.sent = start if resumed else opened.position
        stream.say(stream.sent, ready=Ready(heartbeat_seconds=HEARTBEAT, resumed=resumed))
        self._post(lambda: self._admit(stream))
        try:
            self._take_up(stream, opened)
        except BaseException:
            stream.closed()
            raise
        return stream

    def _post(self, work: Callable[[], None]) -> None:
        """Has the hub's thread run it. Any thread may call this."""
        self._posted.append(work)
        self._woken.set()

    def _notice(self, stream: Stream) -> None:
        self._post(lambda: self._look_at(stream))

    # Of the thread that has a stream which is not registered: one that opens it, a feeder, or the hub's.

    def _open_feed(self, stream: Stream, start: pb.Position) -> pb.OpenFeedResponse:
        session_id = "" if stream.caller.privileged else stream.caller.session_id
        return self._changes.OpenFeed(pb.OpenFeedRequest(user_id=stream.user_id, start=start, session_id=session_id))

    def _take_up(self, stream: Stream, opened: pb.OpenFeedResponse) -> None:
        """Has the stream go on from what was read for it."""
        stream.known = set(opened.conversation_ids)
        stream.goal = opened.position
        stream.backlog.extend(opened.changes)
        if opened.gap:
            stream.say(opened.position, resync=Resync(reason=_GAPS[opened.gap]))
        self._feed(stream)

    def _feed(self, stream: Stream) -> None:
        """Makes frames of the backlog, as many as the stream may have. Once all are made it can be registered."""
        while stream.backlog and not stream.is_full and not stream.ended:
            chunk = list(islice(stream.backlog, CHUNK))
            events, session_ended = list[Event](), False
            for change, deliveries in zip(chunk, self._describe(chunk), strict=True):
                if session_ended := _ends(change, stream):
                    break
                events += [
                    each.event for number, each in enumerate(deliveries) if _is_for(stream.user_id, number, each)
                ]
            for _ in chunk:
                stream.backlog.popleft()
            is_last = not stream.backlog and not session_ended
            for frame, position in _frames(events, stream.goal if is_last else stream.position):
                stream.add(frame, position)
            if session_ended:
                stream.end(Goodbye.REASON_SESSION_ENDED)
        if stream.backlog:
            stream.is_hungry = True
        else:
            stream.position = stream.goal
            self._post(lambda: self._register(stream))
        stream.wake()

    def _catch_up(self, stream: Stream) -> None:
        self._take_up(stream, self._open_feed(stream, stream.position))

    def _describe(self, changes: Sequence[pb.Change]) -> list[Sequence[pb.Delivery]]:
        described = self._changes.DescribeChanges(pb.DescribeChangesRequest(changes=changes)).changes
        return [each.deliveries for each in described]

    def _fed(self, stream: Stream, work: Callable[[Stream], None]) -> None:
        """Has a feeder do it; later again if that fails, as while the database is away."""

        def run() -> None:
            try:
                with entered(Call(SERVICE, "-", monotonic() + READ_TIMEOUT, SERVICE)):
                    work(stream)
            except Exception as error:  # noqa: BLE001 - it is reported, and the stream goes on
                if isinstance(error, ChatError) and error.reason == "SESSION_ENDED":
                    stream.end(Goodbye.REASON_SESSION_ENDED)
                    return
                log.error("reading the log for a stream failed: %s", error)
                threading.Timer(RETRY_INTERVAL, lambda: self._fed(stream, work)).start()

        if not stream.ended:
            self._feeders.submit(run)

    # Of the hub's thread.

    def _run(self) -> None:
        while True:
            self._woken.wait(POLL_INTERVAL if self._streams else None)
            self._woken.clear()
            try:
                self._step()
            except ChatError as error:
                log.error("reading the log of changes failed: %s", error)
                time.sleep(RETRY_INTERVAL / 2)
            except Exception:
                log.exception("telling of changes failed")
                time.sleep(RETRY_INTERVAL)

    def _step(self) -> None:
        while self._posted:
            self._posted.popleft()()
        if self._position.epoch:
            time.sleep(GATHER)
            self._woken.clear()
            with entered(Call(SERVICE, "-", monotonic() + READ_TIMEOUT, SERVICE, lane=Lane.CONTROL)):
                self._read()
        if (now := monotonic()) >= self._check_at:
            self._check_at = now + CHECK_INTERVAL
            self._check(now)

    def _read(self) -> None:
        """Tells all streams of what was committed since the last time."""
        answer = self._changes.ReadChanges(pb.ReadChangesRequest(start=self._position))
        if answer.gap:
            log.warning("streams have to read their state again: %s", pb.Gap.Name(answer.gap))
            self._position = answer.position
            for stream in [each for of_user in self._of_user.values() for each in of_user]:
                self._suspend(stream)
            return
        changes = list(self._of_interest(answer.changes))
        if changes:
            self._tell(changes, self._describe(changes), answer.position)
        self._position = answer.position

    def _of_interest(self, changes: Iterable[pb.Change]) -> Iterator[pb.Change]:
        """Those that concern a stream, perhaps; also in conversations that its user joins by one of them."""
        joined = set[str]()
        for change in changes:
            is_of_user = change.user_id in self._of_user
            if is_of_user and change.kind == Kind.MEMBER_JOINED:
                joined.add(change.conversation_id)
            if (
                is_of_user
                or change.conversation_id in self._in_conversation
                or change.conversation_id in joined
                or "" in self._of_user
                or change.kind == Kind.PROFILE_UPDATED
            ):
                yield change

    def _tell(
        self, changes: Sequence[pb.Change], described: Sequence[Sequence[pb.Delivery]], position: pb.Position
    ) -> None:
        events: list[Event] = []
        told: defaultdict[Stream, list[int]] = defaultdict(list)  # the indexes of its events
        ended: _Streams = {}
        for change, deliveries in zip(changes, described, strict=True):
            at = change.position
            if change.kind == Kind.MEMBER_JOINED:
                self._join(change)
            for number, delivery in enumerate(deliveries):
                for stream in self._whom(number, delivery):
                    if stream.position.at <= at:  # else it has read that when it began
                        told[stream].append(len(events))
                events.append(delivery.event)
            if change.kind == Kind.MEMBER_LEFT:
                self._leave(change)
            elif change.kind == Kind.SESSION_ENDED:
                ended |= {each: None for each in self._of_user.get(change.user_id, ()) if _ends(change, each)}
        frames: dict[tuple[int, ...], list[tuple[bytes, pb.Position | None]]] = {}
        for stream, indexes in told.items():
            key = tuple(indexes)
            if key not in frames:
                frames[key] = list(_frames([events[index] for index in key], position))
            self._add(stream, frames[key])
        for stream in ended:
            stream.end(Goodbye.REASON_SESSION_ENDED)

    def _whom(self, number: int, delivery: pb.Delivery) -> Iterable[Stream]:
        """The registered streams that the delivery, of this number among those of its change, is for."""
        if not delivery.user_ids:
            return chain(self._in_conversation.get(delivery.event.conversation_id, ()), self._of_user.get("", ()))
        user_ids = ["", *delivery.user_ids] if number == 0 else delivery.user_ids
        return chain.from_iterable(self._of_user.get(user_id, ()) for user_id in user_ids)

    def _join(self, change: pb.Change) -> None:
        for stream in self._of_user.get(change.user_id, ()):
            if stream.position.at <= change.position:
                stream.known.add(change.conversation_id)
                self._in_conversation[change.conversation_id][stream] = None

    def _leave(self, change: pb.Change) -> None:
        for stream in self._of_user.get(change.user_id, ()):
            if stream.position.at <= change.position:
                stream.known.discard(change.conversation_id)
                _remove(self._in_conversation, change.conversation_id, stream)

    def _add(self, stream: Stream, frames: Sequence[tuple[bytes, pb.Position | None]]) -> None:
        if stream.is_full:
            self._suspend(stream)
            return
        for frame, position in frames:
            stream.add(frame, position)
        stream.wake()

    def _admit(self, stream: Stream) -> None:
        """Counts a stream that was opened."""
        if stream.ended:
            return
        self._streams[stream] = monotonic() + random.uniform(MIN_AGE, MAX_AGE)  # noqa: S311 - no secret
        of_user = self._open_of_user[stream.user_id]
        of_user[stream] = None
        if stream.user_id and len(of_user) > MAX_STREAMS_PER_USER:
            next(each for each in of_user if not each.ended).end(Goodbye.REASON_REPLACED)
        if self._stopping:
            stream.end(Goodbye.REASON_RECONNECT)

    def _register(self, stream: Stream) -> None:
        """Has the stream, which knows the log up to its position, told of what comes. If the hub has read on meanwhile,
        what the stream has missed is read first; after that the stream is ahead of the hub, or as far."""
        if stream not in self._streams or stream.ended:
            return
        if not self._position.epoch:
            self._position = stream.position
        if stream.position.epoch != self._position.epoch or stream.position.at < self._position.at:
            try:
                self._catch_up(stream)
            except ChatError:
                self._fed(stream, self._catch_up)
            return
        for conversation_id in stream.known:
            self._in_conversation[conversation_id][stream] = None
        self._of_user[stream.user_id][stream] = None

    def _look_at(self, stream: Stream) -> None:
        """It was closed, or has taken all that it had."""
        if stream.is_closed:
            self._unregister(stream)
            self._streams.pop(stream, None)
            _remove(self._open_of_user, stream.user_id, stream)
            if not self._streams:
                self._position = pb.Position()
        elif stream.is_hungry:
            stream.is_hungry = False
            self._fed(stream, self._feed if stream.backlog else self._catch_up)

    def _unregister(self, stream: Stream) -> None:
        for conversation_id in stream.known:
            _remove(self._in_conversation, conversation_id, stream)
        _remove(self._of_user, stream.user_id, stream)

    def _suspend(self, stream: Stream) -> None:
        """Drops what it was not sent: it reads the log again from there once it has taken all."""
        stream.drop()
        self._unregister(stream)
        stream.wake()

    def _check(self, now: float) -> None:
        """Heartbeats, and streams that are old."""
        for stream, until in list(self._streams.items()):
            if stream.ended:
                continue
            if now >= until:
                stream.end(Goodbye.REASON_RECONNECT, random.randint(0, MAX_RETRY_AFTER))  # noqa: S311 - no secret
            elif now - stream.added_at >= HEARTBEAT and not stream.is_full:
                is_registered = stream in self._of_user.get(stream.user_id, ())
                ahead = is_registered and stream.position.at < self._position.at
                stream.say(self._position if ahead else None, heartbeat=Heartbeat())
                stream.wake()


def _is_for(user_id: str, number: int, delivery: pb.Delivery) -> bool:
    """Is a delivery, of this number among those of a change that concerns the user, for them? "": who is told
    everything gets each change once."""
    return not delivery.user_ids or (user_id in delivery.user_ids if user_id else number == 0)


def _ends(change: pb.Change, stream: Stream) -> bool:
    return change.kind == Kind.SESSION_ENDED and change.detail == stream.caller.session_id


def _frames(events: Sequence[Event], position: pb.Position) -> Iterator[tuple[bytes, pb.Position | None]]:
    """Of at most MAX_FRAME bytes, if they have more than one event. The last one alone moves the cursor, so that who
    has not got all reads all again."""
    batch, size = list[Event](), 0
    for event in events:
        if batch and size + event.ByteSize() > MAX_FRAME:
            yield frame_of(batch, None), None
            batch, size = [], 0
        batch.append(event)
        size += event.ByteSize()
    if batch:
        yield frame_of(batch, position), position


def _remove(streams: dict[str, _Streams], key: str, stream: Stream) -> None:
    """And the key, where it was the last."""
    if key in streams:
        streams[key].pop(stream, None)
        if not streams[key]:
            del streams[key]
