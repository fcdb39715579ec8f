"""gochat distribute: has a database on a Citus cluster distributed over its nodes. Servers are stopped meanwhile."""

from argparse import Namespace
from contextlib import closing

from gochat.commands.arguments import LOCAL, Subparsers, add_command, config_of
from gochat.commands.progress import show_line
from gochat.storage.distributed import MAX_SHARDS, SHARDS, ClusterError, distribute, must_be_cluster
from gochat.storage.engine import open_database
from gochat.storage.migrate import migrate


def add_to(commands: Subparsers) -> None:
    command = add_command(
        commands,
        "distribute",
        run,
        "distribute the database of stopped servers over the nodes of a Citus cluster",
        LOCAL,
    )
    command.add_argument(
        "--shards",
        type=int,
        default=SHARDS,
        metavar="NUMBER",
        help=f"of each table, for good: no cluster has use of more nodes (default: {SHARDS})",
    )


def run(arguments: Namespace) -> int:
    """Raises ClusterError, and what open_database() raises."""
    config = config_of(arguments)
    if not 1 <= arguments.shards <= MAX_SHARDS:
        raise ClusterError(f"--shards must be from 1 to {MAX_SHARDS}")
    if not config.database.is_postgres:
        raise ClusterError("database.url: only a PostgreSQL database, on a Citus cluster, can be distributed")
    with closing(open_database(config, show_line, new_folder=False, exclusive=True)) as database:
        if database.distributed:
            print("the database is distributed already")
            return 0
        database.read(must_be_cluster)
        database.write(lambda tx: distribute(tx, arguments.shards, show_line))
        migrate(database, "postgres", show_line)  # the functions
    print("the database is distributed")
    return 0
