"""All metrics of one process, in memory that may be shared: a worker process writes its own, the parent reads them
all."""

import os
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from typing import Any

from gochat.monitoring.families import MOMENTARY, NAMES
from gochat.serving.metrics import WIDTH, Metrics, Values, close_out

Memory = Any
"""What a process may be started with; multiprocessing keeps the type to itself."""

TRANSPORTS = ("grpc", "http")
"""Each has integers of its own for each RPC, since those have one writer: the thread that serves the transport."""

# The layout: the process id, whether the process counts rows, the values of NAMES, and for each transport WIDTH values
# for each RPC.
_PID, _COUNTS_ROWS, _NAMED = range(3)
_RPCS = _NAMED + len(NAMES)
_INDEX = {name: index for index, name in enumerate(NAMES, _NAMED)}


class SharedMetrics:
    """The metrics of one process, as an array of integers.

    paths: of the RPCs, in the same order in all processes. memory: that of the parent's SharedMetrics, in a worker that
    was started with it. Values that are there already go on: a new worker counts on from where the last one died.

    There is no lock. Each integer has one writer: the process whose metrics they are, and the parent only while that
    process is not running. Readers see each integer whole, since it is aligned, but not all of them at one moment.
    """

    def __init__(self, paths: Sequence[str], memory: Memory = None) -> None:
        self.paths = paths
        self.memory = memory or bytearray(_size(paths) * 8)
        self._values: Values = memoryview(self.memory).cast("B").cast("q")

    @classmethod
    def for_worker(cls, paths: Sequence[str]) -> "SharedMetrics":
        """In memory that multiprocessing passes on to a process among its arguments."""
        return cls(paths, get_context("spawn").RawArray("q", _size(paths)))

    @property
    def pid(self) -> int:
        """0 while there is no process."""
        return self._values[_PID]

    @property
    def counts_rows(self) -> bool:
        """Does this process count what the database holds? One of several workers does."""
        return bool(self._values[_COUNTS_ROWS])

    @counts_rows.setter
    def counts_rows(self, counts_rows: bool) -> None:
        self._values[_COUNTS_ROWS] = counts_rows

    def claim(self, items: Mapping[str, str], transport: str = "grpc") -> Metrics:
        """Called by the process whose metrics these are. items: as of Metrics. transport: of TRANSPORTS."""
        self._values[_PID] = os.getpid()
        start = _RPCS + TRANSPORTS.index(transport) * len(self.paths) * WIDTH
        return Metrics(self.paths, self._values[start:], items)

    def put(self, values: Mapping[str, int]) -> None:
        """values: by NAMES."""
        for name, value in values.items():
            self._values[_INDEX[name]] = value

    def close_out(self) -> None:
        """Called by the parent after the death of the process: its gauges become 0 and its calls in flight end."""
        self._values[_PID] = 0
        self.put(dict.fromkeys(MOMENTARY, 0))
        for start in range(_RPCS, len(self._values), WIDTH):
            close_out(self._values[start : start + WIDTH])

    def named(self) -> dict[str, int]:
        """The values by NAMES."""
        return dict(zip(NAMES, self._values[_NAMED:_RPCS].tolist(), strict=True))

    def rpcs(self) -> list[int]:
        """WIDTH values for each path, for each of TRANSPORTS."""
        return self._values[_RPCS:].tolist()


def _size(paths: Sequence[str]) -> int:
    return _RPCS + len(TRANSPORTS) * len(paths) * WIDTH
