"""gochat migrate: brings the database to this program's schema, as `serve` does at its start, but without serving. With
--check it changes nothing and says what it would do."""

from argparse import Namespace
from contextlib import closing

from gochat.commands.arguments import LOCAL, Subparsers, add_command, config_of
from gochat.commands.progress import show_line
from gochat.config import Config
from gochat.storage.engine import open_database, snapshot, sqlite_file
from gochat.storage.migrate import Migration, migrations, newest, pending, routines

PENDING = 3  # exit code


def add_to(commands: Subparsers) -> None:
    command = add_command(commands, "migrate", run, "bring the database to this program's schema", LOCAL)
    command.add_argument(
        "--check",
        action="store_true",
        help=f"change nothing; exit code 0 if there is nothing to do, {PENDING} with the files that are pending, 1 if"
        " this program does not go with the database or that is not to be seen",
    )


def run(arguments: Namespace) -> int:
    config = config_of(arguments)
    if arguments.check:
        return _check(config)
    with closing(open_database(config, show_line, new_folder=False)):
        print("the database has this program's schema")
    return 0


def _check(config: Config) -> int:
    """Raises MigrationError, DatabaseError, ConfigError."""
    dialect = "postgres" if config.database.is_postgres else "sqlite"
    known = migrations(dialect)[-1].version
    if dialect == "sqlite" and (file := sqlite_file(config)).parent.is_dir() and not file.exists():
        found, version = [*migrations(dialect), *routines(dialect)], 0
    else:
        with snapshot(config) as tx:
            found = pending(tx, dialect)
            version = 0 if found else newest(tx)
    if found:
        print(f"pending: {', '.join(map(_described, found))}")
        return PENDING
    newer = f"version {version}, with which this program goes, which knows {known}"
    print(f"the database has schema {newer}" if version > known else "the database has this program's schema")
    return 0


def _described(migration: Migration) -> str:
    needs = f" (first stop programs that do not know {migration.needs:04d})" if migration.needs else ""
    return migration.label + needs
