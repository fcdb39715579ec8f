"""gochat check: checks the invariants of the database, whether a server runs or not."""

from argparse import Namespace

from gochat.commands import config_of
from gochat.commands.arguments import LOCAL, Subparsers, add_command
from gochat.repo.check import counts, findings
from gochat.storage.engine import snapshot


def add_to(commands: Subparsers) -> None:
    add_command(
        commands, "check", run, "hold the database against its invariants; exit code 1 with what is wrong", LOCAL
    )


def run(arguments: Namespace) -> int:
    """Prints a line for each finding, or one with the counts. Returns 1 if there are findings."""
    with snapshot(config_of(arguments)) as tx:
        found = False
        for finding in findings(tx):
            print(finding)
            found = True
        if not found:
            print(f"clean: {table_counts(counts(tx))}")
    return int(found)


def table_counts(rows: dict[str, int]) -> str:
    """rows: number of rows by table."""
    return ", ".join(f"{number:,} {table}" for table, number in rows.items())
