"""What the hub has read of the log lately: a stream that was read for meanwhile gets from here what it has missed."""

from collections import deque
from collections.abc import Iterable, Sequence

from gochat.internal.change.v1.change_pb2 import Change

MAX_RECENT = 10_000  # changes


class Recent:
    """The changes of the last reads, in their order, complete from a position on. Of the hub's thread."""

    def __init__(self) -> None:
        self._reads = deque[tuple[int, Sequence[Change]]]()  # from which position on, what was read there
        self._count = 0
        self._from = 0

    def begin(self, at: int) -> None:
        """Of a log that is read from this position on."""
        self._reads.clear()
        self._count, self._from = 0, at

    def add(self, at: int, changes: Iterable[Change]) -> None:
        """at: the position of the read."""
        if read := list(changes):
            self._reads.append((at, read))
            self._count += len(read)
        while self._count > MAX_RECENT:
            _, dropped = self._reads.popleft()
            self._count -= len(dropped)
            # A transaction, which is a position on PostgreSQL, is read at once: all that follow are complete.
            self._from = max(change.position for change in dropped) + 1

    def since(self, at: int) -> list[Change] | None:
        """From this position on; None where that is not known any more."""
        if at < self._from:
            return None
        found = list[Sequence[Change]]()
        for read_from, changes in reversed(self._reads):
            found.append([change for change in changes if change.position >= at])
            if read_from <= at:
                break
        return [change for changes in reversed(found) for change in changes]
