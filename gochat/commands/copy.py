"""gochat copy: moves a database, such as from SQLite to PostgreSQL. Both servers are stopped meanwhile."""

import os
import sys
import time
from argparse import Namespace

from gochat.background import PROGRESS_INTERVAL
from gochat.commands.arguments import Subparsers, add_command
from gochat.commands.progress import show_line, show_progress
from gochat.config import COPY_FROM, COPY_TO
from gochat.repo.copying import copy


def add_to(commands: Subparsers) -> None:
    moved = add_command(
        commands, "copy", run, "copy the database of a stopped server into an empty one; repeated, it goes on"
    )
    # The variables are for URLs with passwords: other users can read a command line.
    for name, destination, variable in (("from", "source", COPY_FROM), ("to", "target", COPY_TO)):
        moved.add_argument(
            f"--{name}",
            dest=destination,
            default=os.environ.get(variable),
            required=variable not in os.environ,
            metavar="URL",
            help=f"sqlite:///FILE or postgresql://user:password@host/name (default: {variable})",
        )


def run(arguments: Namespace) -> int:
    started = time.monotonic()
    try:
        copied, findings = copy(arguments.source, arguments.target, _Progress(), show_line)
    finally:
        show_progress("", 0)
    seconds = time.monotonic() - started
    for one in copied:
        print(f"{one.table:<16}{one.rows:>12,} rows  {one.checksum}")
    rows = sum(one.rows for one in copied)
    print(f"copied {rows:,} rows, the same in both; {seconds:.1f} s")
    for finding in findings:  # the source has them too, since both are the same
        print(finding)
    return int(bool(findings))


class _Progress:
    """Shows a bar on a terminal; elsewhere prints a line every few seconds."""

    def __init__(self) -> None:
        self._shown = time.monotonic()

    def __call__(self, what: str, total: int, done: int) -> None:
        now = time.monotonic()
        if sys.stderr.isatty():
            show_progress(f"{what} {{}} {done:,} of {total:,} rows", done / total)
        elif now - self._shown >= PROGRESS_INTERVAL:
            self._shown = now
            print(f"{what} {done:,} of {total:,} rows", file=sys.stderr, flush=True)
