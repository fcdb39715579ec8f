"""Clients that do what people and their apps do, at random, and write into the ledger what they were answered."""

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import grpc

from gochat.api.event.v1 import event_pb2
from gochat.api.logic.v1 import logic_pb2
from gochat.api.message.v1 import message_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.api.session.v1 import session_pb2
from tests.harness import PASSWORD, bearer, fresh
from tests.robustness.ledger import NEVER, Act, Conversation, Founding, Ledger, Seat, Send, Session
from tests.robustness.people import Person, session_of

CALL_TIMEOUT = 10.0  # seconds that a client waits for an answer
MAY_FAIL = frozenset({"UNAVAILABLE"})


class Client(threading.Thread):
    """Acts as one person until it is over. may_fail: status codes that a call may end with while things break."""

    def __init__(
        self, ledger: Ledger, person: Person, service: str, seed: str, may_fail: frozenset[str] = MAY_FAIL
    ) -> None:
        super().__init__(name=person.username)
        self.ledger, self.person, self.may_fail = ledger, person, may_fail
        self.random = random.Random(seed)
        self.over = threading.Event()
        self._mine, self._service = bearer(person.token), bearer(service)

    def run(self) -> None:
        acts, weights = zip(*ACTS.items(), strict=True)
        try:
            while not self.over.is_set():
                if self.person.pending:
                    self._deliver(self.person.pending[0])
                else:
                    self.random.choices(acts, weights)[0](self)
                self.over.wait(self.random.uniform(0, 0.02))
            for _ in range(
                3
            ):  # so that in some conversations nothing comes after it, and unread counts can be compared
                self.read()
        except Exception as error:  # noqa: BLE001 - the check reports a client that failed
            self.ledger.surprises.append(f"a client failed: {error!r}")

    def _call(self, stub: Any, request: Any, metadata: Any = None) -> tuple[Any, float, float]:
        """(answer or None, begun, ended). None: it is in doubt."""
        begun = time.monotonic()
        try:
            answer = stub(request, metadata=self._mine if metadata is None else metadata, timeout=CALL_TIMEOUT)
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            name, code = type(request).__name__, error.code().name
            if code in self.may_fail:
                self.ledger.failures.append((begun, name, code))
            else:
                self.ledger.surprises.append(f"{name} was answered {code} {error.details()}")
            self.ledger.count("in doubt")
            self.over.wait(0.05)
            return None, begun, NEVER
        self.ledger.count("acknowledged")
        return answer, begun, time.monotonic()

    def _places(self, wanted: Callable[[Conversation, Seat], bool]) -> list[Conversation]:
        """Conversations where the person certainly is."""
        user = self.person.user_id
        return [
            place
            for place in list(self.ledger.conversations.values())
            if (seat := place.seats.get(user)) and wanted(place, seat)
        ]

    def _certain(self) -> Conversation | None:
        places = self._places(lambda _, seat: seat.certain)
        return self.random.choice(places[-30:] if self.random.random() < 0.3 else places[:8]) if places else None

    def _new(self, place: Conversation, key: str = "") -> Send:
        return Send(place.conversation_id, self.person.user_id, self.person.word(), time.monotonic(), key)

    def send(self) -> None:
        if place := self._certain():
            self._attempt([self._new(place)])

    def send_keyed(self) -> None:
        if place := self._certain():
            self._promise([self._new(place, fresh("key"))])

    def send_first(self) -> None:
        """To somebody, maybe for the first time."""
        person = self.person
        to = self.random.choice([user for user in self.ledger.users[-30:] if user != person.user_id])
        known = self.ledger.pairs.get(frozenset((person.user_id, to)), "")
        send = Send(known, person.user_id, person.word(), time.monotonic(), fresh("key"), to)
        if known and not self.ledger.conversations[known].seats[person.user_id].certain:
            return
        if self.random.random() < 0.3:
            send.key = ""
            self._attempt([send])
        else:
            self._promise([send])

    def send_many(self) -> None:
        keyed = self.random.random() < 0.5
        places = [place for _ in range(self.random.randint(1, 3)) if (place := self._certain())]
        sends = [self._new(place, fresh("key") if keyed else "") for place in places for _ in range(4)]
        self.random.shuffle(sends)
        if sends:
            (self._promise if keyed else self._attempt)(sends, many=True)

    def _promise(self, sends: list[Send], many: bool = False) -> None:
        """Keyed: repeated until it is answered, in this round or another."""
        self.person.pending.append(sends)
        self.ledger.begin(*sends)
        self._deliver(sends, many)

    def _deliver(self, sends: list[Send], many: bool | None = None) -> None:
        if self._answered(sends, len(sends) > 1 if many is None else many):
            self.person.pending.remove(sends)

    def _attempt(self, sends: list[Send], many: bool = False) -> None:
        """Without a key: once, whatever comes of it."""
        self.ledger.begin(*sends)
        self._answered(sends, many)

    def _answered(self, sends: list[Send], many: bool) -> bool:
        requests = [
            logic_pb2.SendMessageRequest(
                conversation_id="" if send.to else send.conversation_id,
                to_user_id=send.to,
                content=send.content,
                metadata={"client_msg_id": send.key} if send.key else {},
            )
            for send in sends
        ]
        stubs = self.person.stubs
        if not many:
            answer, _, ended = self._call(stubs.logic.SendMessage, requests[0])
            if answer:
                self.ledger.acknowledge(sends[0], answer.message_id, ended)
            return answer is not None
        answer, _, ended = self._call(stubs.message.SendMessages, message_pb2.SendMessagesRequest(messages=requests))
        if answer is None:
            return False
        for send, result in zip(sends, answer.results, strict=True):
            if result.message_id:
                self.ledger.acknowledge(send, result.message_id, ended)
            elif "UNAVAILABLE" not in result.error.details["reason"]:
                self.ledger.surprises.append(f"one of SendMessages was answered {result.error}")
        return all(result.message_id for result in answer.results)

    def read(self) -> None:
        place = self._certain()
        if place and (there := place.known[-50:]):
            message = self.random.choice(there)
            request = logic_pb2.MarkMessageReadRequest(
                conversation_id=place.conversation_id, message_id=message.message_id
            )
            answer, begun, ended = self._call(self.person.stubs.logic.MarkMessageRead, request)
            self._did(place, Act("read", begun, seq=message.seq), answer, ended)

    def acknowledge(self) -> None:
        """That one's device has received messages of up to three conversations, in one request."""
        places = {place.conversation_id: place for _ in range(3) if (place := self._certain()) and place.by_seq}
        received = [(place, self.random.choice(place.known[-50:])) for place in places.values()]
        if received:
            request = event_pb2.AcknowledgeRequest(message_ids=[message.message_id for _, message in received])
            answer, begun, ended = self._call(self.person.stubs.event.Acknowledge, request)
            for place, message in received:
                self._did(place, Act("acknowledge", begun, seq=message.seq), answer, ended)

    def rename(self) -> None:
        """A group of one's own."""
        if groups := self._places(lambda place, _: place.owner == self.person.user_id):
            group, name = self.random.choice(groups[-5:]), fresh("group")
            act = group.renames[name] = Act("rename", time.monotonic())  # it may be so from now on
            request = logic_pb2.UpdateGroupRequest(group_id=group.conversation_id, name=name)
            _, _, act.ended = self._call(self.person.stubs.logic.UpdateGroup, request)

    def hide(self) -> None:
        if place := self._certain():
            request = logic_pb2.DeleteConversationRequest(conversation_id=place.conversation_id)
            self._move(place, "hide", self.person.stubs.logic.DeleteConversation, request)

    def join_or_leave(self) -> None:
        logic, user = self.person.stubs.logic, self.person.user_id
        if groups := self._places(lambda place, seat: place.group and place.owner != user and not seat.rests):
            group = self.random.choice(groups[:4])
            group_id = group.conversation_id
            if group.seats[user].inside == {True}:
                self._move(group, "leave", logic.LeaveGroup, logic_pb2.LeaveGroupRequest(group_id=group_id))
            else:
                self._move(group, "join", logic.JoinGroup, logic_pb2.JoinGroupRequest(group_id=group_id))

    def add_or_remove(self) -> None:
        """In a group of one's own, somebody who does not act."""
        logic = self.person.stubs.logic
        idle = [user for user in self.ledger.users[:30] if user not in self.ledger.clients]
        if not (groups := self._places(lambda place, _: place.owner == self.person.user_id)):
            return
        group, user = self.random.choice(groups[-5:]), self.random.choice(idle)
        seat = group.seats.setdefault(user, Seat({False}))
        group_id = group.conversation_id
        if not seat.rests:
            if seat.inside == {True}:
                out = logic_pb2.RemoveGroupMemberRequest(group_id=group_id, user_id=user)
                self._move(group, "leave", logic.RemoveGroupMember, out, user)
            else:
                add = logic_pb2.AddGroupMemberRequest(group_id=group_id, user_ids=[user])
                self._move(group, "join", logic.AddGroupMember, add, user)

    def _move(self, place: Conversation, kind: str, stub: Any, request: Any, user: str = "") -> None:
        """An act after which nobody acts on the seat again while it is in doubt."""
        answer, begun, ended = self._call(stub, request)
        seat = place.seats[user or self.person.user_id]
        self._did(place, Act(kind, begun), answer, ended, user)
        if kind != "hide":
            seat.inside = {kind == "join"} if answer else {True, False}
        seat.rests = answer is None

    def _did(self, place: Conversation, act: Act, answer: Any, ended: float, user: str = "") -> None:
        if answer:
            act.ended = ended
        place.seats[user or self.person.user_id].acts.append(act)

    def recall(self) -> None:
        place, user = self._certain(), self.person.user_id
        mine = [send for send in place.known[-100:] if send.sender == user] if place else []
        if mine:
            send = self.random.choice(mine)
            request = repo_pb2.UpdateMessageStatusRequest(message_id=send.message_id, status=4, user_id=user)
            send.recalled = {*send.recalled, True}  # it may be so from now on
            answer, _, _ = self._call(self.person.stubs.repo.UpdateMessageStatus, request, self._service)
            if answer:
                send.recalled = {True}

    def found(self) -> None:
        members = tuple(self.random.sample(self.ledger.users[:20], 4))
        name, owner = fresh("group"), self.person.user_id
        request = logic_pb2.CreateGroupRequest(name=name, member_ids=members)
        members = tuple(user for user in members if user != owner)
        answer, _, _ = self._call(self.person.stubs.logic.CreateGroup, request)
        if answer:
            self.ledger.add_group(answer.group_id, owner, members)
        else:
            self.ledger.foundings.append(Founding(name, owner, members))

    def register(self) -> None:
        name = fresh("newcomer")
        request = session_pb2.RegisterRequest(username=name, password=PASSWORD)
        answer, _, _ = self._call(self.person.stubs.session.Register, request, ())
        if answer:
            self.ledger.sessions.append(self._session(answer, answer.user_id))
            self.ledger.users.append(answer.user_id)
        else:
            self.ledger.registrations[name] = PASSWORD

    def sign_in(self) -> None:
        """On another device; and maybe out again."""
        stubs = self.person.stubs
        request = logic_pb2.AuthRequest(username=self.person.username, password=PASSWORD, device_id=fresh("device"))
        answer, _, _ = self._call(stubs.logic.Authenticate, request, ())
        if answer:
            session = self._session(answer, self.person.user_id)
            self.ledger.sessions.append(session)
            if self.random.random() < 0.5:
                session.alive = {*session.alive, False}
                token = bearer(answer.access_token)
                out, _, _ = self._call(stubs.session.Logout, session_pb2.LogoutRequest(), token)
                if out:
                    session.alive = {False}

    def _session(self, answer: Any, user: str) -> Session:
        # The tokens of a session that began while the clock was ahead are taken when it gets there.
        alive = {True} | {False for code in self.may_fail if code == "UNAUTHENTICATED"}
        return Session(user, session_of(answer.access_token), answer.refresh_token, alive)


ACTS: dict[Callable[[Client], None], int] = {
    Client.send_keyed: 60,
    Client.send: 40,
    Client.send_first: 12,
    Client.send_many: 12,
    Client.read: 30,
    Client.acknowledge: 20,
    Client.recall: 12,
    Client.join_or_leave: 16,
    Client.add_or_remove: 8,
    Client.hide: 6,
    Client.found: 2,
    Client.rename: 3,
    Client.register: 1,
    Client.sign_in: 3,
}
"""What clients do, and how often one does it for another."""
