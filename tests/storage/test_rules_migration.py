"""What 0011 makes of people, groups and names as they were before; and passwords hashed before they were prepared."""

import unicodedata
from typing import Any

import pytest

from gochat.config import Config
from gochat.domain.text import full_casefold
from gochat.internal.account.v1 import account_pb2
from gochat.repo import passwords
from gochat.repo.check import findings
from gochat.storage import migrate
from gochat.storage.database import Tx, placeholders
from gochat.storage.postgres import PostgresDatabase
from gochat.storage.sqlite import SqliteDatabase
from tests.repo.test_query_counts import Handlers

BEFORE = 10
LOOKED_UP = 2**62
USERS = {"ann": 3, "ben": 1, "cem": 2, "dan": 1, "İbo": 1, "ibo": 1, "İdil": 1, "علي": 1, "gone": 3}


@pytest.fixture
def old(config: Config, dialect: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """A database of schema version 10, with a row for each case."""
    url = config.database.url
    database = PostgresDatabase(url, 1, 4) if url else SqliteDatabase(tmp_path / "old.db")
    every = migrate.migrations(dialect)
    with monkeypatch.context() as patched:
        patched.setattr(migrate, "migrations", lambda _: every[:BEFORE])
        patched.setattr(migrate, "routines", lambda *_, **__: [])
        migrate.migrate(database, dialect)
    database.write(_fill)
    migrate.migrate(database, dialect)
    yield database
    database.close()


def _insert(tx: Tx, table: str, *values: Any) -> None:
    tx.sql(f"INSERT INTO {table} VALUES ({placeholders(values)})", *values)


def _fill(tx: Tx) -> None:
    password_hash = passwords._hasher.hash(unicodedata.normalize("NFD", "pässwörd1"))
    for name, status in USERS.items():
        key = full_casefold(name)
        _insert(tx, "users", f"u{name}", name, key, "", name, key, "", "", "user", status, password_hash, 1, 1, key)
    groups = {"g1": ("ann", ["ben", "cem", "dan"]), "g2": ("gone", []), "g3": ("ben", ["gone"])}
    for group, (owner, others) in groups.items():
        _insert(tx, "conversations", group, "group", "g", "", "", f"u{owner}", 9, 1 + len(others), 2, 1, 5, 0, 2)
        for number, name in enumerate([owner, *others]):
            role = "owner" if name == owner else "admin" if name == "dan" else "member"
            hidden = 1 if name == "dan" else -1
            _insert(tx, "members", group, f"u{name}", role, 2, hidden, number, 2, 5)
        for seq, status in ((1, 1), (2, 5)):
            content = "" if status == 5 else "x"
            _insert(tx, "messages", group, seq, f"u{owner}", "", content, "text", status, "", 1, 1)
    tx.sql("INSERT INTO secrets (name, value) VALUES ('pair', 'k')")


def test_people_and_groups(old: Any) -> None:
    def read(tx: Tx) -> tuple[list[Any], list[Any]]:
        return (
            tx.fetch_all("SELECT conversation_id, user_id, role, hidden_seq FROM members ORDER BY 1, 2"),
            tx.fetch_all(
                "SELECT conversation_id, owner_id, member_count, dissolved_at > 0 FROM conversations ORDER BY 1"
            ),
        )

    members, groups = old.read(read)
    assert [tuple(row) for row in members] == [
        ("g1", "uben", "member", -1),
        ("g1", "ucem", "member", -1),
        ("g1", "udan", "owner", 2),
        ("g3", "uben", "owner", -1),
    ]
    assert [(group, owner, count, bool(ended)) for group, owner, count, ended in groups] == [
        ("g1", "udan", 3, False),
        ("g2", "ugone", 0, True),
        ("g3", "uben", 1, False),
    ]
    wrong = [line for line in old.write(lambda tx: list(findings(tx))) if "sender" not in line and "epoch" not in line]
    assert wrong == []


def test_names_and_passwords(old: Any) -> None:
    do = Handlers(old)

    def sign_in(name: str) -> str:
        request = account_pb2.SignInRequest(
            username=name, password=unicodedata.normalize("NFD", "pässwörd1"), refresh_id="r", expires_at=2**50
        )
        return str(do.SignIn(request).profile.user_id)

    for name, status in USERS.items():
        if status == 1:
            assert sign_in(name) == f"u{name}"
    assert sign_in("IDIL") == "uİdil"
    assert sign_in("علی") == "uعلي"
