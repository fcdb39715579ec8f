"""Renaming: recorded in both ways, and judged, as recalling is, while nobody else changes the conversation."""

import threading
from typing import Any

import pytest

from gochat.api.repo.v1 import repo_pb2
from gochat.errors import ChatError
from gochat.internal.store.v1 import store_pb2
from gochat.repo import passwords
from gochat.storage.postgres import PostgresDatabase
from tests.harness import Deployment, fresh
from tests.repo.test_query_counts import Handlers


def test_a_rename_is_recorded_in_both_ways(app: Deployment) -> None:
    ann, ben = app.people(2)
    group_id = ann.CreateGroup(name="one", member_ids=[ben.id]).group_id
    ann.UpdateGroup(group_id=group_id, name="two")
    ann.UpdateConversation(conversation_id=group_id, name="three")
    ann.UpdateConversation(conversation_id=group_id)  # changes nothing
    conversation_id = ann.send(ben.id).message_id.rpartition("-")[0]
    ben.UpdateConversation(conversation_id=conversation_id, name="us")
    recorded = [
        (event.action, event.target_id, event.actor_id) for event in app.events() if event.action.endswith(".change")
    ]
    assert recorded[-3:] == [
        ("group.change", group_id, ann.id),
        ("group.change", group_id, ann.id),
        ("conversation.change", conversation_id, ben.id),
    ]


@pytest.fixture
def do(database: Any, monkeypatch: pytest.MonkeyPatch) -> Handlers:
    monkeypatch.setattr(passwords, "hashed", lambda _: "$argon2id$")
    return Handlers(database)


@pytest.mark.parametrize("act", ["rename", "recall", "delete"])
def test_who_is_removed_meanwhile_changes_nothing(do: Handlers, database: Any, act: str) -> None:
    """The removal holds the group, and the act of the one removed waits for it: it is judged by what is true then."""
    if not isinstance(database, PostgresDatabase):
        pytest.skip("on SQLite one transaction writes after the other")
    ann, ben, cem = (
        do.CreateUser(repo_pb2.CreateUserRequest(username=fresh("user"), password="x")).user_id for _ in range(3)
    )
    group = do.CreateGroup(store_pb2.CreateGroupRequest(name="g", owner_id=ann, member_ids=[ben, cem])).group.group_id
    do.UpdateGroupMemberRole(repo_pb2.UpdateGroupMemberRoleRequest(group_id=group, user_id=ben, role="admin"))
    sent = do.CreateMessage(repo_pb2.CreateMessageRequest(conversation_id=group, from_user_id=cem, content="x"))
    acts = {
        "rename": lambda: do.UpdateConversation(
            store_pb2.UpdateConversationRequest(conversation_id=group, user_id=ben, name="mine")
        ),
        "recall": lambda: do.UpdateMessageStatus(
            repo_pb2.UpdateMessageStatusRequest(message_id=sent.message_id, user_id=ben, status=4)
        ),
        "delete": lambda: do.DeleteMessage(repo_pb2.DeleteMessageRequest(message_id=sent.message_id, user_id=ben)),
    }
    errors: list[ChatError] = []
    waiting = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

    def run() -> None:
        try:
            acts[act]()
        except ChatError as error:
            errors.append(error)

    thread = threading.Thread(target=run)

    def removal(tx: Any) -> None:
        tx.sql("SELECT 1 FROM conversations WHERE conversation_id = ? FOR UPDATE", group)
        tx.sql("DELETE FROM members WHERE conversation_id = ? AND user_id = ?", group, ben)
        tx.sql("UPDATE conversations SET member_count = 2 WHERE conversation_id = ?", group)
        thread.start()
        while thread.is_alive() and not database.read(lambda other: other.fetch_all(waiting))[0][0]:
            thread.join(0.01)

    database.write(removal)
    thread.join()
    assert [error.reason for error in errors] == ["NOT_A_PARTICIPANT"]
