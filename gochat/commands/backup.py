"""gochat backup, gochat restore: an SQLite database to a file and back."""

from argparse import Namespace

from gochat.commands import config_of
from gochat.commands.check import told
from gochat.repo.backup import Copy, backup, restore


def run(arguments: Namespace) -> int:
    return _report(str(arguments.file), backup(config_of(arguments), arguments.file))


def run_restore(arguments: Namespace) -> int:
    return _report("restored", restore(config_of(arguments), arguments.file))


def _report(what: str, copy: Copy) -> int:
    """1 if the copy is true, but what was copied has findings."""
    checked = "checked" if copy.findings is not None else "of another schema version: checked as a file only"
    print(f"{what}: {told(copy.rows)}; {copy.size:,} bytes, {checked}")
    for finding in copy.findings or ():
        print(finding)
    return int(bool(copy.findings))
