"""All numbers of one process, in memory that may be shared: worker processes write theirs, their parent reads them."""

import os
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from typing import Any

from gochat.monitoring.numbers import MOMENTARY, NAMES
from gochat.serving.metrics import WIDTH, Metrics, Numbers, settle

Memory = Any
"""What a process may be started with; multiprocessing keeps the type to itself."""

_PID, _COUNTS, _NAMED = range(3)
_RPCS = _NAMED + len(NAMES)
_PLACE = {name: place for place, name in enumerate(NAMES, _NAMED)}


class Board:
    """paths: of the RPCs, in one order for all processes. memory: of another Board for as many paths, in a process that
    was started with it. The numbers that are there go on: a new worker counts on from where the last one died."""

    def __init__(self, paths: Sequence[str], memory: Memory = None) -> None:
        self.paths = paths
        self.memory = memory or bytearray(_size(paths) * 8)
        self._numbers: Numbers = memoryview(self.memory).cast("B").cast("q")

    @classmethod
    def shared(cls, paths: Sequence[str]) -> "Board":
        """Its memory goes to a process with the arguments that multiprocessing starts it with."""
        return cls(paths, get_context("spawn").RawArray("q", _size(paths)))

    @property
    def pid(self) -> int:
        """0 while there is no process."""
        return self._numbers[_PID]

    @property
    def counts(self) -> bool:
        """Does this process count what the database holds? Of several one does."""
        return bool(self._numbers[_COUNTS])

    @counts.setter
    def counts(self, counts: bool) -> None:
        self._numbers[_COUNTS] = counts

    def opened(self, items: Mapping[str, str]) -> Metrics:
        """In the process whose numbers they are. items: as of Metrics."""
        self._numbers[_PID] = os.getpid()
        return Metrics(self.paths, self._numbers[_RPCS:], items)

    def put(self, numbers: Mapping[str, int]) -> None:
        """numbers: by NAMES."""
        for name, number in numbers.items():
            self._numbers[_PLACE[name]] = number

    def settle(self) -> None:
        """After the death of its process."""
        self._numbers[_PID] = 0
        self.put(dict.fromkeys(MOMENTARY, 0))
        for start in range(_RPCS, len(self._numbers), WIDTH):
            settle(self._numbers[start : start + WIDTH])

    def named(self) -> dict[str, int]:
        return dict(zip(NAMES, self._numbers[_NAMED:_RPCS].tolist(), strict=True))

    def rpcs(self) -> list[int]:
        """WIDTH for each path."""
        return self._numbers[_RPCS:].tolist()


def _size(paths: Sequence[str]) -> int:
    return _RPCS + len(paths) * WIDTH
