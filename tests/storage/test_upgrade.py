"""Databases of released versions, with what a real server wrote into them, under this version."""

from pathlib import Path
from typing import Any

import pytest

from gochat.api.logic.v1 import logic_pb2
from gochat.config import Config
from gochat.storage import migrate
from gochat.storage.database import Tx, placeholders
from gochat.storage.postgres import PostgresDatabase
from gochat.storage.sqlite import SqliteDatabase
from tests.conftest import Own
from tests.harness import PASSWORD, as_service
from tests.processes import gochat
from tests.storage.released import Released, answer, frozen, load

LATEST = len(migrate.migrations("sqlite"))


def opened(url: str, data: Path) -> SqliteDatabase | PostgresDatabase:
    if url:
        return PostgresDatabase(url, 1, 1)
    data.mkdir(parents=True)
    return SqliteDatabase(data / "gochat.db")


def as_it_was(database: SqliteDatabase | PostgresDatabase, dialect: str, released: Released) -> None:
    def write(tx: Tx) -> None:
        for table, row in released.rows:
            tx.sql(f"INSERT INTO {table} ({', '.join(released.columns[table])}) VALUES ({placeholders(row)})", *row)

    migrate.migrate(database, dialect)
    database.write(write)
    database.close()


def holds(new: Any, old: Any) -> bool:
    """Does the new answer say all that the old one said? Later versions may say more."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(key in new and holds(new[key], old[key]) for key in old)
    if isinstance(old, list):
        return isinstance(new, list) and len(new) == len(old) and all(map(holds, new, old))
    return bool(new == old)


@pytest.mark.parametrize("file", frozen(), ids=lambda file: file.stem)
def test_reads_answer_the_same_after_an_upgrade(
    own: Own, file: Path, config: Config, dialect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = load(file)
    of_release = migrate.migrations(dialect)[: released.version]
    assert [one.checksum for one in of_release] == released.checksums[dialect], "a released migration was changed"
    monkeypatch.setattr(migrate, "migrations", lambda _: of_release)
    monkeypatch.setattr(migrate, "routines", lambda *_, **__: [])
    as_it_was(opened(config.database.url, tmp_path / "data"), dialect, released)

    app = own(folder=tmp_path, url=config.database.url)
    for read, old in released.reads:
        assert holds(answer(app, read), old), read
    signed_in = app.logic.Authenticate(logic_pb2.AuthRequest(username=released.username, password=PASSWORD))
    sent = as_service(app).logic.SendMessage(
        conversation_id=released.group, from_user_id=signed_in.user_info.user_id, content="and on it goes"
    )
    checked = app.run("check", check=False)
    assert sent.message_id.endswith("-000000000001")
    assert checked.stdout.startswith("clean: "), checked.stdout


def test_the_newest_schema_is_frozen_before_it_is_released() -> None:
    assert frozen(), "run python -m tests.storage.released"
    assert int(frozen()[-1].stem) <= LATEST


def test_a_newer_database_stops_the_start_and_is_left_alone(config: Config, dialect: str, tmp_path: Path) -> None:
    database = opened(config.database.url, tmp_path / "data")
    migrate.migrate(database, dialect)
    database.write(
        lambda tx: tx.sql(
            "INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (?, ?, '', 0)",
            *(LATEST + 1, f"contract_{LATEST + 1:04d}_later"),
        )
    )
    database.close()
    for command in ("serve", "migrate"):
        env = {"GOCHAT_DATABASE_URL": config.database.url, "GOCHAT_SERVER_LISTEN": "127.0.0.1:0"}
        run = gochat(command, "--data", tmp_path / "data", env=env)
        assert run.returncode == 1
        says = (
            f"the database has schema version {LATEST + 1}, this program knows {LATEST}, and {LATEST + 1:04d}_contract_"
        )
        assert run.stderr.splitlines()[-1].startswith(f"gochat: {says}")
