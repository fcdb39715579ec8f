"""What clients know of when the messages of a round came to be."""

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

from tests.robustness.ledger import Conversation


class Timeline:
    """How many messages a conversation had at a time, by what clients know of a round."""

    def __init__(self, conversation: Conversation) -> None:
        self.base = conversation.base
        self.sends = [send for send in conversation.sends.values() if send.seq > self.base]
        self._ended = _highest_by_time((send.ended, send.seq) for send in self.sends)
        self._begun = _highest_by_time((send.begun, send.seq) for send in self.sends)

    def least(self, time: float) -> int:
        """Those acknowledged by then."""
        return self._of(self._ended, time)

    def most(self, time: float) -> int:
        """Those begun by then."""
        return self._of(self._begun, time)

    def _of(self, highest: list[tuple[float, int]], time: float) -> int:
        position = bisect_left(highest, (time, 0))
        return highest[position - 1][1] if position else self.base


def _highest_by_time(events: Iterable[tuple[float, int]]) -> list[tuple[float, int]]:
    ordered = sorted(events)
    highest = accumulate((seq for _, seq in ordered), max)
    return [(time, seq) for (time, _), seq in zip(ordered, highest, strict=True)]
