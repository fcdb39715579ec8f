"""gochat copy: moves a database, such as from SQLite to PostgreSQL. Both servers are stopped meanwhile."""

import sys
import time
from argparse import Namespace

from gochat.commands import show_progress
from gochat.repo.copying import CopyError, copy

__all__ = ["CopyError", "run"]

PAUSE = 5.0  # seconds between two lines of progress where no terminal is


def run(arguments: Namespace) -> int:
    started = time.monotonic()
    copied, findings = copy(arguments.source, arguments.target, _Progress())
    show_progress("", 0)
    seconds = time.monotonic() - started
    for one in copied:
        print(f"{one.table:<16}{one.rows:>12,} rows  {one.checksum}")
    rows = sum(one.rows for one in copied)
    print(f"copied {rows:,} rows, the same in both; {seconds:.1f} s")
    for finding in findings:  # that --from has too: both are the same
        print(finding)
    return int(bool(findings))


class _Progress:
    """A bar for who watches; else a line every few seconds."""

    def __init__(self) -> None:
        self._shown = time.monotonic()

    def __call__(self, what: str, total: int, done: int) -> None:
        now = time.monotonic()
        if sys.stderr.isatty():
            show_progress(f"{what} {{}} {done:,} of {total:,} rows", done / total)
        elif now - self._shown >= PAUSE:
            self._shown = now
            print(f"{what} {done:,} of {total:,} rows", file=sys.stderr, flush=True)
