"""Opens the database that the configuration names."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gochat.config import Config, ConfigError
from gochat.domain import ids
from gochat.folders import make_folder
from gochat.storage.database import DatabaseInUseError, Tx
from gochat.storage.distributed import is_distributed
from gochat.storage.explain import DatabaseError, damaged, explained, sqlite_file
from gochat.storage.failures import NO_RIGHTS, describe, sqlstate
from gochat.storage.migrate import LOCK, MigrationError, is_migrated, migrate, must_be_whole, tables
from gochat.storage.models import LOOKED_UP, MAX_INBOX_MEMBERS
from gochat.storage.postgres import PostgresDatabase, postgres_snapshot, server_of
from gochat.storage.sqlite import SqliteDatabase, sqlite_snapshot

__all__ = [
    "DatabaseError",
    "DatabaseInUseError",
    "MigrationError",
    "damaged",
    "explained",
    "open_database",
    "place",
    "snapshot",
    "sqlite_file",
]

log = logging.getLogger(__name__)


def open_database(
    config: Config,
    show: Callable[[str], None] = log.info,
    *,
    new_folder: bool = True,
    exclusive: bool = False,
) -> PostgresDatabase | SqliteDatabase:
    """The database of [database] url, migrated to this program's schema.

    show: is given a line of progress. new_folder: makes the folder of an SQLite database if it is missing. exclusive:
    while it is open, no other process may have it open, which on SQLite is always so. Raises MigrationError,
    DatabaseInUseError, DatabaseError, ConfigError.
    """
    with explained(config):
        return _opened(config, show, new_folder, exclusive)


def _opened(
    config: Config, show: Callable[[str], None], new_folder: bool, exclusive: bool
) -> PostgresDatabase | SqliteDatabase:
    settings = config.database
    Tx.slow_after = config.log.slow_query_ms / 1000 or math.inf
    database: PostgresDatabase | SqliteDatabase
    if settings.is_postgres:
        pool = (1, 1) if exclusive else (settings.pool_min, settings.pool_max)
        dialect, database = "postgres", PostgresDatabase(settings.url, *pool, exclusive=exclusive)
    else:
        path = sqlite_file(config)
        if new_folder:
            make_folder(path.parent)
        elif not path.parent.is_dir():
            raise ConfigError(f"server.data: there is no folder {path.parent.absolute()}")
        _check_ours(path)
        dialect, database = "sqlite", SqliteDatabase(path)
    try:
        must_be_whole(database.read(tables))
        database.claim(show)
        with database.interruptible():
            migrate(database, dialect, show)
        database.claim(show)  # one that was new
        database.distributed = database.read(is_distributed)
        database.pair_key = database.write(_pair_key)
        database.write(begin_log)
        if database.distributed and settings.replica_url:
            raise ConfigError("database.replica_url must be empty: the database is on a Citus cluster")
        if isinstance(database, PostgresDatabase) and settings.replica_url and not exclusive:
            database.follow_replica(settings.replica_url, settings.pool_max, settings.max_lag)
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


def _check_ours(path: Path) -> None:
    """Raises MigrationError for the file of another program, before it is changed in any way."""
    if path.is_file():
        with sqlite_snapshot(path) as tx:
            there, ours = tables(tx), is_migrated(tx)
        if there and not ours:
            names = ", ".join(sorted(there)[:5])
            raise MigrationError(
                f"{path.absolute()} is the database of another program, with the tables {names}: move it away, or set"
                " server.data or database.url to where GoChat's is"
            )


def place(config: Config) -> str:
    """The kind of the database, and its host or the absolute path of its file; without a password."""
    if not config.database.is_postgres:
        return f"SQLite {sqlite_file(config).absolute()}"
    return f"PostgreSQL {server_of(config.database.url)}"


@contextmanager
def snapshot(config: Config) -> Iterator[Tx]:
    """A transaction that sees one state of the database of [database] url, whatever its schema, for as long as the
    block lasts; servers go on writing meanwhile. Raises ConfigError and DatabaseError, also for what the block
    raises."""
    settings = config.database
    opened = postgres_snapshot(settings.url) if settings.is_postgres else sqlite_snapshot(sqlite_file(config))
    with explained(config), opened as tx:
        yield tx


def _pair_key(tx: Tx) -> bytes:
    tx.sql("INSERT INTO secrets (name, value) VALUES ('pair', ?) ON CONFLICT DO NOTHING", ids.new_secret())
    ((key,),) = tx.fetch_all("SELECT value FROM secrets WHERE name = 'pair'")
    return str(key).encode()


_OIDS = """
SELECT (SELECT oid FROM pg_database WHERE datname = current_database())::text || '.' || 'changes'::regclass::oid::text,
    has_function_privilege('pg_control_system()', 'EXECUTE')"""
_LOOK_UP = """
UPDATE members SET last_seq = ?, active_at = ?
WHERE active_at < ? AND conversation_id IN (SELECT conversation_id FROM conversations WHERE member_count > ?)"""
_BEGIN = """
INSERT INTO changes (kind, conversation_id, user_id, actor_id, first_seq, seq, detail, at)
VALUES (0, '', '', '', 0, 0, '', ?)"""
_SYSTEM = "SELECT system_identifier::text FROM pg_control_system()"


def begin_log(tx: Tx) -> None:
    """Begins a new log of changes, of another epoch, where the one that is there does not go on: in a new database;
    after a restore or a copy, which leave the epoch out; after pg_restore, as positions are a server's transactions."""
    origin = _origin(tx) if tx.postgres else ""
    if _goes_on(tx, origin):
        return
    if tx.postgres:  # several processes may start together
        tx.sql("SELECT pg_advisory_xact_lock(?)", LOCK)
        if _goes_on(tx, origin):
            return
    tx.sql("DELETE FROM changes")
    # What is as of a position of it: see gochat/repo/inboxes.py.
    tx.sql(_LOOK_UP, LOOKED_UP, LOOKED_UP, LOOKED_UP, MAX_INBOX_MEMBERS)
    tx.sql("UPDATE conversations SET position = 0 WHERE position > 0")
    tx.sql("DELETE FROM inboxes")
    tx.sql(_BEGIN, ids.now_ms())
    tx.sql("DELETE FROM secrets WHERE name = 'epoch'")
    tx.sql("INSERT INTO secrets (name, value) VALUES ('epoch', ?)", f"{ids.new_secret()[:12]} {origin}".strip())


def renew_log(tx: Tx) -> None:
    """Begins a new log in a database that was made of another one."""
    tx.sql("DELETE FROM secrets WHERE name = 'epoch'")
    begin_log(tx)


def _goes_on(tx: Tx, origin: str) -> bool:
    row = tx.fetch_one("SELECT value FROM secrets WHERE name = 'epoch'")
    return row is not None and row[0].partition(" ")[2] == origin


def _origin(tx: Tx) -> str:
    """What tells this database of this PostgreSQL server from all others, as far as the role may see."""
    ((oids, may_see_system),) = tx.fetch_all(_OIDS)
    return f"{tx.fetch_all(_SYSTEM)[0][0]}.{oids}" if may_see_system else str(oids)
