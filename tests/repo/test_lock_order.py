"""Locks are taken in one order, and what is judged is read after its lock was taken."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import grpc
import psycopg2
import pytest

from gochat.api.logic.v1 import logic_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.api.session.v1 import session_pb2
from gochat.internal.account.v1 import account_pb2
from tests.harness import PASSWORD, Deployment, Person, bearer
from tests.postgres import Postgres
from tests.waiting import eventually


@pytest.fixture(scope="module")
def url(postgres: Postgres) -> str:
    return postgres.create_database()


@pytest.fixture(scope="module")
def app(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    started = Deployment(tmp_path_factory.mktemp("app"), url=url)
    yield started
    started.kill()


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def refresh(app: Deployment, token: str) -> str:
    request = session_pb2.RefreshTokenRequest(refresh_token=token)
    return str(app.session.RefreshToken(request, timeout=30).refresh_token)


def waiting(url: str) -> int:
    """How many transactions wait for a lock."""
    counted = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return int(str(query(url, counted)[0][0]))


def acts(app: Deployment, person: Person) -> dict[str, Callable[[], object]]:
    """That change a user or their sessions."""
    service = app.service
    return {
        "RefreshToken": lambda: refresh(app, person.refresh_token),
        "Logout": lambda: person.Logout(),
        "UpdateUser": lambda: app.repo.UpdateUser(
            repo_pb2.UpdateUserRequest(user_id=person.id, status=2), metadata=service, timeout=30
        ),
        "UpdateUserProfile": lambda: person.UpdateUserProfile(nickname="Other"),
        "SetPassword": lambda: app.account.SetPassword(
            account_pb2.SetPasswordRequest(user_id=person.id, password=PASSWORD), metadata=service, timeout=30
        ),
        "SetUserRole": lambda: app.account.SetUserRole(
            account_pb2.SetUserRoleRequest(user_id=person.id, role="admin"), metadata=service, timeout=30
        ),
        "Authenticate": lambda: app.signed_in(person.id, person.username, PASSWORD),
    }


@pytest.mark.parametrize("name", ["RefreshToken", "Logout", "UpdateUser", "SetPassword", "SetUserRole", "Authenticate"])
def test_the_user_is_locked_before_their_sessions(app: Deployment, url: str, name: str) -> None:
    """While the user is locked, the act waits and has locked no session."""
    person = app.person(password=PASSWORD)
    with closing(psycopg2.connect(url)) as other, ThreadPoolExecutor(1) as pool:
        cursor = other.cursor()
        cursor.execute("SELECT 1 FROM users WHERE user_id = %s FOR NO KEY UPDATE", (person.id,))
        act = pool.submit(acts(app, person)[name])
        eventually(lambda: waiting(url))
        cursor.execute("SELECT 1 FROM sessions WHERE user_id = %s FOR UPDATE NOWAIT", (person.id,))
        other.rollback()
        act.result(timeout=30)


def test_a_message_is_judged_under_the_lock_of_its_conversation(app: Deployment, url: str) -> None:
    """An admin who is demoted while their recall waits recalls nothing."""
    owner, admin = app.people(2, PASSWORD)
    group_id = owner.CreateGroup(name="Group", member_ids=[admin.id]).group_id
    app.repo.UpdateGroupMemberRole(
        repo_pb2.UpdateGroupMemberRoleRequest(group_id=group_id, user_id=admin.id, role="admin"), metadata=app.service
    )
    message_id = owner.send(group_id, "x").message_id
    request = repo_pb2.UpdateMessageStatusRequest(message_id=message_id, status=4, user_id=admin.id)
    with closing(psycopg2.connect(url)) as other, ThreadPoolExecutor(1) as pool:
        cursor = other.cursor()
        cursor.execute("SELECT 1 FROM conversations WHERE conversation_id = %s FOR NO KEY UPDATE", (group_id,))
        recall = pool.submit(app.repo.UpdateMessageStatus, request, metadata=app.service, timeout=30)
        eventually(lambda: waiting(url))
        cursor.execute("SELECT 1 FROM messages WHERE conversation_id = %s FOR UPDATE NOWAIT", (group_id,))
        cursor.execute(
            "UPDATE members SET role = 'member' WHERE conversation_id = %s AND user_id = %s", (group_id, admin.id)
        )
        other.commit()
        with pytest.raises(grpc.RpcError) as refused:
            recall.result(timeout=30)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_a_send_does_not_wait_for_a_change_of_its_sender(app: Deployment, url: str) -> None:
    person, friend = app.people(2, PASSWORD)
    person.send(friend.id, "first")
    with closing(psycopg2.connect(url)) as other:
        other.cursor().execute("SELECT 1 FROM users WHERE user_id = %s FOR NO KEY UPDATE", (person.id,))
        person.send(friend.id, "second")


def test_sessions_and_users_never_wait_for_each_other(app: Deployment, url: str) -> None:
    person, over = app.person(password=PASSWORD), time.monotonic() + 5
    before = query(url, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")

    def session(device: str) -> None:
        while time.monotonic() < over:
            with suppress(grpc.RpcError):
                token = app.signed_in(person.id, person.username, PASSWORD, device_id=device).refresh_token
                while time.monotonic() < over:
                    token = refresh(app, token)

    def toggle() -> None:
        for number in range(1000):
            if time.monotonic() > over:
                break
            request = repo_pb2.UpdateUserRequest(user_id=person.id, status=1 + number % 2)
            app.repo.UpdateUser(request, metadata=app.service, timeout=30)
            time.sleep(0.1)

    threads = [threading.Thread(target=session, args=(f"d{n}",)) for n in range(4)]
    threads.append(threading.Thread(target=toggle))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(1.5)  # until the statistics are written
    assert query(url, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == before


def test_a_refresh_that_meets_a_logout_is_no_reuse(app: Deployment) -> None:
    person = app.person(password=PASSWORD)
    for number in range(30):
        request = logic_pb2.AuthRequest(username=person.username, password=PASSWORD, device_id=f"x{number}")
        signed_in = app.logic.Authenticate(request)
        calls = [
            app.session.RefreshToken.future(session_pb2.RefreshTokenRequest(refresh_token=signed_in.refresh_token)),
            app.session.Logout.future(session_pb2.LogoutRequest(), metadata=bearer(signed_in.access_token)),
        ]
        for call in calls:
            with suppress(grpc.RpcError):
                call.result()
    assert app.events(action="session.reuse", user_id=person.id) == []
