"""Opens the database that the configuration names."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gochat.config import Config, ConfigError
from gochat.domain import ids
from gochat.storage.database import DatabaseInUseError, Tx
from gochat.storage.failures import NO_RIGHTS, describe, sqlstate
from gochat.storage.migrate import UNFINISHED, MigrationError, migrate, tables
from gochat.storage.postgres import PostgresDatabase, postgres_snapshot
from gochat.storage.sqlite import SqliteDatabase, sqlite_snapshot

__all__ = ["DatabaseInUseError", "MigrationError", "open_database", "snapshot", "sqlite_file"]

log = logging.getLogger(__name__)


def open_database(config: Config, show: Callable[[str], None] = log.info) -> PostgresDatabase | SqliteDatabase:
    """The database of [database] url, migrated to this program's schema. show: is given a line of progress.

    Raises ConfigError, MigrationError, DatabaseInUseError, and ChatError where it cannot be reached.
    """
    settings = config.database
    Tx.slow_after = config.log.slow_query_ms / 1000 or math.inf
    database: PostgresDatabase | SqliteDatabase
    if settings.is_postgres:
        dialect, database = "postgres", PostgresDatabase(settings.url, settings.pool_min, settings.pool_max)
    else:
        path = sqlite_file(config)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        dialect, database = "sqlite", SqliteDatabase(path)
    try:
        if UNFINISHED in database.read(tables):
            raise MigrationError("the database holds a copy that is not complete: run that gochat copy again")
        with database.interruptible():
            migrate(database, dialect, show)
        database.pair_key = database.write(_pair_key)
    except BaseException as error:
        database.close()
        cause = error.__cause__ or error
        if sqlstate(cause) == NO_RIGHTS:
            raise ConfigError(
                f"database.url: {describe(cause)}: let the owner of the tables run gochat migrate, or give the role"
                " their rights"
            ) from None
        raise
    return database


def sqlite_file(config: Config) -> Path:
    """Raises ConfigError."""
    return sqlite_path(config.database.url) or Path(config.server.data) / "gochat.db"


def sqlite_path(url: str) -> Path | None:
    """Of a URL sqlite:///FILE; None where it names no file. Raises ConfigError."""
    name = url.removeprefix("sqlite:///")
    if ":memory:" in name or name.startswith("file:"):
        raise ConfigError("database.url: must name a file: what is in memory is lost, and only one connection sees it")
    return Path(name) if name else None


@contextmanager
def snapshot(config: Config) -> Iterator[Tx]:
    """A transaction that sees one state of the database of [database] url, whatever its schema, for as long as the
    block lasts; servers go on writing meanwhile. Raises ConfigError, and ChatError where the database cannot be
    reached."""
    settings = config.database
    opened = postgres_snapshot(settings.url) if settings.is_postgres else sqlite_snapshot(sqlite_file(config))
    with opened as tx:
        yield tx


def _pair_key(tx: Tx) -> bytes:
    tx.sql("INSERT INTO secrets (name, value) VALUES ('pair', ?) ON CONFLICT DO NOTHING", ids.new_secret())
    ((key,),) = tx.fetch_all("SELECT value FROM secrets WHERE name = 'pair'")
    return str(key).encode()
