"""The file of SQLite: whose it is by whatever name, and how much disk its WAL keeps."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gochat.config import Config, ConfigError
from gochat.repo.copying import CopyError, copy
from gochat.storage.engine import open_database
from gochat.storage.sqlite import WAL_LIMIT, DatabaseInUseError, SqliteDatabase
from tests.harness import Deployment

NAMES = {
    "symlink": Path.symlink_to,
    "hard link": Path.hardlink_to,
    "folder": None,
}


@pytest.mark.parametrize("how", NAMES)
def test_a_second_server_on_the_same_file_does_not_start(tmp_path: Path, how: str) -> None:
    one = Deployment(tmp_path / "one")
    try:
        other = tmp_path / "two"
        link = NAMES[how]
        if link is None:
            other.mkdir()
            (other / "data").symlink_to(one.data)
        else:
            (other / "data").mkdir(parents=True)
            link(other / "data" / "gochat.db", one.data / "gochat.db")
        with pytest.raises(AssertionError, match=r"gochat\.db is in use by another gochat process"):
            Deployment(other)
        person = one.person()
        assert person.send(one.create_user()).message_id
    finally:
        one.kill()


def test_the_lock_is_free_again_and_the_name_does_not_matter(tmp_path: Path) -> None:
    SqliteDatabase(tmp_path / "a.db").close()
    (tmp_path / "b.db").symlink_to(tmp_path / "a.db")
    with closing(SqliteDatabase(tmp_path / "b.db")), pytest.raises(DatabaseInUseError):
        SqliteDatabase(tmp_path / "a.db")


@pytest.mark.parametrize("url", ["sqlite:///:memory:", "sqlite:///file::memory:?cache=shared", "sqlite:///file:x.db"])
def test_memory_is_refused_in_a_sentence(url: str) -> None:
    with pytest.raises(ConfigError, match=r"database\.url: must name a file: what is in memory is lost"):
        open_database(Config().with_settings("database", url=url))
    with pytest.raises(CopyError, match="must name a file"):
        copy(url, "sqlite:///x.db", lambda *_: None)
    assert not os.path.exists("x.db")


def test_the_wal_shrinks_when_a_long_read_has_ended(tmp_path: Path) -> None:
    wal = tmp_path / "test.db-wal"
    with closing(SqliteDatabase(tmp_path / "test.db")) as database:
        database.write(lambda tx: tx.sql("CREATE TABLE notes (n INTEGER PRIMARY KEY, text TEXT)"))

        def write(megabytes: int) -> None:
            for _ in range(megabytes):
                database.write(
                    lambda tx: [tx.sql("INSERT INTO notes (text) VALUES (?)", "x" * 2**16) for _ in range(16)]
                )

        with closing(sqlite3.connect(f"file:{tmp_path}/test.db?mode=ro", uri=True, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM notes").fetchall()
            write(60)
            assert wal.stat().st_size > WAL_LIMIT
        write(20)
        assert wal.stat().st_size <= WAL_LIMIT
