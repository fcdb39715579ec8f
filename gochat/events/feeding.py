"""Reading the log for streams that are not registered with the hub: those that begin or have fallen behind.

Such a stream belongs to the thread that reads for it: the one that opens it, then a feeder's. It comes back to the hub
by `register`. The threads of feeders are daemons, so that a database that hangs holds up no exit.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from time import monotonic

from gochat.api.event.v1.event_pb2 import Event, Goodbye, Resync
from gochat.context import SERVICE, Call, entered
from gochat.domain.changes import Kind, pieces_of
from gochat.errors import ChatError
from gochat.events.stream import Frame, Stream, frame_of
from gochat.internal.change.v1 import change_pb2 as pb
from gochat.internal.change.v1.change_pb2_grpc import ChangeServiceStub

log = logging.getLogger(__name__)

FEEDERS = 2  # threads
READ_TIMEOUT = 5.0  # seconds
CHUNK = 25  # changes that are described together for a stream with a backlog, so that it gets on if it is often cut
MAX_FRAME = 512 * 1024  # bytes of events, unless one alone has more

_GAPS = {
    pb.GAP_TOO_OLD: Resync.REASON_TOO_OLD,
    pb.GAP_OTHER_DATABASE: Resync.REASON_OTHER_DATABASE,
    pb.GAP_TOO_MUCH: Resync.REASON_TOO_MUCH,
}
StreamWork = Callable[[Stream], None]


class Feeder:
    """register(stream): it has a frame of all that it knows. retry(stream, work): work has failed, and is to be given
    to `submit` again later. Both are called by any thread."""

    def __init__(
        self,
        changes: ChangeServiceStub,
        register: Callable[[Stream], None],
        retry: Callable[[Stream, StreamWork], None],
    ) -> None:
        self._changes, self._register, self._retry = changes, register, retry
        self._queue: SimpleQueue[tuple[Stream, StreamWork]] = SimpleQueue()

    def start(self) -> None:
        for number in range(FEEDERS):
            threading.Thread(target=self._run, name=f"feed {number}", daemon=True).start()

    def submit(self, stream: Stream, work: StreamWork) -> None:
        """Has a feeder do it."""
        self._queue.put((stream, work))

    def open_feed(self, stream: Stream, start: pb.Position) -> pb.OpenFeedResponse:
        """Raises ChatError."""
        caller = stream.caller
        return self._changes.OpenFeed(
            pb.OpenFeedRequest(
                user_id=stream.user_id,
                start=start,
                session_id="" if caller.privileged else caller.session_id,
                is_acted_for=not (caller.privileged or caller.session_id),
            )
        )

    def take_up(self, stream: Stream, opened: pb.OpenFeedResponse) -> None:
        """Has the stream go on from what was read for it."""
        stream.known = set(opened.conversation_ids)
        stream.goal = stream.opened = opened.position
        if opened.gap:
            stream.counters.resync(opened.gap)
            stream.say(opened.position, resync=Resync(reason=_GAPS[opened.gap]))
        stream.backlog = pieces_of(opened.changes, stream.goal, CHUNK)
        if len(stream.backlog) > 1:
            self.submit(stream, self.feed)  # the thread may have others to open
        else:
            self.feed(stream)

    def feed(self, stream: Stream) -> None:
        """Makes frames of the backlog, as many as the stream may have. Once all are made it can be registered."""
        while stream.backlog and not stream.is_full and not stream.ended:
            changes, position = stream.backlog[0]
            events, has_ended = list[Event](), False
            for change, deliveries in zip(changes, self.describe(changes, stream.user_id), strict=True):
                if has_ended := ends(change, stream):
                    break
                events += [
                    each.event for number, each in enumerate(deliveries) if _is_for(stream.user_id, number, each)
                ]
            stream.backlog.popleft()
            for frame, moved, number, _ in frames_of(events, None if has_ended else position):
                stream.add(frame, moved, number)
            if has_ended:
                stream.end(Goodbye.REASON_SESSION_ENDED)
        if stream.ended:
            stream.backlog.clear()
        elif stream.backlog:
            stream.is_hungry = True
        else:
            stream.position = stream.goal
            self._register(stream)
        stream.wake()

    def catch_up(self, stream: Stream) -> None:
        self.take_up(stream, self.open_feed(stream, stream.position))

    def describe(self, changes: Sequence[pb.Change], user_id: str | None = None) -> list[Sequence[pb.Delivery]]:
        """user_id: whose stream they are for, "" for one of everything; None: for all."""
        wanted = pb.DescribeChangesRequest(changes=changes, user_id=user_id)
        described = self._changes.DescribeChanges(wanted).changes
        return [each.deliveries for each in described]

    def _run(self) -> None:
        while True:
            self._do(*self._queue.get())

    def _do(self, stream: Stream, work: StreamWork) -> None:
        """Again later if it fails, as while the database is away."""
        if stream.is_closed:
            return
        try:
            with entered(Call(SERVICE, "-", monotonic() + READ_TIMEOUT, SERVICE)):
                work(stream)
        except ChatError as error:
            if error.reason in ("SESSION_ENDED", "USER_NOT_ACTIVE"):
                stream.end(Goodbye.REASON_SESSION_ENDED)
                return
            log.error("reading for a stream failed: %s", error)
            self._retry(stream, work)
        except Exception:
            log.exception("reading for a stream failed")
            self._retry(stream, work)


def ends(change: pb.Change, stream: Stream) -> bool:
    """Its session, or what a service does as that user: it ends when the user does not stay active, which was so
    when it was opened, whatever was before."""
    if change.kind != Kind.SESSION_ENDED or change.user_id != stream.caller.user_id:
        return False
    return change.detail == stream.caller.session_id and (change.detail != "" or change.position >= stream.opened.at)


def frames_of(events: Sequence[Event], position: pb.Position | None) -> Iterator[Frame]:
    """Of at most MAX_FRAME bytes, if they have more than one event. The last one alone moves the cursor, so that who
    has not got all reads all again."""
    batch, size = list[Event](), 0
    for event in events:
        if batch and size + event.ByteSize() > MAX_FRAME:
            yield frame_of(batch, None), None, len(batch), batch[0].at
            batch, size = [], 0
        batch.append(event)
        size += event.ByteSize()
    if batch:
        yield frame_of(batch, position), position, len(batch), batch[0].at


def _is_for(user_id: str, number: int, delivery: pb.Delivery) -> bool:
    """Is a delivery, of this number among those of a change that concerns the user, for them? "": of a stream of
    everything, which gets each change once."""
    if not delivery.user_ids:
        return user_id not in delivery.except_user_ids
    return user_id in delivery.user_ids if user_id else number == 0
