"""Rate limits that processes have in common, without the I/O: a process decides by itself, at once, and settles with
the others in the background (gochat/events/limits.py).

Each limit is kept twice: as this process alone knows it, which is what it would be without others, and as all of them
had it when that was last heard, with what this process has counted since. What is allowed is allowed by both. So others
can only make a limit stricter, and where nothing is heard of them it is the one of a single process again.

Any thread counts; one thread calls `counted` and then `heard`. A lock makes each of these one step, so that what is
counted between the two is neither lost nor counted twice.
"""

import threading
import time
from typing import Protocol

from gochat.domain.rates import FORGOTTEN_AFTER, MAX_KEYS, Buckets, Clock, Counts, Failures

MICROSECONDS = 1e6  # of a second


class Settled(Protocol):
    """One limit, as it is settled: `counted` gives what this process has counted by key since the last call, also of
    keys of which it only wants to hear; `heard` takes what all have counted."""

    @property
    def name(self) -> str: ...

    def counted(self) -> dict[str, tuple[int, ...]]: ...

    def heard(self, key: str, values: list[int]) -> None: ...


class SharedBuckets(Buckets):
    """Counted: (microseconds by which the bucket is full later,). Heard: [microseconds until it is full]."""

    def __init__(self, name: str, rate: float, burst: float, clock: Clock = time.monotonic) -> None:
        super().__init__(rate, burst, clock)
        self.name = name
        self._common = Buckets(rate, burst, clock)
        self._taken: dict[str, int] = {}  # tokens; 0 of a key that was refused
        self._settling = threading.Lock()

    def take(self, key: str, tokens: int = 1) -> float:
        if not self._interval:
            return 0.0
        with self._settling:
            if wait := super().take(key, tokens):
                return wait
            if wait := self._common.take(key, tokens):
                super().give_back(key, tokens)
                self._note(key, 0)
                return wait
            self._note(key, tokens)
            return 0.0

    def give_back(self, key: str, tokens: int = 1) -> None:
        if self._interval:
            with self._settling:
                super().give_back(key, tokens)
                self._common.give_back(key, tokens)
                self._note(key, -tokens)

    def counted(self) -> dict[str, tuple[int, ...]]:
        with self._settling:
            taken, self._taken = self._taken, {}
        return {key: (round(tokens * self._interval * MICROSECONDS),) for key, tokens in taken.items()}

    def heard(self, key: str, values: list[int]) -> None:
        with self._settling:
            self._common.set(key, values[0] / MICROSECONDS + self._taken.get(key, 0) * self._interval)

    def _note(self, key: str, tokens: int) -> None:
        if key in self._taken or len(self._taken) < MAX_KEYS:
            self._taken[key] = self._taken.get(key, 0) + tokens


class SharedFailures(Failures):
    """Counted: (1 if an attempt succeeded else 0, failures after it, seconds after which they are forgotten). Heard:
    [failures, milliseconds since the last one]."""

    def __init__(self, name: str, clock: Clock = time.monotonic) -> None:
        super().__init__(clock)
        self.name = name
        self._common = Failures(clock)
        self._changes: dict[str, tuple[int, int]] = {}
        self._settling = threading.Lock()

    def wait(self, key: str) -> float:
        with self._settling:
            self._note(key, *self._changes.get(key, (0, 0)))
            return max(super().wait(key), self._common.wait(key))

    def failed(self, key: str) -> None:
        with self._settling:
            super().failed(key)
            self._common.failed(key)
            succeeded, failures = self._changes.get(key, (0, 0))
            self._note(key, succeeded, failures + 1)

    def succeeded(self, key: str) -> None:
        with self._settling:
            super().succeeded(key)
            self._common.succeeded(key)
            self._note(key, 1, 0)

    def counted(self) -> dict[str, tuple[int, ...]]:
        with self._settling:
            changes, self._changes = self._changes, {}
        return {key: (*change, int(FORGOTTEN_AFTER)) for key, change in changes.items()}

    def heard(self, key: str, values: list[int]) -> None:
        with self._settling:
            if self._changes.get(key, (0, 0)) == (0, 0):  # else the next round brings it, with what was counted since
                self._common.set(key, values[0], values[1] / 1000)

    def _note(self, key: str, succeeded: int, failures: int) -> None:
        if key in self._changes or len(self._changes) < MAX_KEYS:
            self._changes[key] = succeeded, failures


class SharedCounts(Counts):
    """made: all that it made, to be settled."""

    def __init__(self) -> None:
        self.made: list[Settled] = []

    def buckets(self, name: str, rate: float, burst: float) -> Buckets:
        made = SharedBuckets(name, rate, burst)
        self.made.append(made)
        return made

    def failures(self, name: str) -> Failures:
        made = SharedFailures(name)
        self.made.append(made)
        return made
