"""Devices: each keeps all that it is pushed, across every disconnect, and is held against what the server has.

A device reconnects with its newest cursor, as a client would. What it was told twice counts once.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import grpc

from gochat.api.event.v1 import event_pb2, event_pb2_grpc
from gochat.api.repo.v1 import repo_pb2
from tests.conversations import seq_of
from tests.harness import bearer, fresh
from tests.robustness.clients import Person, Stubs
from tests.robustness.ledger import Conversation, Ledger, Seat

RECALLED = 4
MARKER_TIMEOUT = 60.0  # seconds after a round within which every device must have caught up
RECONNECT_INTERVAL = 0.05  # seconds


@dataclass
class Told:
    """Of one conversation: messages by number, in the order in which they came first; and the status that came last."""

    contents: dict[int, str] = field(default_factory=dict)
    status: dict[int, int] = field(default_factory=dict)


class Device(threading.Thread):
    """Of a person, until the process ends. gaps: times that it was told to read everything again."""

    def __init__(self, person: Person, stubs: Stubs) -> None:
        super().__init__(name=f"device of {person.username}", daemon=True)
        self.person, self.cursor = person, ""
        self.told: defaultdict[str, Told] = defaultdict(Told)
        self.gaps: list[str] = []
        self.opened = self.resumed = 0
        self.events = event_pb2_grpc.EventServiceStub(stubs.channels[0])
        self.ready = threading.Event()

    def run(self) -> None:
        while True:
            request = event_pb2.SubscribeRequest(cursor=self.cursor)
            try:
                for response in self.events.Subscribe(request, metadata=bearer(self.person.token)):
                    self._take(response)
            except grpc.RpcError:
                pass
            time.sleep(RECONNECT_INTERVAL)

    def _take(self, response: event_pb2.SubscribeResponse) -> None:
        kind = response.WhichOneof("payload")
        if kind == "ready":
            self.opened += 1
            self.resumed += response.ready.resumed
        elif kind == "resync":
            self.gaps.append(event_pb2.Resync.Reason.Name(response.resync.reason))
        for event in response.batch.events:
            if event.HasField("message_sent") or event.HasField("message_updated"):
                message = (event.message_sent if event.HasField("message_sent") else event.message_updated).message
                told, seq = self.told[message.conversation_id], seq_of(message)
                if event.HasField("message_sent"):
                    told.contents.setdefault(seq, message.content)
                told.status[seq] = max(message.status, told.status.get(seq, 0))
        self.cursor = response.cursor or self.cursor
        self.ready.set()


class Devices:
    """Of all clients. marker: a group of them, into which a message is sent after each round."""

    def __init__(self, ledger: Ledger, people: list[Person], stubs: Stubs, service: str) -> None:
        self._ledger, self._stubs, self._service = ledger, stubs, bearer(service)
        owner, *others = [person.user_id for person in people]
        request = repo_pb2.CreateConversationRequest(type="group", name="marker", participant_ids=[owner, *others])
        self.marker = stubs.repo.CreateConversation(request, metadata=self._service).conversation_id
        self._devices = [Device(person, stubs) for person in people]
        for device in self._devices:
            device.start()
        for device in self._devices:
            assert device.ready.wait(30), f"{device.name} got no answer"

    @property
    def opened(self) -> int:
        return sum(device.opened for device in self._devices)

    def unsettled(self) -> set[tuple[str, str]]:
        """(conversation, user) of those who came or went in this round, or may have. Asked before the seats are."""
        return {
            (place.conversation_id, user)
            for place in self._ledger.conversations.values()
            for user, seat in place.seats.items()
            if _moved(seat)
        }

    def wrong(self, unsettled: set[tuple[str, str]]) -> Iterator[str]:
        """Called when all else is settled: then the ledger knows every message."""
        request = repo_pb2.CreateMessageRequest(
            conversation_id=self.marker, from_user_id=self._ledger.clients[0], content=fresh("marker")
        )
        marker = self._stubs.repo.CreateMessage(request, metadata=self._service).message_id
        until = time.monotonic() + MARKER_TIMEOUT
        for device in self._devices:
            while seq_of(marker) not in device.told[self.marker].contents:
                if time.monotonic() > until:
                    yield f"push: {device.name} has not caught up"
                    return
                time.sleep(0.02)
            for reason in device.gaps:
                yield f"push: {device.name} was told to read everything again: {reason}"
            device.gaps.clear()
            for place in self._ledger.conversations.values():
                if (place.conversation_id, device.person.user_id) not in unsettled:
                    yield from _wrong(device, place)

    def settle(self) -> None:
        """What came in a round is not looked at again."""
        for device in self._devices:
            for told in list(device.told.values()):
                told.contents.clear()
                told.status.clear()


def _moved(seat: Seat) -> bool:
    return seat.rests or len(seat.inside) > 1 or any(act.kind in {"join", "leave"} for act in seat.acts)


def _wrong(device: Device, place: Conversation) -> Iterator[str]:
    """Of the messages of this round in a conversation where the device's user was all the time, or never."""
    seat, told = place.seats.get(device.person.user_id), device.told[place.conversation_id]
    where = f"{device.name} in {place.conversation_id}"
    if seat is None or seat.inside == {False}:
        if told.contents:
            yield f"push: {where}, who is not in it, was told of {sorted(told.contents)}"
        return
    came = [seq for seq in told.contents if seq > place.base]
    if came != sorted(came):
        yield f"push: {where} was told in the order {came}"
    sent = {seq: send for seq, send in place.by_seq.items() if seq > place.base}
    if missing := sorted(sent.keys() - told.contents.keys()):
        yield f"push: {where} was not told of {missing} of {len(sent)}"
    for seq, send in sent.items():
        content = told.contents.get(seq, send.content)
        if content not in {send.content, ""} or (not content and True not in send.recalled):
            yield f"push: {where} was told {content!r} as {seq}, which is {send.content!r}"
        if send.recalled == {True} and told.status.get(seq, RECALLED) != RECALLED:
            yield f"push: {where} was not told that {seq} was recalled"
