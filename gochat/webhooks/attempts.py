"""Attempts at one webhook: several lanes at the same time, of which none holds up the others for longer than PATIENCE.

One thread, the follower's, has attempts made and waits for them. Each lane that is tried has a thread for as long. What
is under way for longer than PATIENCE is late: the follower goes on without it, and the lane's thread leaves the outcome
for it. What both use is guarded by the lock of `_changed`; it is held for no I/O.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import NamedTuple

from gochat.webhooks.items import Item

CONCURRENT = 4  # attempts at a time, each of another lane, beside those that are late
MAX_UNDER_WAY = 16  # with those that are late
PATIENCE = 1.0  # seconds


class Result(NamedTuple):
    """Of the items of a lane: how many were delivered, and why the next one was not; "" where it was not tried, or is
    late."""

    delivered: int
    error: str = ""
    retry_after: int = 0
    is_late: bool = False


class Attempts:
    """post(item): is called by the threads of lanes. keep(): by the one that waits, now and then; may raise."""

    def __init__(self, post: Callable[[Item], Result], keep: Callable[[], None]) -> None:
        self._post, self._keep = post, keep
        self._changed = threading.Condition()
        self._late = 0
        self._outcomes: list[tuple[Item, Result]] = []

    def make(self, lanes: Mapping[str, Sequence[Item]], goes_on: Callable[[], bool]) -> dict[str, Result]:
        """Of each lane, the items of each one after the other. goes_on(): is another attempt to begin?"""
        results = {lane: Result(0) for lane in lanes}
        waiting, begun = deque(lanes), dict[str, float]()  # of lanes that are tried: since when their item is
        is_over = False

        def next_of(lane: str) -> Item | None:
            """Under the lock: the lane's next item, which is under way from now on; None where there is to be none."""
            delivered, error = results[lane][:2]
            if error or delivered == len(lanes[lane]) or is_over or not goes_on():
                del begun[lane]
                return None
            begun[lane] = monotonic()
            return lanes[lane][delivered]

        def run(lane: str, item: Item | None) -> None:
            while item:
                outcome = self._post(item)
                with self._changed:
                    self._changed.notify()
                    if results[lane].is_late:
                        self._late -= 1
                        self._outcomes.append((item, outcome))
                        return
                    delivered = results[lane].delivered
                    results[lane] = outcome._replace(delivered=delivered) if outcome.error else Result(delivered + 1)
                    item = next_of(lane)

        try:
            while True:
                with self._changed:
                    while waiting and goes_on() and self._has_room(len(begun)):
                        lane = waiting.popleft()
                        begun[lane] = 0.0
                        threading.Thread(target=run, args=(lane, next_of(lane)), daemon=True).start()
                    if not begun and not (waiting and goes_on()):
                        return results
                    self._changed.wait(PATIENCE / 4)
                    for lane in [lane for lane, since in begun.items() if monotonic() - since > PATIENCE]:
                        del begun[lane]
                        self._late += 1
                        results[lane] = results[lane]._replace(is_late=True)
                self._keep()
        finally:
            is_over = True

    def take_outcomes(self) -> list[tuple[Item, Result]]:
        """Of attempts that were late, and are over now."""
        with self._changed:
            taken, self._outcomes = self._outcomes, []
        return taken

    def _has_room(self, running: int) -> bool:
        return running < CONCURRENT and running + self._late < MAX_UNDER_WAY
