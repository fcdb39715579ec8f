"""The schema: migrations, and the models over it."""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import peewee
import pytest

from gochat.config import Config
from gochat.storage import migrate, models
from gochat.storage.database import Database, Tx
from gochat.storage.engine import open_database
from gochat.storage.migrate import MigrationError

TABLES = [model for model in peewee.Model.__subclasses__() if model.__module__ == models.__name__]

LATEST = len(migrate.migrations("sqlite"))


def test_models_and_schema_agree(database: Database) -> None:
    def work(tx: Tx) -> None:
        real = tx._database
        for model in TABLES:
            meta = model._meta
            columns = {column.name: column for column in real.get_columns(meta.table_name)}
            assert set(columns) == set(meta.columns), meta.table_name
            keys = [column.name for column in real.get_columns(meta.table_name) if column.primary_key]
            wanted = meta.primary_key.field_names if meta.composite_key else (meta.primary_key.name,)
            assert sorted(keys) == sorted(wanted), meta.table_name
            for name, field in meta.columns.items():
                assert not columns[name].null, (meta.table_name, name)
                kind = columns[name].data_type.upper()
                if isinstance(field, peewee.BigIntegerField):
                    assert kind == "BIGINT", (meta.table_name, name)
                elif isinstance(field, peewee.IntegerField):
                    assert kind == "INTEGER", (meta.table_name, name)
                else:
                    assert kind == "TEXT", (meta.table_name, name)
        # The log of changes has no model: it is written and read in SQL alone, and gochat copy leaves it out.
        others = {"schema_migrations", "changes", "log_readers", "inboxes"}
        others |= {"processes"} if tx.postgres else set()  # of leases.py
        known = {model._meta.table_name for model in TABLES} | others
        # The search index of SQLite is tables too, made by FTS5.
        assert {table for table in real.get_tables() if not table.startswith("user_search")} == known

    database.read(work)


def test_a_second_start_applies_nothing(config: Config, dialect: str) -> None:
    open_database(config).close()
    database = open_database(config)
    assert migrate.migrate(database, dialect) == []
    database.close()


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)  # on SQLite the second does not get the file
def test_two_programs_that_start_together_migrate_once(config: Config) -> None:
    with ThreadPoolExecutor(4) as programs:
        for opened in programs.map(open_database, [config] * 4):
            opened.close()


@pytest.fixture
def changed_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of sql/ that a test may change."""
    copy = tmp_path / "sql"
    copy.mkdir()
    for file in migrate.folder().glob("*.sql"):
        (copy / file.name).write_text(file.read_text())
    monkeypatch.setattr(migrate, "folder", lambda: copy)
    return copy


def test_a_changed_migration_stops_the_start(config: Config, changed_folder: Path) -> None:
    open_database(config).close()
    with (changed_folder / "0001_schema.sql").open("a") as file:
        file.write("-- touched\n")
    with pytest.raises(MigrationError, match="0001_schema was applied with other text"):
        open_database(config)


def test_a_newer_database_stops_the_start(config: Config, changed_folder: Path) -> None:
    (changed_folder / f"{LATEST + 1:04d}_contract_9999_future.sql").write_text("CREATE TABLE future (x INTEGER);\n")
    open_database(config).close()
    (changed_folder / f"{LATEST + 1:04d}_contract_9999_future.sql").unlink()
    with pytest.raises(MigrationError, match=f"schema version {LATEST + 1}, this program knows {LATEST}, "):
        open_database(config)


def test_a_newer_database_that_has_only_more_is_opened(config: Config, changed_folder: Path, dialect: str) -> None:
    later = changed_folder / f"{LATEST + 1:04d}_future.sql"
    later.write_text("CREATE TABLE future (x INTEGER);\n")
    open_database(config).close()
    later.unlink()
    with closing(open_database(config)) as database:
        assert migrate.migrate(database, dialect) == []
        assert database.read(lambda tx: migrate.pending(tx, dialect)) == []
        assert database.read(migrate.newest) == LATEST + 1


def test_a_contract_names_the_oldest_schema_that_goes_on(config: Config, changed_folder: Path) -> None:
    names = f"{LATEST + 1:04d}_more.sql", f"{LATEST + 2:04d}_contract_{LATEST + 1:04d}_less.sql"
    files = [changed_folder / name for name in names]
    for file in files:
        file.write_text(f"CREATE TABLE t{file.name[:4]} (x INTEGER);\n")
    open_database(config).close()
    files[1].unlink()
    open_database(config).close()
    files[0].unlink()
    with pytest.raises(MigrationError, match=f"is for programs that know {LATEST + 1}: run a newer one"):
        open_database(config)


def test_a_failing_migration_leaves_nothing_behind(config: Config, changed_folder: Path) -> None:
    broken = changed_folder / f"{LATEST + 1:04d}_broken.sql"
    broken.write_text("CREATE TABLE half (x INTEGER);\nINSERT INTO nowhere (x) VALUES (1);\n")
    with pytest.raises(peewee.DatabaseError):
        open_database(config)
    broken.write_text("CREATE TABLE half (x INTEGER);\n")
    open_database(config).close()


ONLY_POSTGRES = pytest.mark.parametrize("dialect", ["postgres"], indirect=True)


def function_texts(database: Database) -> dict[str, tuple[str, str]]:
    """Name -> (text, the transaction that wrote it)."""
    stored = "SELECT proname, prosrc, xmin::text FROM pg_proc WHERE pronamespace = current_schema()::regnamespace"
    return {name: (text, written) for name, text, written in database.read(lambda tx: tx.fetch_all(stored))}


@ONLY_POSTGRES
def test_functions_are_replaced_when_their_text_changes_and_else_left(config: Config, changed_folder: Path) -> None:
    with closing(open_database(config)) as database:
        before = function_texts(database)
    with closing(open_database(config)) as database:
        assert function_texts(database) == before
    functions = changed_folder / "routines.postgres.sql"
    functions.write_text(functions.read_text().replace("\nBEGIN\n", "\nBEGIN\n    -- later\n", 1))
    with closing(open_database(config)) as database:
        after = function_texts(database)
        assert after.keys() == before.keys()
        assert "-- later" in after["send_messages"][0]
        assert after["send_messages"][1] != before["send_messages"][1]
        recorded = "SELECT checksum FROM schema_migrations WHERE name = 'routines'"
        assert database.read(lambda tx: tx.fetch_all(recorded)) == [(migrate.routines("postgres")[0].checksum,)]
        assert migrate.migrate(database, "postgres") == []


@ONLY_POSTGRES
def test_functions_come_in_the_transaction_of_the_last_migration(config: Config, changed_folder: Path) -> None:
    open_database(config).close()
    later = f"{LATEST + 1:04d}_later.sql"
    (changed_folder / later).write_text("DROP FUNCTION send_unlocked;\n")
    functions = changed_folder / "routines.postgres.sql"
    text = functions.read_text()
    functions.write_text(text + "SELECT nonsense();\n")
    with pytest.raises(peewee.DatabaseError):
        open_database(config)
    (changed_folder / later).write_text("SELECT send_unlocked('[]', 0);\n")  # it is there still
    functions.write_text(text + "SELECT send_unlocked('[]', 0);\n")
    open_database(config).close()


@ONLY_POSTGRES
def test_a_program_starts_on_a_newer_schema_only_where_its_functions_are(config: Config, changed_folder: Path) -> None:
    later = changed_folder / f"{LATEST + 1:04d}_future.sql"
    later.write_text("CREATE TABLE future (x INTEGER);\n")
    open_database(config).close()
    later.unlink()
    with (changed_folder / "routines.postgres.sql").open("a") as file:
        file.write("CREATE OR REPLACE FUNCTION of_its_own() RETURNS INTEGER LANGUAGE SQL AS 'SELECT 1';\n")
    with pytest.raises(MigrationError, match="not of_its_own of this program"):
        open_database(config)


def test_there_are_no_triggers_but_those_of_the_audit_log(database: Database, dialect: str) -> None:
    """They keep off statements that are not ours; what ours do they do themselves."""
    triggers = (
        "SELECT tbl_name FROM sqlite_schema WHERE type = 'trigger'"
        if dialect == "sqlite"
        else "SELECT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal"
    )
    assert {table for (table,) in database.read(lambda tx: tx.fetch_all(triggers))} == {"audit_log"}


TAKES_AWAY = re.compile(r"^\s*(DROP (?!FUNCTION)|ALTER TABLE .*(DROP|RENAME|SET NOT NULL|ALTER COLUMN \w+ TYPE))", re.M)
BEFORE_THE_RULE = 20


def test_only_files_that_say_so_take_something_away() -> None:
    """What the program of the version before needs, while both serve."""
    files = {one.label: one for dialect in ("sqlite", "postgres") for one in migrate.migrations(dialect)}
    later = [one for one in files.values() if one.version > BEFORE_THE_RULE]
    assert [one.label for one in later if TAKES_AWAY.search(one.text) and not one.needs] == []
    assert TAKES_AWAY.search("ALTER TABLE users DROP COLUMN bio;\n")
    assert TAKES_AWAY.search("DROP INDEX members_by_time;\n")
    assert not TAKES_AWAY.search("ALTER TABLE users ADD COLUMN bio TEXT NOT NULL DEFAULT '';\n")


@pytest.mark.parametrize("name", [f"{LATEST + 2:04d}_gap.sql", "three.sql"])
def test_a_misnumbered_file_stops_the_start(config: Config, changed_folder: Path, name: str) -> None:
    (changed_folder / name).write_text("SELECT 1;\n")
    with pytest.raises(MigrationError):
        open_database(config)
