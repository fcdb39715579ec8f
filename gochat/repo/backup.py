"""Backups of an SQLite database, which a server may be writing to, and restoring them into a data folder."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import peewee

from gochat.background import progress
from gochat.config import Config, ConfigError
from gochat.folders import give_to_owner, make_folder
from gochat.repo.check import DAMAGED, counts, findings, version
from gochat.storage.engine import open_database, renew_log, sqlite_file
from gochat.storage.migrate import migrations
from gochat.storage.sqlite import lock, sqlite_snapshot

STEP_PAGES = 4096  # of 4 KiB: between two of them a Ctrl-C ends the copy
Show = Callable[[str], None]
"""Is given a line of progress, or what is being done from now on."""


class BackupError(Exception):
    """Why there is no copy; the message names the file."""


@dataclass(frozen=True)
class Copy:
    """A copy that was made. size: bytes. rows: by table. findings: of gochat check, in what was copied too; None where
    the schema is not this program's, whose invariants it does not know."""

    size: int
    rows: dict[str, int]
    findings: list[str] | None


def backup(config: Config, file: Path, show: Show) -> Copy:
    """Copies the database, of a running server or not, to a new file. Raises BackupError, ConfigError."""
    if config.database.is_postgres:
        raise ConfigError("database.url: is PostgreSQL: make the backup with pg_dump --format=custom")
    _must_be_new(file)
    if not file.parent.is_dir():
        raise BackupError(f"{file}: there is no folder {file.parent}")
    source = sqlite_file(config)
    with _beside(file, source) as copy:
        made = _copied(source, copy, show)
        _moved_to(copy, file, source.parent)  # who may read the database may read its copy
    return made


def restore(config: Config, file: Path, show: Show) -> Copy:
    """Makes a copy of this file the database, at this program's schema. Raises BackupError, ConfigError,
    MigrationError, and DatabaseInUseError where a server runs."""
    if config.database.is_postgres:
        raise ConfigError("database.url: is PostgreSQL: restore with pg_restore into an empty database")
    if not file.is_file():
        raise BackupError(f"{file}: there is no such file")
    target = sqlite_file(config)
    with _reserved(target), _beside(target, file) as copy:
        _copied(file, copy, show)
        with closing(open_database(config.with_settings("database", url=f"sqlite:///{copy}"), show)) as restored:
            restored.write(renew_log)  # what came after the backup is gone, and cursors of clients may point into it
        _without_wal(copy)
        with progress(show) as step:
            made = _verified(copy, file, step)
        _moved_to(copy, target, target.parent)
    return made


@contextmanager
def _reserved(target: Path) -> Iterator[None]:
    """Holds the lock of a database that does not exist yet, so that no server starts on it."""
    try:
        make_folder(target.parent)
        locked = lock(target)
    except OSError as error:
        raise BackupError(f"{target}: {error.strerror}") from None
    try:
        _must_be_new(target)
        _clear_remains(target)
        yield
    finally:
        locked.close()


def _must_be_new(file: Path) -> None:
    if os.path.lexists(file):
        raise BackupError(f"{file}: is there already; move it away first")


def _clear_remains(target: Path) -> None:
    """SQLite would apply a WAL beside the new database to it. One that a killed server left is not deleted: it
    holds the newest messages of the database that was here."""
    wal, index = Path(f"{target}-wal"), Path(f"{target}-shm")
    if wal.exists() and wal.stat().st_size:
        raise BackupError(f"{wal}: belongs to the database that was {target}: move it to where that is now")
    wal.unlink(missing_ok=True)
    index.unlink(missing_ok=True)


@contextmanager
def _beside(file: Path, source: Path) -> Iterator[Path]:
    """A path for a copy of the source, on the same disk as the file that it will become, in a temporary folder, which
    also holds what SQLite puts beside it. Errors become BackupError."""
    try:
        with TemporaryDirectory(prefix=".gochat-copy-", dir=file.absolute().parent) as folder:
            yield Path(folder) / file.name
    except (OSError, sqlite3.OperationalError) as error:
        raise BackupError(f"{file}: {error}") from None
    except (sqlite3.DatabaseError, peewee.DatabaseError) as error:
        raise BackupError(f"{source}: {error}; use an earlier backup") from None


def _copied(source: Path, copy: Path, show: Show) -> Copy:
    """Not VACUUM INTO: it may renumber the rows of users, which the search index refers to by number.

    In one read transaction: without it each write of the server would restart the copy. The server goes on writing
    meanwhile, and its WAL grows by that.
    """
    with progress(show) as step:
        step("counting rows")
        with sqlite_snapshot(source) as tx:
            if not version(tx):
                raise BackupError(f"{source}: is no database of GoChat")
            rows = counts(tx)
            with closing(sqlite3.connect(copy)) as target:
                target.execute("PRAGMA synchronous = off")  # _moved_to does it once
                tx.connection.backup(
                    target,
                    pages=STEP_PAGES,
                    progress=lambda _, left, pages: step(f"copied {pages - left:,} of {pages:,} pages"),
                )
        _without_wal(copy)
        made = _verified(copy, source, step)
    if made.rows != rows:
        raise BackupError(f"{source}: has {rows}, the copy {made.rows}")
    return made


def _without_wal(copy: Path) -> None:
    """Puts all into one file, which can be moved."""
    with closing(sqlite3.connect(copy)) as whole:
        ((mode,),) = whole.execute("PRAGMA journal_mode = delete")
    if mode != "delete":
        raise BackupError(f"{copy}: is in use")


def _verified(copy: Path, source: Path, step: Show) -> Copy:
    """Raises BackupError for a copy that SQLite cannot read."""
    with sqlite_snapshot(copy) as tx:
        found = list(findings(tx, step))
        if found and found[0].startswith(DAMAGED):
            raise BackupError(f"{source}: is damaged: {found[0].removeprefix(DAMAGED)}")
        known = version(tx) == len(migrations("sqlite"))
        return Copy(copy.stat().st_size, counts(tx), found if known else None)


def _moved_to(copy: Path, file: Path, folder: Path) -> None:
    """Moves the copy to its name once it is whole and on disk. It will belong to the owner of the folder."""
    os.chmod(copy, 0o600)
    with copy.open("rb") as written:
        give_to_owner(written.fileno(), folder)
        os.fsync(written.fileno())
    _must_be_new(file)
    copy.rename(file)
    parent = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
