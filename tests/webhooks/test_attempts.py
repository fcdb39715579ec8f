"""Attempts of many lanes at the same time: none is lost, doubled or out of order, whichever of them are late."""

import random
import threading
from collections import defaultdict
from typing import cast

import pytest

from gochat.webhooks import attempts
from gochat.webhooks.attempts import Attempts, Result
from gochat.webhooks.items import Item
from tests.waiting import polled

LANES, ITEMS, PATIENCE = 150, 3, 0.004  # seconds
CHANCE = random.Random(7)


class Interrupted(threading.Condition):
    """Whoever tries a lane is interrupted each time that they have let go of the lock."""

    def __exit__(self, *details: object) -> None:
        super().__exit__(*details)
        if threading.current_thread() is not threading.main_thread():
            threading.Event().wait(CHANCE.uniform(0, 1) * PATIENCE)


@pytest.mark.parametrize("lock", [threading.Condition, Interrupted])
def test_each_attempt_is_accounted_for_once(monkeypatch: pytest.MonkeyPatch, lock: type[threading.Condition]) -> None:
    """An attempt takes about as long as there is patience for, so that lanes become late at each moment of a turn."""
    monkeypatch.setattr(attempts, "PATIENCE", PATIENCE)
    tried = defaultdict[str, list[Item]](list)
    lanes = {str(lane): [cast("Item", (str(lane), number)) for number in range(ITEMS)] for lane in range(LANES)}

    def post(item: Item) -> Result:
        tried[item[0]].append(item)  # type: ignore[index]
        threading.Event().wait(CHANCE.uniform(0.2, 1.1) * PATIENCE)
        return Result(1)

    made = Attempts(post, lambda: None)
    made._changed = lock()
    results = made.make(lanes, lambda: True)
    late = {lane for lane, result in results.items() if result.is_late}
    assert late
    outcomes = list[tuple[Item, Result]]()
    assert polled(lambda: outcomes.extend(made.take_outcomes()) or len(outcomes) == len(late), seconds=20)
    assert {item[0] for item, _ in outcomes} == late
    for lane, result in results.items():
        assert tried[lane] == lanes[lane][: result.delivered + result.is_late]
        assert result.is_late or result.delivered == ITEMS
    assert made._late == 0, "there is room again"
