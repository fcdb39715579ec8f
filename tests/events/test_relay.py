"""What processes tell each other: to whom it goes on, in which pieces, and that it never waits."""

from collections.abc import Callable

import pytest

from gochat.config import ConfigError
from gochat.events.broker import BrokerLink
from gochat.events.links import MAX_QUEUED, Outbox
from gochat.events.relay import MAX_SIZE, MAX_UNSENT, Relay, Watch
from gochat.internal.signal.v1 import signal_pb2 as pb
from tests.waiting import eventually


class Wire:
    """A Link that keeps what it is given. say: another process says this."""

    def __init__(self) -> None:
        self.sent: list[pb.Signals] = []
        self.is_stopped = False

    def start(self, heard: Callable[[bytes], None], connected: Callable[[], None]) -> None:
        self.heard, self.connected = heard, connected

    def send(self, data: bytes) -> None:
        assert len(data) <= MAX_SIZE + 200
        self.sent.append(pb.Signals.FromString(data))

    def stop(self) -> None:
        self.is_stopped = True


class World:
    """A relay, with what it has called."""

    def __init__(self, *wires: Wire) -> None:
        self.relay = Relay(wires)
        self.commits, self.signals = 0, list[pb.Signals]()
        self.relay.on_commit = self._on_commit
        self.relay.on_signals = self.signals.append
        self.relay.start()

    def _on_commit(self) -> None:
        self.commits += 1


def taken(watch: Watch) -> list[pb.Signals]:
    found = []
    while (data := watch.next()) is not None:
        response = pb.WatchResponse.FromString(data)
        found += [response.signals] if response.HasField("signals") else []
    return found


ANN_TYPES = pb.Typing(conversation_id="room", user_id="ann", typing=True)


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_what_a_process_says_is_told_to_all_and_a_flood_of_commits_is_few_messages(wire: Wire) -> None:
    world = World(wire)
    watch = world.relay.watch()
    for _ in range(10_000):
        world.relay.committed()
    world.relay.say(ANN_TYPES, "ann", pb.LastActive(user_id="ben", at=7), asks=True)
    eventually(lambda: any(signals.asks for signals in wire.sent))
    assert world.commits == 10_000
    assert len(wire.sent) < 20
    assert any(signals.committed for signals in wire.sent)
    last = wire.sent[-1]
    assert (list(last.typing), list(last.online_user_ids), last.offline[0].at) == ([ANN_TYPES], ["ann"], 7)
    assert taken(watch) == wire.sent


def test_many_signals_go_in_several_messages(wire: Wire) -> None:
    world = World(wire)
    users = [f"user{number:022}" for number in range(5000)]
    world.relay.say(*users)
    eventually(lambda: sum(len(signals.online_user_ids) for signals in wire.sent) == len(users))
    assert [user for signals in wire.sent for user in signals.online_user_ids] == users
    assert len(wire.sent) > 20


def test_what_is_heard_goes_on_to_those_who_watch_but_not_back(wire: Wire) -> None:
    world = World(wire)
    watch = world.relay.watch()
    other = pb.Signals(process="other", committed=True, typing=[ANN_TYPES])
    wire.heard(other.SerializeToString())
    assert (world.commits, world.signals, taken(watch), wire.sent) == (1, [other], [other], [])
    wire.heard(pb.Signals(process=world.relay.process, committed=True).SerializeToString())
    wire.heard(b"\xff garbage")
    assert (world.commits, taken(watch)) == (1, [])


def test_what_one_who_watches_publishes_goes_to_all_others(wire: Wire) -> None:
    world = World(wire)
    watch = world.relay.watch()
    published = pb.Signals(process="logic", typing=[ANN_TYPES])
    world.relay.publish(published)
    assert (wire.sent, taken(watch), world.signals) == ([published], [published], [published])


def test_a_link_that_works_again_has_all_read_the_log(wire: Wire) -> None:
    world = World(wire)
    connected = []
    world.relay.on_connected = lambda: connected.append(True)
    wire.connected()
    assert (world.commits, connected) == (1, [True])
    eventually(lambda: [signals.committed for signals in wire.sent] == [True])


def test_one_who_takes_nothing_costs_a_bounded_queue(wire: Wire) -> None:
    world = World(wire)
    watch = world.relay.watch()
    for number in range(2 * MAX_UNSENT):
        wire.heard(pb.Signals(process=f"{number}", asks=True).SerializeToString())
    assert [signals.process for signals in taken(watch)][-1] == f"{2 * MAX_UNSENT - 1}"
    assert len(taken(watch)) == 0
    outbox = Outbox()
    for number in range(2 * MAX_QUEUED):
        outbox.put(b"%d" % number)
    assert len(list(outbox.take())) == MAX_QUEUED


def test_an_end_ends_what_watches(wire: Wire) -> None:
    world = World(wire)
    watch = world.relay.watch()
    woken: list[bool] = []
    watch.wake = lambda: woken.append(True)
    world.relay.stop()
    eventually(lambda: wire.is_stopped)
    assert woken
    assert watch.over
    assert world.relay.watch().over, "also one that comes late"
    watch.closed()
    assert watch not in world.relay._all_watches()


def test_nobody_to_tell_costs_nothing() -> None:
    world = World()
    world.relay.say(*["ann"] * 10)
    world.relay.committed()
    assert world.commits == 1
    assert not world.relay._pending


def test_a_url_that_is_none_stops_the_start_without_its_password() -> None:
    with pytest.raises(ConfigError, match=r"events\.broker") as caught:
        BrokerLink("redis://:hush@host:port/0")
    assert "hush" not in str(caught.value)
