"""Sessions where time passes: a refresh token that comes a second time, late; and very many sessions."""

import pytest

from gochat.api.repo.v1 import repo_pb2
from gochat.domain import policy
from gochat.errors import ChatError
from gochat.internal.account.v1 import account_pb2
from gochat.repo import passwords, sessions
from gochat.storage.database import Database
from gochat.storage.models import Session
from tests.repo.test_query_counts import Handlers, statements

EXPIRES = 2**50


@pytest.fixture
def do(database: Database, monkeypatch: pytest.MonkeyPatch) -> Handlers:
    monkeypatch.setattr(passwords, "hashed", lambda _: "$argon2id$")
    monkeypatch.setattr(passwords, "matches", lambda *_: True)
    return Handlers(database)


def signed_in(do: Handlers, device_id: str = "phone", max_sessions: int = 0) -> account_pb2.SignInResponse:
    request = account_pb2.SignInRequest(
        username="ann",
        password="x",
        device_id=device_id,
        refresh_id="r1",
        expires_at=EXPIRES,
        max_sessions=max_sessions,
    )
    answer: account_pb2.SignInResponse = do.SignIn(request)
    return answer


def rotated(do: Handlers, session_id: str, refresh_id: str, next_id: str) -> str:
    """The refresh id from then on."""
    request = account_pb2.RotateSessionRequest(
        session_id=session_id, refresh_id=refresh_id, next_refresh_id=next_id, expires_at=EXPIRES + 1
    )
    try:
        answer = do.RotateSession(request)
    except ChatError as error:
        return error.reason
    assert answer.expires_at == EXPIRES + 1
    return str(answer.refresh_id)


def test_a_refresh_id_comes_again_soon_or_late(do: Handlers, monkeypatch: pytest.MonkeyPatch) -> None:
    do.CreateUser(repo_pb2.CreateUserRequest(username="ann", password="x"))
    session_id = signed_in(do).session_id
    assert rotated(do, session_id, "r1", "r2") == "r2"
    assert rotated(do, session_id, "r1", "r3") == "r2"
    now = sessions.ids.now_ms()
    monkeypatch.setattr(sessions.ids, "now_ms", lambda: now + policy.REPEAT_WINDOW - 1000)
    assert rotated(do, session_id, "r1", "r3") == "r2"
    monkeypatch.setattr(sessions.ids, "now_ms", lambda: now + policy.REPEAT_WINDOW + 1)
    assert rotated(do, session_id, "r1", "r3") == "SESSION_ENDED"
    assert rotated(do, session_id, "r2", "r3") == "SESSION_ENDED"


def test_very_many_sessions_end_by_the_same_statements(
    do: Handlers, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = do.CreateUser(repo_pb2.CreateUserRequest(username="ann", password="x")).user_id

    def add(number: int) -> None:
        rows = [
            {
                "session_id": f"d{n:05}",
                "user_id": user_id,
                "device_id": f"{n}",
                "refresh_id": "r",
                "created_at": n,
                "refreshed_at": n,
                "expires_at": EXPIRES,
            }
            for n in range(number)
        ]
        database.write(lambda tx: [tx.run(Session.insert_many(rows[at : at + 1000])) for at in range(0, number, 1000)])

    seen = statements(monkeypatch)
    counts = []
    for number in (3, 3000):
        add(number)
        seen.clear()
        signed_in(do, max_sessions=2)
        counts.append(len(seen))
        listed = do.ListUserSessions(account_pb2.ListUserSessionsRequest(user_id=user_id)).sessions
        assert [session.device_id for session in listed] == ["phone", f"{number - 1}"]
        seen.clear()
        do.SetPassword(account_pb2.SetPasswordRequest(user_id=user_id, password="y"))
        counts.append(len(seen))
        assert not do.ListUserSessions(account_pb2.ListUserSessionsRequest(user_id=user_id)).sessions
        database.write(lambda tx: tx.sql("DELETE FROM ended_sessions"))
    assert counts[:2] == counts[2:]


def test_a_list_of_sessions_is_bounded(do: Handlers, database: Database) -> None:
    user_id = do.CreateUser(repo_pb2.CreateUserRequest(username="ann", password="x")).user_id
    values = ", ".join(f"('d{n}', '{user_id}', '{n}{'x' * 120}', 'r', 1, {n}, {EXPIRES})" for n in range(1500))
    columns = "session_id, user_id, device_id, refresh_id, created_at, refreshed_at, expires_at"
    database.write(lambda tx: tx.sql(f"INSERT INTO sessions ({columns}) VALUES {values}"))
    listed = do.ListUserSessions(account_pb2.ListUserSessionsRequest(user_id=user_id)).sessions
    assert (len(listed), listed[0].session_id) == (1000, "d1499")
