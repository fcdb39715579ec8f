"""Ended sessions are asked for in their order: whatever clocks say and however transactions overlap, none is missed."""

from contextlib import closing

import psycopg2
import pytest

from gochat.config import Config
from gochat.domain import ids
from gochat.repo.endings import end, ended_since
from gochat.storage.database import Database, Tx
from gochat.storage.models import Session, User

YEAR = 366 * 24 * 3600 * 1000  # milliseconds


def end_new(tx: Tx, session_id: str) -> None:
    """Ends a session that was opened just now, of a user who is deleted, and so counts nowhere."""
    names = dict.fromkeys(("username", "username_key", "username_shape", "nickname", "nickname_key"), session_id)
    rest = dict.fromkeys(("email", "avatar", "bio", "role", "password_hash"), "")
    tx.run(User.insert(user_id=session_id, status=3, created_at=1, updated_at=1, **names, **rest))
    opened = dict.fromkeys(("session_id", "user_id", "device_id", "refresh_id"), session_id)
    tx.run(Session.insert(created_at=1, refreshed_at=1, expires_at=1, previous_refresh_id="", **opened))
    end(tx, session_id)


def since(database: Database, position: int) -> tuple[int, list[str]]:
    return database.read(lambda tx: ended_since(tx, position), one_statement=True)


def test_what_has_ended_is_named_once_or_more(database: Database) -> None:
    position, sessions = since(database, 0)
    assert sessions == []
    for name in ("a", "b"):
        database.write(lambda tx, name=name: end_new(tx, name))
        position, sessions = since(database, position)
        assert sessions == [name]
        assert since(database, position)[1] == []
    assert sorted(since(database, 0)[1]) == ["a", "b"]


@pytest.mark.parametrize("jump", [-YEAR, YEAR])
def test_a_clock_that_jumps_hides_none(database: Database, monkeypatch: pytest.MonkeyPatch, jump: int) -> None:
    database.write(lambda tx: end_new(tx, "before"))
    position, _ = since(database, 0)
    now = ids.now_ms()
    monkeypatch.setattr("gochat.repo.endings.ids.now_ms", lambda: now + jump)
    database.write(lambda tx: end_new(tx, "during"))
    monkeypatch.undo()
    position, sessions = since(database, position)
    assert sessions == ["during"]
    database.write(lambda tx: end_new(tx, "after"))
    assert since(database, position)[1] == ["after"]


def test_a_position_of_another_database_hides_none(database: Database) -> None:
    database.write(lambda tx: end_new(tx, "a"))
    assert since(database, 2**60)[1] == ["a"]


def test_the_newest_is_kept_so_that_positions_go_on(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    database.write(lambda tx: end_new(tx, "old"))
    position, _ = since(database, 0)
    later = ids.now_ms() + YEAR
    monkeypatch.setattr("gochat.repo.endings.ids.now_ms", lambda: later)
    database.write(lambda tx: end_new(tx, "new"))
    assert since(database, position)[1] == ["new"]
    assert since(database, 0)[1] == ["new"], "the old one was forgotten"


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
def test_a_transaction_that_commits_late_is_not_missed(config: Config, database: Database) -> None:
    with closing(psycopg2.connect(config.database.url)) as slow, slow.cursor() as cursor:
        cursor.execute("INSERT INTO ended_sessions (session_id, ended_at) VALUES ('slow', 1)")
        database.write(lambda tx: end_new(tx, "quick"))
        position, sessions = since(database, 0)
        assert sessions == ["quick"]
        slow.commit()
    assert "slow" in since(database, position)[1]
