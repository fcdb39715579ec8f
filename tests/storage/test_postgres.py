"""Transactions on PostgreSQL: what is run again, and what is not."""

import threading
import time
from collections.abc import Iterator

import psycopg2
import pytest

from gochat.context import SERVICE, Call, entered
from gochat.errors import ChatError
from gochat.storage.database import Tx
from gochat.storage.postgres import MAX_ATTEMPTS, PostgresDatabase
from tests.postgres import Postgres
from tests.waiting import eventually


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.create_database()


@pytest.fixture
def database(url: str) -> Iterator[PostgresDatabase]:
    opened = PostgresDatabase(url, pool_min=2, pool_max=4)
    opened.write(lambda tx: tx.sql("CREATE TABLE notes (n INTEGER PRIMARY KEY, text TEXT)"))
    opened.write(lambda tx: tx.sql("INSERT INTO notes (n, text) VALUES (1, ''), (2, '')"))
    yield opened
    opened.close()


def text_of(database: PostgresDatabase) -> list[str]:
    return [text for (text,) in database.read(lambda tx: tx.fetch_all("SELECT text FROM notes ORDER BY n"))]


def end_connections(url: str) -> None:
    """Returns when they are gone."""
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    connection = psycopg2.connect(url)
    connection.autocommit = True  # within a transaction the view would not change
    cursor = connection.cursor()
    cursor.execute(f"SELECT pg_terminate_backend(pid) {others}")

    def left() -> int:
        cursor.execute(f"SELECT count(*) {others}")
        return int(cursor.fetchone()[0])

    eventually(lambda: not left())
    connection.close()


def test_a_deadlocked_transaction_is_retried(database: PostgresDatabase) -> None:
    both_hold_one = threading.Barrier(2, timeout=30)
    runs = {"a": 0, "b": 0}

    def work(name: str, first: int, second: int) -> None:
        def write(tx: Tx) -> None:
            runs[name] += 1
            tx.sql("UPDATE notes SET text = text || ? WHERE n = ?", name, first)
            if runs[name] == 1:
                both_hold_one.wait()
            tx.sql("UPDATE notes SET text = text || ? WHERE n = ?", name, second)

        database.write(write)

    threads = [threading.Thread(target=work, args=arguments) for arguments in (("a", 1, 2), ("b", 2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 2 <= max(runs.values()) <= MAX_ATTEMPTS
    assert [sorted(text) for text in text_of(database)] == [["a", "b"], ["a", "b"]]


def test_connections_that_died_idle_are_replaced_unnoticed(database: PostgresDatabase, url: str) -> None:
    end_connections(url)
    assert text_of(database) == ["", ""]


def test_a_transaction_is_retried_when_its_connection_dies_before_the_commit(
    database: PostgresDatabase, url: str
) -> None:
    runs: list[int] = []

    def write(tx: Tx) -> None:
        runs.append(1)
        tx.sql("UPDATE notes SET text = text || 'x'")
        if len(runs) == 1:
            end_connections(url)
        tx.sql("UPDATE notes SET text = text || 'y'")

    database.write(write)
    assert len(runs) == 2
    assert text_of(database) == ["xy", "xy"]


def test_a_commit_without_an_answer_is_not_retried(database: PostgresDatabase, url: str) -> None:
    runs: list[int] = []

    def write(tx: Tx) -> None:
        runs.append(1)
        tx.sql("UPDATE notes SET text = 'x'")
        end_connections(url)

    with pytest.raises(ChatError) as caught:
        database.write(write)
    assert (caught.value.reason, len(runs)) == ("UNAVAILABLE", 1)
    assert "terminat" not in caught.value.message


def test_a_single_statement_is_a_transaction(database: PostgresDatabase, url: str) -> None:
    database.write(lambda tx: tx.sql("UPDATE notes SET text = 'x'"), one_statement=True)
    end_connections(url)
    assert database.read(lambda tx: tx.fetch_all("SELECT text FROM notes"), one_statement=True) == [("x",), ("x",)]
    end_connections(url)
    database.write(lambda tx: tx.sql("UPDATE notes SET text = 'y'"), one_statement=True)
    assert text_of(database) == ["y", "y"]


def test_a_single_statement_that_may_have_committed_is_not_retried(database: PostgresDatabase) -> None:
    runs: list[int] = []

    def write(tx: Tx) -> None:
        runs.append(1)
        tx.sql("WITH gone AS (SELECT pg_terminate_backend(pg_backend_pid())) UPDATE notes SET text = 'x' FROM gone")

    call = Call(SERVICE, "r", time.monotonic() + 30)  # outside of calls there is always a BEGIN
    with entered(call), pytest.raises(ChatError, match="not available"):
        database.write(write, one_statement=True)
    assert len(runs) == 1


def test_a_read_sees_one_state_and_writes_nothing(database: PostgresDatabase) -> None:
    def read(tx: Tx) -> list[object]:
        before = tx.fetch_all("SELECT text FROM notes")
        database.write(lambda other: other.sql("UPDATE notes SET text = 'x'"))
        return [before, tx.fetch_all("SELECT text FROM notes")]

    before, after = database.read(read)
    assert before == after
    with pytest.raises(ChatError, match="not available"):
        database.read(lambda tx: tx.sql("DELETE FROM notes"))
    assert text_of(database) == ["x", "x"]


def test_an_exhausted_pool_waits_for_the_deadline_and_says_so(database: PostgresDatabase) -> None:
    def hold(depth: int) -> None:
        if depth:
            database.read(lambda _: hold(depth - 1))
            return
        with entered(Call(SERVICE, "r", time.monotonic() + 0.2)):
            database.read(lambda _: None)

    with pytest.raises(ChatError, match="every connection is in use"):
        hold(4)
    hold(3)
