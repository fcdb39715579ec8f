"""gochat copy: everything of one database into another, empty one.

Rows go in the order of their primary keys, in transactions of BATCH rows that also move the row of copy_progress: a
copy that was killed goes on with the next batch. While that table exists, nothing else opens the target. SQLite's
search index is made at the end, of all users; the target makes its other indexes itself.

The log of changes is not copied, nor compared: the target begins one of another epoch, so no cursor of a client can
point into it, and clients read their state again.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import peewee
import psycopg2

from gochat.background import progress
from gochat.config import ConfigError
from gochat.errors import ChatError
from gochat.folders import make_folder
from gochat.repo.check import findings
from gochat.repo.users import rebuild_name_index
from gochat.storage import models
from gochat.storage.database import Database, DatabaseInUseError, Row, Tx, placeholders
from gochat.storage.distributed import is_distributed
from gochat.storage.engine import renew_log
from gochat.storage.explain import reason_of, sqlite_path
from gochat.storage.failures import driver_error
from gochat.storage.migrate import UNFINISHED, MigrationError, check_current, migrate, tables
from gochat.storage.postgres import PostgresDatabase
from gochat.storage.sqlite import SqliteDatabase

BATCH = 2000  # rows of a transaction: with the longest messages about 100 MB of memory
_FROM, _TO = "--from", "--to"
_FAILURES = (peewee.PeeweeException, psycopg2.Error, sqlite3.Error, OSError)
Show = Callable[[str, int, int], None]
"""show(what is being done, rows in all, rows done)"""


class CopyError(Exception):
    """A copy that is not possible or not right; the message names the side."""


@dataclass(frozen=True)
class Table:
    name: str
    columns: tuple[str, ...]
    numbers: tuple[str, ...]
    """Those of the columns that are not text."""
    key: tuple[str, ...]
    copied: str
    """The condition of the rows that are."""

    def key_of(self, row: Row) -> Row:
        return tuple(row[self.columns.index(name)] for name in self.key)


@dataclass(frozen=True)
class Copied:
    """A table that is the same on both sides."""

    table: str
    rows: int
    checksum: str


class Progress(NamedTuple):
    """How far a copy has come: in which of TABLES, after which key, after how many rows in all."""

    table: int
    after: Sequence[Any]
    rows: int


_COPIED_SECRETS = "name NOT IN ('epoch', 'timeline')"  # those are of this database, and of this server


_OF_LOG = models.Conversation.position  # which is not copied


def _table(model: type[peewee.Model]) -> Table:
    meta: Any = model._meta  # where Peewee keeps what it knows of a table
    columns = {name: field for name, field in meta.columns.items() if field is not _OF_LOG}
    return Table(
        meta.table_name,
        tuple(columns),
        tuple(name for name, field in columns.items() if isinstance(field, peewee.IntegerField)),
        tuple(meta.primary_key.field_names) if meta.composite_key else (meta.primary_key.name,),
        _COPIED_SECRETS if model is models.Secret else "1 = 1",
    )


TABLES = tuple(map(_table, models.ALL))


def copy(
    source_url: str, target_url: str, show: Show, show_line: Callable[[str], None] = lambda _: None
) -> tuple[list[Copied], list[str]]:
    """Copies, or goes on with it, and compares both. Returns the tables, and what `gochat check` finds in the copy.

    show_line: is given a line of progress on what has no rows to show. Raises CopyError.
    """
    with _opened(_FROM, source_url, show_line) as source:
        with _named(_FROM), source.interruptible(), progress(show_line) as step:
            check_current(source, _dialect(source))
            step("counting rows")
            counts, state = source.read(_state)
        with _named(_TO):
            same = _same_file(source_url, target_url)
        if same:
            raise CopyError(f"{_FROM} and {_TO} are the same database")
        with _opened(_TO, target_url, show_line) as target:
            with _named(_TO), target.interruptible():
                begun = _begin(target, state)
            _copy_rows(source, target, begun, partial(show, "copied", sum(counts)))
            copied = _compared(source, target, partial(show, "compared", 2 * sum(counts)))
            with _named(_TO), target.interruptible(), progress(show_line) as step:
                return copied, target.write(partial(_finish, step))


@contextmanager
def _opened(side: str, url: str, show_line: Callable[[str], None]) -> Iterator[PostgresDatabase | SqliteDatabase]:
    """A database that nobody else has open. Raises CopyError."""
    with _named(side):
        database = _open(side, url)
    with closing(database):
        with _named(side):
            database.claim(show_line)
        yield database


def _open(side: str, url: str) -> PostgresDatabase | SqliteDatabase:
    if url.startswith(("postgresql://", "postgres://")):
        database = PostgresDatabase(url, 1, 1, exclusive=True)
        database.distributed = database.read(is_distributed)
        return database
    path = _file(url)
    if path is None:
        raise CopyError(f"{side}: must be postgresql://... or sqlite:///FILE")
    if side == _FROM and not path.is_file():
        raise CopyError(f"{side}: {path} is no file")
    make_folder(path.parent)
    return SqliteDatabase(path)


def _file(url: str) -> Path | None:
    """Raises ConfigError."""
    return sqlite_path(url) if url.startswith("sqlite:///") else None


def _same_file(one: str, other: str) -> bool:
    """On SQLite, by whatever names: the lock would call it in use by another process."""
    files = [path for path in (_file(one), _file(other)) if path and path.exists()]
    return len(files) == 2 and files[0].samefile(files[1])


def _dialect(database: Database) -> str:
    return "postgres" if isinstance(database, PostgresDatabase) else "sqlite"


@contextmanager
def _named(side: str) -> Iterator[None]:
    """Whatever fails says on which side; of an error of the database what quotes no rows."""
    try:
        yield
    except (*_FAILURES, ChatError, ConfigError, DatabaseInUseError, MigrationError) as error:
        cause = error.__cause__ if isinstance(error.__cause__, _FAILURES) else error
        raise CopyError(f"{side}: {reason_of(driver_error(cause)).removeprefix('database.url: ')}") from None


def _state(tx: Tx) -> tuple[list[int], str]:
    """How many rows each table has, and a digest that anything that was done in GoChat would have changed: of these,
    of the sums of all numbers (times, sequence numbers, states), and of the keys."""
    sums = []
    for table in TABLES:
        # Of the lower half of each: SQLite's sum of whole ones may overflow.
        columns = "".join(f", coalesce(sum({name} & {0xFFFFFFFF}), 0)" for name in table.numbers)
        (row,) = tx.fetch_all(f"SELECT count(*){columns} FROM {table.name} WHERE {table.copied}")
        sums.append([int(number) for number in row])
    secrets = sorted(tx.fetch_all(f"SELECT name, value FROM secrets WHERE {_COPIED_SECRETS}"))
    digest = hashlib.sha256(json.dumps([TABLES, sums, secrets], default=vars).encode()).hexdigest()
    return [numbers[0] for numbers in sums], digest


def _begin(target: PostgresDatabase | SqliteDatabase, state: str) -> Progress:
    """Brings the target to this program's schema and returns where to go on. Raises CopyError."""
    found = target.read(_beginning)
    if found is None:
        target.read(_must_be_empty)
        migrate(target, _dialect(target))
        target.claim()  # others may have come since it has tables
        target.read(_must_be_empty)
        return target.write(partial(_mark, state))
    if found[0] != state:
        raise CopyError(
            f"{_TO}: holds the beginning of a copy from another database, or --from has changed since: empty it, and"
            " copy from the start"
        )
    migrate(target, _dialect(target))
    return Progress(*json.loads(found[1]))


def _beginning(tx: Tx) -> Row | None:
    return tx.fetch_one(f"SELECT source, place FROM {UNFINISHED}") if UNFINISHED in tables(tx) else None


def _must_be_empty(tx: Tx) -> None:
    there = tables(tx)
    if there and "schema_migrations" not in there:
        raise CopyError(f"{_TO}: is not empty, and not GoChat's")
    # What `gochat migrate` makes is a schema, secrets and a log that begins.
    for name in [table.name for table in TABLES if table.name in there - {"secrets"}]:
        if tx.fetch_one(f"SELECT 1 FROM {name} LIMIT 1"):
            raise CopyError(f"{_TO}: is not empty: it has {name}")


def _mark(state: str, tx: Tx) -> Progress:
    progress = Progress(0, (), 0)
    tx.sql("DELETE FROM secrets")
    tx.sql(f"CREATE TABLE {UNFINISHED} (source TEXT NOT NULL, place TEXT NOT NULL)")
    tx.sql(f"INSERT INTO {UNFINISHED} (source, place) VALUES (?, ?)", state, json.dumps(progress))
    return progress


def _finish(step: Callable[[str], None], tx: Tx) -> list[str]:
    step("making the indexes")
    if tx.postgres:
        tx.sql("ANALYZE")  # as autovacuum would in time
    rebuild_name_index(tx)
    renew_log(tx)
    tx.sql(f"DROP TABLE {UNFINISHED}")
    return list(findings(tx, step))


def _copy_rows(source: Database, target: Database, progress: Progress, show: Callable[[int], None]) -> None:
    for number, table in list(enumerate(TABLES))[progress.table :]:
        after = progress.after if number == progress.table else ()
        for rows in _batches(_FROM, source, table, after):
            progress = Progress(number, table.key_of(rows[-1]), progress.rows + len(rows))
            with _named(_TO):
                target.write(partial(_load, table, rows, progress))
            show(progress.rows)


def _batches(side: str, database: Database, table: Table, after: Sequence[Any] = ()) -> Iterator[list[Row]]:
    """The rows of a table that come after this key, in the order of the primary key's index. In another database that
    may be another order: it follows the collation."""
    rows = _batch(side, database, table, after)
    while rows:
        yield rows
        rows = _batch(side, database, table, table.key_of(rows[-1]))


def _batch(side: str, database: Database, table: Table, after: Sequence[Any]) -> list[Row]:
    key = ", ".join(table.key)
    later = f" AND ({key}) > ({placeholders(after)})" if after else ""
    columns = ", ".join(table.columns)
    text = f"SELECT {columns} FROM {table.name} WHERE {table.copied}{later} ORDER BY {key} LIMIT {BATCH}"
    with _named(side):
        return database.read(lambda tx: tx.fetch_all(text, *after), one_statement=True)


def _load(table: Table, rows: list[Row], progress: Progress, tx: Tx) -> None:
    names, cursor = ", ".join(table.columns), tx.sql(f"UPDATE {UNFINISHED} SET place = ?", json.dumps(progress))
    if tx.postgres:
        lines = StringIO("\n".join(_line(table, row) for row in rows))
        cursor.copy_expert(f"COPY {table.name} ({names}) FROM STDIN", lines)
    else:
        cursor.executemany(f"INSERT INTO {table.name} ({names}) VALUES ({placeholders(table.columns)})", rows)


def _line(table: Table, row: Row) -> str:
    """As COPY reads it. Raises CopyError."""
    values = [str(value) for value in row]
    if any("\0" in value for value in values):
        raise CopyError(
            f"{_FROM}: {table.name} {table.key_of(row)} has a NUL character, which PostgreSQL does not store"
        )
    for plain, escaped in (("\\", r"\\"), ("\t", r"\t"), ("\n", r"\n"), ("\r", r"\r")):
        values = [value.replace(plain, escaped) for value in values]
    return "\t".join(values)


def _compared(source: Database, target: Database, show: Callable[[int], None]) -> list[Copied]:
    """Reads both again, all of them. Raises CopyError."""
    copied, differing, done = [], [], 0
    for table in TABLES:
        pair = []
        for side, database in ((_FROM, source), (_TO, target)):
            count = total = 0
            for rows in _batches(side, database, table):
                count += len(rows)
                total += sum(map(_digest, rows))
                show(done + count)
            done += count
            # A sum does not depend on the order.
            pair.append(Copied(table.name, count, f"{total % 2**256:064x}"))
        copied.append(pair[0])
        if pair[0] != pair[1]:
            differing.append(f"{table.name} ({pair[0].rows} rows and {pair[1].rows})")
    if differing:
        raise CopyError(
            f"{_FROM} and {_TO} differ in {', '.join(differing)}: one was changed meanwhile; empty {_TO}, and copy from"
            " the start"
        )
    return copied


def _digest(row: Row) -> int:
    return int.from_bytes(hashlib.sha256(json.dumps(row).encode()).digest())
