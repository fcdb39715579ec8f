"""Rate limits that processes have in common, on a clock of the tests and with a common count as Redis keeps it."""

from collections.abc import Sequence

import pytest

from gochat.domain.rates import FREE_FAILURES
from gochat.domain.shared_rates import MICROSECONDS, SharedBuckets, SharedFailures
from tests.domain.test_rates import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Common:
    """What the scripts of gochat/events/limits.py do."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._full_at: dict[str, float] = {}
        self._failures: dict[str, tuple[int, float]] = {}

    def settle(self, processes: Sequence[SharedBuckets]) -> None:
        now = self._clock.now
        for process in processes:
            for key, (taken,) in process.counted().items():
                self._full_at[key] = max(self._full_at.get(key, 0), now) + taken / MICROSECONDS
                process.heard(key, [round(max(self._full_at[key] - now, 0) * MICROSECONDS)])

    def settle_failures(self, processes: Sequence[SharedFailures]) -> None:
        now = self._clock.now
        for process in processes:
            for key, (succeeded, failures, _) in process.counted().items():
                count, last = (0, 0.0) if succeeded else self._failures.get(key, (0, 0.0))
                self._failures[key] = (count + failures, now if failures else last)
                count, last = self._failures[key]
                process.heard(key, [count, round((now - last) * 1000)])


def taken(buckets: SharedBuckets, most: int = 1000) -> int:
    return next(number for number in range(most) if buckets.take("ann"))


def test_what_one_process_has_let_through_the_others_do_not(clock: Clock) -> None:
    processes, common = [SharedBuckets("sends", 10, 50, clock) for _ in range(4)], Common(clock)
    assert taken(processes[0]) == 50
    common.settle(processes)
    assert taken(processes[1]) == 50, "it had not heard of the key"
    common.settle(processes)
    common.settle(processes)  # the first one was settled before the second one
    assert [taken(each) for each in processes[:2]] == [0, 0]


def test_in_the_long_run_all_together_let_through_the_rate_of_one(clock: Clock) -> None:
    """What they let through beyond it, before they heard of each other, they take back."""
    processes, common, total = [SharedBuckets("sends", 10, 50, clock) for _ in range(8)], Common(clock), 0
    for _ in range(1000):  # 100 seconds
        total += sum(taken(each) for each in processes)
        common.settle(processes)
        clock.now += 0.1
    assert 50 + 1000 - 10 <= total <= 50 + 1000 + len(processes) * 2


def test_a_call_that_one_process_alone_lets_through_costs_what_it_cost_before(clock: Clock) -> None:
    buckets, common, total = SharedBuckets("sends", 10, 50, clock), Common(clock), 0
    for _ in range(1000):
        total += taken(buckets)
        common.settle([buckets])
        clock.now += 0.1
    assert total == pytest.approx(50 + 1000, abs=11)


def test_what_is_given_back_is_given_back_to_all(clock: Clock) -> None:
    processes, common = [SharedBuckets("sign-ins", 0.5, 3, clock) for _ in range(2)], Common(clock)
    assert taken(processes[0]) == 3
    assert processes[1].take("ann") == 0
    common.settle(processes)
    common.settle(processes)
    assert processes[1].take("ann") > 0
    for _ in range(3):
        processes[0].give_back("ann")
    common.settle(processes)
    assert processes[1].take("ann") == 0, "the refusal had it ask again"


def test_others_make_a_limit_stricter_and_never_looser(clock: Clock) -> None:
    """Such as a Redis that has lost everything."""
    buckets = SharedBuckets("sends", 10, 50, clock)
    for _ in range(3):
        assert taken(buckets) in (0, 50)
        for key in buckets.counted():
            buckets.heard(key, [0])
    assert taken(buckets) == 0
    clock.now += 1
    assert taken(buckets) == 10


def test_without_others_the_limit_is_that_of_one_process(clock: Clock) -> None:
    buckets = SharedBuckets("sends", 10, 50, clock)
    assert taken(buckets) == 50
    buckets.counted()  # a round that failed
    clock.now += 2
    assert taken(buckets) == 20


def test_what_is_taken_while_a_round_is_under_way_counts_once(clock: Clock) -> None:
    buckets = SharedBuckets("sends", 10, 50, clock)
    for _ in range(20):
        buckets.take("ann")
    assert buckets.counted() == {"ann": (2_000_000,)}
    for _ in range(10):
        buckets.take("ann")
    buckets.heard("ann", [4_000_000])  # twenty of another process too
    assert taken(buckets) == 0
    assert buckets.counted() == {"ann": (1_000_000,)}


def test_a_limit_that_is_off_counts_nothing(clock: Clock) -> None:
    buckets = SharedBuckets("sends", 0, 1, clock)
    assert not any(buckets.take("ann") for _ in range(100))
    buckets.give_back("ann")
    assert buckets.counted() == {}


def test_failures_count_wherever_they_happen_and_a_success_ends_them_everywhere(clock: Clock) -> None:
    processes, common = [SharedFailures("guesses", clock) for _ in range(2)], Common(clock)
    one, other = processes
    for _ in range(FREE_FAILURES):
        one.failed("ann")
    common.settle_failures(processes)
    assert (one.wait("ann"), other.wait("ann")) == (1, 0), "it has not heard of the name"
    clock.now += 0.25
    common.settle_failures(processes)
    assert other.wait("ann") == pytest.approx(0.75)
    clock.now += 1
    assert other.wait("ann") == 0
    other.failed("ann")
    common.settle_failures(processes)
    assert one.wait("ann") == 0, "it has not asked since"
    common.settle_failures(processes)
    assert one.wait("ann") == pytest.approx(2)
    other.succeeded("ann")
    common.settle_failures([other])
    clock.now += 1
    common.settle_failures(processes)
    assert (one.wait("ann"), other.wait("ann")) == (0, 0)


def test_failures_that_are_counted_while_a_round_is_under_way_are_kept(clock: Clock) -> None:
    failures = SharedFailures("guesses", clock)
    for _ in range(FREE_FAILURES):
        failures.failed("ann")
    assert failures.counted() == {"ann": (0, FREE_FAILURES, 3600)}
    failures.failed("ann")
    failures.heard("ann", [FREE_FAILURES, 0])
    assert failures.wait("ann") == 2
    assert failures.counted() == {"ann": (0, 1, 3600)}
