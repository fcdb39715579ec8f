"""The limits on all connections of a listener, and the hand-over of calls between threads."""

import asyncio
import threading
from typing import Any

import pytest

from gochat.serving.connections import MAX_UNSENT_IN_ALL, READING_TIMEOUT, SEND_TIMEOUT
from gochat.web import state as module
from gochat.web.state import KEEP_ALIVE_TIMEOUT, State


class Connection:
    """ended: how, if it was."""

    def __init__(self, unsent: int = 0) -> None:
        self.unsent, self.ended = unsent, ""

    def time_out(self) -> None:
        self.ended = "timed out"

    def close_if_idle(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in its only element."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def state() -> State:
    anything: Any = None
    return State(anything, anything, max_connections=3)


def test_a_reader_that_takes_nothing_is_cut_off_and_a_slow_one_is_not(state: State, clock: list[float]) -> None:
    stalled, slow = Connection(1000), Connection(1000)
    state.sends(stalled)
    state.sends(slow)
    clock[0] += SEND_TIMEOUT - 1
    state.check_timers()
    assert (stalled.ended, slow.ended) == ("", "")
    slow.unsent = 999
    clock[0] += 2
    state.check_timers()
    assert (stalled.ended, slow.ended, state.dropped) == ("aborted", "", 1)
    clock[0] += SEND_TIMEOUT + 1
    state.check_timers()
    assert slow.ended == "aborted"


def test_the_largest_loses_where_all_hold_too_much(state: State, clock: list[float]) -> None:
    small, large, fresh = Connection(MAX_UNSENT_IN_ALL // 3), Connection(MAX_UNSENT_IN_ALL // 2), Connection(10**9)
    state.sends(small)
    state.sends(large)
    clock[0] += READING_TIMEOUT + 0.1
    state.check_timers()
    assert (small.ended, large.ended) == ("", "")
    state.sends(fresh)  # it may still be reading
    state.check_timers()
    assert (small.ended, large.ended, fresh.ended) == ("", "aborted", "")


def test_idle_connections_are_closed_and_more_than_allowed_are_not_kept(state: State, clock: list[float]) -> None:
    first, second, third, fourth = (Connection() for _ in range(4))
    for each in (first, second, third):
        state.opened(each)
    state.arrives(first)  # so the second is idle for longest
    state.opened(fourth)
    assert [each.ended for each in (first, second, third, fourth)] == ["", "closed", "", ""]
    clock[0] += KEEP_ALIVE_TIMEOUT + 1
    state.check_timers()
    assert (first.ended, third.ended, fourth.ended) == ("timed out", "closed", "closed")


def test_no_call_is_left_behind() -> None:
    """Threads hand over while the loop takes: each call goes on as often as it was handed over."""
    anything: Any = None
    state, loop, number, threads = State(anything, anything, 1), asyncio.new_event_loop(), 5000, 8
    done = threading.Semaphore(0)

    class Call:
        def proceed(self) -> None:
            done.release()

        def abort(self) -> None:
            raise AssertionError

    def run() -> None:
        state.begin(loop)
        loop.run_forever()

    runner = threading.Thread(target=run)
    runner.start()
    handing = [
        threading.Thread(target=lambda: [state.hand_over(Call()) for _ in range(number)]) for _ in range(threads)
    ]
    try:
        loop.call_soon_threadsafe(lambda: None)
        for each in handing:
            each.start()
        for _ in range(number * threads):
            assert done.acquire(timeout=20)
    finally:
        for each in handing:
            each.join()
        loop.call_soon_threadsafe(loop.stop)
        runner.join()
        state.close()
        loop.close()
    state.hand_over(Call())  # comes too late, and does no harm
