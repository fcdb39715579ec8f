"""Rate limits."""

import pytest

from gochat.domain import rates
from gochat.domain.rates import Buckets, Failures


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_bucket_gives_its_burst_then_its_rate(clock: Clock) -> None:
    buckets = Buckets(rate=2, burst=3, clock=clock)
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 0]
    assert buckets.take("a") == pytest.approx(0.5)
    clock.now += 0.5
    assert buckets.take("a") == 0
    assert buckets.take("a") == pytest.approx(0.5)


def test_several_tokens_are_taken_all_or_none(clock: Clock) -> None:
    buckets = Buckets(rate=2, burst=5, clock=clock)
    assert (buckets.burst, buckets.take("a", 3)) == (5, 0)
    assert buckets.take("a", 4) == pytest.approx(1)
    assert buckets.take("a", 2) == 0
    clock.now += 2.5
    assert buckets.take("a", 5) == 0
    assert buckets.take("a", 0) == 0


def test_a_refused_call_takes_no_token(clock: Clock) -> None:
    buckets = Buckets(rate=1, burst=1, clock=clock)
    buckets.take("a")
    for _ in range(10):
        assert buckets.take("a") == pytest.approx(1)


def test_a_bucket_holds_no_more_than_its_burst(clock: Clock) -> None:
    buckets = Buckets(rate=10, burst=2, clock=clock)
    clock.now += 3600
    assert [buckets.take("a") > 0 for _ in range(3)] == [False, False, True]


def test_keys_have_buckets_of_their_own_and_tokens_can_be_given_back(clock: Clock) -> None:
    buckets = Buckets(rate=1, burst=1, clock=clock)
    assert buckets.take("a") == 0
    assert buckets.take("b") == 0
    buckets.give_back("a")
    assert buckets.take("a") == 0
    assert buckets.take("b") > 0


def test_a_rate_of_0_limits_nothing() -> None:
    buckets = Buckets(rate=0, burst=1)
    assert not any(buckets.take("a") for _ in range(1000))
    buckets.give_back("a")


def test_each_failure_beyond_the_free_ones_doubles_the_delay(clock: Clock) -> None:
    failures = Failures(clock)
    delays = []
    for _ in range(18):
        failures.failed("a")
        delays.append(failures.wait("a"))
        clock.now += failures.wait("a")
    assert delays == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900]


def test_failures_are_forgotten_after_a_success_or_an_hour(clock: Clock) -> None:
    failures = Failures(clock)
    for _ in range(6):
        failures.failed("a")
        failures.failed("b")
    failures.succeeded("a")
    assert failures.wait("a") == 0
    assert failures.wait("b") == 2
    clock.now += 3601
    failures.failed("b")
    assert failures.wait("b") == 0


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr(rates, "MAX_KEYS", 2)
    buckets, failures = Buckets(rate=1, burst=1, clock=clock), Failures(clock)
    for key in ("a", "b", "c"):
        buckets.take(key)
        for _ in range(5):
            failures.failed(key)
    assert [buckets.take(key) > 0 for key in ("c", "b", "a")] == [True, True, False]
    assert [failures.wait(key) > 0 for key in ("c", "b", "a")] == [True, True, False]
