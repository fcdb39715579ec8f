"""Devices: each keeps all that it is pushed, drops its stream at random, and comes back with a cursor that it has kept.

Events have no ids. A device drops repeats by cursor: with each one it notes how far its record went, so after it has
resumed, what it is pushed must retrace the record from there, and only then add to it. Some of it is not pushed again
to who has left or hidden a conversation meanwhile, and is when they have come back: what was left out is noted, for
pushes.may_be_withheld() to say whether it may be.
"""

import random
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain, takewhile
from operator import not_
from typing import Any

import grpc

from gochat.api.common.v1 import common_pb2
from gochat.api.event.v1 import event_pb2, event_pb2_grpc
from gochat.api.repo.v1 import repo_pb2
from tests.harness import bearer, fresh
from tests.robustness.ledger import RECALLED
from tests.robustness.people import OPTIONS, Person, Stubs
from tests.waiting import polled

CAUGHT_UP_TIMEOUT = 60.0  # seconds after a round within which every device must have caught up
RECONNECT_INTERVAL = 0.05  # seconds
DROP_CHANCE = 0.03  # that a device drops its stream within a batch
MAX_MARKS = 300  # cursors that a device keeps
OLDER_CHANCE = 0.3  # that it resumes from an older cursor than its newest

_WITHHELD_AS_OF_NOW = frozenset({"read", "delivered", "group_updated", "conversation_updated", "message_updated"})
_MAY_BE_WITHHELD = _WITHHELD_AS_OF_NOW | {"message_sent", "member_joined"}

Key = tuple[str, int, str, str]
Mark = tuple[str, Counter[str]]
"""A cursor, and how far the record went of each conversation."""


def kind_of(event: event_pb2.Event) -> str:
    return str(event.WhichOneof("event"))


def message_of(event: event_pb2.Event) -> common_pb2.Message | None:
    """That was sent or updated; None in other events."""
    kind = kind_of(event)
    return getattr(event, kind).message if kind in {"message_sent", "message_updated"} else None


def key_of(event: event_pb2.Event) -> Key:
    """What stays the same however often, and to whichever device, the event is pushed."""
    kind, message = kind_of(event), message_of(event)
    about = message.message_id if message else ""
    if kind in {"read", "delivered"}:
        moved = getattr(event, kind)
        about = f"{moved.user_id} {moved.message_id}"
    elif kind == "member_joined":
        about = event.member_joined.member.user_id
    elif kind == "member_left":
        about = f"{event.member_left.user_id} {event.member_left.reason}"
    elif kind == "session_ended":
        about = event.session_ended.session_id
    return kind, event.at, event.actor_id, about


def _is_repeat(known: event_pb2.Event, event: event_pb2.Event) -> bool:
    """Is it the same event, with the same content or that of later?"""
    if key_of(known) != key_of(event):
        return False
    before, now = message_of(known), message_of(event)
    if before is None or now is None:
        return True
    return now.status >= before.status and now.content in {before.content, ""}


class Device(threading.Thread):
    """Of a person. addresses: of servers, one of which each stream goes to.

    record: the events of this round by conversation, without repeats; "" for those of the user. reached: up to where in
    the record the present stream has come. marks: the cursors of this round, and what was reached with each. withheld:
    of the record, what some stream has not brought again, though more. _recalled: ids of messages that it was pushed as
    recalled.
    """

    def __init__(self, person: Person, addresses: Sequence[str], restless: threading.Event, name: str) -> None:
        super().__init__(name=f"{name} of {person.username}", daemon=True)
        self.person, self._addresses, self._restless = person, addresses, restless
        self._dice = random.Random(self.name)
        self.record: defaultdict[str, list[event_pb2.Event]] = defaultdict(list)
        self.reached: Counter[str] = Counter()
        self.marks: list[Mark] = [("", Counter())]
        self.withheld: list[event_pb2.Event] = []
        self._recalled: set[str] = set()
        self._is_older = False
        self.problems: list[str] = []
        self.counts: Counter[str] = Counter()
        self.lock = threading.Lock()  # of all of the above
        self.ready, self._over = threading.Event(), threading.Event()
        self._stream: Any = None

    def run(self) -> None:
        while not self._over.wait(RECONNECT_INTERVAL):
            request = event_pb2.SubscribeRequest(cursor=self._resume())
            # A connection of its own each time, so that the stream may come to another worker or host.
            with grpc.insecure_channel(f"ipv4:{self._dice.choice(self._addresses)}", options=OPTIONS) as channel:
                stub = event_pb2_grpc.EventServiceStub(channel)
                self._stream = stub.Subscribe(request, metadata=bearer(self.person.token))
                with suppress(grpc.RpcError):
                    for response in self._stream:
                        if self._over.is_set() or not self.take(response, resumes=bool(request.cursor)):
                            break

    def stop(self) -> None:
        """Called once it has had a stream."""
        self._over.set()
        self._stream.cancel()
        self.join()

    def _resume(self) -> str:
        """The cursor to come back with."""
        with self.lock:
            is_older = self._restless.is_set() and self._dice.random() < OLDER_CHANCE
            return self.resume_from(self._dice.choice(self.marks) if is_older else self.marks[-1])

    def resume_from(self, mark: Mark) -> str:
        cursor, reached = mark
        self._is_older = cursor != self.marks[-1][0]
        self.reached = Counter(reached)
        return cursor

    def take(self, response: event_pb2.SubscribeResponse, resumes: bool) -> bool:
        """Returns whether to go on with the stream."""
        with self.lock:
            kind, events = response.WhichOneof("payload"), response.batch.events
            if kind == "ready":
                self.counts["streams"] += 1
                self.counts["older cursors"] += self._is_older
                if response.ready.resumed != resumes:
                    self.problems.append("its cursor was not resumed")
            elif kind == "resync":
                self.problems.append(f"was to read everything again: {response.resync}".strip())
            drops = kind == "batch" and self._restless.is_set() and self._dice.random() < DROP_CHANCE
            for event in events[: self._dice.randint(0, len(events))] if drops else events:
                self._keep(event)
            if drops:
                self.counts["dropped streams"] += 1
            elif response.cursor:
                self.marks.append((response.cursor, Counter(self.reached)))
                del self.marks[:-MAX_MARKS]
            self.ready.set()
            return not drops

    def _keep(self, event: event_pb2.Event) -> None:
        self.counts["events"] += 1
        if message := message_of(event):
            if message.status == RECALLED:
                self._recalled.add(message.message_id)
            elif message.message_id in self._recalled:
                self.problems.append(f"was pushed what had been recalled before: {message}")
        conversation_id = event.conversation_id
        record, position = self.record[conversation_id], self.reached[conversation_id]
        may_be_back = self._may_be_back(event)
        skipped = self._skipped(record[position:], event, may_be_back)
        self.withheld += skipped
        position += len(skipped)
        self.reached[conversation_id] = position + 1
        if position == len(record):
            record.append(event)
        elif _is_repeat(record[position], event):
            record[position] = event
            self.counts["repeats"] += 1
        elif may_be_back:
            record.insert(position, event)
            for _, reached in self.marks:
                reached[conversation_id] += reached[conversation_id] > position
        else:
            expected = key_of(record[position])
            self.problems.append(f"was pushed {key_of(event)} after it resumed, where {expected} had been: {event}")

    def _may_be_back(self, event: event_pb2.Event) -> bool:
        """May it have been withheld until now?"""
        kind, message = kind_of(event), message_of(event)
        if kind == "member_joined":
            return event.member_joined.member.user_id != self.person.user_id
        return message.status == RECALLED if message else kind in _WITHHELD_AS_OF_NOW

    def _skipped(
        self, following: Sequence[event_pb2.Event], event: event_pb2.Event, may_be_back: bool
    ) -> Sequence[event_pb2.Event]:
        """Of the record, what is left out now that this event comes. may_be_back: of it: what happened later in the
        record may still come after it."""
        for number, known in enumerate(following):
            if _is_repeat(known, event):
                skipped = following[:number]
                return skipped if all(kind_of(each) in _MAY_BE_WITHHELD for each in skipped) else ()
        kinds = _WITHHELD_AS_OF_NOW if may_be_back else _MAY_BE_WITHHELD
        return list(
            takewhile(lambda known: kind_of(known) in kinds and not (may_be_back and known.at >= event.at), following)
        )

    def unrepeated(self) -> list[event_pb2.Event]:
        """Of the record, what the present stream, which has caught up, did not bring again, or an earlier one left
        out."""
        rest = [record[self.reached[conversation_id] :] for conversation_id, record in self.record.items()]
        return [*self.withheld, *chain.from_iterable(rest)]

    def has(self, message_id: str) -> bool:
        """Has the present stream come to this message?"""
        conversation_id = message_id.rpartition("-")[0]
        with self.lock:
            reached = self.record[conversation_id][: self.reached[conversation_id]]
            return any((message := message_of(event)) and message.message_id == message_id for event in reached)

    def settle(self) -> None:
        """What came in a round is not looked at again."""
        with self.lock:
            self.record.clear()
            self.reached.clear()
            self.problems.clear()
            self.withheld.clear()
            self.marks = [(self.marks[-1][0], Counter())]


class Devices:
    """Of all people: one each, and another of every second. marker: a group of them, into which a message is sent after
    each round. restless: set while they drop streams."""

    def __init__(self, people: list[Person], stubs: Stubs, addresses: Sequence[str], service: str) -> None:
        self._stubs, self._service = stubs, bearer(service)
        self._owner, *others = [person.user_id for person in people]
        request = repo_pb2.CreateConversationRequest(
            type="group", name="marker", participant_ids=[self._owner, *others]
        )
        self.marker = stubs.repo.CreateConversation(request, metadata=self._service).conversation_id
        self.restless = threading.Event()
        first = [Device(person, addresses, self.restless, "device") for person in people]
        second = [Device(person, addresses, self.restless, "second device") for person in people[::2]]
        self.all = first + second
        for device in self.all:
            device.start()
        for device in self.all:
            assert device.ready.wait(30), f"{device.name} got no answer"
            device.settle()

    def stop(self) -> None:
        for device in self.all:
            device.stop()

    def settle(self) -> None:
        for device in self.all:
            device.settle()

    @property
    def counts(self) -> Counter[str]:
        return sum((device.counts for device in self.all), Counter())

    def late(self) -> list[Device]:
        """Those that have not caught up in time with what happened before this was called."""
        request = repo_pb2.CreateMessageRequest(
            conversation_id=self.marker, from_user_id=self._owner, content=fresh("marker")
        )
        marker = self._stubs.repo.CreateMessage(request, metadata=self._service).message_id
        late: list[Device] = polled(
            lambda: [device for device in self.all if not device.has(marker)], not_, CAUGHT_UP_TIMEOUT
        )
        return late
