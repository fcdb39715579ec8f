"""What errors of the database mean, and what of them is logged."""

import logging
import sqlite3
from contextlib import closing

import peewee
import psycopg2
import pytest

from gochat.errors import ChatError
from gochat.storage.database import Database, unavailable_on_failure
from gochat.storage.failures import SQLSTATES, Failure, describe, failure


class FakeError(psycopg2.Error):
    def __init__(self, state: str) -> None:
        super().__init__("text")
        self.state = state

    @property
    def pgcode(self) -> str:  # type: ignore[override]
        return self.state


@pytest.mark.parametrize(
    ("state", "meaning"),
    [
        ("08006", Failure.LOST),
        ("57P01", Failure.LOST),
        ("57P03", Failure.LOST),
        ("25P03", Failure.LOST),
        ("57014", Failure.BUSY),
        ("40001", Failure.BUSY),
        ("40P01", Failure.BUSY),
        ("55P03", Failure.BUSY),
        ("53300", Failure.BUSY),
        ("53100", Failure.REFUSED),
        ("25006", Failure.REFUSED),
        ("42501", Failure.REFUSED),
        ("28P01", Failure.REFUSED),
        ("58030", Failure.REFUSED),
        ("XX001", Failure.REFUSED),
        ("XX000", Failure.BUG),
        ("23505", Failure.BUG),
        ("42P01", Failure.BUG),
        ("22021", Failure.BUG),
    ],
)
def test_a_sqlstate_has_one_meaning(state: str, meaning: Failure) -> None:
    assert failure(FakeError(state)) is meaning
    assert {len(prefix) for prefix in SQLSTATES} == {2, 3, 5}


def test_what_is_no_error_of_a_database_means_nothing() -> None:
    assert failure(ValueError()) is None
    assert failure(peewee.OperationalError("could not connect")) is Failure.LOST
    assert failure(peewee.ProgrammingError("no such table")) is Failure.BUG


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (sqlite3.SQLITE_BUSY_SNAPSHOT, Failure.BUSY),
        (sqlite3.SQLITE_FULL, Failure.REFUSED),
        (sqlite3.SQLITE_IOERR_WRITE, Failure.REFUSED),
        (sqlite3.SQLITE_READONLY_DBMOVED, Failure.REFUSED),
        (sqlite3.SQLITE_ERROR, Failure.BUG),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, Failure.BUG),
    ],
)
def test_so_has_a_code_of_sqlite(code: int, meaning: Failure) -> None:
    error = sqlite3.OperationalError("text")
    error.sqlite_errorcode = code
    assert failure(error) is meaning


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
def test_no_value_of_a_row_is_logged(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    insert = "INSERT INTO secrets (name, value) VALUES ('confidential', 'x')"
    database.write(lambda tx: tx.sql(insert))
    with pytest.raises(peewee.IntegrityError) as caught:
        database.write(lambda tx: tx.sql(insert))
    logging.getLogger("test").error("failed", exc_info=caught.value)
    assert "duplicate key value violates unique constraint" in caplog.text
    assert "(23505)" in caplog.text
    assert "DETAIL" not in caplog.text
    assert "(confidential)" not in caplog.text


def test_the_primary_message_and_the_sqlstate_are_logged(postgres: object, caplog: pytest.LogCaptureFixture) -> None:
    connection = psycopg2.connect(postgres.create_database(), options="-c statement_timeout=50ms")  # type: ignore[attr-defined]
    with closing(connection), pytest.raises(ChatError, match="not available"), unavailable_on_failure():
        connection.cursor().execute("SELECT pg_sleep(5)")
    assert "the database failed (busy): canceling statement due to statement timeout (57014)" in caplog.text
    assert describe(ValueError("two\nlines")) == "two lines"
