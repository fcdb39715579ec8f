"""Exports of other chat programs, read as one stream of records: a file for each program, whose `read(path)` yields
what there is in an export (records.py), however large it is; spool.py puts it in order. Nothing here talks to a server.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from gochat.imports import mattermost, slack, zulip
from gochat.imports.archive import DAMAGE, ExportError
from gochat.imports.records import Record

SOURCES: dict[str, Callable[[Path], Iterator[Record]]] = {
    "mattermost": mattermost.read,
    "slack": slack.read,
    "zulip": zulip.read,
}


def read(source: str, path: Path) -> Iterator[Record]:
    """source: of SOURCES. Raises ExportError."""
    try:
        yield from SOURCES[source](path)
    except DAMAGE as error:
        raise ExportError(f"is damaged: {error}") from None
    except OSError as error:
        raise ExportError(error.strerror or str(error)) from None
