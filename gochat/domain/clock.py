"""The time that GoChat goes by: one clock for all hosts of an installation, that of the database's host, but steady.
Where that one jumps, this one goes on.

Sessions and tokens end by it, messages and conversations are dated by it. It counts from the monotonic clock of this
machine; `follow` is given what the database's host says, every second, and small differences are taken over, as far as
they are not of the way of the answer: one that was under way for long would set this clock back. A larger difference is
taken over when it has lasted for STEADY_AFTER: a host whose clock was wrong and has been set right stays as it is, one
whose clock is wrong for a moment comes back. The wall clock of this machine counts only until the first
`follow`.
"""

import logging
import threading
import time
from collections.abc import Callable

MAX_STEP = 60.0  # seconds of difference that are taken over immediately
STEADY_AFTER = 600.0  # seconds that a larger one must last

log = logging.getLogger(__name__)

Nanoseconds = Callable[[], int]


class Clock:
    """Threads: any may ask; one at a time may `follow`. The offset is one number, read and written as a whole."""

    def __init__(self, wall: Nanoseconds = time.time_ns, monotonic: Nanoseconds = time.monotonic_ns) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._offset = wall() - monotonic()
        self._followed = False
        self._jumped: tuple[int, int] | None = None  # another offset, and since when it is seen
        self._following = threading.Lock()

    def now_ns(self) -> int:
        """Unix nanoseconds."""
        return self._monotonic() + self._offset

    def now(self) -> float:
        """Unix seconds."""
        return self.now_ns() / 1e9

    def host_ms(self) -> int:
        """The wall clock of this machine, in Unix milliseconds."""
        return self._wall() // 1_000_000

    def follow(self, reference_ms: int, asked_at: float) -> None:
        """reference_ms: what the clock of the database's host showed at some time since asked_at, in Unix milliseconds.
        asked_at: on the clock of time.monotonic(), in seconds."""
        with self._following:
            now, reference = self._monotonic(), reference_ms * 1_000_000
            least, greatest = reference - now, reference + 999_999 - int(asked_at * 1e9)
            offset = min(max(self._offset, least), greatest)
            if not self._followed or _near(offset, self._offset):
                if self._jumped:
                    log.warning("the clock is back where it was")
                self._followed, self._offset, self._jumped = True, offset, None
            elif self._jumped is None or not _near(offset, self._jumped[0]):
                self._jumped = offset, now
                seconds = (offset - self._offset) / 1e9
                log.warning("the clock has jumped by %.0f s: that counts if it lasts for %.0f s", seconds, STEADY_AFTER)
            elif now - self._jumped[1] >= STEADY_AFTER * 1e9:
                log.warning("the clock has been set by %.0f s: that counts from now on", (offset - self._offset) / 1e9)
                self._offset, self._jumped = offset, None


def _near(one: int, other: int) -> bool:
    return abs(one - other) <= MAX_STEP * 1e9


clock = Clock()
"""Of this process."""
