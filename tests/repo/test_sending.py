"""What comes of a message: the same on both engines, sent by itself, in a list, or with others that wait for no lock.
Bulk as clients see it is in tests/logic/test_bulk.py."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from gochat.api.repo.v1 import repo_pb2
from gochat.domain import ids
from gochat.errors import ChatError
from gochat.internal.store.v1 import store_pb2
from gochat.repo import passwords
from gochat.storage.database import Database
from gochat.storage.models import MAX_INBOX_MEMBERS
from tests.conversations import seq_of
from tests.harness import fresh
from tests.repo.test_inbox import astray
from tests.repo.test_query_counts import Handlers

Answer = tuple[str, str]
"""The reason and the field of a refusal; or "" and the sequence number."""

UNKNOWN = "u00000000000000000000000000"


class World:
    """Ann and Ben have a group and a conversation of two; Cem was removed from the group; Dan is deleted, and Fay, who
    had a conversation of two with Ann; Eve knows nobody. There are messages with the client_msg_ids `group`, `pair`,
    `recalled`, `left`, `fay` of Ann, and `removed` of Cem."""

    def __init__(self, database: Database) -> None:
        self.database, self.do = database, Handlers(database)
        self.ann, self.ben, self.cem, self.dan, self.eve, self.fay, *others = (
            self.do.CreateUser(repo_pb2.CreateUserRequest(username=fresh("user"), password="x")).user_id
            for _ in range(6 + MAX_INBOX_MEMBERS - 1)
        )
        self.group, self.dissolved, self.large = (
            self.do.CreateGroup(
                store_pb2.CreateGroupRequest(name="g", owner_id=self.ann, member_ids=members)
            ).group.group_id
            for members in ((self.ben, self.cem), (), (self.ben, *others))
        )
        self.send(self.of("ann", self.dissolved, key="left"))
        self.do.LeaveGroup(store_pb2.LeaveGroupRequest(group_id=self.dissolved, user_id=self.ann))
        self.pair = self.send(self.of("ann", to="ben", key="pair")).conversation_id
        for key, sender in (("group", "ann"), ("recalled", "ann"), ("removed", "cem")):
            sent = self.send(self.of(sender, self.group, key=key))
            if key == "recalled":
                recall = repo_pb2.UpdateMessageStatusRequest(message_id=sent.message_id, user_id=self.ann, status=4)
                self.do.UpdateMessageStatus(recall)
        self.do.RemoveGroupMember(repo_pb2.RemoveGroupMemberRequest(group_id=self.group, user_id=self.cem))
        self.do.HideConversation(store_pb2.HideConversationRequest(conversation_id=self.pair, user_id=self.ben))
        self.left_pair = self.send(self.of("ann", to="fay", key="fay")).conversation_id
        for gone in (self.dan, self.fay):
            self.do.UpdateUser(repo_pb2.UpdateUserRequest(user_id=gone, status=3))

    def of(
        self, sender: str, where: str = "", *, to: str = "", key: str = "", **fields: Any
    ) -> repo_pb2.CreateMessageRequest:
        """sender, to: the name of one of these people, or an id."""
        return repo_pb2.CreateMessageRequest(
            from_user_id=getattr(self, sender, sender),
            conversation_id=where,
            to_user_id=getattr(self, to, to) if to else "",
            metadata={"client_msg_id": key} if key else {},
            **{"content": "hi"} | fields,
        )

    def send(self, request: repo_pb2.CreateMessageRequest) -> Any:
        return self.do.CreateMessage(request).message

    def store(self, *requests: repo_pb2.CreateMessageRequest, **fields: Any) -> Any:
        return self.do.StoreMessages(store_pb2.StoreMessagesRequest(messages=requests, **fields)).results

    def messages(self) -> int:
        """How many there are. Checks that they have their numbers, and members what they repeat."""
        sums = "SELECT (SELECT SUM(last_seq) FROM conversations), (SELECT COUNT(*) FROM messages)"
        ((numbered, stored),) = self.database.read(lambda tx: tx.fetch_all(sums))
        assert numbered == stored
        assert astray(self.database) == []
        return int(stored)


class Case(NamedTuple):
    request: Callable[[World], repo_pb2.CreateMessageRequest]
    refusal: Answer | None = None
    """None: it is sent."""
    seq: int = 0
    is_new: bool = True
    is_first: bool = False


NOT_MEMBER = ("NOT_A_PARTICIPANT", "")
NO_CONVERSATION = ("CONVERSATION_NOT_FOUND", "conversation_id")
OTHER_RECIPIENT = ("INVALID_FIELD", "to_user_id")
NO_RECIPIENT = ("USER_NOT_FOUND", "to_user_id")
REUSED = ("CLIENT_MSG_ID_REUSED", "metadata")

CASES = {
    "a member, to a group": Case(lambda w: w.of("ben", w.group), seq=4),
    "a member, to a group that is not small": Case(lambda w: w.of("ben", w.large), seq=1),
    "with a client_msg_id": Case(lambda w: w.of("ben", w.group, key="new"), seq=4),
    "with a client_msg_id that another person used": Case(lambda w: w.of("ben", w.group, key="group"), seq=4),
    "with a client_msg_id that was used elsewhere": Case(lambda w: w.of("ann", w.pair, key="group"), seq=2),
    "to a conversation of two": Case(lambda w: w.of("ben", w.pair), seq=2),
    "to a conversation of two, and the other": Case(lambda w: w.of("ann", w.pair, to="ben"), seq=2),
    "to a user, of whom they have hidden the conversation": Case(lambda w: w.of("ben", to="ann"), seq=2),
    "to a user, the first": Case(lambda w: w.of("eve", to="ann"), seq=1, is_first=True),
    "the first with a client_msg_id": Case(lambda w: w.of("eve", to="ann", key="k"), seq=1, is_first=True),
    "again": Case(lambda w: w.of("ann", w.group, key="group"), seq=1, is_new=False),
    "again, to a user": Case(lambda w: w.of("ann", to="ben", key="pair"), seq=1, is_new=False),
    "again, of a message that was recalled": Case(lambda w: w.of("ann", w.group, key="recalled"), seq=2, is_new=False),
    "again, other content": Case(lambda w: w.of("ann", w.group, key="group", content="ho"), REUSED),
    "again, of another type": Case(lambda w: w.of("ann", w.group, key="group", message_type="image"), REUSED),
    "again, by a person who was removed": Case(lambda w: w.of("cem", w.group, key="removed"), seq=3, is_new=False),
    "again, other content, by a person who was removed": Case(
        lambda w: w.of("cem", w.group, key="removed", content="ho"), NOT_MEMBER
    ),
    "again, to a group without members": Case(lambda w: w.of("ann", w.dissolved, key="left"), seq=1, is_new=False),
    "again, to a user who is deleted since": Case(lambda w: w.of("ann", to="fay", key="fay"), seq=1, is_new=False),
    "to a user who is deleted since": Case(lambda w: w.of("ann", to="fay"), NO_RECIPIENT),
    "to a conversation of two of which one is deleted": Case(lambda w: w.of("ann", w.left_pair), NO_RECIPIENT),
    "by a deleted one of two": Case(lambda w: w.of("fay", w.left_pair), NOT_MEMBER),
    "by nobody of the group": Case(lambda w: w.of("eve", w.group), NOT_MEMBER),
    "by nobody of a group that is not small": Case(lambda w: w.of("eve", w.large), NOT_MEMBER),
    "by a stranger to a conversation of two": Case(lambda w: w.of("eve", w.pair), NOT_MEMBER),
    "by a stranger to one of two": Case(lambda w: w.of("eve", w.pair, to="ann"), NOT_MEMBER),
    "by nobody at all": Case(lambda w: w.of(UNKNOWN, w.group), NOT_MEMBER),
    "to a conversation of two, and a third": Case(lambda w: w.of("ann", w.pair, to="eve"), OTHER_RECIPIENT),
    "to a conversation of two, and oneself": Case(lambda w: w.of("ann", w.pair, to="ann"), OTHER_RECIPIENT),
    "to a group, and a member": Case(lambda w: w.of("ann", w.group, to="ben"), OTHER_RECIPIENT),
    "to no conversation": Case(lambda w: w.of("ann", "gnowhere"), NO_CONVERSATION),
    "to a group without members": Case(lambda w: w.of("ann", w.dissolved), NO_CONVERSATION),
    "to a conversation that two users do not have yet": Case(
        lambda w: w.of("eve", ids.single(w.eve, w.ben, w.database.pair_key), to="ben"), NO_CONVERSATION
    ),
    "to oneself": Case(lambda w: w.of("ann", to="ann"), ("INVALID_FIELD", "to_user_id")),
    "to nobody": Case(lambda w: w.of("ann"), ("INVALID_FIELD", "conversation_id")),
    "to a user who does not exist": Case(lambda w: w.of("ann", to=UNKNOWN), ("USER_NOT_FOUND", "to_user_id")),
    "to a user who is deleted": Case(lambda w: w.of("ann", to="dan"), ("USER_NOT_FOUND", "to_user_id")),
    "by a user who does not exist": Case(lambda w: w.of(UNKNOWN, to="ann"), ("USER_NOT_FOUND", "from_user_id")),
}


def alone(world: World, request: repo_pb2.CreateMessageRequest) -> Answer:
    try:
        sent = world.do.CreateMessage(request)
    except ChatError as error:
        return error.reason, next(iter(error.fields), "")
    assert sent.message.from_user_id == request.from_user_id
    assert sent.message_id == sent.message.message_id
    return "", sent.message_id[-12:]


def of_result(result: Any) -> Answer:
    if result.HasField("error"):
        details = dict(result.error.details)
        return details.pop("reason"), next(iter(details), "")
    assert result.created_at
    return "", result.message_id[-12:]


def listed(world: World, request: repo_pb2.CreateMessageRequest) -> Answer:
    (result,) = world.store(request)
    return of_result(result)


def unlocked(world: World, request: repo_pb2.CreateMessageRequest) -> Answer:
    """As calls that come in together are: what is left is sent by itself."""
    before = world.messages()
    (result,) = world.store(request, skip_locked=True)
    assert not result.HasField("error")
    if result.message_id:
        return of_result(result)
    assert world.messages() == before
    return alone(world, request)


WAYS: dict[str, Callable[[World, repo_pb2.CreateMessageRequest], Answer]] = {
    "alone": alone,
    "listed": listed,
    "unlocked": unlocked,
}


def wanted(case: Case) -> Answer:
    return case.refusal or ("", f"{case.seq:012}")


@pytest.fixture
def new_world(database: Database, monkeypatch: pytest.MonkeyPatch) -> Callable[[], World]:
    monkeypatch.setattr(passwords, "hashed", lambda _: "$argon2id$")  # nobody signs in
    return lambda: World(database)


@pytest.mark.parametrize("way", WAYS)
def test_each_case_has_its_answer(new_world: Callable[[], World], way: str) -> None:
    for name, case in CASES.items():
        world = new_world()
        before = world.messages()
        assert WAYS[way](world, case.request(world)) == wanted(case), name
        assert world.messages() - before == (case.refusal is None and case.is_new), name


def test_what_is_usual_waits_for_no_lock_and_all_else_is_left(new_world: Callable[[], World]) -> None:
    world = new_world()
    results = world.store(*(case.request(world) for case in CASES.values()), skip_locked=True)
    for (name, case), result in zip(CASES.items(), results, strict=True):
        usual = case.refusal is None and case.is_new and not case.is_first
        assert bool(result.message_id) == usual, name
        assert not result.HasField("error"), name
    world.messages()


def test_in_one_list_each_case_has_its_answer(new_world: Callable[[], World]) -> None:
    """But for the numbers: each message that is sent moves those of its conversation."""
    world = new_world()
    before = world.messages()
    for case, result in zip(
        CASES.values(), world.store(*(case.request(world) for case in CASES.values())), strict=True
    ):
        reason, field = of_result(result)
        assert (reason, field) == case.refusal if case.refusal else reason == ""
    assert world.messages() - before == sum(case.refusal is None and case.is_new for case in CASES.values())


def test_a_key_that_comes_twice_in_a_list_is_one_message(new_world: Callable[[], World]) -> None:
    world = new_world()
    one, other = world.of("ann", world.group, key="k"), world.of("ann", world.group, key="k", content="ho")
    results = world.store(one, one, other, world.of("ben", world.group), one)
    assert [of_result(result) for result in results] == [
        ("", "000000000004"),
        ("", "000000000004"),
        REUSED,
        ("", "000000000005"),
        ("", "000000000004"),
    ]


@pytest.mark.parametrize("where", ["group", "large", "pair"])
def test_one_has_read_what_one_has_sent(new_world: Callable[[], World], where: str) -> None:
    world = new_world()
    conversation_id = getattr(world, where)
    requests = [world.of(sender, conversation_id) for sender in ("ann", "ben", "ann", "cem")]
    sent = [result.message_id for result in world.store(*requests) if result.message_id]
    assert len(sent) == 3
    positions = "SELECT user_id, read_seq FROM members WHERE conversation_id = ?"
    read = dict(world.database.read(lambda tx: tx.fetch_all(positions, conversation_id)))
    newest = seq_of(sent[-1])
    assert (read[world.ann], read[world.ben]) == (newest, newest - 1)
    assert all(seq < newest - 1 for user_id, seq in read.items() if user_id not in (world.ann, world.ben))
