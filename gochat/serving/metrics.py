"""The metrics of RPCs: integers in one array, which calls add to and a scrape reads (gochat.monitoring).

It is an array, and not prometheus_client's own counters, so that it can lie in memory that processes share: the parent
of several workers reads theirs without a message to them, and what a worker had counted when it was killed is not lost.
It costs a call 1.1 µs; prometheus_client takes 1.9, and 5.8 in its multiprocess mode (files).

One thread at a time changes the integers of an RPC: the serving thread, or whichever holds the plain server's lock. So
no addition is lost. A scrape, in any thread or process, reads them without a lock: aligned integers of 64 bits are
read whole, and one call that is counted in some of them and not yet in others does not matter to a scrape.
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
"""Upper bounds of the histogram, in seconds; close together around the specification's limits of 50, 100, 200 and 1,000
ms."""

CODES = tuple(sorted(code_pb2.Code.values()))
ERRORS = tuple(code for code in STATUS_OF if code)
"""The business codes of the specification's table."""

# The offset of each metric among the WIDTH integers of an RPC.
_STARTED, _CODES, _ERRORS, _RECEIVED, _SENT, _ITEMS, _NANOSECONDS, _LATENCIES, WIDTH = accumulate(
    [0, 1, len(CODES), len(ERRORS), 1, 1, 1, 1, len(LATENCIES) + 1]
)
_ERROR_OFFSET: dict[int, int] = {code: _ERRORS + index for index, code in enumerate(ERRORS)}
_INTERNAL_OFFSET = _ERROR_OFFSET[common_pb2.ERROR_CODE_INTERNAL_ERROR]

Values = memoryview  # of signed 64-bit integers


@dataclass(frozen=True)
class RpcReading:
    """The metrics of one RPC as they were read.

    handled: calls that ended, by gRPC status. errors: calls that failed, by business code, whether the status or the
    response's `error` field carried it. received, sent: bytes of messages. latencies: calls in each bucket of the
    histogram; the last bucket has no upper bound.
    """

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


class RpcMetrics:
    """Counts the calls of one RPC. items: the repeated field of its response whose elements are counted; "" for
    none."""

    def __init__(self, values: Values, items: str) -> None:
        self._values = values
        self.items = items

    def call_started(self) -> None:
        self._values[_STARTED] += 1

    def call_ended(self, status: int, error: int, seconds: float, received: int, sent: int, items: int) -> None:
        """status: of gRPC, as the client gets it. error: the business code, 0 for none. received, sent: bytes."""
        values = self._values
        values[_CODES + status] += 1
        if error:
            values[_ERROR_OFFSET.get(error, _INTERNAL_OFFSET)] += 1
        values[_RECEIVED] += received
        values[_SENT] += sent
        if items:
            values[_ITEMS] += items
        values[_NANOSECONDS] += int(seconds * 1e9)
        values[_LATENCIES + bisect_left(LATENCIES, seconds)] += 1


class Metrics:
    """The metrics of all RPCs of a process. values: WIDTH integers for each path, in the order of the paths. items:
    path -> RpcMetrics.items."""

    def __init__(self, paths: Iterable[str], values: Values, items: Mapping[str, str]) -> None:
        self._of = {
            path: RpcMetrics(values[index * WIDTH : (index + 1) * WIDTH], items.get(path, ""))
            for index, path in enumerate(paths)
        }

    def of(self, path: str) -> RpcMetrics:
        return self._of[path]


def read(values: list[int]) -> RpcReading:
    """values: of one RPC; those of several processes may be added up."""
    return RpcReading(
        values[_STARTED],
        dict(zip(CODES, values[_CODES:_ERRORS], strict=True)),
        dict(zip(ERRORS, values[_ERRORS:_RECEIVED], strict=True)),
        values[_RECEIVED],
        values[_SENT],
        values[_ITEMS],
        values[_NANOSECONDS] / 1e9,
        values[_LATENCIES:WIDTH],
    )


def close_out(values: Values) -> None:
    """Counts the calls of one RPC that were in flight when their process died as ended with UNAVAILABLE, which is what
    their clients saw."""
    values[_CODES + code_pb2.UNAVAILABLE] += read(values.tolist()).in_flight
