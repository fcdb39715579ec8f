"""Opens the database that the configuration names."""

import logging
from pathlib import Path

from gochat.config import Config
from gochat.repo.migrate import MigrationError, migrate
from gochat.repo.postgres import PostgresDatabase
from gochat.repo.sqlite import DatabaseInUseError, SqliteDatabase

__all__ = ["DatabaseInUseError", "MigrationError", "open_database"]

log = logging.getLogger(__name__)


def open_database(config: Config) -> PostgresDatabase | SqliteDatabase:
    """The database of [database] url, at this program's schema.

    Raises MigrationError, DatabaseInUseError, and ChatError where it cannot be reached.
    """
    settings = config.database
    database: PostgresDatabase | SqliteDatabase
    if settings.url.startswith("postgres"):
        dialect, database = "postgres", PostgresDatabase(settings.url, settings.pool_min, settings.pool_max)
    else:
        path = settings.url.removeprefix("sqlite:///") or Path(config.server.data) / "gochat.db"
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        dialect, database = "sqlite", SqliteDatabase(Path(path))
    try:
        for migration in migrate(database, dialect):
            log.info("applied migration %04d_%s", migration.version, migration.name)
    except BaseException:
        database.close()
        raise
    return database
