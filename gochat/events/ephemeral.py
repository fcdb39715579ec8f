"""Typing and presence, as the streams of this process get them, and as other processes do.

All of it is of the hub's thread (hub.py), but for `say_typing`, which any thread may call. What is ephemeral goes to
streams that have room for it, and to registered ones alone; it comes at most once and moves no cursor. A stream that
has fallen behind gets the presence of all that it watches when it is registered again.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from time import monotonic

from gochat.api.event.v1 import event_pb2
from gochat.domain import ids
from gochat.events.presence import ANNOUNCE_INTERVAL, Presence, Seen
from gochat.events.registry import Registry, Streams, remove
from gochat.events.relay import Relay
from gochat.events.stream import Stream, frame_of
from gochat.events.typing import Typing, Typist
from gochat.internal.change.v1.change_pb2 import Change
from gochat.internal.signal.v1 import signal_pb2 as pb

EXPIRE_INTERVAL = 5.0  # seconds between two looks for what processes claimed that said no more since


class Ephemeral:
    """registry: of the hub. record: has it remembered in the database when users were
    last seen."""

    def __init__(
        self,
        relay: Relay,
        registry: Registry,
        record: Callable[[Sequence[pb.LastActive]], object],
    ) -> None:
        self._relay, self._registry, self._record = relay, registry, record
        self._typing = Typing()
        self._presence = Presence(relay.process)
        self._watchers: defaultdict[str, Streams] = defaultdict(dict)
        self._seen_at: dict[str, int] = {}  # of users who are watched and went offline meanwhile
        self._announce_at = self._expire_at = 0.0

    @property
    def is_waiting(self) -> bool:
        """Is there something to do later, even without streams?"""
        return self._presence.has_leaving

    def say_typing(self, typing: pb.Typing) -> None:
        """Has other processes hear that somebody types. Any thread may call this."""
        self._relay.say(typing)

    def opened(self, stream: Stream) -> None:
        if _is_of_a_device(stream):
            changed, is_new = self._presence.opened(stream.user_id, ids.now_ms())
            if is_new:
                self._relay.say(stream.user_id)
            self._tell_presence(changed)

    def closed(self, stream: Stream) -> None:
        if _is_of_a_device(stream) and self._presence.closed(stream.user_id, monotonic(), ids.now_ms()):
            self._relay.say(pb.Left(user_id=stream.user_id))

    def connected(self, user_ids: Iterable[str]) -> list[str]:
        """Those of them who have a stream, in whatever process."""
        now = monotonic()
        return [user_id for user_id in user_ids if self._presence.is_connected(user_id, now)]

    def registered(self, stream: Stream) -> None:
        """Sends the stream the presence of all that it watches, as it is."""
        for user_id in stream.watched:
            self._watchers[user_id][stream] = None
        now = ids.now_ms()
        seen = [
            Seen(user_id, True, now)
            if self._presence.is_online(user_id, monotonic())
            else Seen(user_id, False, max(at, self._seen_at.get(user_id, 0)))
            for user_id, at in stream.watched.items()
        ]
        if seen:
            _deliver([stream], [_presence_event(each, now) for each in seen])

    def unregistered(self, stream: Stream) -> None:
        for user_id in stream.watched:
            self._forget_watcher(user_id, stream)

    def keep_watching(self, stream: Stream, user_ids: Iterable[str]) -> None:
        """Of the users that it watched only these share a conversation with its user any more."""
        for user_id in stream.watched.keys() - set(user_ids):
            self._forget_watcher(user_id, stream)
            del stream.watched[user_id]

    def watchers_affected(self, change: Change) -> Streams:
        """The streams that might not see somebody any more, now that somebody leaves."""
        watchers = self._watchers.get(change.user_id, ())
        affected = {stream: None for stream in watchers if change.conversation_id in stream.known}
        left = self._registry.leaving(change)
        return affected | {stream: None for stream in left if stream.watched}

    def _forget_watcher(self, user_id: str, stream: Stream) -> None:
        remove(self._watchers, user_id, stream)
        if user_id not in self._watchers:
            self._seen_at.pop(user_id, None)

    def heard(self, signals: pb.Signals) -> None:
        """Of another process, or typing of this one."""
        now = monotonic()
        for typing in signals.typing:
            self._set_typing((typing.conversation_id, typing.user_id), typing.typing, now)
        offline = [(each.user_id, each.at) for each in signals.offline]
        left = [each.user_id for each in signals.left]
        self._tell_presence(
            self._presence.heard(signals.process, signals.online_user_ids, offline, now, ids.now_ms(), left)
        )
        if signals.asks:
            self._announce(now)

    def linked(self) -> None:
        """A link works from now on: asks who is online, and says who is."""
        self._relay.say(asks=True)
        self._announce(monotonic())

    def sent(self, conversation_id: str, user_id: str) -> None:
        """The user has sent a message, so they do not type any more."""
        if self._typing:
            self._set_typing((conversation_id, user_id), False, monotonic())

    def check(self, now: float) -> None:
        """Called every second, or more often."""
        for typist in self._typing.expire(now):
            self._tell_typing(typist, False)
        changed, left = self._presence.left(now)
        if left:
            last = [pb.LastActive(user_id=user_id, at=at) for user_id, at in left]
            self._relay.say(*last)
            self._record(last)
        if now >= self._expire_at:
            self._expire_at = now + EXPIRE_INTERVAL
            if expired := self._presence.expire(
                now, ids.now_ms()
            ):  # by each process that is left: the newest time stays
                self._record([pb.LastActive(user_id=seen.user_id, at=seen.at) for seen in expired])
                changed += expired
        self._tell_presence(changed)
        if now >= self._announce_at and self._relay.has_links:
            self._announce(now)

    def last_seen(self) -> list[pb.LastActive]:
        """What is to be remembered now that this process stops."""
        return [pb.LastActive(user_id=user_id, at=at) for user_id, at in self._presence.last_seen(ids.now_ms())]

    def _announce(self, now: float) -> None:
        self._announce_at = now + ANNOUNCE_INTERVAL
        left = self._presence.leaving
        self._relay.say(*self._presence.claimed, *(pb.Left(user_id=user_id) for user_id in left))

    def _set_typing(self, typist: Typist, typing: bool, now: float) -> None:
        if self._typing.set(typist, typing, now):
            self._tell_typing(typist, typing)

    def _tell_typing(self, typist: Typist, typing: bool) -> None:
        conversation_id, user_id = typist
        streams = [
            stream
            for stream in (
                *self._registry.in_conversation.get(conversation_id, ()),
                *self._registry.of_user.get("", ()),
            )
            if stream.typing and stream.user_id != user_id
        ]
        if streams:
            event = event_pb2.Event(at=ids.now_ms(), conversation_id=conversation_id, actor_id=user_id)
            event.typing.user_id, event.typing.typing = user_id, typing
            _deliver(streams, [event])

    def _tell_presence(self, changed: Sequence[Seen]) -> None:
        for seen in changed:
            if watchers := self._watchers.get(seen.user_id):
                if not seen.online:
                    self._seen_at[seen.user_id] = seen.at
                _deliver(watchers, [_presence_event(seen, ids.now_ms())])


def _is_of_a_device(stream: Stream) -> bool:
    """Not of a service that looks at what happens to a user."""
    return bool(stream.user_id) and stream.caller.user_id == stream.user_id


def _presence_event(seen: Seen, now: int) -> event_pb2.Event:
    presence = event_pb2.Presence(user_id=seen.user_id, online=seen.online, last_active_at=seen.at)
    return event_pb2.Event(at=now, actor_id=seen.user_id, presence=presence)


def _deliver(streams: Iterable[Stream], events: list[event_pb2.Event]) -> None:
    """To those that have room: what is ephemeral has no stream read the log again."""
    frame = frame_of(events, None)
    for stream in streams:
        if not stream.is_full:
            stream.add(frame)
            stream.wake()
