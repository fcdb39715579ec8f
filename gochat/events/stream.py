"""One stream of a user, or of everything, for a service: what is to be sent, and where it is in the log.

Two kinds of threads meet here. Those of the hub (hub.py; one at a time has a stream, but any may end it) add frames and
end the stream; a lock keeps them apart, so that nothing follows the goodbye. The transport's serving thread takes
frames, one at a time, once the one before was sent, and never waits for that lock: it shares a deque with them, whose
append and popleft are atomic, and numbers that one side alone writes; the other reads one that may be a moment old,
which the limits tolerate.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from time import monotonic

from google.rpc import code_pb2

from gochat.api.event.v1.event_pb2 import Event, EventBatch, Goodbye, SubscribeResponse
from gochat.context import Caller
from gochat.domain import cursors
from gochat.domain.changes import Piece
from gochat.events.counters import Counters
from gochat.internal.change.v1.change_pb2 import Position
from gochat.serving.endpoints import OK, Status

MAX_QUEUED, MAX_QUEUED_BYTES = 256, 1024 * 1024  # of frames; a stream with more is fed no more until it has taken them

Frame = tuple[bytes, Position | None, int, int]
"""What Stream.add takes."""
_ENDED = Status(code_pb2.UNAVAILABLE, "the stream has ended, as its goodbye said")


class Stream:
    """user_id: "" for everything. typing: it gets who types. watched: whose presence it gets -> when they were
    last seen, in ms.

    known: the conversations that the user is in at `position`, up to which frames were added. sent: up to which they
    were taken. opened: where the log was when it was last read for the stream. backlog: of the changes from `position`
    to `goal`, those that no frame was made of yet. first: the frame before all others, which is not dropped.

    is_hungry: it is fed no more until it has taken all; then the hub looks at it. wake: has the transport look at the
    stream; set by the transport. is_closed: the transport has done with it.
    """

    def __init__(
        self,
        caller: Caller,
        user_id: str,
        notify: Callable[["Stream"], None],
        counters: Counters,
        *,
        typing: bool = False,
        watched: Mapping[str, int] | None = None,
    ) -> None:
        self.caller, self.user_id = caller, user_id
        self.typing, self.watched = typing, dict(watched or {})
        self.known = set[str]()
        self.backlog = deque[Piece]()
        self.position = self.goal = self.sent = self.opened = Position()
        self.first: bytes | None = None
        self.is_hungry = self.is_closed = False
        self.ended: Status | None = None
        self.added_at = self.queued_at = self.took_at = monotonic()
        self.wake: Callable[[], None] = lambda: None
        self._notify, self.counters = notify, counters
        self._adding = threading.Lock()
        self._frames = deque[Frame]()
        self._added = self._taken = 0  # bytes; written by the hub, and by the serving thread

    @property
    def is_full(self) -> bool:
        return len(self._frames) >= MAX_QUEUED or self._added - self._taken >= MAX_QUEUED_BYTES

    def is_stalled(self, now: float, seconds: float) -> bool:
        """Is there something to take, of which nothing was taken for so long?"""
        return bool(self._frames) and now - max(self.took_at, self.queued_at) >= seconds

    def begin(self, position: Position, first: SubscribeResponse) -> None:
        """Before anybody else has the stream. position: where it begins."""
        self.position = self.sent = position
        self.first = first.SerializeToString()
        self.added_at = monotonic()

    def add(self, frame: bytes, position: Position | None = None, events: int = 0, at: int = 0) -> None:
        """frame: a serialised SubscribeResponse; none follows the goodbye. position: of its cursor, where it moves.
        events, at: as of Counters.taken."""
        with self._adding:
            if not self.ended:
                self._add(frame, position, events, at)

    def _add(self, frame: bytes, position: Position | None, events: int = 0, at: int = 0) -> None:
        self.added_at = monotonic()
        if not self._frames:
            self.queued_at = self.added_at
        self._added += len(frame)
        if position is not None:
            self.position = position
        self._frames.append((frame, position, events, at))

    def say(self, position: Position | None = None, **payload: object) -> None:
        """Adds the frame of a response. position: where it moves."""
        self.add(_response(position or self.position, **payload), position)

    def drop(self) -> None:
        """Forgets the frames that were not taken, to read the log again from there. One that is taken at this moment
        may come once more. One that has ended keeps its goodbye."""
        with self._adding:
            if self.ended:
                return
            self._clear()
            self.position = self.sent
            self.is_hungry = True
        self.counters.dropped()

    def _clear(self) -> None:
        """One by one: the serving thread takes frames meanwhile, and counts them itself."""
        while self._frames:
            try:
                frame, *_ = self._frames.popleft()
            except IndexError:
                break
            self._added -= len(frame)

    def end(self, reason: "Goodbye.Reason.ValueType", retry_after_ms: int = 0) -> None:
        """Once all is taken, a goodbye among it. Any thread may call this; the first call counts."""
        with self._adding:
            if self.ended:
                return
            self._add(_response(self.position, goodbye=Goodbye(reason=reason, retry_after_ms=retry_after_ms)), None)
            self.ended = _ENDED
        self.wake()

    def abandon(self) -> None:
        """It takes nothing: forgets what it was not sent, and ends it if the transport still can."""
        with self._adding:
            self._clear()
            self.ended = _ENDED
        self.wake()

    # What follows is called on the serving thread: the protocol of gochat.serving.endpoints.Subscription.

    def next(self) -> bytes | None:
        if self.first is not None:
            first, self.first = self.first, None
            return first
        try:
            frame, position, events, at = self._frames.popleft()
        except IndexError:
            if self.is_hungry:
                self._notify(self)
            return None
        self._taken += len(frame)
        self.took_at = monotonic()
        if events:
            self.counters.taken(events, at)
        if position is not None:
            self.sent = position
        return frame

    @property
    def over(self) -> Status | None:
        """The status to end with, once all was taken."""
        return None if self._frames else self.ended

    def closed(self) -> None:
        """The client has left, or the status was sent. Also by a thread that has opened the stream in vain."""
        self.ended = self.ended or OK
        self.is_closed = True
        self._notify(self)


def _response(position: Position, **payload: object) -> bytes:
    return SubscribeResponse(cursor=cursors.encode(position), **payload).SerializeToString()  # type: ignore[arg-type]


def frame_of(events: list[Event], position: Position | None) -> bytes:
    """position: None where the cursor does not move."""
    cursor = cursors.encode(position) if position else ""
    return SubscribeResponse(batch=EventBatch(events=events), cursor=cursor).SerializeToString()
