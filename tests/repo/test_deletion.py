"""Users who are deleted: no recipients, no senders, no members, no owners; and owners who are disabled."""

import threading
from typing import Any

import pytest

from gochat.api.repo.v1 import repo_pb2
from gochat.internal.store.v1 import store_pb2
from gochat.repo import passwords
from gochat.storage.database import Database
from tests.harness import Deployment, Person, as_service, fresh, refused
from tests.repo.test_query_counts import Handlers

DISABLED, DELETED, ACTIVE = 2, 3, 1


def set_status(app: Deployment, person: Person, status: int) -> None:
    as_service(app).repo.UpdateUser(user_id=person.id, status=status)


def roles(app: Deployment, group_id: str) -> dict[str, str]:
    members = as_service(app).repo.GetGroupMembers(group_id=group_id).members
    return {member.user_id: member.role for member in members}


def make_admin(app: Deployment, group_id: str, person: Person) -> None:
    as_service(app).repo.UpdateGroupMemberRole(group_id=group_id, user_id=person.id, role="admin")


def test_nobody_sends_to_a_deleted_user(app: Deployment) -> None:
    ann, ben, eve = app.people(3)
    conversation_id = ann.send(ben.id).message_id.rpartition("-")[0]
    set_status(app, ben, DELETED)
    for to in (ben.id, conversation_id):
        with refused("NOT_FOUND", "to_user_id", "USER_NOT_FOUND"):
            ann.send(to)
        (result,) = ann.SendMessages(
            messages=[{"content": "x", "to_user_id" if to == ben.id else "conversation_id": to}]
        ).results
        assert result.error.details["reason"] == "USER_NOT_FOUND"
    with refused("NOT_FOUND", "to_user_id", "USER_NOT_FOUND"):
        eve.send(ben.id)
    with refused("NOT_FOUND", "user_ids", "USER_NOT_FOUND"):
        eve.CreateConversation(type="single", user_ids=[ben.id])
    assert len(ann.GetMessageHistory(conversation_id=conversation_id).messages) == 1
    assert [one.conversation_id for one in ann.GetConversations().conversations] == [conversation_id]


def test_nobody_sends_in_the_name_of_a_deleted_user(app: Deployment) -> None:
    ann, ben, eve = app.people(3)
    conversation_id = ann.send(ben.id).message_id.rpartition("-")[0]
    group_id = ann.CreateGroup(name="g", member_ids=[ben.id]).group_id
    set_status(app, ben, DELETED)
    send = as_service(app).logic.SendMessage
    for where in (conversation_id, group_id):
        with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
            send(from_user_id=ben.id, conversation_id=where, content="boo")
    with refused("NOT_FOUND", "from_user_id"):
        send(from_user_id=ben.id, to_user_id=eve.id, content="boo")
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        as_service(app).logic.MarkMessageRead(
            user_id=ben.id, conversation_id=conversation_id, message_id=f"{conversation_id}-000000000001"
        )


def test_what_a_deleted_user_has_read_stays_read(app: Deployment) -> None:
    ann, ben = app.people(2)
    sent = ann.send(ben.id).message_id
    conversation_id = sent.rpartition("-")[0]
    ben.MarkMessageRead(conversation_id=conversation_id, message_id=sent)
    set_status(app, ben, DELETED)
    assert ann.GetMessageHistory(conversation_id=conversation_id).messages[0].status == 3
    participants = as_service(app).repo.GetConversationParticipants(conversation_id=conversation_id)
    assert list(participants.participant_ids) == [ann.id]


def test_a_deleted_user_is_in_no_group(app: Deployment) -> None:
    ann, ben = app.people(2)
    group_id = ann.CreateGroup(name="g", member_ids=[ben.id]).group_id
    set_status(app, ben, DELETED)
    assert roles(app, group_id) == {ann.id: "owner"}
    assert ann.GetGroupInfo(group_id=group_id).group.current_members == 1
    assert as_service(app).repo.GetGroupsByUser(user_id=ben.id).pagination.total == 0
    repo, logic = as_service(app).repo, as_service(app).logic
    for refusing in (
        lambda: ann.AddGroupMember(group_id=group_id, user_ids=[ben.id]),
        lambda: ann.CreateGroup(name="g", member_ids=[ben.id]),
        lambda: logic.JoinGroup(group_id=group_id, user_id=ben.id),
        lambda: logic.CreateGroup(name="g", owner_id=ben.id),
        lambda: repo.AddGroupMember(group_id=group_id, user_id=ben.id),
        lambda: repo.CreateGroup(name="g", owner_id=ben.id),
        lambda: repo.CreateConversation(type="group", name="g", participant_ids=[ann.id, ben.id]),
        lambda: repo.UpdateGroupMemberRole(group_id=group_id, user_id=ben.id, role="owner"),
    ):
        with refused("NOT_FOUND"):
            refusing()


def test_the_group_of_a_deleted_owner_goes_to_the_longest_serving_admin(app: Deployment) -> None:
    ann, ben, cem, dan = app.people(4)
    group_id = ann.CreateGroup(name="g", member_ids=[ben.id]).group_id
    for later in (cem, dan):
        ann.AddGroupMember(group_id=group_id, user_ids=[later.id])
    for admin in (dan, cem):
        make_admin(app, group_id, admin)
    set_status(app, ann, DELETED)
    assert roles(app, group_id) == {ben.id: "member", cem.id: "owner", dan.id: "admin"}
    assert ben.GetGroupInfo(group_id=group_id).group.owner_id == cem.id
    cem.UpdateGroup(group_id=group_id, name="ours")
    assert [event.action for event in app.events(action="group.") if event.target_id == group_id][-3:] == [
        "group.role.owner",
        "group.remove",
        "group.change",
    ]


def test_without_an_admin_it_goes_to_the_longest_serving_member(app: Deployment) -> None:
    ann, ben, cem = app.people(3)
    group_id = ann.CreateGroup(name="g", member_ids=[cem.id]).group_id
    ann.AddGroupMember(group_id=group_id, user_ids=[ben.id])
    set_status(app, ann, DELETED)
    assert roles(app, group_id) == {ben.id: "member", cem.id: "owner"}


def test_it_goes_to_a_disabled_user_only_where_nobody_else_is_left(app: Deployment) -> None:
    ann, ben, cem = app.people(3)
    group_id = ann.CreateGroup(name="g", member_ids=[ben.id, cem.id]).group_id
    make_admin(app, group_id, ben)
    set_status(app, ben, DISABLED)
    set_status(app, ann, DELETED)
    assert roles(app, group_id) == {ben.id: "admin", cem.id: "owner"}
    set_status(app, cem, DELETED)
    assert roles(app, group_id) == {ben.id: "owner"}


def test_a_group_of_nobody_else_is_dissolved(app: Deployment) -> None:
    ann, ben = app.people(2)
    group_id = ann.CreateGroup(name="g").group_id
    set_status(app, ann, DELETED)
    with refused("NOT_FOUND", "group_id"):
        ben.GetGroupInfo(group_id=group_id)


def test_an_owner_who_is_disabled_can_be_replaced(app: Deployment) -> None:
    ann, ben, cem = app.people(3)
    group_id = ann.CreateGroup(name="g", member_ids=[ben.id, cem.id]).group_id
    make_admin(app, group_id, ben)
    with refused("PERMISSION_DENIED", reason="OWNER"):
        ben.RemoveGroupMember(group_id=group_id, user_id=ann.id)
    set_status(app, ann, DISABLED)
    with refused("PERMISSION_DENIED", reason="NOT_A_MANAGER"):
        cem.RemoveGroupMember(group_id=group_id, user_id=ann.id)
    ben.RemoveGroupMember(group_id=group_id, user_id=ann.id)
    assert roles(app, group_id) == {ben.id: "owner", cem.id: "member"}
    set_status(app, ben, DISABLED)
    as_service(app).repo.UpdateGroupMemberRole(group_id=group_id, user_id=cem.id, role="owner")
    assert roles(app, group_id) == {ben.id: "admin", cem.id: "owner"}


def test_who_is_made_active_again_is_written_to_again(app: Deployment) -> None:
    ann, ben = app.people(2)
    conversation_id = ann.send(ben.id).message_id.rpartition("-")[0]
    set_status(app, ben, DELETED)
    set_status(app, ben, ACTIVE)
    assert ann.send(conversation_id).message_id.endswith("-000000000002")
    assert app.signed_in(ben.id, ben.username).send(ann.id).message_id.endswith("-000000000003")


def test_the_database_is_clean_after_deletions(app: Deployment) -> None:
    people = app.people(12)
    ann, ben, *others = people
    ann.send(ben.id)
    group_id = ann.CreateGroup(name="g", member_ids=[one.id for one in others]).group_id
    others[0].send(group_id)
    for gone in (ann, *others[:2]):
        set_status(app, gone, DELETED)
    others[-1].send(group_id)
    assert [one.unread_count for one in others[-2].GetUnreadMessages().conversations] == [2]
    assert [one.conversation_id for one in others[-2].GetConversations().conversations] == [group_id]
    checked = app.run("check", check=False).stdout
    assert checked.startswith("clean: "), checked


def test_who_is_deleted_is_not_added_meanwhile(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deletions, and acts that make the same users members or write to them, all together: none is in the way of
    another, and in the end nobody who is deleted is in a group."""
    monkeypatch.setattr(passwords, "hashed", lambda _: "$argon2id$")
    do = Handlers(database)
    owner, *users = (
        do.CreateUser(repo_pb2.CreateUserRequest(username=fresh("user"), password="x")).user_id for _ in range(13)
    )
    groups = [
        do.CreateGroup(store_pb2.CreateGroupRequest(name="g", owner_id=users[n], member_ids=[owner])).group.group_id
        for n in range(4)
    ]
    failures: list[Any] = []

    def run(act: Any) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - judged below
            if getattr(error, "reason", "") not in ("USER_NOT_FOUND", "ALREADY_A_MEMBER"):
                failures.append(error)

    def acts(user_id: str) -> list[Any]:
        return [
            lambda: do.UpdateUser(repo_pb2.UpdateUserRequest(user_id=user_id, status=DELETED)),
            lambda: [
                run(lambda g=g: do.AddGroupMember(repo_pb2.AddGroupMemberRequest(group_id=g, user_id=user_id)))
                for g in groups
            ],
            lambda: do.CreateMessage(
                repo_pb2.CreateMessageRequest(from_user_id=owner, to_user_id=user_id, content="x")
            ),
        ]

    threads = [threading.Thread(target=run, args=(act,)) for user_id in users for act in acts(user_id)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    left = "SELECT role, COUNT(*) FROM members WHERE user_id <> ? GROUP BY role"
    assert dict(database.read(lambda tx: tx.fetch_all(left, owner))).keys() <= {"deleted"}
