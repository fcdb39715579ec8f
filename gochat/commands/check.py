"""gochat check: checks the invariants of the database, whether a server runs or not."""

from argparse import Namespace

from gochat.background import progress
from gochat.commands.arguments import LOCAL, Subparsers, add_command, config_of
from gochat.commands.progress import show_line
from gochat.repo.check import DAMAGED, counts, findings
from gochat.storage.engine import damaged, snapshot


def add_to(commands: Subparsers) -> None:
    add_command(
        commands, "check", run, "hold the database against its invariants; exit code 1 with what is wrong", LOCAL
    )


def run(arguments: Namespace) -> int:
    """Prints a line for each finding, or one with the counts. Returns 1 if there are findings. Raises DatabaseError,
    which says what to do, if the database itself is damaged."""
    config, found, harmed = config_of(arguments), False, False
    with snapshot(config) as tx, progress(show_line) as step:
        for finding in findings(tx, step):
            print(finding, flush=True)
            found = True
            harmed = harmed or finding.startswith(DAMAGED)
        if not found:
            step("counting rows")
            print(f"clean: {table_counts(counts(tx))}")
    if harmed:
        raise damaged(config)
    return int(found)


def table_counts(rows: dict[str, int]) -> str:
    """rows: number of rows by table."""
    return ", ".join(f"{number:,} {table}" for table, number in rows.items())
