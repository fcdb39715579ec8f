"""A message at each step of the opening of a stream, of the real hub on a real database: it comes once, in order."""

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gochat.config import Events
from gochat.context import Caller
from gochat.events.hub import Hub
from gochat.events.relay import Relay
from gochat.internal.change.v1.change_pb2 import Position
from gochat.internal.signal.v1 import signal_pb2
from gochat.repo.feed import Feed
from gochat.storage.database import Database
from tests.events.test_hub import Taker
from tests.repo.changelog import Repo
from tests.storage.test_dropped import in_a_call
from tests.waiting import eventually

READ = ["before OpenFeed", "after OpenFeed"]
DESCRIBED = ["before DescribeChanges", "after DescribeChanges"]
HANDED_OVER = ["before feeding", "after feeding", "before registering", "after registering"]


class Steps:
    """A ChangeService, and a wrapper of functions, that call `act` when the opening of a stream comes to a step."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.step = ""
        self.act: Callable[[], None] = lambda: None

    def __getattr__(self, rpc: str) -> Callable[[Any], Any]:
        """For the thread that opens streams: the hub's reads for others meanwhile."""
        return self.around(rpc, getattr(self._feed, rpc), threading.main_thread())

    def around(self, name: str, work: Callable[..., Any], thread: threading.Thread | None = None) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            is_here = thread in (None, threading.current_thread())
            if is_here:
                self._come_to(f"before {name}")
            answer = work(*arguments)
            if is_here:
                self._come_to(f"after {name}")
            return answer

        return call

    def _come_to(self, step: str) -> None:
        if step == self.step:
            self.step = ""  # once
            self.act()


@pytest.fixture
def steps(database: Database) -> Steps:
    return Steps(Feed(database))


@pytest.fixture
def hub(steps: Steps) -> Iterator[Hub]:
    recorded = SimpleNamespace(RecordActivity=lambda _: signal_pb2.RecordActivityResponse())
    by_hints = Events(poll=60)
    started = Hub(cast("Any", steps), cast("Any", recorded), Relay(), by_hints, lambda _: False)
    started._feeder.feed = steps.around("feeding", started._feeder.feed)  # type: ignore[method-assign]
    started._register = steps.around("registering", started._register)  # type: ignore[method-assign]
    started.start()
    yield started
    for stream in list(started._streams):
        stream.closed()
    eventually(lambda: not started._position.epoch)  # it does not read any more


def opened(hub: Hub, user_id: str, start: Position) -> Taker:
    def work() -> Taker:
        return Taker(hub.open(Caller(user_id, "user"), user_id, start, typing=False, watched={}))

    return cast("Taker", in_a_call(20, work))


@pytest.mark.parametrize(
    ("step", "resumes", "hub_reads"),
    [
        *((step, True, True) for step in READ + DESCRIBED + HANDED_OVER),
        *((step, True, False) for step in READ),
        *((step, False, True) for step in READ),
        *((step, False, False) for step in READ),
    ],
)
def test_a_message_at_this_step_is_delivered_once_and_in_order(
    database: Database, hub: Hub, steps: Steps, step: str, resumes: bool, hub_reads: bool
) -> None:
    """hub_reads: it reads on before the opening goes on; else what it reads later may be known to the stream."""
    repo = Repo(database)
    ann, ben = repo.users(2)
    room = repo.group(ann, ben)
    other = opened(hub, ann, Position())
    eventually(lambda: ann in hub._registry.of_user)
    cursor = hub._position
    for content in ("one", "two"):
        repo.send(ann, room, content)
    hub.hint()
    other.until(2)

    def act() -> None:
        repo.send(ann, room, "meanwhile")
        if hub_reads:
            hub.hint()
            if threading.current_thread() is threading.main_thread():
                other.until(3)

    steps.step, steps.act = step, act
    taker = opened(hub, ben, cursor if resumes else Position())
    eventually(lambda: not steps.step)
    eventually(lambda: ben in hub._registry.of_user)
    repo.send(ann, room, "last")
    hub.hint()
    expected = ["one", "two"] if resumes else []
    if resumes or step != "before OpenFeed":  # from now on: after it was opened, whatever that is
        expected.append("meanwhile")
    taker.until(len(expected) + 1)
    assert taker.contents == [*expected, "last"]
    other.until(4)
    assert other.contents == ["one", "two", "meanwhile", "last"]
