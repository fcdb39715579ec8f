"""The one way to run something periodically: on a thread of its own, which no exception ends.

The thread shares nothing with the one that started it but an Event, which tells it to stop. What `work` shares with
others is for its module to explain.
"""

import logging
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic

from gochat.config import ConfigError
from gochat.errors import ChatError

REPORT_INTERVAL = 60.0  # seconds between two log records of work that goes on failing
JOIN_TIMEOUT = 0.5  # seconds to wait for work that runs when it is to stop
PROGRESS_INTERVAL = 5.0  # seconds between two lines of progress

log = logging.getLogger(__name__)

_failures = 0
_failures_lock = threading.Lock()
_end_by = math.inf  # of the time of monotonic(); written once, by the thread that ends the process


def failures() -> int:
    """How often periodic work has failed in this process."""
    return _failures


def end_within(seconds: float) -> None:
    """The process ends: what runs is waited for no longer than so many seconds altogether. Else each loop that waits
    for a database that hangs would take its time, one after the other."""
    global _end_by
    _end_by = monotonic() + seconds


def ending(timeout: float) -> float:
    """A timeout in seconds, or as much of it as is left to a process that ends."""
    return max(0.0, min(timeout, _end_by - monotonic()))


@contextmanager
def periodic(
    name: str, work: Callable[[], None], interval: float | Callable[[float], float], *, retry: float | None = None
) -> Iterator[None]:
    """Runs work() now and then periodically, on a daemon thread, for as long as the block lasts.

    name: of the thread, and in the log. interval: seconds until the next run, or a function that returns them, of the
    seconds that the last run took. retry: seconds until the next run after a failure, if that differs.
    """
    stopped = threading.Event()

    def run() -> None:
        reports = _Reports(name)
        over = False
        while not over:
            began = monotonic()
            error: Exception | None = None
            try:
                work()
            except Exception as raised:  # noqa: BLE001 - it is reported
                error = raised
            with suppress(Exception):  # if the report fails too, the work still goes on
                reports.add(error)
            seconds = interval if error is None or retry is None else retry
            del error  # frees the frames of its traceback before the wait
            over = stopped.wait(seconds(monotonic() - began) if callable(seconds) else seconds)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(ending(JOIN_TIMEOUT))


@contextmanager
def progress(show: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """Shows a line now and then about work that takes long, for as long as the block lasts.

    Yields a function that says what is being done from now on. The block's work must be such that an interruption
    leaves nothing of it behind.
    """
    began, step = monotonic(), ""

    def begin(name: str) -> None:
        nonlocal step
        step = name

    def show_line() -> None:
        if (seconds := monotonic() - began) >= PROGRESS_INTERVAL / 2:  # not at once: most work is soon done
            show(f"{step}: {seconds:.0f} s so far; it may be interrupted, and then begins again")

    with periodic("progress", show_line, PROGRESS_INTERVAL):
        yield begin


class _Reports:
    """Logs the first failure with its cause, then every REPORT_INTERVAL how many there were since, and the recovery."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._failed = 0  # failures since the last success
        self._unreported = 0
        self._report_at = 0.0

    def add(self, error: Exception | None) -> None:
        """error: of one run, None if it succeeded."""
        global _failures
        if error is None:
            if self._failed:
                log.warning("%s: works again after %d failures", self._name, self._failed)
                self._failed = self._unreported = 0
            return
        with _failures_lock:
            _failures += 1
        self._failed += 1
        self._unreported += 1
        if self._failed == 1 or monotonic() >= self._report_at:
            self._report_at = monotonic() + REPORT_INTERVAL
            times = "" if self._failed == 1 else f" {self._unreported} more times"
            self._unreported = 0
            # GoChat's own errors need no traceback, and their messages may be shown.
            if isinstance(error, ChatError | ConfigError):
                log.error("%s: failed%s: %s", self._name, times, error)
            else:
                log.error("%s: failed%s", self._name, times, exc_info=error)
