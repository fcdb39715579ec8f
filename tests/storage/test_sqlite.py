"""The batching writer: what shares a commit, and what happens when a part or the whole of a batch fails."""

import gc
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import peewee
import pytest

from gochat.config import ConfigError
from gochat.context import SERVICE, Call, Lane, TooLongError, current, entered
from gochat.errors import ChatError, not_found
from gochat.storage.database import Tx
from gochat.storage.sqlite import INLINE_TIMEOUT, DatabaseInUseError, SqliteDatabase
from tests.waiting import eventually


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    opened = SqliteDatabase(tmp_path / "test.db")
    opened.write(lambda tx: tx.sql("CREATE TABLE notes (n INTEGER PRIMARY KEY)"))
    yield opened
    opened.close()


def test_a_sqlite_that_is_too_old_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(ConfigError, match=r"has SQLite 3\.\d+\.\d+: 3\.35 or newer is needed"):
        SqliteDatabase(tmp_path / "test.db")
    assert not [*tmp_path.iterdir()]


def note(n: int) -> "object":
    return lambda tx: tx.sql("INSERT INTO notes (n) VALUES (?)", n).rowcount


def notes(database: SqliteDatabase) -> list[int]:
    return [n for (n,) in database.read(lambda tx: tx.fetch_all("SELECT n FROM notes ORDER BY n"))]


class Batch:
    """Works that are queued together, so that they share a transaction. begun: the SQL that was run for them."""

    def __init__(self, database: SqliteDatabase, works: list) -> None:  # type: ignore[type-arg]
        self.outcomes: list[object] = [None] * len(works)
        threads = [threading.Thread(target=self._run, args=(database, n, work)) for n, work in enumerate(works)]
        self.begun: list[str] = []
        held, gate = threading.Event(), threading.Event()

        def listen(_: Exception | None) -> None:
            database._writer.connection.connection().set_trace_callback(self.begun.append)

        def hold(_: Call) -> None:
            held.set()
            gate.wait()

        database.enqueue(current(), hold, listen)
        held.wait()
        for thread in threads:
            thread.start()
        eventually(lambda: database._writer.waiting == len(works))
        gate.set()
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


def test_an_error_rolls_back_its_own_writes_alone(database: SqliteDatabase) -> None:
    def fail(tx: Tx) -> None:
        tx.sql("INSERT INTO notes (n) VALUES (99)")
        raise not_found("note")

    def clash(tx: Tx) -> None:
        tx.sql("INSERT INTO notes (n) VALUES (97)")
        tx.sql("INSERT INTO notes (n) VALUES (97)")

    batch = Batch(database, [note(1), fail, clash, note(2)])
    one, failed, clashed, two = batch.outcomes
    assert (one, two) == (1, 1)
    assert isinstance(failed, ChatError)
    assert isinstance(clashed, peewee.IntegrityError)
    assert notes(database) == [1, 2]


def test_a_failed_commit_fails_every_write_of_its_batch(database: SqliteDatabase) -> None:
    def full(tx: Tx) -> None:
        tx.sql("PRAGMA max_page_count = 1")
        for n in range(1000, 20000):
            tx.sql("INSERT INTO notes (n) VALUES (?)", n)

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
    settings = database.write(
        lambda tx: [tx.fetch_all(f"PRAGMA {name}")[0][0] for name in ("journal_mode", "synchronous")]
    )
    assert settings == ["wal", 2]


@pytest.mark.usefixtures("database")
def test_one_process_alone_opens_the_file(tmp_path: Path) -> None:
    with pytest.raises(DatabaseInUseError, match=r"test\.db is in use"):
        SqliteDatabase(tmp_path / "test.db")


def test_an_enqueued_call_is_one_transaction_and_ends_when_it_is_durable(database: SqliteDatabase) -> None:
    seen: list[object] = []
    ended = threading.Event()

    def run(_: Call) -> None:
        database.write(note(1))
        database.write(note(2))
        seen.append(notes(database))

    def end(error: Exception | None) -> None:
        with sqlite3.connect(database._writer.connection.database) as other:
            seen.extend((error, other.execute("SELECT COUNT(*) FROM notes").fetchone()[0]))
        ended.set()

    database.enqueue(current(), run, end)
    assert ended.wait(10)
    assert seen == [[1, 2], None, 2]


def test_an_enqueued_call_that_fails_is_rolled_back_alone(database: SqliteDatabase) -> None:
    errors: list[Exception | None] = []

    def fail(_: Call) -> None:
        database.write(note(1))
        raise ValueError

    database.enqueue(current(), fail, errors.append)
    database.write(note(2))
    assert [type(error) for error in errors] == [ValueError]
    assert notes(database) == [2]


def test_a_call_that_cannot_be_answered_does_not_end_the_writing(database: SqliteDatabase) -> None:
    def broken(_: Exception | None) -> None:
        raise ValueError

    database.enqueue(current(), lambda _: None, broken)
    database.write(note(1))
    assert notes(database) == [1]


@pytest.mark.parametrize("error", [None, not_found("note"), ValueError()])
def test_a_finished_call_is_released_before_the_next(database: SqliteDatabase, error: Exception | None) -> None:
    class Kept:
        """A call, and what it refers to."""

        def __init__(self) -> None:
            self.ended = threading.Event()

        def run(self, _: Call) -> None:
            if error:
                raise type(error)(*error.args)

        def end(self, _: Exception | None) -> None:
            self.ended.set()

    calls = [Kept() for _ in range(3)]
    for call in calls:
        database.enqueue(current(), call.run, call.end)
    assert all(call.ended.wait(10) for call in calls)
    kept = [weakref.ref(call) for call in calls]
    del calls, call
    gc.disable()  # what only garbage collection ends would last for as long as there is none
    try:
        eventually(lambda: not any(one() for one in kept), 2)
    finally:
        gc.enable()


def test_waiting_for_a_write_ends_at_the_deadline(database: SqliteDatabase) -> None:
    gate = threading.Event()
    database.enqueue(current(), lambda _: gate.wait() and None, lambda _: None)
    with entered(Call(SERVICE, "r", time.monotonic() + 0.1)), pytest.raises(ChatError) as caught:
        database.write(note(1))
    assert caught.value.reason == "DEADLINE_EXCEEDED"
    gate.set()
    database.write(note(2))
    assert notes(database) == [2]


def test_an_inline_read_gives_up_when_it_takes_long(database: SqliteDatabase) -> None:
    numbers = "WITH RECURSIVE t (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t LIMIT ?) SELECT COUNT(*) FROM t"

    def count(most: int) -> int:
        return database.read(lambda tx: int(tx.fetch_all(numbers, most)[0][0]), one_statement=True)

    with entered(Call(SERVICE, "r", time.monotonic() + 30, lane=Lane.INLINE)):
        for _ in range(100):
            assert count(10) == 10
        with pytest.raises(TooLongError):
            count(3_000_000)
        assert count(10) == 10
        with pytest.raises(TooLongError):
            notes(database)  # several statements may be
    assert count(300_000) == 300_000


def test_an_inline_read_waits_neither_for_the_disk_nor_for_another(database: SqliteDatabase) -> None:
    waits = (
        "WITH RECURSIVE t (n) AS (SELECT waiting(0.02) UNION ALL SELECT n + 1 FROM t LIMIT 3000) SELECT COUNT(*) FROM t"
    )

    def slow_disk(seconds: float) -> int:
        time.sleep(seconds)
        return 1

    database._inline.connection().create_function("waiting", 1, slow_disk)
    with entered(Call(SERVICE, "r", time.monotonic() + 30, lane=Lane.INLINE)):
        began = time.thread_time()
        with pytest.raises(TooLongError):
            database.read(lambda tx: tx.fetch_all(waits), one_statement=True)
        assert time.thread_time() - began < INLINE_TIMEOUT, "it was given up for the time that passed, not for its CPU"

        def another(tx: Tx) -> list[object]:
            with pytest.raises(TooLongError):
                database.read(lambda tx: tx.fetch_all("SELECT 1"), one_statement=True)
            return tx.fetch_all("SELECT 2")

        assert database.read(another, one_statement=True) == [(2,)]
        assert database.read(lambda tx: tx.fetch_all("SELECT 3"), one_statement=True) == [(3,)]


def test_a_read_that_is_given_up_between_two_rows_says_so(database: SqliteDatabase) -> None:
    slow = (
        "SELECT 1 UNION ALL SELECT * FROM (WITH RECURSIVE t (n) AS"
        " (SELECT 1 UNION ALL SELECT n + 1 FROM t LIMIT 3000000) SELECT COUNT(*) FROM t)"
    )
    with entered(Call(SERVICE, "r", time.monotonic() + 30, lane=Lane.INLINE)), pytest.raises(TooLongError):
        database.read(lambda tx: tx.fetch_all(slow), one_statement=True)
