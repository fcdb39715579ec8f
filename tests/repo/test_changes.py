"""The change log says what happened, all of it and nothing else: the same rows on SQLite and on PostgreSQL."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from gochat.context import SERVICE, Call, Caller, entered
from gochat.errors import ChatError
from gochat.internal.change.v1 import change_pb2
from gochat.repo.describing import describe
from gochat.storage.database import Database, Tx
from gochat.storage.postgres import PostgresDatabase
from tests.repo.changelog import LATER, Reader, Repo, said

SEQS = range(1001, 2000, 10)

Logged = Callable[[], list[tuple[Any, ...]]]


@pytest.fixture
def repo(database: Database) -> Repo:
    return Repo(database)


@pytest.fixture
def logged(database: Database) -> Logged:
    """logged(): what the log has since the last time."""
    reader = Reader(database)
    return lambda: said(reader.read_all())


def conversation(message_id: str) -> str:
    return message_id.rpartition("-")[0]


def test_users_are_told_of_what_others_see_of_them(repo: Repo, logged: Logged) -> None:
    ann = repo.user()
    assert logged() == [], "nobody sees them yet"
    repo.store.UpdateProfile(user_id=ann, nickname="Ann", bio="here")
    assert logged() == [("PROFILE_UPDATED", ann)]
    repo.store.UpdateProfile(user_id=ann, nickname="Ann")
    repo.store.UpdateProfile(user_id=ann)
    repo.repo.UpdateUser(user_id=ann, nickname="Ann", status=1)
    repo.account.SetUserRole(user_id=ann, role="admin")
    repo.account.SetPassword(user_id=ann, password="new password")
    assert logged() == []


def test_who_is_deleted_leaves_their_groups_and_hands_them_over(repo: Repo, logged: Logged) -> None:
    ann, ben, cem = repo.users(3)
    shared, own = repo.group(ann, ben), repo.group(ann)
    of_cem = repo.group(cem, ann)
    repo.send(ann, ben)
    logged()
    repo.repo.UpdateUser(user_id=ann, status=3)
    rows = logged()
    assert rows[0] == ("PROFILE_UPDATED", ann)
    assert sorted(rows[1:]) == sorted(
        [
            ("MEMBER_UPDATED", shared, ben, "owner"),
            ("GROUP_UPDATED", shared),
            ("MEMBER_LEFT", shared, ann, "removed"),
            ("MEMBER_LEFT", own, ann, "removed"),
            ("GROUP_DISSOLVED", own),
            ("MEMBER_LEFT", of_cem, ann, "removed"),
            ("SESSION_ENDED", ann),  # for the streams of services that act as them
        ]
    )
    repo.repo.UpdateUser(user_id=ann, status=1)
    assert logged() == [("PROFILE_UPDATED", ann)]


def test_sessions_end_in_every_way(repo: Repo, logged: Logged) -> None:
    name = f"name{LATER}"
    ann = repo.repo.CreateUser(username=name, password="password").user_id

    def sign_in(device_id: str = "", max_sessions: int = 0) -> str:
        fields = {"device_id": device_id, "refresh_id": "r1", "expires_at": LATER, "max_sessions": max_sessions}
        return str(repo.account.SignIn(username=name, password="password", **fields).session_id)

    first = sign_in("phone")
    assert logged() == []
    second = sign_in("phone")
    assert logged() == [("SESSION_ENDED", ann, first)]
    third = sign_in("", 1)
    assert logged() == [("SESSION_ENDED", ann, second)]
    rotated = {"session_id": third, "next_refresh_id": "r2", "expires_at": LATER}
    repo.account.RotateSession(refresh_id="r1", **rotated)
    assert logged() == []
    with pytest.raises(ChatError, match="has ended"):
        repo.account.RotateSession(refresh_id="r0", **rotated)
    assert logged() == [("SESSION_ENDED", ann, third)]
    fourth = sign_in()
    repo.account.EndSession(session_id=fourth, user_id=ann)
    repo.account.EndSession(session_id=fourth, user_id=ann)
    assert logged() == [("SESSION_ENDED", ann, fourth)]
    for end in (
        lambda: repo.account.SetPassword(user_id=ann, password="password"),
        lambda: repo.account.SetUserRole(user_id=ann, role="admin"),
    ):
        both = [sign_in(), sign_in()]
        end()
        assert sorted(logged()) == sorted(("SESSION_ENDED", ann, each) for each in both)
    both = [sign_in(), sign_in()]
    repo.repo.UpdateUser(user_id=ann, status=2)
    ended = [("SESSION_ENDED", ann), *(("SESSION_ENDED", ann, each) for each in both)]
    assert sorted(logged()) == sorted([("PROFILE_UPDATED", ann), *ended])


def test_the_first_message_shows_a_conversation_to_both(repo: Repo, logged: Logged) -> None:
    ann, ben = repo.users(2)
    message_id = repo.send(ann, ben)
    pair = conversation(message_id)
    joined = [("MEMBER_JOINED", pair, user_id, "founding") for user_id in (ann, ben)]
    assert logged() == [
        *joined,
        ("CONVERSATION_UPDATED", pair, ann),
        ("CONVERSATION_UPDATED", pair),
        ("MESSAGES_SENT", pair, 1, 1),
    ]
    repo.send(ben, ann)
    assert logged() == [("MESSAGES_SENT", pair, 2, 2)]
    repo.repo.CreateConversation(type="single", participant_ids=[ben, ann])
    assert logged() == [], "it is there, and shown"


def test_an_empty_conversation_is_told_to_who_opens_it(repo: Repo, logged: Logged) -> None:
    ann, ben = repo.users(2)
    pair = repo.repo.CreateConversation(type="single", participant_ids=[ann, ben]).conversation_id
    logged()
    repo.repo.CreateConversation(type="single", participant_ids=[ann, ben])
    assert logged() == []
    repo.repo.CreateConversation(type="single", participant_ids=[ben, ann])
    assert logged() == [("CONVERSATION_UPDATED", pair, ben)]


def test_sends_that_store_nothing_leave_nothing(repo: Repo, logged: Logged) -> None:
    ann, ben, cem = repo.users(3)
    room = repo.group(ann, ben)
    key = {"metadata": {"client_msg_id": "1"}}
    repo.send(ann, room, **key)
    logged()
    repo.send(ann, room, **key)
    for sender, content in ((ann, "other"), (cem, "x")):
        with pytest.raises(ChatError):
            repo.send(sender, room, content, **key)
    assert logged() == []


@pytest.mark.parametrize("skip_locked", [False, True])
def test_a_batch_leaves_a_row_for_each_conversation(repo: Repo, logged: Logged, skip_locked: bool) -> None:
    ann, ben, cem = repo.users(3)
    room, other, third = repo.group(ann, ben), repo.group(ann), repo.group(cem)
    repo.send(ann, room, metadata={"client_msg_id": "1"})
    logged()

    def to(place: str, key: str = "", sender: str = ann) -> dict[str, Any]:
        metadata = {"client_msg_id": key} if key else {}
        return {"conversation_id": place, "from_user_id": sender, "content": "x", "metadata": metadata}

    messages = [to(room), to(other), to(room, "1"), to(third), to(room, "2"), to(room, "2"), to("gnowhere"), to(room)]
    repo.store.StoreMessages(messages=messages, skip_locked=skip_locked)
    assert sorted(logged()) == sorted([("MESSAGES_SENT", room, 2, 4), ("MESSAGES_SENT", other, 1, 1)])


def test_each_reads_in_their_own_name_together_too(repo: Repo) -> None:
    ann, ben, cem = repo.users(3)
    room = repo.group(ann, ben, cem)
    message_id = repo.send(ann, room)
    reader = Reader(repo.database)
    reads = [
        {"mark_read": {"conversation_id": where, "user_id": each, "message_id": message_id}, "actor_id": each}
        for where, each in ((room, ben), ("none", ben), (room, cem))
    ]
    answers = repo.store.CallTogether(calls=reads).answers
    assert [answer.WhichOneof("answer") for answer in answers] == ["mark_read", None, "mark_read"]
    assert {(row.user_id, row.actor_id) for row in reader.read_all()} == {(ben, ben), (cem, cem)}


def test_positions_leave_a_row_only_where_they_move(repo: Repo, logged: Logged) -> None:
    ann, ben = repo.users(2)
    first, second, third = (repo.send(ann, ben) for _ in range(3))
    pair = conversation(first)
    logged()
    read = {"conversation_id": pair, "user_id": ben}
    repo.change.Acknowledge(user_id=ben, message_ids=[first, second])
    assert logged() == [("DELIVERED", pair, ben, 2)]
    repo.change.Acknowledge(user_id=ben, message_ids=[first, second])
    repo.change.Acknowledge(user_id=ann, message_ids=[third])  # who wrote it has it
    assert logged() == []
    repo.store.MarkRead(message_id=third, **read)
    assert logged() == [("READ", pair, ben, 3)]
    for earlier in (first, third):
        repo.store.MarkRead(message_id=earlier, **read)
    repo.change.Acknowledge(user_id=ben, message_ids=[third])  # read, so it was delivered
    assert logged() == []


def test_acknowledging_in_a_group_is_told_to_nobody(repo: Repo, logged: Logged) -> None:
    ann, ben = repo.users(2)
    message_id = repo.send(ann, repo.group(ann, ben))
    logged()
    repo.change.Acknowledge(user_id=ben, message_ids=[message_id])
    assert logged() == []


def test_the_status_of_a_message(repo: Repo, logged: Logged) -> None:
    ann, ben = repo.users(2)
    room = repo.group(ann, ben)
    first, second = repo.send(ann, room), repo.send(ann, room)
    logged()
    repo.repo.UpdateMessageStatus(message_id=first, user_id=ann, status=3)
    assert logged() == [], "it reached its own sender"
    repo.repo.UpdateMessageStatus(message_id=first, user_id=ben, status=2)
    assert logged() == [("MESSAGE_UPDATED", room, 1)]
    repo.repo.UpdateMessageStatus(message_id=first, user_id=ben, status=2)
    assert logged() == []
    repo.repo.UpdateMessageStatus(message_id=first, user_id=ben, status=3)
    assert logged() == [("READ", room, ben, 1), ("MESSAGE_UPDATED", room, 1)]
    repo.repo.UpdateMessageStatus(message_id=first, user_id=ann, status=4)
    assert logged() == [("MESSAGE_UPDATED", room, 1)]
    repo.repo.UpdateMessageStatus(message_id=first, user_id=ann, status=4)
    assert logged() == []
    repo.repo.DeleteMessage(message_id=second, user_id=ann)
    assert logged() == [("MESSAGE_DELETED", room, 2)]


def test_hiding_reads_and_is_told_once(repo: Repo, logged: Logged) -> None:
    ann, ben = repo.users(2)
    pair = conversation(repo.send(ann, ben))
    logged()
    hide = {"conversation_id": pair, "user_id": ben}
    repo.store.HideConversation(**hide)
    assert logged() == [("READ", pair, ben, 1), ("CONVERSATION_HIDDEN", pair, ben)]
    repo.store.HideConversation(**hide)
    assert logged() == []


def test_who_had_hidden_what_is_left_is_told_that_it_is_hidden_again(repo: Repo, logged: Logged) -> None:
    ann, ben, cem = repo.users(3)
    room = repo.group(ann, ben, cem)
    old = repo.send(ann, room)
    repo.store.HideConversation(conversation_id=room, user_id=ben)
    new = repo.send(ann, room)
    repo.store.HideConversation(conversation_id=room, user_id=cem)
    logged()
    repo.repo.DeleteMessage(message_id=new, user_id=ann)
    assert logged() == [("MESSAGE_DELETED", room, 2), ("CONVERSATION_HIDDEN", room, ben)], "for cem it was hidden"
    repo.repo.DeleteMessage(message_id=old, user_id=ann)
    assert logged() == [("MESSAGE_DELETED", room, 1)]


def test_who_comes_back_to_a_group_finds_it_hidden_as_they_left_it(repo: Repo, logged: Logged) -> None:
    ann, ben = repo.users(2)
    room = repo.group(ann, ben)
    repo.send(ann, room)
    repo.store.HideConversation(conversation_id=room, user_id=ben)
    logged()
    repo.store.LeaveGroup(group_id=room, user_id=ben)
    assert logged() == [("MEMBER_LEFT", room, ben, "left")]
    repo.store.JoinGroup(group_id=room, user_id=ben)
    assert logged() == [("MEMBER_JOINED", room, ben, "member"), ("CONVERSATION_HIDDEN", room, ben)]
    repo.store.LeaveGroup(group_id=room, user_id=ben)
    repo.send(ann, room)
    logged()
    repo.store.JoinGroup(group_id=room, user_id=ben)
    assert logged() == [("MEMBER_JOINED", room, ben, "member")]


def test_groups(repo: Repo, logged: Logged) -> None:
    ann, ben, cem = repo.users(3)
    room = repo.group(ann, ben, ben)
    assert logged() == [("MEMBER_JOINED", room, user_id, "founding") for user_id in (ann, ben)]
    repo.store.UpdateGroup(group_id=room, service=True, name="new", max_members=9)
    assert logged() == [("GROUP_UPDATED", room)]
    repo.store.UpdateGroup(group_id=room, service=True, name="new", max_members=9)
    repo.repo.UpdateGroup(group_id=room)
    repo.repo.UpdateConversation(conversation_id=room, name="new")
    assert logged() == []
    assert not repo.store.AddMembers(group_id=room, operator_id=ann, user_ids=[ben]).added_user_ids
    assert logged() == []
    repo.store.AddMembers(group_id=room, operator_id=ann, user_ids=[ben, cem])
    assert logged() == [("MEMBER_JOINED", room, cem, "member")]
    role = {"group_id": room, "user_id": cem}
    repo.repo.UpdateGroupMemberRole(role="admin", **role)
    assert logged() == [("MEMBER_UPDATED", room, cem, "admin")]
    repo.repo.UpdateGroupMemberRole(role="admin", **role)
    repo.repo.UpdateGroupMemberRole(group_id=room, user_id=ann, role="owner")
    assert logged() == []
    repo.repo.UpdateGroupMemberRole(role="owner", **role)
    assert logged() == [
        ("MEMBER_UPDATED", room, ann, "admin"),
        ("MEMBER_UPDATED", room, cem, "owner"),
        ("GROUP_UPDATED", room),
    ]
    repo.repo.RemoveGroupMember(group_id=room, user_id=ben)
    assert logged() == [("MEMBER_LEFT", room, ben, "removed")]
    repo.store.LeaveGroup(group_id=room, user_id=ann)
    repo.store.LeaveGroup(group_id=room, user_id=cem)
    assert logged() == [
        ("MEMBER_LEFT", room, ann, "left"),
        ("MEMBER_LEFT", room, cem, "left"),
        ("GROUP_DISSOLVED", room),
    ]


def test_one_to_one_conversations_have_names_too(repo: Repo, logged: Logged) -> None:
    ann, ben = repo.users(2)
    pair = conversation(repo.send(ann, ben))
    logged()
    for _ in range(2):
        repo.store.UpdateConversation(conversation_id=pair, user_id=ann, name="us")
    assert logged() == [("CONVERSATION_UPDATED", pair)]


def test_who_caused_it_is_in_the_row_and_what_fails_leaves_none(repo: Repo, database: Database) -> None:
    ann, ben = repo.users(2)
    room = repo.group(ann, ben)
    reader = Reader(database)
    with entered(Call(SERVICE, "r", math.inf, Caller(ann, "user"))), pytest.raises(ChatError):
        repo.store.LeaveGroup(group_id=room, user_id=ann)  # its owner
    with entered(Call(SERVICE, "r", math.inf, Caller(ann, "user"))):
        repo.store.RemoveMember(group_id=room, operator_id=ann, user_id=ben)
    repo.store.UpdateGroup(group_id=room, service=True, name="new")
    assert [(row.actor_id, row.user_id) for row in reader.read_all()] == [(ann, ben), ("", "")]


def test_describing_reads_only_what_it_describes(repo: Repo, database: Database) -> None:
    """Of a long conversation, by the index; PostgreSQL counts the rows that it reads."""
    if not isinstance(database, PostgresDatabase):
        return
    ann = repo.user()
    room = repo.group(ann)
    for _ in range(3):
        batch = [{"conversation_id": room, "from_user_id": ann, "content": f"{number}"} for number in range(1000)]
        repo.store.StoreMessages(messages=batch)
    with entered(Call(SERVICE, "-", math.inf, SERVICE)):
        database.write(lambda tx: tx.sql("ANALYZE messages"))

    def work(tx: Tx) -> int:
        described = describe(tx, [change_pb2.Change(kind=1, conversation_id=room, first_seq=n, seq=n) for n in SEQS])
        assert [len(deliveries) for deliveries in described] == [1] * len(SEQS)
        read = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'messages'"
        return int(tx.fetch_all(read)[0][0])

    with entered(Call(SERVICE, "-", math.inf, SERVICE)):
        assert database.read(work) <= 2 * len(SEQS)
