"""One stream of a user, or of a service that is told everything: what is to be sent, and where it is in the log.

Two threads meet here. A thread of the hub (hub.py; one at a time has a stream) adds frames and ends the stream. The
transport's serving thread takes frames, one at a time, once the one before was sent. They share a deque, whose append
and popleft are atomic, and numbers that one of them alone writes; the other reads one that may be a moment old, which
the limits tolerate.
"""

from collections import deque
from collections.abc import Callable
from time import monotonic

from google.rpc import code_pb2

from gochat.api.event.v1.event_pb2 import Event, EventBatch, Goodbye, SubscribeResponse
from gochat.context import Caller
from gochat.domain import cursors
from gochat.internal.change.v1.change_pb2 import Change, Position
from gochat.serving.endpoints import OK, Status

MAX_QUEUED, MAX_QUEUED_BYTES = 256, 1024 * 1024  # of frames; a stream with more is fed no more until it has taken them

_ENDED = Status(code_pb2.UNAVAILABLE, "the stream has ended, as its goodbye said")


class Stream:
    """user_id: "" for everything. known: the conversations that the user is in at `position`, up to which frames were
    added. sent: up to which they were taken. backlog: changes since `position` of which no frame was made yet; they end
    at `goal`.

    is_hungry: it is fed no more until it has taken all; then the hub is told. wake: has the transport look at the
    stream; set by the transport.
    """

    def __init__(self, caller: Caller, user_id: str, notify: Callable[["Stream"], None]) -> None:
        self.caller, self.user_id = caller, user_id
        self.known = set[str]()
        self.backlog = deque[Change]()
        self.position = self.goal = self.sent = Position()
        self.is_hungry = self.is_closed = False
        self.ended: Status | None = None
        self.opened_at = self.added_at = monotonic()
        self.wake: Callable[[], None] = lambda: None
        self._notify = notify
        self._frames = deque[tuple[bytes, Position | None]]()
        self._added = self._taken = 0  # bytes; written by the hub, and by the serving thread

    @property
    def is_full(self) -> bool:
        return len(self._frames) >= MAX_QUEUED or self._added - self._taken >= MAX_QUEUED_BYTES

    def add(self, frame: bytes, position: Position | None = None) -> None:
        """frame: a serialised SubscribeResponse. position: of its cursor, where it moves."""
        self._added += len(frame)
        self.added_at = monotonic()
        if position is not None:
            self.position = position
        self._frames.append((frame, position))

    def say(self, position: Position | None = None, **payload: object) -> None:
        """Adds the frame of a response. position: where it moves."""
        at = position or self.position
        response = SubscribeResponse(cursor=cursors.encode(at), **payload)  # type: ignore[arg-type]
        self.add(response.SerializeToString(), position)

    def drop(self) -> None:
        """Forgets the frames that were not taken, to read the log again from there. One that is taken at this moment
        may come once more. The first frame, which is ready, stays."""
        first = self._frames[0] if not self._taken and self._frames else None
        self._frames.clear()
        self._added = self._taken
        if first:
            self.add(*first)
        self.position = self.sent
        self.is_hungry = True

    def end(self, reason: "Goodbye.Reason.ValueType", retry_after_ms: int = 0) -> None:
        """Once all is taken, a goodbye among it."""
        if self.ended:
            return
        self.say(goodbye=Goodbye(reason=reason, retry_after_ms=retry_after_ms))
        self.ended = _ENDED
        self.wake()

    # What follows is called on the serving thread: the protocol of gochat.serving.endpoints.Subscription.

    def next(self) -> bytes | None:
        try:
            frame, position = self._frames.popleft()
        except IndexError:
            if self.is_hungry:
                self._notify(self)
            return None
        self._taken += len(frame)
        if position is not None:
            self.sent = position
        return frame

    @property
    def over(self) -> Status | None:
        """The status to end with, once all was taken."""
        return None if self._frames else self.ended

    def closed(self) -> None:
        """The client has left, or the status was sent."""
        self.is_closed = True
        self.ended = self.ended or OK
        self._notify(self)


def frame_of(events: list[Event], position: Position | None) -> bytes:
    """position: None where the cursor does not move."""
    cursor = cursors.encode(position) if position else ""
    return SubscribeResponse(batch=EventBatch(events=events), cursor=cursor).SerializeToString()
