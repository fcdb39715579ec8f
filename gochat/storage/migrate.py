"""Applies sql/NNNN_name.sql in order, each once, in a transaction of its own; then, in the transaction of the last one,
the functions (sql/routines.postgres.sql, sql/reads.postgres.sql) whenever they are not what was applied last.

sql/NNNN_name.sqlite.sql and sql/NNNN_name.postgres.sql stand in where the dialects differ. A numbered file that was
applied must not change: its checksum is kept. Functions are replaced and not migrated, so that each stands in one file,
whole. Two programs that start together do not both migrate: the first holds a lock.

Programs of a version before go on with a file ("expand"), unless its name says which schema they must know
("contract"): NNNN_contract_MMMM_name.sql. They find that in schema_migrations, where the names are. So a program starts
on a newer schema, and leaves it and its functions alone, where no file beyond its own asks for more than it knows.
"""

import hashlib
import re
import sqlite3
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gochat.background import progress
from gochat.domain.ids import now_ms
from gochat.errors import ChatError
from gochat.storage.database import Database, Tx
from gochat.storage.distributed import as_distributed, is_distributed
from gochat.storage.failures import sqlstate

LOCK = 0x676F63686174  # "gochat": any number, but always this one
UNFINISHED = "copy_progress"  # the table that repo/copying.py has in its target until the copy is complete
ROUTINES = 0  # the version by which schema_migrations knows the functions; max(version) is that of the tables
_OBJECT = re.compile(
    r"^(?:CREATE|DROP) (?:OR REPLACE |UNIQUE |VIRTUAL )?(TABLE|INDEX|TRIGGER|VIEW|FUNCTION) (\w+)", re.MULTILINE
)
_FUNCTIONS = "reads.", "routines."
_FUNCTION_NAMES = "SELECT proname FROM pg_proc WHERE pronamespace = current_schema()::regnamespace"
LOCK_TIMEOUT = 1.0  # seconds that a migration waits for a table, and so have calls wait that come after it
LOCK_PAUSE = 2.0  # seconds until it tries again
_NOT_LOCKED = "55P03"
_CONTRACT = re.compile(r"contract_(\d{4})_")
_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)(?:\.(sqlite|postgres))?\.sql")


class MigrationError(Exception):
    """The database and the program do not fit together; the message says how."""


@dataclass(frozen=True)
class Migration:
    version: int
    name: str
    text: str

    @property
    def label(self) -> str:
        return f"{self.version:04d}_{self.name}" if self.version else self.name

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def needs(self) -> int:
        return needed(self.name)


def newest(tx: Tx) -> int:
    """The version of the schema of a database that has one."""
    return int(tx.fetch_all("SELECT max(version) FROM schema_migrations")[0][0] or 0)


def needed(name: str) -> int:
    """The oldest schema version that a program must know to go on beside a file of this name; 0: any."""
    match = _CONTRACT.match(name)
    return int(match[1]) if match else 0


def folder() -> Path:
    """sql/ lies beside the package in a checkout and inside it in a wheel."""
    package = Path(__file__).parent.parent
    inside = package / "sql"
    return inside if inside.is_dir() else package.parent / "sql"


def routines(dialect: str, *, distributed: bool = False) -> list[Migration]:
    """The functions of this dialect, where it has any. distributed: those of a database on a cluster."""
    text = _functions(dialect)
    if distributed:
        text = f"{as_distributed(text)}\n{_functions('distributed')}"
    return [Migration(ROUTINES, "routines", text)] if text else []


def _functions(dialect: str) -> str:
    return "\n".join(
        path.read_text(encoding="utf-8") for path in _unnumbered() if path.name.endswith(f".{dialect}.sql")
    )


def _unnumbered() -> list[Path]:
    return sorted(path for path in folder().glob("*.sql") if path.name.startswith(_FUNCTIONS))


def migrations(dialect: str) -> list[Migration]:
    """The numbered files. dialect: sqlite or postgres."""
    found = []
    for path in sorted(set(folder().glob("*.sql")) - set(_unnumbered())):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path.name}: not a name like 0001_name.sql")
        if match[3] in (None, dialect):
            found.append(Migration(int(match[1]), match[2], path.read_text(encoding="utf-8")))
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise MigrationError(f"{folder()}: the numbers of the files for {dialect} must run from 0001 without a gap")
    return found


def tables(tx: Tx) -> set[str]:
    """Their names."""
    named = (
        "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        if tx.postgres
        else "SELECT name FROM sqlite_schema WHERE type = 'table'"
    )
    return {name for (name,) in tx.fetch_all(named)}


def objects(applied: list[Migration]) -> list[tuple[str, str]]:
    """(kind, name) of all that these migrations leave behind. kind: table, index, trigger, view or function."""
    made: dict[str, str] = {}
    for match in (match for migration in applied for match in _OBJECT.finditer(migration.text)):
        if match[0].startswith("CREATE"):
            made[match[2]] = match[1].lower()
        else:
            del made[match[2]]
    return [(kind, name) for name, kind in made.items()]


def migrate(database: Database, dialect: str, show: Callable[[str], None] = lambda _: None) -> list[Migration]:
    """Brings the database to this program's schema; returns what was applied. It takes the time that it takes; if it is
    interrupted, the file that was being applied has done nothing. show: is given a line of progress. Raises
    MigrationError."""
    known = migrations(dialect)
    functions = routines(dialect, distributed=database.read(is_distributed))
    applied = []
    for migration in known:
        with progress(show) as step:
            step(f"migration {migration.label}")
            done = _once_locked(database, partial(_apply, migration=migration, known=known, functions=functions))
        for one in done:
            show(f"applied migration {one.label}")
        applied += done
    return applied


def _once_locked(database: Database, work: Callable[[Tx], list[Migration]]) -> list[Migration]:
    """While a transaction has a table that the migration needs, it tries again and again: if it waited, all calls that
    want that table would wait behind it."""
    while True:
        try:
            return database.write(work)
        except ChatError as error:
            if error.__cause__ is None or sqlstate(error.__cause__) != _NOT_LOCKED:
                raise
        time.sleep(LOCK_PAUSE)


def is_migrated(tx: Tx) -> bool:
    """Has the database a table of the migrations that were applied? Other programs may have one of the same name.

    Asked of PostgreSQL's catalogue, since information_schema hides what the role has no rights on.
    """
    named = """
SELECT 1 FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'checksum'
WHERE c.relnamespace = current_schema()::regnamespace AND c.relname = 'schema_migrations'"""
    if not tx.postgres:
        named = "SELECT 1 FROM pragma_table_info('schema_migrations') WHERE name = 'checksum'"
    return tx.fetch_one(named) is not None


def check_current(database: Database, dialect: str) -> None:
    """Raises MigrationError where the database is not at this program's schema, or not whole."""
    there = database.read(tables)
    if not database.read(is_migrated):
        raise MigrationError("this is no GoChat database")
    must_be_whole(there)
    known = migrations(dialect)[-1].version
    version = database.read(newest)
    if version != known:
        way = "run `gochat migrate` first" if version < known else "run a newer one"
        raise MigrationError(f"the database has schema version {version}, this program's is {known}: {way}")


def must_be_whole(there: Collection[str]) -> None:
    """there: the tables of a database. Raises MigrationError."""
    if UNFINISHED in there:
        raise MigrationError("the database holds a copy that is not complete: run that gochat copy again")


def pending(tx: Tx, dialect: str) -> list[Migration]:
    """What `migrate` would apply. Raises MigrationError where a start would."""
    there = tables(tx)
    must_be_whole(there)
    if "schema_migrations" not in there:
        if there and not tx.postgres:
            raise MigrationError("this is the database of another program")
        return [*migrations(dialect), *routines(dialect)]
    return _pending(tx, migrations(dialect), routines(dialect, distributed=is_distributed(tx)))


def _pending(tx: Tx, known: list[Migration], functions: list[Migration]) -> list[Migration]:
    """Raises MigrationError."""
    if not is_migrated(tx):
        raise MigrationError(
            "schema_migrations is a table of another program: give GoChat a database, or a schema, of its own"
        )
    rows = tx.fetch_all("SELECT version, name, checksum FROM schema_migrations ORDER BY version")
    there = {version: checksum for version, _, checksum in rows}
    last = known[-1].version
    newer = [Migration(version, name, "") for version, name, _ in rows if version > last]
    for one in newer:
        if one.needs > last:
            raise MigrationError(
                f"the database has schema version {newer[-1].version}, this program knows {last}, and {one.label}"
                f" is for programs that know {one.needs}: run a newer one"
            )
    for migration in known:
        if there.get(migration.version, migration.checksum) != migration.checksum:
            raise MigrationError(f"migration {migration.label} was applied with other text than this program has")
    if newer and tx.postgres:
        made = {name for (name,) in tx.fetch_all(_FUNCTION_NAMES)}
        if missing := [name for _, name in objects(functions) if name not in made]:
            raise MigrationError(
                f"the database has schema version {newer[-1].version}, and not {missing[0]} of this program, which"
                f" knows {last}: it runs on a newer schema only where it ran before"
            )
    found = [migration for migration in known if migration.version not in there]
    return found + ([] if newer else [one for one in functions if there.get(one.version) != one.checksum])


def _apply(tx: Tx, migration: Migration, known: list[Migration], functions: list[Migration]) -> list[Migration]:
    """Returns what was applied: the migration, the functions, both or none."""
    if tx.postgres:
        tx.sql("SELECT pg_advisory_xact_lock(?)", LOCK)
        tx.sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'")
    if "schema_migrations" not in tables(tx):  # IF NOT EXISTS takes the right to make tables where it exists, too
        tx.sql(
            "CREATE TABLE schema_migrations (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, "
            "checksum TEXT NOT NULL, applied_at BIGINT NOT NULL)"
        )
    now = (migration.version, *([ROUTINES] if migration is known[-1] else []))
    applying = [one for one in _pending(tx, known, functions) if one.version in now]
    for one in applying:
        for statement in [one.text] if tx.postgres else _statements(one.text):
            tx.sql(statement)
        tx.sql("DELETE FROM schema_migrations WHERE version = ?", one.version)
        tx.sql(
            "INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (?, ?, ?, ?)",
            *(one.version, one.name, one.checksum, now_ms()),
        )
    return applying


def _statements(text: str) -> list[str]:
    """SQLite takes one at a time, PostgreSQL a whole file."""
    statements, pending = [], ""
    for line in text.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    return statements
