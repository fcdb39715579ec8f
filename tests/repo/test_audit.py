"""The audit log: what was done, by whom, from where; and that it stays."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import peewee
import pytest

from gochat.api.audit.v1 import audit_pb2
from gochat.api.logic.v1 import logic_pb2
from gochat.api.session.v1 import session_pb2
from gochat.repo.audit import record
from gochat.storage.postgres import PostgresDatabase
from gochat.storage.sqlite import SqliteDatabase
from tests.harness import PASSWORD, Deployment, Person, as_service, fresh, refused


def recorded(app: Deployment, subject: str) -> list[tuple[str, str, str, str]]:
    """(action, detail, actor, outcome) of every entry on this target, the oldest first."""
    events = [event for event in app.events(user_id=subject) if event.target_id == subject]
    return [(event.action, event.detail, event.actor_id or event.actor_role, event.outcome) for event in events]


@pytest.fixture
def alice(app: Deployment) -> Person:
    return app.person("alice", password=PASSWORD)


def test_an_entry_has_actor_action_target_peer_and_request_id(app: Deployment, alice: Person) -> None:
    request = logic_pb2.CreateGroupRequest(name="Audited")
    metadata = (*alice.metadata, ("x-request-id", request_id := fresh("call")))
    group_id = app.logic.CreateGroup(request, metadata=metadata).group_id
    (event,) = [event for event in app.events(user_id=group_id) if event.target_id == group_id]
    at = app.logic.GetGroupInfo(logic_pb2.GetGroupInfoRequest(group_id=group_id), metadata=alice.metadata)
    assert abs(event.at - at.group.created_at) < 5000
    assert event == audit_pb2.Event(
        event_id=event.event_id,
        at=event.at,
        actor_id=alice.id,
        actor_role="user",
        action="group.create",
        target_id=group_id,
        detail=alice.id,
        outcome="ok",
        peer="127.0.0.1",
        request_id=request_id,
    )


def test_changes_of_accounts_are_recorded(app: Deployment) -> None:
    repo = as_service(app).repo
    alice = app.person(password=PASSWORD)
    alice.UpdateUserProfile(nickname="Al")
    alice.UpdateUserProfile()  # changes nothing, and is no entry
    repo.UpdateUser(user_id=alice.id, avatar="http://example.com/a.png")
    repo.UpdateUser(user_id=alice.id, status=2)
    repo.UpdateUser(user_id=alice.id, status=1)
    again = app.signed_in(alice.id, alice.username, PASSWORD)
    again.ChangePassword(old_password=PASSWORD, new_password="battery staple")
    app.run("user", "password", alice.username, "--password-stdin", "--address", app.repo_address, stdin="x" * 9)
    repo.UpdateUser(user_id=alice.id, status=3)
    assert [entry for entry in recorded(app, alice.id) if not entry[0].startswith("session.")] == [
        ("user.create", "", "service", "ok"),
        ("user.change", "", alice.id, "ok"),
        ("user.change", "", "service", "ok"),
        ("user.status", "disabled", "service", "ok"),
        ("user.status", "active", "service", "ok"),
        ("user.password", "", alice.id, "ok"),
        ("user.password", "", "service", "ok"),
        ("user.status", "deleted", "service", "ok"),
    ]


def test_changes_of_platform_roles_are_recorded(app: Deployment) -> None:
    admin = app.person(admin=True)
    assert ("user.role", "admin", "service", "ok") in recorded(app, admin.id)


def test_sessions_are_recorded_from_begin_to_end(app: Deployment, alice: Person) -> None:
    (first,) = alice.ListSessions().sessions
    reused = session_pb2.RefreshTokenRequest(refresh_token=alice.refresh_token)
    renewed = app.session.RefreshToken(reused).refresh_token
    app.session.RefreshToken(session_pb2.RefreshTokenRequest(refresh_token=renewed))
    with refused("UNAUTHENTICATED"):
        app.session.RefreshToken(reused)
    for password in ("wrong", PASSWORD):
        request = logic_pb2.AuthRequest(username=alice.username, password=password, device_id="phone")
        if password == PASSWORD:
            answer = app.logic.Authenticate(request)
            second = Person(app, alice.id, alice.username, answer.access_token, answer.refresh_token)
        else:
            with refused("UNAUTHENTICATED"):
                app.logic.Authenticate(request)
    (current,) = second.ListSessions().sessions
    second.Logout()
    assert [entry for entry in recorded(app, alice.id) if entry[0].startswith("session.")] == [
        ("session.begin", first.session_id, "", "ok"),
        ("session.reuse", first.session_id, "", "refused"),
        ("session.begin", "", "", "refused"),
        ("session.begin", current.session_id, "", "ok"),
        ("session.end", current.session_id, alice.id, "ok"),
    ]


def test_a_failed_sign_in_to_an_unknown_name_has_no_target_and_keeps_no_name(app: Deployment) -> None:
    name = fresh("nobody")
    with refused("UNAUTHENTICATED") as refusal:
        app.logic.Authenticate(logic_pb2.AuthRequest(username=name, password="a secret"))
    event = next(event for event in app.events() if event.request_id == refusal.request_id)
    assert (event.action, event.target_id, event.outcome) == ("session.begin", "", "refused")
    assert name not in str(app.events())
    assert "a secret" not in str(app.events())


def test_changes_of_groups_and_messages_are_recorded(app: Deployment, alice: Person) -> None:
    bob, carol, repo = (
        app.person("bob", password=PASSWORD),
        app.person("carol", password=PASSWORD),
        as_service(app).repo,
    )
    group_id = alice.CreateGroup(name="Audited", member_ids=[bob.id]).group_id
    carol.JoinGroup(group_id=group_id)
    repo.UpdateGroupMemberRole(group_id=group_id, user_id=bob.id, role="admin")
    bob.RemoveGroupMember(group_id=group_id, user_id=carol.id)
    alice.AddGroupMember(group_id=group_id, user_ids=[carol.id])
    bob.UpdateGroup(group_id=group_id, name="Renamed")
    repo.UpdateGroupMemberRole(group_id=group_id, user_id=bob.id, role="owner")
    carol.LeaveGroup(group_id=group_id)
    with refused("PERMISSION_DENIED"):
        alice.RemoveGroupMember(group_id=group_id, user_id=bob.id)
    assert recorded(app, group_id) == [
        ("group.create", alice.id, alice.id, "ok"),
        ("group.add", bob.id, alice.id, "ok"),
        ("group.join", carol.id, carol.id, "ok"),
        ("group.role.admin", bob.id, "service", "ok"),
        ("group.remove", carol.id, bob.id, "ok"),
        ("group.add", carol.id, alice.id, "ok"),
        ("group.change", "", bob.id, "ok"),
        ("group.role.admin", alice.id, "service", "ok"),
        ("group.role.owner", bob.id, "service", "ok"),
        ("group.leave", carol.id, carol.id, "ok"),
    ]
    message_id = bob.send(group_id, "a private matter").message_id
    for _ in range(2):  # what is recalled already is not recalled again
        repo.UpdateMessageStatus(message_id=message_id, user_id=bob.id, status=4)
    repo.DeleteMessage(message_id=message_id, user_id=bob.id)
    assert recorded(app, message_id) == [
        ("message.recall", bob.id, "service", "ok"),
        ("message.delete", bob.id, "service", "ok"),
    ]
    assert "a private matter" not in str(app.events())


def test_the_audit_command_filters(app: Deployment, alice: Person) -> None:
    group_id = alice.CreateGroup(name="Audited").group_id
    alice.Logout()

    def lines(*arguments: str) -> list[dict[str, Any]]:
        printed = app.run("audit", "--address", app.repo_address, "--json", *arguments).stdout
        return [json.loads(line) for line in printed.splitlines()]

    expected = ["user.create", "session.begin", "group.create", "session.end"]
    assert [line["action"] for line in lines("--user", alice.id)] == expected
    assert [line["action"] for line in lines("--user", alice.id, "--action", "session.")] == expected[1::2]
    assert [line["action"] for line in lines("--user", alice.id, "--action", "group.create")] == ["group.create"]
    assert [line["action"] for line in lines("--user", alice.id, "--limit", "2")] == expected[2:]
    assert [line["action"] for line in lines("--user", alice.id, "--since", "1h")] == expected
    assert lines("--user", "u" + "0" * 26) == []
    text = app.run("audit", "--address", app.repo_address, "--user", alice.id).stdout.splitlines()[2].split()
    assert text[1:8] == ["group.create", group_id, alice.id, "ok", "by", alice.id, "from"]


def test_the_log_is_paged_without_loss(app: Deployment, alice: Person) -> None:
    for number in range(7):
        alice.CreateGroup(name=f"Group {number}")
    request = audit_pb2.ListEventsRequest(user_id=alice.id, action="group.", limit=3)
    seen: list[str] = []
    while True:
        page = app.audit.ListEvents(request, metadata=app.service)
        seen += [event.event_id for event in page.events]
        if not page.has_more:
            break
        request.before_event_id = seen[-1]
    assert len(seen) == len(set(seen)) == 7
    assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize("change", ["UPDATE audit_log SET actor_id = 'someone'", "DELETE FROM audit_log"])
def test_entries_are_neither_changed_nor_taken_away(database: SqliteDatabase | PostgresDatabase, change: str) -> None:
    database.write(lambda tx: record(tx, "user.create", "u1"))
    with pytest.raises(peewee.PeeweeException, match="append-only"):
        database.write(lambda tx: tx.sql(change))
    assert database.read(lambda tx: tx.fetch_all("SELECT target_id FROM audit_log")) == [("u1",)]


def test_an_act_that_fails_leaves_no_entry(database: SqliteDatabase | PostgresDatabase) -> None:
    def work(tx: Any) -> None:
        record(tx, "user.create", "u1")
        raise KeyError

    with pytest.raises(KeyError):
        database.write(work)
    assert database.read(lambda tx: tx.fetch_all("SELECT * FROM audit_log")) == []


def test_concurrent_entries_are_all_recorded(database: SqliteDatabase | PostgresDatabase) -> None:
    start = threading.Barrier(8)

    def write(number: int) -> None:
        start.wait(timeout=30)
        database.write(lambda tx: record(tx, "user.create", f"u{number}"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert database.read(lambda tx: tx.fetch_all("SELECT COUNT(DISTINCT event_id) FROM audit_log")) == [(8,)]
