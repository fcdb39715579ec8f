"""What the streams and notifications of a process have done, as numbers for gochat.monitoring.

The transport's serving thread counts what streams take; threads that open and feed streams count the rest; scrapes
read. One lock, held for a few additions, keeps additions from being lost.
"""

import threading
from bisect import bisect_left

from gochat.domain import ids
from gochat.internal.change.v1 import change_pb2 as pb

LAGS = (5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000, 2000, 5000, 10_000, 30_000)
"""Upper bounds of the histogram of delivery lags, in milliseconds; the last bucket has none."""
_RESYNCS = {
    pb.GAP_TOO_OLD: "resyncs_too_old",
    pb.GAP_OTHER_DATABASE: "resyncs_other_database",
    pb.GAP_TOO_MUCH: "resyncs_too_much",
}

PUSHES = ("recipients_notified", "web_pushes_sent", "web_pushes_gone", "web_pushes_failed", "web_pushes_refused")
"""Of gochat/push."""


class Counters:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._delivered = self._lag = 0
        self._lags = [0] * (len(LAGS) + 1)
        self._rare = dict.fromkeys(("streams_resumed", "queues_dropped", *_RESYNCS.values(), *PUSHES), 0)

    def taken(self, events: int, at: int) -> None:
        """The transport was handed a frame of so many events. at: of the oldest, in Unix milliseconds; 0 for a replay,
        whose age says nothing of how fast events are delivered."""
        lag = max(0, ids.now_ms() - at) if at else 0
        with self._lock:
            self._delivered += events
            if at:
                self._lag += lag
                self._lags[bisect_left(LAGS, lag)] += 1

    def resumed(self) -> None:
        self._add("streams_resumed")

    def dropped(self) -> None:
        self._add("queues_dropped")

    def resync(self, gap: "pb.Gap.ValueType") -> None:
        self._add(_RESYNCS[gap])

    def pushed(self, name: str, number: int) -> None:
        """name: one of PUSHES."""
        self._add(name, number)

    def _add(self, name: str, number: int = 1) -> None:
        with self._lock:
            self._rare[name] += number

    def statistics(self) -> dict[str, int]:
        """By the names of gochat.monitoring.families."""
        with self._lock:
            buckets = {f"delivery_lag_{index}": count for index, count in enumerate(self._lags)}
            return {"events_delivered": self._delivered, "delivery_lag_ms": self._lag, **buckets, **self._rare}
