"""Why a database cannot be opened or read: one sentence for the operator, with what to do next where that is known."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peewee
import psycopg2
from psycopg2.errorcodes import INSUFFICIENT_PRIVILEGE

from gochat.config import Config, ConfigError
from gochat.errors import ChatError
from gochat.storage.failures import READ_ONLY, Failure, driver_error, failure

_DRIVER_ERRORS = (peewee.PeeweeException, psycopg2.Error, sqlite3.Error)

_BY_CODE = {
    sqlite3.SQLITE_NOTADB: "is no SQLite database, or its beginning is destroyed: move it away, and `gochat restore` a"
    " backup, or set {setting} to where GoChat's database is",
    sqlite3.SQLITE_CORRUPT: "is damaged: stop the server, move the file away with its -wal, and `gochat restore` a"
    " backup",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: may this user write in its folder?",
    sqlite3.SQLITE_READONLY: "cannot be written: may this user write it, and in its folder?",
}
"""SQLite's result code -> what follows the name of the file."""

_BY_STATE = {
    INSUFFICIENT_PRIVILEGE: "the user of database.url needs the rights to create and to use what is in the schema",
    READ_ONLY: "it is a standby, or read-only: name the server that takes writes, or all of them",
}
"""PostgreSQL's SQLSTATE -> what follows its own words."""

_UNREACHABLE = re.compile(r'connection to server \w+ "([^"]*)"(?:.*, port (\d+))? failed: ')


class DatabaseError(Exception):
    """The database cannot be used; the message names it and says why."""


@contextmanager
def explained(config: Config) -> Iterator[None]:
    """Errors of the database driver, but for bugs of ours, and of the system become a DatabaseError."""
    try:
        yield
    except (*_DRIVER_ERRORS, ChatError) as error:
        cause = error.__cause__ if isinstance(error, ChatError) else error
        if not isinstance(cause, _DRIVER_ERRORS) or failure(cause) is Failure.BUG:
            raise
        raise DatabaseError(_sentence(config, driver_error(cause) or cause)) from error
    except OSError as error:
        raise DatabaseError(f"{_setting(config)}: {error.filename}: {error.strerror}") from error


def damaged(config: Config) -> DatabaseError:
    """For a database that a check has found damaged."""
    if config.database.is_postgres:
        return DatabaseError("database.url: the database is damaged: restore a dump of it into an empty one")
    return DatabaseError(_of_code(config, sqlite3.SQLITE_CORRUPT, ""))


def sqlite_file(config: Config) -> Path:
    """Raises ConfigError."""
    return sqlite_path(config.database.url) or Path(config.server.data) / "gochat.db"


def sqlite_path(url: str) -> Path | None:
    """Of a URL sqlite:///FILE; None where it names no file. Raises ConfigError."""
    name = url.removeprefix("sqlite:///")
    if ":memory:" in name or name.startswith("file:"):
        raise ConfigError("database.url: must name a file: what is in memory is lost, and only one connection sees it")
    return Path(name) if name else None


def _setting(config: Config) -> str:
    """The one that says where the database is."""
    return "database.url" if config.database.url else "server.data"


def _sentence(config: Config, error: Any) -> str:
    """error: of the driver."""
    setting = _setting(config)
    if config.database.is_postgres:
        return f"{setting}: {reason_of(error)}"
    return _of_code(config, getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_OK, str(error))


def reason_of(error: BaseException) -> str:
    """What the driver says without its hints and the values that it quotes; of PostgreSQL with what to do, if known."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    reasons: dict[Any, str] = {}  # by host and port
    for line in lines:
        # Of several addresses of a host each has its line; the one that answered says why it refused.
        if (server := _UNREACHABLE.match(line)) and (server.groups() not in reasons or "FATAL" in line):
            reasons[server.groups()] = line
    reason = "; ".join(reasons.values()) or next((line for line in lines if "FATAL" in line), lines[0])
    advice = _BY_STATE.get(getattr(error, "pgcode", None) or "")
    return f"{reason}; {advice}" if advice else reason


def _of_code(config: Config, code: int, otherwise: str) -> str:
    """code: SQLite's result code, whose upper bits are details."""
    setting, file = _setting(config), sqlite_file(config).absolute()
    if known := _BY_CODE.get(code & 0xFF):
        return f"{setting}: {file} {known.format(setting=setting)}"
    return f"{setting}: {file}: {otherwise}"
