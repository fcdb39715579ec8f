"""gochat backup, gochat restore: an SQLite database to a file and back."""

from argparse import Namespace
from pathlib import Path

from gochat.commands.arguments import LOCAL, Subparsers, add_command, config_of
from gochat.commands.check import table_counts
from gochat.commands.progress import show_line
from gochat.repo.backup import Copy, backup, restore


def add_to(commands: Subparsers) -> None:
    for name, run, help_text in (
        ("backup", run_backup, "copy the SQLite database of a running or stopped server to a new file, and check it"),
        ("restore", run_restore, "make such a file the database of a stopped server that has none"),
    ):
        add_command(commands, name, run, help_text, LOCAL).add_argument("file", type=Path, metavar="FILE")


def run_backup(arguments: Namespace) -> int:
    return _report(str(arguments.file), backup(config_of(arguments), arguments.file, show_line))


def run_restore(arguments: Namespace) -> int:
    return _report("restored", restore(config_of(arguments), arguments.file, show_line))


def _report(what: str, copy: Copy) -> int:
    """Returns 1 if the copy is complete, but the database that was copied has findings."""
    checked = "checked" if copy.findings is not None else "of another schema version: checked as a file only"
    print(f"{what}: {table_counts(copy.rows)}; {copy.size:,} bytes, {checked}")
    for finding in copy.findings or ():
        print(finding)
    return int(bool(copy.findings))
