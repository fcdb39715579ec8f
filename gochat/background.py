"""The one way to run something again and again: on a thread of its own, which no exception ends."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic

from gochat.config import ConfigError
from gochat.errors import ChatError

REPORT_INTERVAL = 60.0  # seconds between two records of work that goes on failing
JOIN_TIMEOUT = 0.5  # seconds that work under way is waited for when it is stopped

log = logging.getLogger(__name__)

_failures = 0
_counting = threading.Lock()


def failures() -> int:
    """How often background work has failed in this process."""
    return _failures


@contextmanager
def periodic(
    name: str, work: Callable[[], None], interval: float | Callable[[float], float], *, retry: float | None = None
) -> Iterator[None]:
    """Runs work() now and then again and again on a daemon thread, for as long as the block lasts.

    name: of the thread, and in the log. interval: seconds until the next run, or a function from the seconds that the
    last one took. retry: the same after a failure, if that differs.
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
            with suppress(Exception):  # not even that it cannot be reported
                reports.add(error)
            seconds = interval if error is None or retry is None else retry
            del error  # its frames, and what they hold, are not kept while this waits
            over = stopped.wait(seconds(monotonic() - began) if callable(seconds) else seconds)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(JOIN_TIMEOUT)


class _Reports:
    """Logs the first failure with its cause, then once in REPORT_INTERVAL how many there were since, and the end."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._failed = 0  # times without a success between them
        self._unreported = 0
        self._report_at = 0.0

    def add(self, error: Exception | None) -> None:
        """error: of one run."""
        global _failures
        if error is None:
            if self._failed:
                log.warning("%s: works again after %d failures", self._name, self._failed)
                self._failed = self._unreported = 0
            return
        with _counting:
            _failures += 1
        self._failed += 1
        self._unreported += 1
        if self._failed == 1 or monotonic() >= self._report_at:
            self._report_at = monotonic() + REPORT_INTERVAL
            times = "" if self._failed == 1 else f" {self._unreported} more times"
            self._unreported = 0
            # What GoChat raises itself says enough, and its messages may be shown.
            if isinstance(error, ChatError | ConfigError):
                log.error("%s: failed%s: %s", self._name, times, error)
            else:
                log.error("%s: failed%s", self._name, times, exc_info=error)
