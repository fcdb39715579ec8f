"""In another's name and in another's conversation: what one is not, is not in, and may not see any more.

That nobody acts in another's name, RPC by RPC, is in test_access.py; who may remove a member is in
tests/repo/test_groups.py.
"""

from typing import Any

import pytest

from gochat.api.repo.v1 import repo_pb2
from gochat.domain import ids
from gochat.internal.account.v1 import account_pb2
from gochat.services import SERVICES, Audience
from tests.conversations import contents, group, single
from tests.harness import Deployment, Person, as_service, caller, fresh, refused

UNKNOWN = "00000000000000000000000000"


@pytest.fixture(scope="module")
def people(app: Deployment) -> list[Person]:
    """Users that the tests of this file share: each test makes conversations of its own."""
    return app.people(4)


@pytest.fixture(scope="module")
def platform_admin(app: Deployment) -> Person:
    person = app.person("admin")
    app.account.SetUserRole(account_pb2.SetUserRoleRequest(user_id=person.id, role="admin"), metadata=app.service)
    return app.signed_in(person.id, person.username)


def roles(app: Deployment, group_id: str) -> dict[str, str]:
    return {member.user_id: member.role for member in as_service(app).repo.GetGroupMembers(group_id=group_id).members}


def within(group_id: str, user_id: str) -> dict[str, dict[str, Any]]:
    """What one may try in a group or a conversation: RPC -> fields."""
    conversation, group = {"conversation_id": group_id}, {"group_id": group_id}
    return {
        "GetMessageHistory": conversation,
        "MarkMessageRead": conversation | {"message_id": ids.message(group_id, 1)},
        "SendMessage": conversation | {"content": "hello"},
        "DeleteConversation": conversation,
        "UpdateConversation": conversation | {"name": "Mine"},
        "GetGroupInfo": group,
        "UpdateGroup": group | {"name": "Mine", "max_members": 10},
        "JoinGroup": group,
        "LeaveGroup": group,
        "GetGroupMembers": group,
        "AddGroupMember": group | {"user_ids": [user_id]},
        "RemoveGroupMember": group | {"user_id": user_id},
    }


@pytest.mark.parametrize("kind", ["g", "s"])
def test_calls_for_an_unknown_conversation_are_refused(people: list[Person], kind: str) -> None:
    ann, ben, *_ = people
    for rpc, fields in within(kind + UNKNOWN, ben.id).items():
        with refused("NOT_FOUND", next(iter(fields))):
            getattr(ann, rpc)(**fields)


def test_a_one_to_one_conversation_is_no_group_to_anyone(app: Deployment, people: list[Person]) -> None:
    ann, ben, cem, _ = people
    conversation_id = single(ann, ben)
    attempts = {rpc: fields for rpc, fields in within(conversation_id, cem.id).items() if "group_id" in fields}
    for one in (ann, cem, as_service(app).logic):
        for rpc, fields in attempts.items():
            actor = {"JoinGroup": "user_id", "LeaveGroup": "user_id"}.get(rpc, "operator_id")
            takes = rpc in ("JoinGroup", "LeaveGroup", "AddGroupMember", "RemoveGroupMember")
            named = {actor: ann.id} if takes and not isinstance(one, Person) else {}
            with refused("NOT_FOUND", "group_id", "GROUP_NOT_FOUND"):
                getattr(one, rpc)(**fields, **named)
    repo = as_service(app).repo
    for call, fields in (
        (repo.AddGroupMember, {"user_id": cem.id}),
        (repo.RemoveGroupMember, {"user_id": ben.id}),
        (repo.UpdateGroupMemberRole, {"user_id": ben.id, "role": "owner"}),
    ):
        with refused("NOT_FOUND", "group_id", "GROUP_NOT_FOUND"):
            call(group_id=conversation_id, **fields)
    participants = repo.GetConversationParticipants(conversation_id=conversation_id).participant_ids
    assert set(participants) == {ann.id, ben.id}


def test_naming_the_recipient_lets_nobody_into_the_conversation_of_others(people: list[Person]) -> None:
    ann, ben, cem, _ = people
    ann.send(ben.id, "between us")
    for to_user_id in (ann.id, ben.id):
        with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
            cem.SendMessage(conversation_id=single(ann, ben), to_user_id=to_user_id, content="me too")
    assert contents(ann, single(ann, ben))[0] == "between us"


def test_a_message_id_of_another_conversation_reveals_nothing_of_it(people: list[Person]) -> None:
    """Whether the other conversation exists and has that message, the answer is the same."""
    ann, ben, cem, _ = people
    here, there = group(ann), group(ben, cem)
    ann.send(here, "here")
    existing = ben.send(there, "secret").message_id
    for rpc, field, status in (
        ("GetMessageHistory", "before_message_id", "INVALID_ARGUMENT"),
        ("MarkMessageRead", "message_id", "NOT_FOUND"),
    ):
        refusals = set()
        for message_id in (existing, ids.message(there, 2), ids.message("g" + UNKNOWN, 1), ids.message(here, 2)):
            with refused(status, field) as refusal:
                getattr(ann, rpc)(conversation_id=here, **{field: message_id})
            refusals.add((refusal.message, refusal.reason, str(refusal.fields)))
        assert len(refusals) == 1
    assert ben.GetMessageHistory(conversation_id=there).messages[0].status == 1


def test_outsiders_cannot_probe_which_messages_a_conversation_has(people: list[Person]) -> None:
    ann, ben, cem, _ = people
    room = group(ben, cem)
    sent = ben.send(room, "secret").message_id
    for message_id in (sent, ids.message(room, 2), "garbage"):
        with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
            ann.GetMessageHistory(conversation_id=room, before_message_id=message_id)
        with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
            ann.MarkMessageRead(conversation_id=room, message_id=message_id)


@pytest.mark.parametrize("status", [4, 5], ids=["recalled", "deleted"])
@pytest.mark.parametrize("kind", ["group", "single"])
def test_a_recalled_or_deleted_message_is_readable_nowhere(
    app: Deployment, people: list[Person], kind: str, status: int
) -> None:
    ann, ben, cem, _ = people
    room = group(ann, ben, cem) if kind == "group" else single(ann, ben)
    service, secret, key = as_service(app), fresh("secret"), {"client_msg_id": fresh("key"), "note": fresh("secret")}
    before = ann.send(room, "before").message_id
    message_id = ann.send(room, secret, metadata=key).message_id
    after = ben.send(room, "quoting it", metadata={"reply_to": message_id}).message_id
    service.repo.UpdateMessageStatus(message_id=message_id, user_id=ann.id, status=status)
    service.repo.DeleteMessage(message_id=after, user_id=ben.id)  # what was withdrawn is the newest now
    answers = [service.repo.GetMessages(conversation_id=room, message_ids=[message_id, before])]
    answers += [service.repo.GetMessages(conversation_id=room), service.repo.GetConversation(conversation_id=room)]
    answers += [service.logic.GetMessageHistory(conversation_id=room)]
    for reader in (ann, ben):
        answers += [
            reader.GetMessageHistory(conversation_id=room),
            reader.GetConversations(),
            reader.GetUnreadMessages(),
        ]
        answers += [reader.GetMessageHistory(conversation_id=room, before_message_id=after)]
        answers += [service.repo.GetConversationsByUser(user_id=reader.id)]
    answers += [ann.UpdateConversation(conversation_id=room, name="Renamed")]
    answers += [ann.CreateConversation(type="single", user_ids=[ben.id])]
    answers += [ann.send(room, secret, metadata=key)]
    fields = {"conversation_id": room, "from_user_id": ann.id, "content": secret, "metadata": key}
    answers += [service.repo.CreateMessage(**fields)]
    for answer in answers:
        assert secret not in str(answer)
        assert key["note"] not in str(answer)
    assert answers[-1].message_id == message_id, "the repeated send found the message, and put nothing back"
    assert answers[-1].message.status == status


def test_no_member_changes_their_own_role(app: Deployment, people: list[Person]) -> None:
    owner, admin, member, outsider = people
    group_id = group(owner, admin, member)
    service = as_service(app).repo
    service.UpdateGroupMemberRole(group_id=group_id, user_id=admin.id, role="admin")
    before = roles(app, group_id)
    for one in (owner, admin, member, outsider):
        repo = caller(app.repo, repo_pb2, "RepoService", "UpdateGroupMemberRole", one.metadata)
        for role in ("admin", "owner"):
            with refused("PERMISSION_DENIED", reason="NOT_A_SERVICE"):
                repo(group_id=group_id, user_id=one.id, role=role)
        add = caller(app.repo, repo_pb2, "RepoService", "AddGroupMember", one.metadata)
        with refused("PERMISSION_DENIED", reason="NOT_A_SERVICE"):
            add(group_id=group_id, user_id=one.id, role="admin")
    assert roles(app, group_id) == before


def test_no_request_of_an_app_has_a_role_or_a_status() -> None:
    for service in SERVICES:
        for name, message in service.descriptor.file.message_types_by_name.items():
            if service.audience is Audience.APPS and name.endswith("Request") and name != "SetMemberRoleRequest":
                assert not {"role", "status", "include_inactive"} & set(message.fields_by_name), name


@pytest.mark.parametrize("role", ["king", "Owner", "ADMIN", " admin", "admin\0", "moderator"])
def test_an_unknown_role_is_refused(app: Deployment, people: list[Person], role: str) -> None:
    owner, ben, cem, _ = people
    group_id, repo = group(owner, ben), as_service(app).repo
    with refused("INVALID_ARGUMENT", "role", "INVALID_FIELD"):
        repo.UpdateGroupMemberRole(group_id=group_id, user_id=ben.id, role=role)
    with refused("INVALID_ARGUMENT", "role", "INVALID_FIELD"):
        repo.AddGroupMember(group_id=group_id, user_id=cem.id, role=role)
    assert roles(app, group_id) == {owner.id: "owner", ben.id: "member"}


def test_a_member_removed_and_added_again_is_a_plain_member(app: Deployment, people: list[Person]) -> None:
    """The role of before does not come back, and what was joined again is all of it."""
    owner, admin, *_ = people
    group_id = group(owner, admin)
    as_service(app).repo.UpdateGroupMemberRole(group_id=group_id, user_id=admin.id, role="admin")
    owner.RemoveGroupMember(group_id=group_id, user_id=admin.id)
    owner.AddGroupMember(group_id=group_id, user_ids=[admin.id])
    assert roles(app, group_id) == {owner.id: "owner", admin.id: "member"}
    with refused("PERMISSION_DENIED", reason="NOT_A_MANAGER"):
        admin.UpdateGroup(group_id=group_id, name="Mine")
    assert admin.send(group_id, "back again").message_id


def test_a_former_owner_cannot_regain_the_group(app: Deployment, people: list[Person]) -> None:
    owner, heir, member, _ = people
    group_id = group(owner, heir, member)
    as_service(app).repo.UpdateGroupMemberRole(group_id=group_id, user_id=heir.id, role="owner")
    with refused("PERMISSION_DENIED", reason="OWNER"):
        owner.RemoveGroupMember(group_id=group_id, user_id=heir.id)
    owner.LeaveGroup(group_id=group_id)
    owner.JoinGroup(group_id=group_id)
    with refused("PERMISSION_DENIED", reason="NOT_A_MANAGER"):
        owner.RemoveGroupMember(group_id=group_id, user_id=member.id)
    assert roles(app, group_id) == {heir.id: "owner", member.id: "member", owner.id: "member"}


def test_a_platform_admin_sends_no_system_message_through_the_repo(
    app: Deployment, people: list[Person], platform_admin: Person
) -> None:
    ann, room = people[0], group(people[0])
    create = caller(app.repo, repo_pb2, "RepoService", "CreateMessage", platform_admin.metadata)
    with refused("PERMISSION_DENIED", reason="SYSTEM_MESSAGE"):
        create(conversation_id=room, from_user_id=ann.id, content="You have won", message_type="system")
    assert contents(ann, room) == []


def test_an_email_is_never_shown_to_another_user(app: Deployment) -> None:
    word, nickname = fresh("mailbox"), fresh("nick")
    email = f"{word}@{fresh('host')}.example"
    owner = app.person(email=email, nickname=nickname)
    ben = app.person()
    room = group(owner, ben)
    owner.send(room, "hello")
    owner.send(ben.id, "hello")
    seen = [ben.SearchUsers(query=query) for query in (owner.username, nickname)]
    masked = {user.email for answer in seen for user in answer.users}
    assert masked == {f"m***@{email.partition('@')[2]}"}
    seen += [ben.GetUserProfile(user_id=owner.id), ben.GetGroupMembers(group_id=room), ben.GetGroupInfo(group_id=room)]
    seen += [ben.GetConversations(), ben.GetUnreadMessages(), ben.GetMessageHistory(conversation_id=room)]
    seen += [ben.CreateConversation(type="single", user_ids=[owner.id])]
    assert word not in str(seen)
    for query in (email, word, f"{word}@", email[1:], f"m***@{email.partition('@')[2]}", email.partition("@")[2]):
        for one in (ben, owner):
            assert list(one.SearchUsers(query=query).users) == [], query


@pytest.mark.parametrize("kind", ["group", "single"])
def test_hidden_messages_are_in_no_list_and_no_history(people: list[Person], kind: str) -> None:
    ann, ben, *_ = people
    room, secret = group(ben, ann) if kind == "group" else single(ann, ben), fresh("secret")
    ann.send(room, secret)
    ben.DeleteConversation(conversation_id=room)
    assert secret not in str([ben.GetMessageHistory(conversation_id=room), *lists(ben)])
    for shown in (ann.GetMessageHistory(conversation_id=room), *lists(ann)[:1]):
        assert secret in str(shown), "it is hidden from one, not from the other"


@pytest.mark.parametrize("rpc", ["CreateConversation", "UpdateConversation of a pair", "UpdateConversation of a group"])
def test_hidden_messages_are_in_no_answer_with_the_conversation(people: list[Person], rpc: str) -> None:
    ann, ben, *_ = people
    room, secret = group(ben, ann) if rpc.endswith("group") else single(ann, ben), fresh("secret")
    ann.send(room, secret)
    ben.DeleteConversation(conversation_id=room)
    if rpc == "CreateConversation":
        answer = ben.CreateConversation(type="single", user_ids=[ann.id])
    else:
        answer = ben.UpdateConversation(conversation_id=room)
    assert secret not in str(answer)


def lists(reader: Person) -> list[Any]:
    return [reader.GetConversations(), reader.GetUnreadMessages()]
