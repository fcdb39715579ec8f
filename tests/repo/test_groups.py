"""Members and roles of groups, whose rules the repo half judges: through LogicService, then RepoService itself."""

from typing import Any

import pytest

from gochat.api.common.v1.common_pb2 import PaginationRequest
from gochat.api.repo.v1 import repo_pb2
from tests.conversations import group
from tests.harness import Deployment, Person, as_service, refused
from tests.waiting import next_millisecond

UNKNOWN = "u00000000000000000000000000"
NO_GROUP = "g00000000000000000000000000"


@pytest.fixture(scope="module")
def people(app: Deployment) -> list[Person]:
    """Users that the tests of this file share: each test makes groups of its own."""
    return app.people(5)


@pytest.fixture(scope="module")
def repo(app: Deployment) -> Any:
    return as_service(app).repo


def roles(repo: Any, group_id: str) -> dict[str, str]:
    return {member.user_id: member.role for member in repo.GetGroupMembers(group_id=group_id).members}


def promote(repo: Any, group_id: str, *people: Person) -> None:
    for person in people:
        repo.UpdateGroupMemberRole(group_id=group_id, user_id=person.id, role="admin")


def test_owner_and_admins_add_members(repo: Any, people: list[Person]) -> None:
    owner, admin, bob, carol, _ = people
    group_id = group(owner, admin)
    promote(repo, group_id, admin)
    assert owner.AddGroupMember(group_id=group_id, user_ids=[bob.id]).success
    assert admin.AddGroupMember(group_id=group_id, user_ids=[carol.id], operator_id=admin.id).success
    assert roles(repo, group_id) == {owner.id: "owner", admin.id: "admin", bob.id: "member", carol.id: "member"}


def test_only_newcomers_are_answered_in_the_order_of_the_request(people: list[Person]) -> None:
    owner, bob, carol, dave, erin = people
    group_id = group(owner, bob)
    wanted = [erin.id, bob.id, carol.id, owner.id, dave.id, erin.id]
    assert owner.AddGroupMember(group_id=group_id, user_ids=wanted).added_user_ids == [erin.id, carol.id, dave.id]
    assert owner.AddGroupMember(group_id=group_id, user_ids=wanted).added_user_ids == []
    assert owner.GetGroupInfo(group_id=group_id).group.current_members == 5


def test_all_are_added_or_none(repo: Any, people: list[Person]) -> None:
    owner, bob, carol, dave, _ = people
    group_id = group(owner, bob, max_members=3)
    before = roles(repo, group_id)
    with refused("NOT_FOUND", "user_ids", "USER_NOT_FOUND"):
        owner.AddGroupMember(group_id=group_id, user_ids=[carol.id, UNKNOWN])
    with refused("PERMISSION_DENIED", reason="GROUP_FULL"):
        owner.AddGroupMember(group_id=group_id, user_ids=[carol.id, dave.id])
    with refused("INVALID_ARGUMENT", "user_ids"):
        owner.AddGroupMember(group_id=group_id)
    assert roles(repo, group_id) == before
    assert owner.AddGroupMember(group_id=group_id, user_ids=[carol.id, bob.id]).added_user_ids == [carol.id]


def test_members_and_strangers_add_nobody(people: list[Person]) -> None:
    owner, member, stranger, dave, _ = people
    group_id = group(owner, member)
    for person, reason in ((member, "NOT_A_MANAGER"), (stranger, "NOT_A_PARTICIPANT")):
        with refused("PERMISSION_DENIED", reason=reason):
            person.AddGroupMember(group_id=group_id, user_ids=[dave.id])
        with refused("PERMISSION_DENIED", reason="NOT_YOURSELF"):
            person.AddGroupMember(group_id=group_id, user_ids=[dave.id], operator_id=owner.id)
        with refused("PERMISSION_DENIED", reason="NOT_YOURSELF"):
            person.RemoveGroupMember(group_id=group_id, user_id=member.id, operator_id=owner.id)


def test_a_service_names_the_operator_whose_rights_are_judged(app: Deployment, people: list[Person]) -> None:
    owner, member, carol, *_ = people
    group_id = group(owner, member)
    logic = as_service(app).logic
    for call, field in (
        (logic.AddGroupMember, {"user_ids": [carol.id]}),
        (logic.RemoveGroupMember, {"user_id": carol.id}),
    ):
        with refused("INVALID_ARGUMENT", "operator_id"):
            call(group_id=group_id, **field)
        with refused("PERMISSION_DENIED", reason="NOT_A_MANAGER"):
            call(group_id=group_id, operator_id=member.id, **field)
        assert call(group_id=group_id, operator_id=owner.id, **field).success


@pytest.mark.parametrize(
    ("operator", "target", "reason"),
    [
        ("owner", "owner", "OWNER"),
        ("owner", "admin", ""),
        ("owner", "member", ""),
        ("admin", "owner", "OWNER"),
        ("admin", "admin", "NOT_A_MANAGER"),
        ("admin", "member", ""),
        ("member", "owner", "OWNER"),
        ("member", "admin", "NOT_A_MANAGER"),
        ("member", "member", "NOT_A_MANAGER"),
    ],
)
def test_roles_decide_who_may_remove_a_member(
    repo: Any, people: list[Person], operator: str, target: str, reason: str
) -> None:
    owner, admin, other_admin, member, other_member = people
    group_id = group(owner, admin, other_admin, member, other_member)
    promote(repo, group_id, admin, other_admin)
    actor = {"owner": owner, "admin": admin, "member": member}[operator]
    user_id = {"owner": owner, "admin": other_admin, "member": other_member}[target].id
    if reason:
        with refused("PERMISSION_DENIED", reason=reason):
            actor.RemoveGroupMember(group_id=group_id, user_id=user_id)
    else:
        assert actor.RemoveGroupMember(group_id=group_id, user_id=user_id).success
    assert (user_id in roles(repo, group_id)) == bool(reason)
    assert repo.GetGroup(group_id=group_id).group.current_members == (5 if reason else 4)


def test_only_members_are_removed_and_only_by_members(people: list[Person]) -> None:
    owner, bob, stranger, *_ = people
    group_id = group(owner, bob)
    for nobody in (stranger.id, UNKNOWN):
        with refused("NOT_FOUND", "user_id", "MEMBER_NOT_FOUND"):
            owner.RemoveGroupMember(group_id=group_id, user_id=nobody)
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        stranger.RemoveGroupMember(group_id=group_id, user_id=bob.id)
    with refused("INVALID_ARGUMENT", "user_id"):
        owner.RemoveGroupMember(group_id=group_id)


def test_a_removed_member_sees_nothing_any_more(people: list[Person]) -> None:
    owner, bob, *_ = people
    group_id = group(owner, bob)
    message_id = owner.send(group_id).message_id
    owner.RemoveGroupMember(group_id=group_id, user_id=bob.id)
    for rpc, fields in {
        "GetMessageHistory": {"conversation_id": group_id},
        "SendMessage": {"conversation_id": group_id, "content": "but"},
        "MarkMessageRead": {"conversation_id": group_id, "message_id": message_id},
        "DeleteConversation": {"conversation_id": group_id},
        "GetGroupMembers": {"group_id": group_id},
    }.items():
        with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
            getattr(bob, rpc)(**fields)
    assert group_id not in {info.conversation_id for info in bob.GetConversations().conversations}
    assert group_id not in {info.conversation_id for info in bob.GetUnreadMessages().conversations}


def test_members_are_listed_by_the_time_they_joined(app: Deployment, people: list[Person]) -> None:
    owner, bob, carol, dave, stranger = people
    group_id = group(owner)
    for person in (dave, bob, carol):
        next_millisecond()  # those who join in the same one have no order
        person.JoinGroup(group_id=group_id)
    pages = [listed(bob, group_id, page=page, limit=3) for page in (1, 2, 3)]
    assert [[member.user_id for member in page.members] for page in pages] == [
        [owner.id, dave.id, bob.id],
        [carol.id],
        [],
    ]
    assert [(page.pagination.total, page.pagination.page, page.pagination.limit) for page in pages] == [
        (4, page, 3) for page in (1, 2, 3)
    ]
    first, *_, last = bob.GetGroupMembers(group_id=group_id).members
    assert (first.role, first.nickname) == ("owner", owner.username)
    assert 0 < first.joined_at <= last.joined_at
    assert listed(bob, group_id).pagination.limit == 50
    assert len(listed(bob, group_id, limit=200).members) == 4
    for bad, field in (({"limit": 201}, "limit"), ({"limit": -1}, "limit"), ({"page": -1}, "page")):
        with refused("INVALID_ARGUMENT", f"pagination.{field}"):
            listed(bob, group_id, **bad)
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        listed(stranger, group_id)
    assert len(as_service(app).logic.GetGroupMembers(group_id=group_id).members) == 4


def listed(viewer: Person, group_id: str, **pagination: int) -> Any:
    return viewer.GetGroupMembers(group_id=group_id, pagination=PaginationRequest(**pagination))


def test_the_repo_creates_a_group_with_its_owner_alone(repo: Any, people: list[Person]) -> None:
    owner = people[0]
    created = repo.CreateGroup(name="Climbers", description="d", avatar="a", owner_id=owner.id, max_members=2)
    assert created.group == repo.GetGroup(group_id=created.group_id).group
    assert (created.group.owner_id, created.group.current_members, created.group.max_members) == (owner.id, 1, 2)
    assert roles(repo, created.group_id) == {owner.id: "owner"}
    with refused("NOT_FOUND", "owner_id", "USER_NOT_FOUND"):
        repo.CreateGroup(name="Climbers", owner_id=UNKNOWN)
    for bad in ({"name": ""}, {"owner_id": ""}, {"max_members": -1}, {"max_members": 100_001}):
        with refused("INVALID_ARGUMENT", next(iter(bad))):
            repo.CreateGroup(**{"name": "Climbers", "owner_id": owner.id} | bad)


def test_the_repo_asks_for_no_operator(repo: Any, people: list[Person]) -> None:
    owner, bob, carol, *_ = people
    group_id = group(owner, max_members=3)
    assert repo.AddGroupMember(group_id=group_id, user_id=bob.id, role="admin").success
    assert repo.AddGroupMember(group_id=group_id, user_id=carol.id).success
    assert roles(repo, group_id) == {owner.id: "owner", bob.id: "admin", carol.id: "member"}
    assert set(repo.GetConversationParticipants(conversation_id=group_id).participant_ids) == {
        owner.id,
        bob.id,
        carol.id,
    }
    with refused("INVALID_ARGUMENT", "max_members"):
        repo.UpdateGroup(group_id=group_id, max_members=2)
    assert repo.UpdateGroup(group_id=group_id, name="Hikers").group.name == "Hikers"
    assert repo.RemoveGroupMember(group_id=group_id, user_id=bob.id).success
    with refused("PERMISSION_DENIED", reason="REMOVED"):
        bob.JoinGroup(group_id=group_id)
    with refused("PERMISSION_DENIED", reason="OWNER"):
        repo.RemoveGroupMember(group_id=group_id, user_id=owner.id)
    with refused("PERMISSION_DENIED", reason="NOT_A_SERVICE"):
        owner.app.repo.GetGroup(repo_pb2.GetGroupRequest(group_id=group_id), metadata=owner.metadata)


def test_the_repo_names_the_bad_field(repo: Any, people: list[Person]) -> None:
    owner, bob, carol, *_ = people
    group_id = group(owner, bob, max_members=2)
    single = owner.CreateConversation(type="single", user_ids=[bob.id]).conversation_id
    add, role = repo.AddGroupMember, repo.UpdateGroupMemberRole
    for status, field, call, fields in (
        ("ALREADY_EXISTS", "user_id", add, {"user_id": bob.id}),
        ("PERMISSION_DENIED", "", add, {"user_id": carol.id}),
        ("NOT_FOUND", "user_id", add, {"user_id": UNKNOWN}),
        ("NOT_FOUND", "group_id", add, {"user_id": carol.id, "group_id": NO_GROUP}),
        ("INVALID_ARGUMENT", "role", add, {"user_id": carol.id, "role": "owner"}),
        ("INVALID_ARGUMENT", "role", role, {"user_id": bob.id}),
        ("INVALID_ARGUMENT", "role", role, {"user_id": bob.id, "role": "king"}),
        ("NOT_FOUND", "user_id", role, {"user_id": carol.id, "role": "admin"}),
        ("NOT_FOUND", "user_id", repo.RemoveGroupMember, {"user_id": carol.id}),
        ("NOT_FOUND", "group_id", repo.GetGroup, {"group_id": single}),
        ("NOT_FOUND", "group_id", repo.GetGroupMembers, {"group_id": single}),
        ("NOT_FOUND", "group_id", repo.UpdateGroup, {"group_id": single, "name": "n"}),
    ):
        with refused(status, field):
            call(**{"group_id": group_id} | fields)


def test_a_group_has_exactly_one_owner(repo: Any, people: list[Person]) -> None:
    owner, bob, carol, *_ = people
    group_id = group(owner, bob, carol)

    def change(person: Person, role: str) -> Any:
        return repo.UpdateGroupMemberRole(group_id=group_id, user_id=person.id, role=role)

    for role in ("admin", "member"):
        assert change(bob, role).success
        assert roles(repo, group_id)[bob.id] == role
        with refused("PERMISSION_DENIED", reason="OWNER"):
            change(owner, role)
    change(owner, "owner")
    assert roles(repo, group_id) == {owner.id: "owner", bob.id: "member", carol.id: "member"}
    change(bob, "owner")
    assert roles(repo, group_id) == {owner.id: "admin", bob.id: "owner", carol.id: "member"}
    assert repo.GetGroup(group_id=group_id).group.owner_id == bob.id
    with refused("PERMISSION_DENIED", reason="OWNER"):
        owner.RemoveGroupMember(group_id=group_id, user_id=bob.id)
    assert bob.RemoveGroupMember(group_id=group_id, user_id=owner.id).success


def test_groups_of_a_user_are_listed_latest_activity_first(app: Deployment, repo: Any, people: list[Person]) -> None:
    reader, owner = app.person(), people[0]
    assert repo.GetGroupsByUser(user_id=reader.id).pagination.total == 0
    first, second, third, left = (group(owner, reader) for _ in range(4))
    reader.LeaveGroup(group_id=left)
    owner.send(reader.id, "a one-to-one conversation is no group")
    for group_id in (second, third, first):
        next_millisecond()
        owner.send(group_id, "the latest activity")
    pages = [
        repo.GetGroupsByUser(user_id=reader.id, pagination=PaginationRequest(page=page, limit=2)) for page in (1, 2)
    ]
    assert [[found.group_id for found in page.groups] for page in pages] == [[first, third], [second]]
    assert pages[1].pagination.total == 3
    assert pages[0].groups[0] == repo.GetGroup(group_id=first).group
    with refused("NOT_FOUND", "user_id", "USER_NOT_FOUND"):
        repo.GetGroupsByUser(user_id=UNKNOWN)
    with refused("INVALID_ARGUMENT", "pagination.limit"):
        repo.GetGroupsByUser(user_id=reader.id, pagination=PaginationRequest(limit=101))
