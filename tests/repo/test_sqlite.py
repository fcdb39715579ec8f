"""The batching writer: what shares a commit, and what happens when a part or the whole of a batch fails."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import peewee
import pytest

from gochat.context import SERVICE, Call, entered
from gochat.errors import ChatError, not_found
from gochat.repo.database import Tx
from gochat.repo.sqlite import DatabaseInUseError, SqliteDatabase


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    opened = SqliteDatabase(tmp_path / "test.db")
    opened.write(lambda tx: tx.sql("CREATE TABLE notes (n INTEGER PRIMARY KEY)"))
    yield opened
    opened.close()


def note(n: int) -> "object":
    return lambda tx: tx.sql("INSERT INTO notes VALUES (?)", n).rowcount


def notes(database: SqliteDatabase) -> list[int]:
    return [n for (n,) in database.read(lambda tx: tx.rows("SELECT n FROM notes ORDER BY n"))]


class Batch:
    """Works that wait for the write lock together, so that they share a transaction."""

    def __init__(self, database: SqliteDatabase, works: list) -> None:  # type: ignore[type-arg]
        self.outcomes: list[object] = [None] * len(works)
        threads = [threading.Thread(target=self._run, args=(database, n, work)) for n, work in enumerate(works)]
        with database._write_lock:
            for thread in threads:
                thread.start()
            while len(database._queue) < len(works):
                time.sleep(0.001)
            self.begun: list[str] = []
            original = database._writer.execute_sql
            database._writer.execute_sql = lambda sql, *rest: (self.begun.append(sql), original(sql, *rest))[1]
        for thread in threads:
            thread.join()

    def _run(self, database: SqliteDatabase, n: int, work: object) -> None:
        try:
            self.outcomes[n] = database.write(work)  # type: ignore[arg-type]
        except Exception as error:  # noqa: BLE001 - it is the outcome
            self.outcomes[n] = error


def test_queued_writes_share_one_commit(database: SqliteDatabase) -> None:
    batch = Batch(database, [note(n) for n in range(10)])
    assert batch.outcomes == [1] * 10
    assert (batch.begun.count("BEGIN IMMEDIATE"), batch.begun.count("COMMIT")) == (1, 1)
    assert notes(database) == list(range(10))


def test_an_error_takes_back_its_own_writes_and_no_others(database: SqliteDatabase) -> None:
    def fail(tx: Tx) -> None:
        tx.sql("INSERT INTO notes VALUES (99)")
        raise not_found("note")

    def clash(tx: Tx) -> None:
        tx.sql("INSERT INTO notes VALUES (97)")
        tx.sql("INSERT INTO notes VALUES (97)")

    batch = Batch(database, [note(1), fail, clash, note(2)])
    one, failed, clashed, two = batch.outcomes
    assert (one, two) == (1, 1)
    assert isinstance(failed, ChatError)
    assert isinstance(clashed, peewee.IntegrityError)
    assert notes(database) == [1, 2]


def test_a_commit_that_fails_is_told_to_everyone_in_the_batch(database: SqliteDatabase) -> None:
    def full(tx: Tx) -> None:
        tx.sql("PRAGMA max_page_count = 1")
        for n in range(1000, 20000):
            tx.sql("INSERT INTO notes VALUES (?)", n)

    def more_room(tx: Tx) -> None:
        tx.sql("PRAGMA max_page_count = 1000000")

    batch = Batch(database, [note(1), full, note(2)])
    assert all(isinstance(outcome, ChatError) and outcome.reason == "UNAVAILABLE" for outcome in batch.outcomes)
    assert notes(database) == []
    database.write(more_room)
    database.write(note(3))
    assert notes(database) == [3]


def test_a_write_whose_deadline_has_passed_is_not_made(database: SqliteDatabase) -> None:
    with entered(Call(SERVICE, "r", time.monotonic() - 1)), pytest.raises(ChatError) as caught:
        database.write(note(1))
    assert caught.value.reason == "DEADLINE_EXCEEDED"
    database.write(note(2))
    assert notes(database) == [2]


def test_readers_do_not_write(database: SqliteDatabase) -> None:
    with pytest.raises((peewee.PeeweeException, ChatError)):
        database.read(note(1))  # type: ignore[arg-type]
    assert notes(database) == []


def test_the_file_is_durable_before_the_answer(database: SqliteDatabase) -> None:
    settings = database.write(lambda tx: [tx.rows(f"PRAGMA {name}")[0][0] for name in ("journal_mode", "synchronous")])
    assert settings == ["wal", 2]


@pytest.mark.usefixtures("database")
def test_one_process_alone_opens_the_file(tmp_path: Path) -> None:
    with pytest.raises(DatabaseInUseError, match=r"test\.db is in use"):
        SqliteDatabase(tmp_path / "test.db")
