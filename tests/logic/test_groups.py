"""Groups: founding, changing, joining, leaving. Managing members and roles is in tests/repo/test_groups.py."""

from typing import Any

import pytest

from gochat.api.common.v1.common_pb2 import PaginationRequest
from tests.conversations import contents, group, unread
from tests.harness import Deployment, Person, as_service, refused

UNKNOWN = "u00000000000000000000000000"


@pytest.fixture(scope="module")
def people(app: Deployment) -> list[Person]:
    """Users that the tests of this file share: each test makes groups of its own."""
    return app.people(5)


def group_with_admin(owner: Person, admin: Person, *members: Person) -> str:
    group_id = group(owner, admin, *members)
    set_role(admin, group_id, "admin")
    return group_id


def set_role(person: Person, group_id: str, role: str) -> None:
    as_service(person.app).repo.UpdateGroupMemberRole(group_id=group_id, user_id=person.id, role=role)


def roles(viewer: Person, group_id: str) -> dict[str, str]:
    return {member.user_id: member.role for member in viewer.GetGroupMembers(group_id=group_id).members}


def conversations(person: Person) -> set[str]:
    page = PaginationRequest(limit=100)
    return {info.conversation_id for info in person.GetConversations(pagination=page).conversations}


def test_whoever_creates_a_group_owns_it(people: list[Person]) -> None:
    owner, bob, carol, *_ = people
    fields = {"name": "Climbers", "description": "On Sundays", "avatar": "https://x/y.png", "max_members": 10}
    created = owner.CreateGroup(**fields, member_ids=[bob.id, carol.id])
    group = created.group
    assert created.group_id == group.group_id
    assert {name: getattr(group, name) for name in fields} == fields
    assert (group.owner_id, group.current_members) == (owner.id, 3)
    assert group.created_at == group.updated_at > 0
    assert bob.GetGroupInfo(group_id=created.group_id).group == group
    assert roles(carol, created.group_id) == {owner.id: "owner", bob.id: "member", carol.id: "member"}
    bob.send(created.group_id, "a group is a conversation")


def test_members_named_twice_and_the_owner_count_once(people: list[Person]) -> None:
    owner, bob, *_ = people
    group_id = group(owner, bob, owner, bob)
    assert owner.GetGroupInfo(group_id=group_id).group.current_members == 2
    assert roles(owner, group_id) == {owner.id: "owner", bob.id: "member"}


def test_an_unknown_member_stops_the_creation(people: list[Person]) -> None:
    owner, bob, *_ = people
    before = conversations(bob)
    with refused("NOT_FOUND", "member_ids", "USER_NOT_FOUND") as refusal:
        owner.CreateGroup(name="Climbers", member_ids=[bob.id, UNKNOWN])
    assert UNKNOWN in (refusal.fields or {})["member_ids"]
    assert conversations(bob) == before


def test_a_group_is_not_created_with_more_members_than_it_may_have(people: list[Person]) -> None:
    owner, bob, carol, *_ = people
    with refused("INVALID_ARGUMENT", "member_ids"):
        group(owner, bob, carol, max_members=2)
    assert group(owner, bob, carol, max_members=3)
    assert owner.CreateGroup(name="Climbers").group.max_members == 500
    with refused("INVALID_ARGUMENT", "member_ids"):
        owner.CreateGroup(name="Climbers", member_ids=[f"u{number}" for number in range(500)])


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "n" * 101}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"description": "d" * 1001}, "description"),
        ({"avatar": "a" * 2049}, "avatar"),
        ({"max_members": -1}, "max_members"),
        ({"max_members": 100_001}, "max_members"),
        ({"member_ids": [""]}, "member_ids[0]"),
        ({"member_ids": ["u"] * 1001}, "member_ids"),
    ],
)
def test_fields_of_a_group_have_limits(people: list[Person], fields: dict[str, Any], field: str) -> None:
    with refused("INVALID_ARGUMENT", field, "INVALID_FIELD"):
        people[0].CreateGroup(**{"name": "Climbers"} | fields)
    if field in {"description", "avatar", "max_members"} or len(fields.get("name", "")) > 1:
        with refused("INVALID_ARGUMENT", field, "INVALID_FIELD"):
            people[0].UpdateGroup(group_id="g", **fields)


def test_the_largest_fields_are_kept(people: list[Person]) -> None:
    fields = {"name": "群" * 100, "description": "说" * 1000, "avatar": "a" * 2048, "max_members": 100_000}
    group = people[0].CreateGroup(**fields).group
    assert {name: getattr(group, name) for name in fields} == fields


def test_nobody_creates_a_group_for_another(app: Deployment, people: list[Person]) -> None:
    owner, bob, *_ = people
    with refused("PERMISSION_DENIED", reason="NOT_YOURSELF"):
        owner.CreateGroup(name="Climbers", owner_id=bob.id)
    with refused("INVALID_ARGUMENT", "owner_id"):
        as_service(app).logic.CreateGroup(name="Climbers")
    assert as_service(app).logic.CreateGroup(name="Climbers", owner_id=bob.id).group.owner_id == bob.id


def test_whoever_knows_the_id_sees_a_group(people: list[Person]) -> None:
    owner, bob, carol, *_ = people
    group_id = group(owner)
    assert bob.GetGroupInfo(group_id=group_id).group.name == "group"
    single = owner.CreateConversation(type="single", user_ids=[carol.id]).conversation_id
    for other in (single, "g" + UNKNOWN[1:]):
        with refused("NOT_FOUND", "group_id", "GROUP_NOT_FOUND"):
            owner.GetGroupInfo(group_id=other)
    with refused("INVALID_ARGUMENT", "group_id"):
        owner.GetGroupInfo()


def test_owner_and_admins_update_a_group(app: Deployment, people: list[Person]) -> None:
    owner, admin, member, stranger, _ = people
    group_id = group_with_admin(owner, admin, member)
    assert owner.UpdateGroup(group_id=group_id, name="Hikers", max_members=7).group.name == "Hikers"
    changed = admin.UpdateGroup(group_id=group_id, description="Slowly", avatar="a")
    assert (changed.success, changed.group) == (True, member.GetGroupInfo(group_id=group_id).group)
    group = changed.group
    assert (group.name, group.description, group.avatar, group.max_members) == ("Hikers", "Slowly", "a", 7)
    assert admin.UpdateGroup(group_id=group_id).group == group, "what is empty or 0 is unchanged"
    for outsider, reason in ((member, "NOT_A_MANAGER"), (stranger, "NOT_A_PARTICIPANT")):
        with refused("PERMISSION_DENIED", reason=reason):
            outsider.UpdateGroup(group_id=group_id, name="Sleepers")
    assert as_service(app).logic.UpdateGroup(group_id=group_id, name="Divers").group.name == "Divers"


def test_max_members_is_never_below_the_number_of_members(people: list[Person]) -> None:
    owner, bob, carol, *_ = people
    group_id = group(owner, bob, carol)
    with refused("INVALID_ARGUMENT", "max_members"):
        owner.UpdateGroup(group_id=group_id, name="Hikers", max_members=2)
    assert owner.GetGroupInfo(group_id=group_id).group.name == "group"
    assert owner.UpdateGroup(group_id=group_id, max_members=3).group.max_members == 3


def test_whoever_knows_the_id_joins_a_group_once(people: list[Person]) -> None:
    owner, bob, carol, *_ = people
    group_id = group(owner)
    assert bob.JoinGroup(group_id=group_id).success
    assert roles(bob, group_id) == {owner.id: "owner", bob.id: "member"}
    with refused("ALREADY_EXISTS", reason="ALREADY_A_MEMBER"):
        bob.JoinGroup(group_id=group_id)
    with refused("PERMISSION_DENIED", reason="NOT_YOURSELF"):
        bob.JoinGroup(group_id=group_id, user_id=carol.id)
    with refused("NOT_FOUND", "group_id"):
        bob.JoinGroup(group_id="g" + UNKNOWN[1:])
    assert owner.GetGroupInfo(group_id=group_id).group.current_members == 2


def test_a_full_group_takes_nobody_until_somebody_leaves(people: list[Person]) -> None:
    owner, bob, carol, *_ = people
    group_id = group(owner, bob, max_members=2)
    with refused("PERMISSION_DENIED", reason="GROUP_FULL"):
        carol.JoinGroup(group_id=group_id)
    with refused("PERMISSION_DENIED", reason="GROUP_FULL"):
        owner.AddGroupMember(group_id=group_id, user_ids=[carol.id])
    with refused("ALREADY_EXISTS"):
        bob.JoinGroup(group_id=group_id)
    bob.LeaveGroup(group_id=group_id)
    assert carol.JoinGroup(group_id=group_id).success


def test_a_removed_member_joins_again_only_after_being_added(people: list[Person]) -> None:
    owner, bob, *_ = people
    group_id = group(owner, bob)
    for _ in range(2):
        owner.RemoveGroupMember(group_id=group_id, user_id=bob.id)
        with refused("PERMISSION_DENIED", reason="REMOVED"):
            bob.JoinGroup(group_id=group_id)
        assert owner.AddGroupMember(group_id=group_id, user_ids=[bob.id]).added_user_ids == [bob.id]
    bob.LeaveGroup(group_id=group_id)
    assert bob.JoinGroup(group_id=group_id).success


def test_a_member_who_leaves_is_no_member_any_more(people: list[Person]) -> None:
    owner, bob, carol, *_ = people
    group_id = group(owner, bob)
    with refused("PERMISSION_DENIED", reason="NOT_YOURSELF"):
        owner.LeaveGroup(group_id=group_id, user_id=bob.id)
    assert bob.LeaveGroup(group_id=group_id).success
    assert owner.GetGroupInfo(group_id=group_id).group.current_members == 1
    assert roles(owner, group_id) == {owner.id: "owner"}
    for outsider in (bob, carol):
        with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
            outsider.LeaveGroup(group_id=group_id)


def test_the_owner_hands_the_group_over_before_leaving(people: list[Person]) -> None:
    owner, bob, *_ = people
    group_id = group(owner, bob)
    with refused("PERMISSION_DENIED", reason="OWNER"):
        owner.LeaveGroup(group_id=group_id)
    set_role(bob, group_id, "owner")
    assert roles(bob, group_id) == {owner.id: "admin", bob.id: "owner"}
    assert owner.LeaveGroup(group_id=group_id).success
    assert owner.GetGroupInfo(group_id=group_id).group.owner_id == bob.id


def test_the_last_member_dissolves_the_group_by_leaving(people: list[Person]) -> None:
    owner, bob, *_ = people
    group_id = group(owner, bob)
    message_id = owner.send(group_id).message_id
    bob.LeaveGroup(group_id=group_id)
    assert owner.LeaveGroup(group_id=group_id).success
    in_group, conversation = {"group_id": group_id}, {"conversation_id": group_id}
    for rpc, fields in {
        "GetGroupInfo": in_group,
        "UpdateGroup": in_group | {"name": "Hikers"},
        "JoinGroup": in_group,
        "LeaveGroup": in_group,
        "GetGroupMembers": in_group,
        "AddGroupMember": in_group | {"user_ids": [bob.id]},
        "RemoveGroupMember": in_group | {"user_id": bob.id},
        "SendMessage": conversation | {"content": "anybody here?"},
        "GetMessageHistory": conversation,
        "MarkMessageRead": conversation | {"message_id": message_id},
        "UpdateConversation": conversation | {"name": "Hikers"},
        "DeleteConversation": conversation,
    }.items():
        with refused("NOT_FOUND", next(iter(fields))):
            getattr(owner, rpc)(**fields)
    assert group_id not in conversations(owner)


def test_a_new_member_has_nothing_unread_and_may_read_the_history(people: list[Person]) -> None:
    owner, bob, carol, *_ = people
    group_id = group(owner)
    owner.send(group_id, "before")
    bob.JoinGroup(group_id=group_id)
    owner.AddGroupMember(group_id=group_id, user_ids=[carol.id])
    for newcomer in (bob, carol):
        assert unread(newcomer, group_id) == 0
        assert contents(newcomer, group_id) == ["before"]
    owner.send(group_id, "after")
    assert unread(bob, group_id) == unread(carol, group_id) == 1
