"""What became of attempts to deliver, in this process, for gochat.monitoring. One lock, held for an addition."""

import threading

DELIVERED, FAILED, PARKED, GONE = "delivered", "failed", "parked", "gone"
OUTCOMES = (DELIVERED, FAILED, PARKED, GONE)

_counts = dict.fromkeys(OUTCOMES, 0)
_lock = threading.Lock()


def add(outcome: str, number: int = 1) -> None:
    with _lock:
        _counts[outcome] += number


def count_of(outcome: str) -> int:
    return _counts[outcome]
