"""The streams that get what comes, and to which of them a change goes. Of the hub's thread."""

from collections import defaultdict
from collections.abc import Iterable
from itertools import chain

from gochat.domain.changes import Kind
from gochat.events.stream import Stream
from gochat.internal.change.v1 import change_pb2 as pb

Streams = dict[Stream, None]  # a set that keeps its order


def remove(streams: dict[str, Streams], key: str, stream: Stream) -> None:
    """And the key, where it was the last."""
    if key in streams:
        streams[key].pop(stream, None)
        if not streams[key]:
            del streams[key]


class Registry:
    """of_user: "" for everything. in_conversation: by those that they are known to be in."""

    def __init__(self) -> None:
        self.of_user: defaultdict[str, Streams] = defaultdict(dict)
        self.in_conversation: defaultdict[str, Streams] = defaultdict(dict)

    def __contains__(self, stream: Stream) -> bool:
        return stream in self.of_user.get(stream.user_id, ())

    @property
    def all(self) -> list[Stream]:
        return [*chain.from_iterable(self.of_user.values())]

    def add(self, stream: Stream) -> None:
        for conversation_id in stream.known:
            self.in_conversation[conversation_id][stream] = None
        self.of_user[stream.user_id][stream] = None

    def remove(self, stream: Stream) -> None:
        for conversation_id in stream.known:
            remove(self.in_conversation, conversation_id, stream)
        remove(self.of_user, stream.user_id, stream)

    def join(self, change: pb.Change) -> None:
        for stream in self.of_user.get(change.user_id, ()):
            if stream.position.at <= change.position:
                stream.known.add(change.conversation_id)
                self.in_conversation[change.conversation_id][stream] = None

    def leaving(self, change: pb.Change) -> list[Stream]:
        """The streams of who leaves a conversation by this change: of a user, or of all where it is dissolved."""
        is_of_all = change.kind == Kind.GROUP_DISSOLVED
        of_one = self.of_user.get(change.user_id, ())
        return [*(self.in_conversation.get(change.conversation_id, ()) if is_of_all else of_one)]

    def leave(self, change: pb.Change) -> None:
        for stream in self.leaving(change):
            if stream.position.at <= change.position:
                stream.known.discard(change.conversation_id)
                remove(self.in_conversation, change.conversation_id, stream)

    def of_interest(self, changes: Iterable[pb.Change]) -> list[pb.Change]:
        """Those that streams here might get; also those of conversations that users come into by these changes."""
        entered_now, found = set[str](), list[pb.Change]()
        for change in changes:
            if change.user_id in self.of_user and change.kind == Kind.MEMBER_JOINED:
                entered_now.add(change.conversation_id)
            if (
                (change.conversation_id in self.in_conversation and change.kind != Kind.RECIPIENTS_OFFLINE)
                or change.conversation_id in entered_now
                or change.user_id in self.of_user
                or "" in self.of_user
                or change.kind == Kind.PROFILE_UPDATED
            ):
                found.append(change)
        return found

    def recipients(self, number: int, delivery: pb.Delivery) -> Iterable[Stream]:
        """The streams that the delivery, of this number among those of its change, is for."""
        if delivery.is_for_services:
            return self.of_user.get("", ())
        if not delivery.user_ids:
            streams = chain(self.in_conversation.get(delivery.event.conversation_id, ()), self.of_user.get("", ()))
            but = delivery.except_user_ids
            return (stream for stream in streams if stream.user_id not in but) if but else streams
        user_ids = ["", *delivery.user_ids] if number == 0 else delivery.user_ids
        return chain.from_iterable(self.of_user.get(user_id, ()) for user_id in user_ids)
