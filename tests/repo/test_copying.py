"""A copy that stops after any batch; and what it must notice: another source, a changed one, a difference."""

from contextlib import closing
from pathlib import Path

import pytest

from gochat.config import Config, Database
from gochat.repo import copying
from gochat.repo.copying import CopyError
from gochat.storage.database import Tx, placeholders
from gochat.storage.engine import MigrationError, open_database
from tests.commands.copying import opened, rows_of

GROUPS = 20
STEPS = [7, 14, 20, 27, 34, 40, 47, 54, 60, 61]  # three tables of 20 rows, one of one row
Pair = tuple[str, str]


class StoppedError(Exception):
    """Ctrl-C, at a chosen moment."""


def config_of(url: str) -> Config:
    return Config(database=Database(url=url, pool_min=1))


def fill(url: str) -> str:
    """Groups of one member and one message each; returns the URL."""

    def work(tx: Tx) -> None:
        for number in range(GROUPS):
            group, user = f"g{number:03}", f"u{number}"
            ids = {"conversation_id": group}
            times = {"created_at": 1, "updated_at": 1}
            of_group = {"owner_id": user, "max_members": 500, "member_count": 1, "last_seq": 1, "dissolved_at": 0}
            text = {"to_user_id": "", "content": "hi", "message_type": "text", "status": 1, "metadata": ""}
            for table, row in (
                (
                    "conversations",
                    {**ids, "type": "group", "name": "n", "description": "", "avatar": "", **of_group, **times},
                ),
                (
                    "members",
                    {
                        **ids,
                        "user_id": user,
                        "role": "owner",
                        "read_seq": 1,
                        "joined_at": 1,
                        "last_seq": 1,
                        "active_at": 1,
                    },
                ),
                ("messages", {**ids, "seq": 1, "from_user_id": user, **text, **times}),
            ):
                tx.sql(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({placeholders(row)})", *row.values())

    with closing(open_database(config_of(url))) as database:
        database.write(work)
    return url


def copy_until(pair: Pair, rows: int = 0) -> list[int]:
    """Copies, until so many rows are there; returns the progress."""
    progress: list[int] = []

    def show(what: str, _: int, done: int) -> None:
        if what == "copied":
            progress.append(done)
            if done == rows:
                raise StoppedError

    if rows:
        with pytest.raises(StoppedError):
            copying.copy(*pair, show)
    else:
        copying.copy(*pair, show)
    return progress


@pytest.fixture(params=["sqlite-postgres", "postgres-sqlite"])
def pair(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    monkeypatch.setattr(copying, "BATCH", 7)
    source, target = (
        request.getfixturevalue("postgres").create_database() if kind == "postgres" else f"sqlite:///{tmp_path}/{kind}"
        for kind in request.param.split("-")
    )
    return fill(source), target


def test_a_copy_resumes_after_any_batch(pair: Pair) -> None:
    for number, rows in enumerate(STEPS):
        assert copy_until(pair, rows) == STEPS[number : number + 1]
        with pytest.raises(MigrationError, match="holds a copy that is not complete"):
            open_database(config_of(pair[1]))
    with pytest.raises(CopyError, match=r"^--from: the database holds a copy that is not complete"):
        copying.copy(pair[1], pair[0], lambda *_: None)
    assert copy_until(pair) == []  # all that is left to do is to compare
    assert rows_of(pair[1]) == rows_of(pair[0])
    with pytest.raises(CopyError, match=r"^--to: is not empty: it has conversations"):
        copy_until(pair)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE members SET read_seq = 0 WHERE conversation_id = 'g003'",
        "UPDATE messages SET status = 2 WHERE conversation_id = 'g003'",
        "INSERT INTO ended_sessions (session_id, ended_at) VALUES ('s', 1)",
        "UPDATE secrets SET value = 'other'",
    ],
)
def test_a_copy_does_not_resume_from_a_changed_source(pair: Pair, change: str) -> None:
    copy_until(pair, 20)
    with opened(pair[0]) as cursor:
        cursor.execute(change)
    with pytest.raises(CopyError, match=r"^--to: holds the beginning of a copy from another database, or --from has"):
        copy_until(pair)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE messages SET content = 'Hi' WHERE conversation_id = 'g003'", "messages"),
        ("UPDATE conversations SET name = '', description = 'n' WHERE conversation_id = 'g003'", "conversations"),
        ("DELETE FROM members WHERE conversation_id = 'g003'", "members"),
        ("INSERT INTO ended_sessions (session_id, ended_at) VALUES ('s', 1)", "ended_sessions"),
    ],
)
def test_a_difference_is_found(pair: Pair, side: int, change: str, table: str) -> None:
    def show(what: str, rows: int, done: int) -> None:
        if (what, done) == ("copied", rows):
            with opened(pair[side]) as cursor:
                cursor.execute(change)

    with pytest.raises(CopyError, match=rf"^--from and --to differ in {table} \(\d+ rows and \d+\): one was changed"):
        copying.copy(*pair, show)
    with pytest.raises(MigrationError, match="not complete"):
        open_database(config_of(pair[1]))


def test_findings_in_the_source_are_reported(pair: Pair) -> None:
    with opened(pair[0]) as cursor:
        cursor.execute("UPDATE conversations SET last_seq = 5 WHERE conversation_id = 'g003'")
    _, findings = copying.copy(*pair, lambda *_: None)
    assert "conversations g003: messages are not numbered from 1 to last_seq without a gap" in findings
    assert rows_of(pair[1]) == rows_of(pair[0])


@pytest.mark.parametrize("pair", ["sqlite-postgres"], indirect=True)
def test_what_postgresql_cannot_store_is_named(pair: Pair) -> None:
    with opened(pair[0]) as cursor:
        cursor.execute("UPDATE messages SET content = 'a' || char(0) WHERE conversation_id = 'g003'")
    with pytest.raises(CopyError, match=r"^--from: messages \('g003', 1\) has a NUL character"):
        copy_until(pair)
