"""gochat check: holds the database, of a running server or not, against its invariants."""

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
    """Prints a line a finding, or one with the counts. 1 if there are findings."""
    with snapshot(config_of(arguments)) as tx:
        wrong = False
        for finding in findings(tx):
            print(finding)
            wrong = True
        if not wrong:
            print(f"clean: {told(counts(tx))}")
    return int(wrong)


def told(rows: dict[str, int]) -> str:
    """rows: by table."""
    return ", ".join(f"{number:,} {table}" for table, number in rows.items())
