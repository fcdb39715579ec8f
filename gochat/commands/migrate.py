"""gochat migrate: brings the database to this program's schema. `serve` does so too; this is for doing it apart."""

from argparse import Namespace
from contextlib import closing

from gochat.commands import config_of
from gochat.storage.engine import open_database


def run(arguments: Namespace) -> int:
    with closing(open_database(config_of(arguments))):
        print("the database has this program's schema")
    return 0
