"""The clock that GoChat goes by: it follows the database's host, and stays as it is when that one jumps."""

import pytest

from gochat.domain.clock import MAX_STEP, STEADY_AFTER, Clock

DAY = 24 * 3600.0
START = 1_700_000_000.0


class Host:
    """A machine whose two clocks a test sets, in seconds."""

    def __init__(self) -> None:
        self.wall, self.monotonic = START, 5.0
        self.clock = Clock(lambda: int(self.wall * 1e9), lambda: int(self.monotonic * 1e9))

    def passes(self, seconds: float, reference: float) -> None:
        """Time passes, and the database's host shows what is `reference` beside the right time."""
        for _ in range(int(seconds)):
            self.monotonic += 1
            self.wall += 1
            self.clock.follow(int((START + self.monotonic - 5 + reference) * 1000), self.monotonic)

    def hears_late(self, before: float, after: float) -> None:
        """The database's host, which is right, is asked, shows its clock `before` seconds later, and is heard `after`
        more."""
        asked_at = self.monotonic
        shown = int((START + asked_at - 5 + before) * 1000)
        self.monotonic += before + after
        self.clock.follow(shown, asked_at)

    @property
    def error(self) -> float:
        """Seconds beside the right time."""
        return self.clock.now() - (START + self.monotonic - 5)


def test_it_takes_the_time_of_the_databases_host_from_the_first_answer_on() -> None:
    host = Host()
    host.wall += 400 * DAY
    assert host.error == pytest.approx(0), "the wall clock counts at the start alone"
    host.passes(1, -3 * DAY)
    assert host.error == pytest.approx(-3 * DAY)


@pytest.mark.parametrize("jump", [-400 * DAY, -DAY, -600, 600, DAY, 400 * DAY])
def test_a_jump_that_passes_changes_nothing(jump: float) -> None:
    host = Host()
    host.passes(10, 0)
    host.passes(STEADY_AFTER - 5, jump)
    assert abs(host.error) < 1
    host.passes(10, 0)
    host.passes(STEADY_AFTER - 5, jump)
    assert abs(host.error) < 1


@pytest.mark.parametrize("jump", [-DAY, 400 * DAY])
def test_a_clock_that_was_set_is_followed(jump: float) -> None:
    host = Host()
    host.passes(10, 0)
    host.passes(STEADY_AFTER + 5, jump)
    assert host.error == pytest.approx(jump, abs=1)


def test_a_small_difference_is_followed_immediately() -> None:
    host = Host()
    host.passes(10, 0)
    host.passes(1, MAX_STEP - 1)
    assert host.error == pytest.approx(MAX_STEP - 1, abs=1)


def test_an_answer_that_was_under_way_for_long_sets_nothing_back() -> None:
    host = Host()
    host.passes(10, 0)
    for before, after in [(0.0, 3.0), (3.0, 0.0), (0.2, 0.5), (1.5, 1.5)]:
        host.hears_late(before, after)
        assert host.error == pytest.approx(0, abs=0.002)


def test_a_late_answer_sets_no_more_than_is_certain() -> None:
    host = Host()
    host.passes(10, 2)
    host.hears_late(1, 0)
    assert host.error == pytest.approx(1, abs=0.002), "asked and heard a second apart, it may be a second fast"
