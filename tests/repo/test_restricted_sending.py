"""What comes of a message to a group that does not let everybody send: the same on both engines and in every way, as
test_sending.py has it of all other messages."""

from collections.abc import Callable
from typing import Any

import pytest

from gochat.api.group.v1 import group_pb2 as api
from gochat.api.group.v1 import group_types_pb2 as types
from gochat.api.repo.v1 import repo_pb2
from gochat.errors import ChatError
from gochat.internal.group.v1 import group_pb2
from gochat.internal.store.v1 import store_pb2
from gochat.repo import passwords
from gochat.storage.database import Database
from tests.repo.changelog import LATER
from tests.repo.test_query_counts import Handlers

OWNER, MEMBER, MUTED, MUTED_ADMIN = "owner", "member", "muted", "muted_admin"
SENT, REPEATED = "", "repeated"


class World:
    """A group, of whose members each has sent `earlier` by a client_msg_id of that name. size: small groups are written
    otherwise than others."""

    def __init__(self, database: Database, size: int, **settings: Any) -> None:
        self.do, self.database = Handlers(database), database
        new = self.do.CreateUser
        names = (OWNER, MEMBER, MUTED, MUTED_ADMIN, *(f"other{number}" for number in range(size)))
        self.ids = {name: new(repo_pb2.CreateUserRequest(username=name, password="x")).user_id for name in names}
        members = [user_id for name, user_id in self.ids.items() if name != OWNER]
        made = store_pb2.CreateGroupRequest(name="g", owner_id=self.ids[OWNER], member_ids=members)
        self.group = self.do.CreateGroup(made).group.group_id
        for name in (OWNER, MEMBER, MUTED, MUTED_ADMIN):
            self.do.CreateMessage(self.of(name, "earlier"))
        role = repo_pb2.UpdateGroupMemberRoleRequest(group_id=self.group, user_id=self.ids[MUTED_ADMIN], role="admin")
        self.do.UpdateGroupMemberRole(role)
        for name in (MUTED, MUTED_ADMIN):
            asked = api.MuteMemberRequest(group_id=self.group, user_id=self.ids[name], until=LATER)
            self.do.MuteMember(group_pb2.MuteMemberRequest(service=True, request=asked))
        self.set(**settings)

    def set(self, **settings: Any) -> None:
        asked = api.UpdateGroupSettingsRequest(group_id=self.group, **settings)
        self.do.UpdateGroupSettings(group_pb2.UpdateGroupSettingsRequest(service=True, request=asked))

    def of(self, name: str, key: str = "", content: str = "hi") -> repo_pb2.CreateMessageRequest:
        metadata = {"client_msg_id": key} if key else {}
        return repo_pb2.CreateMessageRequest(
            conversation_id=self.group, from_user_id=self.ids[name], content=content, metadata=metadata
        )

    def stored(self) -> int:
        ((number,),) = self.database.read(lambda tx: tx.fetch_all("SELECT COUNT(*) FROM messages"))
        return int(number)


Way = Callable[[World, repo_pb2.CreateMessageRequest], dict[str, str]]


def alone(world: World, request: repo_pb2.CreateMessageRequest) -> dict[str, str]:
    try:
        world.do.StoreMessage(request)
    except ChatError as error:
        return error.details
    return {}


def listed(world: World, request: repo_pb2.CreateMessageRequest) -> dict[str, str]:
    (result,) = world.do.StoreMessages(store_pb2.StoreMessagesRequest(messages=[request])).results
    return dict(result.error.details)


def unlocked(world: World, request: repo_pb2.CreateMessageRequest) -> dict[str, str]:
    asked = store_pb2.StoreMessagesRequest(messages=[request], skip_locked=True)
    (result,) = world.do.StoreMessages(asked).results
    return {} if result.message_id else alone(world, request)


WAYS: dict[str, Way] = {"alone": alone, "listed": listed, "unlocked": unlocked}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "hashed", lambda _: "$argon2id$")  # nobody signs in


@pytest.mark.parametrize("size", [0, 12])
@pytest.mark.parametrize("way", WAYS)
def test_each_case_has_its_answer(database: Database, way: str, size: int) -> None:
    world, send = World(database, size), WAYS[way]
    cases: list[tuple[dict[str, Any], str, str, str]] = [
        # settings, who sends, client_msg_id, reason
        ({}, OWNER, "", SENT),
        ({}, MEMBER, "", SENT),
        ({}, MUTED, "", "MUTED"),
        ({}, MUTED_ADMIN, "", "MUTED"),
        ({}, MUTED, "earlier", REPEATED),
        ({}, MUTED, "new", "MUTED"),
        ({"posting": types.WHO_MANAGERS}, OWNER, "", SENT),
        ({}, MEMBER, "", "POSTING"),
        ({}, MUTED, "", "POSTING"),
        ({}, MUTED_ADMIN, "", "MUTED"),
        ({}, MEMBER, "earlier", REPEATED),
        ({"posting": types.WHO_EVERYONE, "slow_mode_seconds": 3600}, MEMBER, "slow", SENT),
        ({}, MEMBER, "slow", REPEATED),
        ({}, MEMBER, "earlier", REPEATED),
        ({}, MEMBER, "", "SLOW_MODE"),
        ({}, MEMBER, "new", "SLOW_MODE"),
        ({}, MUTED, "", "MUTED"),
        ({}, OWNER, "", SENT),
        ({}, OWNER, "", SENT),
        ({"slow_mode_seconds": 0}, MEMBER, "", SENT),
        ({"slow_mode_seconds": 3600}, MEMBER, "", "SLOW_MODE"),
    ]
    for number, (settings, name, key, reason) in enumerate(cases):
        world.set(**settings)
        before = world.stored()
        details = send(world, world.of(name, key))
        assert details.get("reason", "") == ("" if reason == REPEATED else reason), number
        assert world.stored() - before == (reason == SENT), number
        if reason == "MUTED":
            assert details["muted_until"] == str(LATER)
        if reason == "SLOW_MODE":
            assert 3_000_000 < int(details["retry_after_ms"]) <= 3_600_000
    with pytest.raises(ChatError) as other_content:
        world.do.StoreMessage(world.of(MUTED, "earlier", "ho"))
    assert other_content.value.reason == "MUTED"


@pytest.mark.parametrize("size", [0, 12])
def test_of_a_list_in_slow_mode_the_first_of_each_member_is_sent(database: Database, size: int) -> None:
    world = World(database, size, slow_mode_seconds=10)
    names = [MEMBER, OWNER, MEMBER, OWNER, MUTED, MEMBER]
    results = world.do.StoreMessages(
        store_pb2.StoreMessagesRequest(messages=[world.of(name) for name in names])
    ).results
    reasons = [result.error.details.get("reason", "") for result in results]
    assert reasons == ["", "", "SLOW_MODE", "", "MUTED", "SLOW_MODE"]


@pytest.mark.parametrize("size", [0, 12])
def test_services_are_not_bound(database: Database, size: int) -> None:
    world = World(database, size, posting=types.WHO_MANAGERS, slow_mode_seconds=10)
    names = [MEMBER, MUTED, MUTED_ADMIN]
    for name in names:
        for _ in range(2):
            world.do.CreateMessage(world.of(name))
    for skip_locked in (False, True):
        request = store_pb2.StoreMessagesRequest(
            messages=[world.of(name) for name in [*names, *names]],
            unrestricted=[0, 1, 2, 5],
            skip_locked=skip_locked,
        )
        results = world.do.StoreMessages(request).results
        assert [bool(result.message_id) for result in results] == [True, True, True, False, False, True]


def test_what_a_program_of_the_version_before_sends_is_not_bound(database: Database, dialect: str) -> None:
    """It does not say `restricted`, and would take any outcome that it does not know for a message that is sent."""
    if dialect == "sqlite":
        pytest.skip("there is one program at a time")
    world = World(database, 0, posting=types.WHO_MANAGERS)
    outgoing = (
        f'[{{"number": 0, "conversation_id": "{world.group}", "from_user_id": "{world.ids[MEMBER]}", "content": "x",'
        ' "to_user_id": "", "message_type": "text", "metadata": "", "client_msg_id": "", "digest": ""}]'
    )
    text = "SELECT outcome FROM send_messages(?, ?, ?)"
    assert database.write(lambda tx: tx.fetch_all(text, world.group, outgoing, 1)) == [("sent",)]
