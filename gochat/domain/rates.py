"""Rate limits: token buckets, and delays that grow with failures. In the memory of this process; shared_rates.py has
those that processes have in common."""

import math
import threading
import time
from collections.abc import Callable
from typing import TypeVar

MAX_KEYS = 100_000  # of one limit; the ones unused for longest are dropped
FREE_FAILURES = 5
MAX_DELAY = 900.0  # seconds
FORGOTTEN_AFTER = 3600.0  # seconds without a failure

Clock = Callable[[], float]
T = TypeVar("T")


class Buckets:
    """A token bucket a key: `rate` tokens a second, room for `burst`. A rate of 0 limits nothing.

    Kept as one number a key, the time at which its bucket will be full again (GCRA, ITU-T I.371).
    """

    def __init__(self, rate: float, burst: float, clock: Clock = time.monotonic) -> None:
        self._interval = 1 / rate if rate else 0.0
        self.burst = burst if rate else math.inf
        self._room = burst * self._interval
        self._full_at: dict[str, float] = {}
        self._clock = clock
        self._lock = threading.Lock()

    def take(self, key: str, tokens: int = 1) -> float:
        """0 if the tokens, at most `burst`, were taken, else the seconds until there are as many."""
        if not self._interval:
            return 0.0
        now = self._clock()
        with self._lock:
            full_at = max(self._full_at.get(key, now), now) + tokens * self._interval
            if full_at - now > self._room + 1e-9:
                return full_at - now - self._room
            _remember(self._full_at, key, full_at)
            return 0.0

    def give_back(self, key: str, tokens: int = 1) -> None:
        with self._lock:
            if key in self._full_at:
                self._full_at[key] -= tokens * self._interval

    def set(self, key: str, full_in: float) -> None:
        """full_in: seconds until the bucket is full again, whatever it was before."""
        with self._lock:
            _remember(self._full_at, key, self._clock() + full_in)


class Failures:
    """Failed attempts a key: the first FREE_FAILURES are free, then each doubles the delay before the next, from 1 s
    up to MAX_DELAY."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._counts: dict[str, tuple[int, float]] = {}  # key -> failures, the time of the last
        self._clock = clock
        self._lock = threading.Lock()

    def wait(self, key: str) -> float:
        """Seconds until the next attempt is allowed; 0: now."""
        count, last = self._counts.get(key, (0, 0.0))
        return max(0.0, last + _delay(count) - self._clock())

    def failed(self, key: str) -> None:
        now = self._clock()
        with self._lock:
            count, last = self._counts.get(key, (0, now))
            _remember(self._counts, key, (1 if last < now - FORGOTTEN_AFTER else count + 1, now))

    def succeeded(self, key: str) -> None:
        with self._lock:
            self._counts.pop(key, None)

    def set(self, key: str, count: int, age: float) -> None:
        """age: seconds since the last failure, of so many, whatever was known before."""
        with self._lock:
            _remember(self._counts, key, (count, self._clock() - age))


class Counts:
    """Makes what counts, each by the name of its limit."""

    def buckets(self, name: str, rate: float, burst: float) -> Buckets:
        del name
        return Buckets(rate, burst)

    def failures(self, name: str) -> Failures:
        del name
        return Failures()


OWN_COUNTS = Counts()
"""In the memory of this process alone."""


def _remember(kept: dict[str, T], key: str, value: T) -> None:
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > MAX_KEYS:
        del kept[next(iter(kept))]


def _delay(count: int) -> float:
    return min(2.0 ** (count - FREE_FAILURES), MAX_DELAY) if count >= FREE_FAILURES else 0.0
