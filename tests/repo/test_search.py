"""The search for users: the index holds what the table holds, and both ways answer what reading all would."""

import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gochat.api.common.v1.common_pb2 import PaginationRequest
from gochat.api.repo.v1 import repo_pb2
from gochat.bench.seed import fill
from gochat.config import Config
from gochat.domain.text import casefold_key
from gochat.errors import ChatError, not_found
from gochat.internal.store.v1 import store_pb2
from gochat.repo import search, users
from gochat.repo.deletion import Deletion
from gochat.repo.search import Search
from gochat.repo.users import Users, rebuild_name_index
from gochat.storage import engine, migrate
from gochat.storage.database import Database, Tx, placeholders
from gochat.storage.engine import open_database
from gochat.storage.migrate import tables
from gochat.storage.sqlite import SqliteDatabase
from tests.repo.test_query_counts import statements

LIMIT = 7  # of a page
LETTERS = "aAb1王小明%_\\\"'* -é\U0001f600"
QUERIES = [
    *LETTERS,
    "aa",
    "ab",
    "王小",
    "小明",
    "%_",
    '"a',
    "\1",
    "a\1b",
    "aab",
    "王小明",
    "aaba",
    "ab1王",
    "a b a",
    "zz",
    "zzzz",
]


def add(database: Database, names: list[tuple[str, str]]) -> None:
    """As gochat bench does: in SQL, past CreateUser."""

    def work(tx: Tx) -> None:
        for number, (username, nickname) in enumerate(names):
            tx.sql(
                "INSERT INTO users (user_id, username, username_key, nickname, nickname_key, username_shape, status,"
                " email, avatar, bio, role, password_hash, created_at, updated_at)"
                " VALUES (?, ?, ?, ?, ?, ?, 1, '', '', '', 'user', '', 0, 0)",
                *(f"u{number}", username, casefold_key(username), nickname, casefold_key(nickname), f"shape{number}"),
            )
        if "user_search" in tables(tx):
            rebuild_name_index(tx)

    database.write(work)


def delete(database: Database, *user_ids: str) -> None:
    """As no handler does."""

    def work(tx: Tx) -> None:
        tx.sql(f"DELETE FROM users WHERE user_id IN ({placeholders(user_ids)})", *user_ids)
        rebuild_name_index(tx)

    database.write(work)


def find(database: Database, query: str, page: int = 1, inactive: bool = False) -> tuple[int, list[str]]:
    request = store_pb2.FindUsersRequest(
        query=query, pagination=PaginationRequest(page=page, limit=LIMIT), include_inactive=inactive
    )
    answer = Search(database).FindUsers(request)
    return answer.pagination.total, [user.username for user in answer.users]


def expected(users: dict[str, tuple[str, int]], query: str, page: int, inactive: bool) -> tuple[int, list[str]]:
    """users: username -> (nickname, status)."""
    key, ranked = casefold_key(query), []
    for username, (nickname, status) in users.items():
        keys = (casefold_key(username), casefold_key(nickname))
        if any(key in name for name in keys) and (inactive or status == 1):
            begins = any(name.startswith(key) for name in keys)
            place = 0 if keys[0] == key else 1 if keys[1] == key else 2 if begins else 3
            ranked.append((place, keys[0].encode(), username))
    return len(ranked), [username for _, _, username in sorted(ranked)][LIMIT * (page - 1) : LIMIT * page]


@pytest.mark.parametrize("many", [False, True])
def test_a_search_equals_a_full_scan(database: Database, many: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_is_in_very_many", lambda *_: many)
    dice = random.Random(1)

    def word(longest: int) -> str:
        return "".join(dice.choices(LETTERS, k=dice.randint(1, longest)))

    known = {casefold_key(word(7)): (word(7), 1) for _ in range(300)}
    add(database, [(username, nickname) for username, (nickname, _) in known.items()])
    for number, username in enumerate(list(known)[:60]):
        known[username] = (word(5), number % 3 + 1)
        nickname, status = known[username]
        Deletion(database).UpdateUser(
            repo_pb2.UpdateUserRequest(user_id=f"u{number}", nickname=nickname, status=status)
        )
    names = [name for username, (nickname, _) in list(known.items())[40:80] for name in (username, nickname.upper())]
    for query in [*QUERIES, *names, ""]:
        for page in (1, 2, 3, 20, 42, 43, 44):
            for inactive in (False, True):
                answer = find(database, query, page, inactive)
                assert answer == expected(known, query, page, inactive), (query, page, inactive)


def test_users_of_earlier_versions_are_found(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = tmp_path / "sql"
    older.mkdir()
    for file in migrate.folder().glob("000[1-4]*.sql"):
        (older / file.name).write_text(file.read_text())
    with monkeypatch.context() as earlier:
        earlier.setattr(migrate, "folder", lambda: older)
        earlier.setattr(engine, "begin_log", lambda _: None)  # they had no log
        database = open_database(config)
        add(database, [("anna", "王小明"), ("bert", "Bert")])
        database.close()
    database = open_database(config)
    assert [find(database, query)[1] for query in ("nna", "小明", "王", "ert")] == [
        ["anna"],
        ["anna"],
        ["anna"],
        ["bert"],
    ]
    database.close()


def test_rolled_back_and_deleted_users_are_not_found(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise not_found("user")

    with monkeypatch.context() as failing:
        failing.setattr(users, "record", fail)
        with pytest.raises(ChatError):
            Users(database).CreateUser(repo_pb2.CreateUserRequest(username="ghost", password="x"))
    add(database, [("ghost hunter", "h"), ("other ghost", "o")])
    assert find(database, "ghost") == (2, ["ghost hunter", "other ghost"])
    delete(database, "u0")
    assert find(database, "ghost") == find(database, "host") == (1, ["other ghost"])


@pytest.mark.parametrize("query", ["ench00042", "bench000042", "ol bak", "王小明", "小明", "明", "zz", "no such name"])
def test_a_search_does_not_read_all_users(database: Database, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(database, 2000, [])
    database.write(lambda tx: tx.sql("ANALYZE"))
    with monkeypatch.context() as patch:
        seen = statements(patch)
        total, _ = find(database, query)
    assert (total > 0) == (query not in ("zz", "no such name"))
    selects = [(text, values) for text, values in seen if "SELECT" in text]
    assert len(selects) >= 2

    def plans(tx: Tx) -> str:
        explain = "EXPLAIN " if tx.postgres else "EXPLAIN QUERY PLAN "
        return "\n".join(str(tx.fetch_all(explain + text, *values)) for text, values in selects)

    explained = database.read(plans)
    assert "users_by_gram" in explained or "SCAN user_search VIRTUAL TABLE" in explained
    assert "SCAN users" not in explained
    assert "Seq Scan" not in explained


@pytest.mark.parametrize("query", ["", "b", "a", "00"])
def test_a_deep_page_takes_no_more_rows_than_it_shows(
    database: Database, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_is_in_very_many", lambda *_: True)
    fill(database, 2000, [])
    total, _ = find(database, query)
    taken: list[int] = []
    rows = Tx.fetch_all

    def counted(tx: Tx, *arguments: Any) -> list[Any]:
        answer = rows(tx, *arguments)
        taken.append(len(answer))
        return answer

    monkeypatch.setattr(Tx, "fetch_all", counted)
    last = total // LIMIT
    for page in (last // 2, last):
        taken.clear()
        assert len(find(database, query, page)[1]) == LIMIT
        assert sum(taken) == 1 + 2 * LIMIT, "the counts, the ids, the users"


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_the_last_page_of_very_many_costs_what_the_first_does(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_is_in_very_many", lambda *_: True)
    fill(database, 2000, [])
    total, _ = find(database, "b")
    steps: list[None] = []  # each 100 of SQLite's virtual machine
    (connection,) = database._readers._idle
    connection.database.connection().set_progress_handler(
        lambda: steps.append(None), 100
    )  # of SQLite's virtual machine

    def cost(page: int) -> int:
        steps.clear()
        find(database, "b", page)
        return len(steps)

    assert cost(total // LIMIT) < 1.1 * cost(1)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_very_common_queries_are_recognized(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(database, 200, [])
    of_many = ["bench", "b", "en", "000"]
    for query in of_many:
        assert not database.read(lambda tx, key=query: search._is_in_very_many(tx, key))
    monkeypatch.setattr(search, "MANY", 20)
    for query in [*of_many, "小明", "bench000042"]:
        assert database.read(lambda tx, key=query: search._is_in_very_many(tx, key)) == (query in of_many)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_the_index_survives_a_vacuum(config: Config) -> None:
    database = open_database(config)
    add(database, [(f"user{number}", "n") for number in range(50)])
    delete(database, "u3", "u20")
    database.close()
    (file,) = Path(config.server.data).glob("*.db")
    with sqlite3.connect(file) as connection:
        connection.execute("VACUUM")
        connection.execute("INSERT INTO user_search (user_search, rank) VALUES ('integrity-check', 1)")
    database = open_database(config)
    assert find(database, "user49") == (1, ["user49"])
    database.close()


@pytest.mark.parametrize("query", ["", "a", "小明", "alice"])
def test_an_empty_database_finds_nobody(database: Database, query: str) -> None:
    answer = Search(database).FindUsers(store_pb2.FindUsersRequest(query=query))
    assert (len(answer.users), answer.pagination.total) == (0, 0)
