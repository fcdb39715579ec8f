"""What calls cost, counted while they run: whole numbers in one array, which a scrape reads (gochat.monitoring).

An array and not prometheus_client's own counters, since it may lie in memory that processes share: the parent of
several workers reads theirs without asking them, and what a worker had counted when it was killed is not lost. What a
call pays is 1.1 µs; with prometheus_client it is 1.9, and 5.8 in its way of adding processes up (files).
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate

from google.rpc import code_pb2

from gochat.api.common.v1 import common_pb2
from gochat.errors import STATUS_OF

LATENCIES = tuple(
    milliseconds / 1000
    for milliseconds in (
        *(0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 5, 7.5, 10, 15, 20, 30, 40, 50, 65, 80, 100, 125, 150, 175, 200),
        *(250, 300, 400, 500, 650, 800, 1000, 1500, 2000, 5000, 10_000, 30_000),
    )
)
"""Seconds: the upper bounds of the histogram, close around the specification's limits of 50, 100, 200 and 1,000 ms."""

CODES = tuple(sorted(code_pb2.Code.values()))
ERRORS = tuple(code for code in STATUS_OF if code)
"""The business codes of errors."""

# Where each of an RPC's numbers stands among them.
_STARTED, _CODES, _ERRORS, _RECEIVED, _SENT, _ITEMS, _NANOSECONDS, _LATENCIES, WIDTH = accumulate(
    [0, 1, len(CODES), len(ERRORS), 1, 1, 1, 1, len(LATENCIES) + 1]
)
_ERROR_AT: dict[int, int] = {code: _ERRORS + place for place, code in enumerate(ERRORS)}
_INTERNAL_AT = _ERROR_AT[common_pb2.ERROR_CODE_INTERNAL_ERROR]

Numbers = memoryview  # of signed 64-bit integers


@dataclass(frozen=True)
class Reading:
    """What is known of one RPC. handled: calls by gRPC status. errors: by business code, whether the status or the
    body told it. received, sent: bytes of messages. latencies: calls of each bucket, the last without a bound."""

    started: int
    handled: dict[int, int]
    errors: dict[int, int]
    received: int
    sent: int
    items: int
    seconds: float
    latencies: list[int]

    @property
    def in_flight(self) -> int:
        return max(0, self.started - sum(self.handled.values()))


class Counts:
    """Of one RPC; changed by one thread at a time. items: the repeated field of its response whose elements are
    counted; "" for none."""

    def __init__(self, numbers: Numbers, items: str) -> None:
        self._numbers = numbers
        self.items = items

    def start(self) -> None:
        self._numbers[_STARTED] += 1

    def end(self, status: int, error: int, seconds: float, received: int, sent: int, items: int) -> None:
        """status: of gRPC, as the client gets it. error: the business code, 0 for none. received, sent: bytes."""
        numbers = self._numbers
        numbers[_CODES + status] += 1
        if error:
            numbers[_ERROR_AT.get(error, _INTERNAL_AT)] += 1
        numbers[_RECEIVED] += received
        numbers[_SENT] += sent
        if items:
            numbers[_ITEMS] += items
        numbers[_NANOSECONDS] += int(seconds * 1e9)
        numbers[_LATENCIES + bisect_left(LATENCIES, seconds)] += 1


class Metrics:
    """numbers: WIDTH for each path, in the order of the paths. items: path -> Counts.items."""

    def __init__(self, paths: Iterable[str], numbers: Numbers, items: Mapping[str, str]) -> None:
        self._of = {
            path: Counts(numbers[place * WIDTH : (place + 1) * WIDTH], items.get(path, ""))
            for place, path in enumerate(paths)
        }

    def of(self, path: str) -> Counts:
        return self._of[path]


def read(numbers: list[int]) -> Reading:
    """numbers: of one RPC; those of several processes may be added up."""
    return Reading(
        numbers[_STARTED],
        dict(zip(CODES, numbers[_CODES:_ERRORS], strict=True)),
        dict(zip(ERRORS, numbers[_ERRORS:_RECEIVED], strict=True)),
        numbers[_RECEIVED],
        numbers[_SENT],
        numbers[_ITEMS],
        numbers[_NANOSECONDS] / 1e9,
        numbers[_LATENCIES:WIDTH],
    )


def settle(numbers: Numbers) -> None:
    """Ends the calls of one RPC whose process is dead: their clients were told UNAVAILABLE."""
    numbers[_CODES + code_pb2.UNAVAILABLE] += read(numbers.tolist()).in_flight
