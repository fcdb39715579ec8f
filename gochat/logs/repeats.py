"""Warnings and errors that repeat: the first is logged, the ones like it are counted, and a line says how many."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from gochat.logs.lines import RecordEntry

REPORT_INTERVAL = 60.0  # seconds between two lines of one error
MAX_KNOWN = 1000  # errors; beyond it, what is not known yet is not counted
_COUNTED = {logging.getLevelName(level) for level in (logging.WARNING, logging.ERROR, logging.CRITICAL)}


@dataclass
class _Known:
    """first: the entry that was logged. more: entries like it since the last line. due_at: of the next line, Unix
    seconds."""

    first: RecordEntry
    due_at: float
    more: int = 0


class Repeats:
    """Used by one thread, the writer's. An error is like another if its line would be the same but for the time and the
    request id."""

    def __init__(self) -> None:
        self._known: dict[object, _Known] = {}

    def is_repeat(self, entry: RecordEntry) -> bool:
        """Counts the entry, if one like it was logged within the interval."""
        if entry.level not in _COUNTED:
            return False
        key = entry.logger, entry.level, entry.message, str(entry.causes)
        if known := self._known.get(key):
            known.more += 1
            return True
        if len(self._known) < MAX_KNOWN:
            self._known[key] = _Known(entry, entry.at + REPORT_INTERVAL)
        return False

    def due(self, now: float, *, all_of_them: bool = False) -> Iterator[RecordEntry]:
        """The lines that are due; an error that has not repeated is forgotten."""
        for key, known in list(self._known.items()):
            if known.due_at > now and not all_of_them:
                continue
            if not known.more:
                if known.due_at <= now:
                    del self._known[key]
                continue
            more, known.more, known.due_at = known.more, 0, now + REPORT_INTERVAL
            yield known.first._replace(  # without the request id and the traceback of the first
                at=now,
                message=f"{known.first.message} ({more} more times)",
                fields={"repeated": more},
                request_id="-",
                causes=None,
                size=0,
            )
