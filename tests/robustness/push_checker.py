"""Looks at what all devices were pushed in a round, once they have caught up, and at what the server says of it now."""

from collections.abc import Iterator
from copy import copy

from gochat.api.event.v1 import event_pb2
from gochat.api.logic.v1 import logic_pb2
from tests.conversations import seq_of
from tests.harness import bearer
from tests.robustness.ledger import Ledger, Session
from tests.robustness.people import Stubs
from tests.robustness.pushes import (
    Events,
    Round,
    device_wrong,
    hidden_up_to,
    may_be_withheld,
    moves,
    of_members,
    positions,
    shared_wrong,
    unread_heard,
)
from tests.robustness.streams import Device, Devices, Key, key_of, kind_of

States = dict[str, event_pb2.ConversationState]


class PushChecker:
    """marker: a conversation of the devices that is not in the ledger."""

    def __init__(self, ledger: Ledger, devices: Devices, stubs: Stubs, service: str) -> None:
        self._ledger, self._devices, self.marker = ledger, devices, devices.marker
        self._stubs, self._service = stubs, bearer(service)
        self._known = set(ledger.conversations)
        self._rounds: list[Round] = []
        self._sessions: list[Session] = []

    def begin(self) -> None:
        """Called when the ledger knows every conversation and message, and nothing else of the round is settled."""
        self._rounds = [
            Round(
                place,
                {user: copy(seat) for user, seat in place.seats.items()},
                is_new=place.conversation_id not in self._known,
            )
            for place in self._ledger.conversations.values()
        ]
        self._known = set(self._ledger.conversations)
        self._sessions = self._ledger.sessions

    def check(self) -> list[str]:
        """What is wrong, and then the round is over. Called when everything is settled."""
        wrong = [f"push: {problem}" for problem in self.wrong()]
        self._devices.settle()
        return wrong

    def wrong(self) -> Iterator[str]:
        if late := self._devices.late():
            yield f"{[device.name for device in late]} have not caught up"
            return
        for device in self._devices.all:
            yield from (f"{device.name} {problem}" for problem in device.problems)
            if lacking := self._lacking(device):
                yield f"{device.name} was not pushed again, after it resumed, {lacking}"
            if strange := device.record.keys() - self._known - {self.marker, ""}:
                yield f"{device.name} was pushed something of {strange}, of which nothing is known"
            yield from (f"{device.name} {problem}" for problem in self._sessions_wrong(device))
        for this in self._rounds:
            yield from (f"{this.conversation.conversation_id}: {problem}" for problem in self._conversation_wrong(this))
        for user in {device.person.user_id for device in self._devices.all}:
            yield from self._state_wrong(user)

    def _lacking(self, device: Device) -> list[Key]:
        """What was not pushed again, and may not be withheld."""
        rounds = {this.conversation.conversation_id: this for this in self._rounds}
        return [
            key_of(event)
            for event in device.unrepeated()
            if not (this := rounds.get(event.conversation_id))
            or not may_be_withheld(this, device.person.user_id, event)
        ]

    def _conversation_wrong(self, this: Round) -> Iterator[str]:
        conversation_id = this.conversation.conversation_id
        throughout = [device for device in self._devices.all if this.is_member_throughout(device.person.user_id)]
        member = min(throughout, key=lambda device: hidden_up_to(this, device.person.user_id))
        shared, reference = of_members(member.record[conversation_id]), member.person.user_id
        yield from (f"{member.name}: {problem}" for problem in shared_wrong(this, shared, reference))
        for device in self._devices.all:
            wrong = device_wrong(this, device.person.user_id, device.record[conversation_id], shared, reference)
            yield from (f"{device.name} {problem}" for problem in wrong)

    def _sessions_wrong(self, device: Device) -> Iterator[str]:
        own = [session for session in self._sessions if session.user_id == device.person.user_id]
        pushed = [event.session_ended.session_id for event in device.record[""] if kind_of(event) == "session_ended"]
        must = {session.session_id for session in own if session.alive == {False}}
        cannot = {session.session_id for session in own if session.alive == {True}}
        if len(pushed) != len(set(pushed)) or must - set(pushed) or cannot & set(pushed):
            yield f"was pushed that {pushed} ended, did {must}, did not {cannot}"
        if strange := {kind_of(event) for event in device.record[""]} - {"session_ended"}:
            yield f"was pushed {strange}"

    def _state_wrong(self, user: str) -> Iterator[str]:
        """The state from which a client would begin now is the one that events have led to."""
        states = self._states(user)
        request = logic_pb2.GetUnreadMessagesRequest(user_id=user)
        answer = self._stubs.logic.GetUnreadMessages(request, metadata=self._service)
        unread = {info.conversation_id: info.unread_count for info in answer.conversations}
        for device in self._devices.all:
            for this in self._rounds if device.person.user_id == user else ():
                conversation_id = this.conversation.conversation_id
                events, state = device.record[conversation_id], states.get(conversation_id)
                heard = unread_heard(user, events)
                if state and heard is not None:
                    self._ledger.count("unread compared")
                    if heard != unread.get(conversation_id, 0):
                        yield f"{device.name} heard that {heard} are unread, not {unread.get(conversation_id, 0)}"
                if state:
                    yield from (f"{device.name} {problem}" for problem in _positions_wrong(this, user, events, state))

    def _states(self, user: str) -> States:
        found: States = {}
        request = event_pb2.GetStateRequest(user_id=user, limit=500)
        while True:
            page = self._stubs.event.GetState(request, metadata=self._service)
            found |= {state.info.conversation_id: state for state in page.conversations}
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token


def _positions_wrong(this: Round, user: str, events: Events, state: event_pb2.ConversationState) -> Iterator[str]:
    """The last position that was pushed is the server's, unless that moved without an event, as by one's own sends."""
    place, peer = this.conversation, this.peer_of(user)
    for who, read_id in (user, state.read_message_id), (peer, state.peer_read_message_id):
        seat = this.seats.get(who)
        if seat is None or moves(seat):
            continue
        last, read = max(positions(events, "read", who), default=0), seq_of(read_id) if read_id else 0
        is_silent = read <= seat.read[1] or place.by_seq[read].sender == who
        is_silent = is_silent or (who == peer and read <= hidden_up_to(this, user))
        if read < last or (read > last and not is_silent):
            yield f"{place.conversation_id}: was pushed that {who} read up to {last}, not {read}"
    if peer:
        last = max(positions(events, "delivered", peer), default=0)
        reached = seq_of(state.peer_delivered_message_id) if state.peer_delivered_message_id else 0
        read = seq_of(state.peer_read_message_id) if state.peer_read_message_id else 0
        if reached < last or reached > max(last, read, this.seats[peer].delivered, hidden_up_to(this, user)):
            yield f"{place.conversation_id}: was pushed that up to {last} were delivered to {peer}, not {reached}"
