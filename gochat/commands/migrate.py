"""gochat migrate: brings the database to this program's schema, as `serve` does at its start, but without serving."""

from argparse import Namespace
from contextlib import closing

from gochat.commands.arguments import LOCAL, Subparsers, add_command, config_of
from gochat.commands.progress import show_line
from gochat.storage.engine import open_database


def add_to(commands: Subparsers) -> None:
    add_command(commands, "migrate", run, "bring the database of a stopped server to this program's schema", LOCAL)


def run(arguments: Namespace) -> int:
    config = config_of(arguments)
    with closing(open_database(config, show_line, new_folder=False)):
        print("the database has this program's schema")
    return 0
