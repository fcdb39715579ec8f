"""How answers come to the serving loop."""

import threading
from typing import Any

import pytest

from gochat.rpc import grpcio_internals as core
from gochat.rpc.state import State


class Call:
    """An answer; of grpcio's call only its name."""

    def __init__(self, name: str, sent: list[str]) -> None:
        self.call, self._sent = name, sent

    def send(self) -> None:
        self._sent.append(self.call)


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Any:
    """With `wakes`: the tags, one for each time that the loop is woken; and `sent`."""
    made: Any = State(admission=None, executors=None)  # type: ignore[arg-type]
    made.wakes, made.sent = [], []
    monkeypatch.setattr(core, "wake", lambda _, tag: made.wakes.append(tag))
    return made


def test_the_loop_is_woken_once_for_all_answers_that_wait(state: Any) -> None:
    for name in "abc":
        state.answer(Call(name, state.sent))
    assert len(state.wakes) == 1
    state.wakes[0](None)
    state.send_answers()
    assert state.sent == ["a", "b", "c"]
    state.answer(Call("d", state.sent))
    assert len(state.wakes) == 2


def test_an_answer_made_between_the_wake_and_the_look_is_sent(state: Any) -> None:
    state.answer(Call("a", state.sent))
    state.send_answers()  # the loop had something else to do, and saw it
    state.answer(Call("b", state.sent))
    assert len(state.wakes) == 1, "the first is still on its way"
    state.wakes[0](None)
    state.send_answers()
    assert state.sent == ["a", "b"]


def test_an_answer_made_on_the_serving_thread_wakes_no_loop(state: Any) -> None:
    state.serving_thread = threading.get_ident()
    state.answer(Call("a", state.sent))
    assert not state.wakes
    state.send_answers()
    assert state.sent == ["a"]
