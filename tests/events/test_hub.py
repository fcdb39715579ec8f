"""The hub and its streams: who has a stream when, and that none is lost or kept. The log is a list in memory."""

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gochat.api.event.v1 import event_pb2
from gochat.config import Events
from gochat.context import Caller
from gochat.domain.changes import Kind
from gochat.errors import unavailable
from gochat.events import hub as hub_module
from gochat.events.hub import Hub
from gochat.events.relay import Relay
from gochat.events.stream import MAX_QUEUED, Stream
from gochat.internal.change.v1 import change_pb2 as pb
from gochat.internal.signal.v1 import signal_pb2
from tests.waiting import eventually

ANN, OTHER = (Caller("ann", "user", session_id) for session_id in ("session", "another"))
EPOCH = "0123456789ab"
SETTINGS = Events()


class Log:
    """A ChangeService of one user in one conversation. before_answer: called by whoever reads. fails: all reads do."""

    def __init__(self) -> None:
        self.changes: list[pb.Change] = []
        self.before_answer: Callable[[], None] = lambda: None
        self.fails = False
        self.opened = 0

    def end_session(self, session_id: str) -> None:
        at = len(self.changes)
        self.changes.append(pb.Change(kind=Kind.SESSION_ENDED, user_id="ann", detail=session_id, position=at))

    def send(self, number: int = 1) -> None:
        for _ in range(number):
            at = len(self.changes)
            self.changes.append(pb.Change(kind=Kind.MESSAGES_SENT, conversation_id="room", seq=at, position=at))

    @property
    def now(self) -> pb.Position:
        return pb.Position(epoch=EPOCH, at=len(self.changes))

    def _read(self, start: pb.Position) -> list[pb.Change]:
        if self.fails:
            raise unavailable("away")
        return self.changes[start.at :] if start.epoch else []

    def ReadChanges(self, request: pb.ReadChangesRequest) -> pb.ReadChangesResponse:  # noqa: N802
        return pb.ReadChangesResponse(changes=self._read(request.start), position=self.now)

    def DescribeChanges(self, request: pb.DescribeChangesRequest) -> pb.DescribeChangesResponse:  # noqa: N802
        self._read(pb.Position())
        answer = pb.DescribeChangesResponse()
        for change in request.changes:
            event = answer.changes.add().deliveries.add().event
            event.conversation_id = change.conversation_id
            event.message_sent.message.content = str(change.seq)
        return answer

    def OpenFeed(self, request: pb.OpenFeedRequest) -> pb.OpenFeedResponse:  # noqa: N802
        self.opened += 1
        changes, now = self._read(request.start), self.now
        self.before_answer()
        return pb.OpenFeedResponse(conversation_ids=["room"], changes=changes, position=now)


class Taker:
    """A transport whose client takes frames when the test says so."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.contents: list[str] = []
        self.payloads: list[str] = []

    def take(self) -> None:
        while (data := self.stream.next()) is not None:
            response = event_pb2.SubscribeResponse.FromString(data)
            self.payloads.append(str(response.WhichOneof("payload")))
            self.contents += [event.message_sent.message.content for event in response.batch.events]

    def until(self, number: int) -> None:
        def taken() -> bool:
            self.take()
            return len(self.contents) >= number

        eventually(taken, seconds=10)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def ended_sessions() -> set[str]:
    return set()


@pytest.fixture
def hub(log: Log, ended_sessions: set[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for name, value in (("RETRY_INTERVAL", 0.05), ("CHECK_INTERVAL", 0.02)):
        monkeypatch.setattr(hub_module, name, value)
    recorded = SimpleNamespace(RecordActivity=lambda _: signal_pb2.RecordActivityResponse())
    started = Hub(cast("Any", log), cast("Any", recorded), Relay(), SETTINGS, ended_sessions.__contains__)
    started.start()
    yield started
    log.fails = False
    started.stop()
    for stream in list(started._streams):  # or its thread would read the log as long as the tests run
        stream.closed()


def opened(hub: Hub, start: pb.Position | None = None) -> Taker:
    return Taker(hub.open(ANN, "ann", start or pb.Position(), typing=False, watched={}))


def registered(hub: Hub) -> int:
    return sum(len(streams) for streams in hub._registry.of_user.values())


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last)]


def test_a_stream_that_its_client_left_with_frames_unsent_is_forgotten(hub: Hub, log: Log) -> None:
    for _ in range(3 * SETTINGS.streams_per_user):
        taker = opened(hub)
        log.send(5)
        hub.hint()
        taker.stream.closed()
    eventually(lambda: not hub._streams)
    assert not hub._registry.in_conversation
    assert not hub._registry.of_user
    assert not hub._open_of_user
    assert not opened(hub).stream.ended, "none of those counts as one of the user's"


def test_the_oldest_of_too_many_is_replaced(hub: Hub) -> None:
    takers = [opened(hub) for _ in range(SETTINGS.streams_per_user + 2)]
    eventually(lambda: takers[1].stream.ended)
    assert [bool(taker.stream.ended) for taker in takers[:3]] == [True, True, False]
    takers[0].take()
    assert takers[0].payloads == ["ready", "goodbye"]


def test_a_stream_that_takes_nothing_is_given_up(hub: Hub, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "STALL_TIMEOUT", 0.1)
    stalled, idle = opened(hub), opened(hub)
    idle.take()
    time.sleep(0.2)
    assert len(hub._streams) == 2, "while there is nothing to take"
    log.send()
    hub.hint()
    for _ in range(20):
        idle.take()
        time.sleep(0.02)
    eventually(lambda: list(hub._streams) == [idle.stream])
    assert stalled.stream.over, "what it has not taken is dropped, so that it can end"


def test_a_slow_stream_reads_the_log_again_and_misses_nothing(hub: Hub, log: Log) -> None:
    taker = opened(hub)
    eventually(lambda: registered(hub))
    for _ in range(MAX_QUEUED + 100):  # each a frame of its own
        log.send()
        hub.hint()
        while hub._position.at < len(log.changes):  # more often than eventually() looks
            time.sleep(0.001)
    eventually(lambda: not registered(hub))
    log.send(50)
    taker.until(len(log.changes))
    assert taker.contents == numbers(0, len(log.changes)), "although not even the first frame was taken"
    assert taker.payloads.count("ready") == 1
    log.send()
    hub.hint()
    taker.until(len(log.changes))


def test_what_is_committed_while_a_stream_opens_comes_once(hub: Hub, log: Log) -> None:
    """The hub has read on meanwhile; what the new stream has missed by that comes from memory."""
    other = opened(hub)
    eventually(lambda: registered(hub) == 1)

    def commit() -> None:
        log.send(3)
        hub.hint()
        eventually(lambda: hub._position.at == len(log.changes))

    log.before_answer = commit
    taker = opened(hub)
    taker.until(3)
    log.send(2)
    hub.hint()
    for each in (taker, other):
        each.until(5)
        assert each.contents == numbers(0, 5)
    assert log.opened == 2, "one for each stream"


def test_a_stream_goes_on_after_the_log_was_away(hub: Hub, log: Log) -> None:
    taker = opened(hub)
    log.send(2)
    hub.hint()
    taker.until(2)
    log.fails = True
    log.send(2)
    hub.hint()
    time.sleep(0.2)
    log.fails = False
    taker.until(4)
    assert taker.contents == numbers(0, 4)


def test_heartbeats_come_while_the_log_is_away(hub: Hub, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "HEARTBEAT", 0)  # seconds: at each check
    taker = opened(hub)
    eventually(lambda: registered(hub))
    log.fails = True
    hub.hint()

    def beaten() -> bool:
        taker.take()
        return taker.payloads.count("heartbeat") >= 3

    eventually(beaten)


def test_a_hub_that_waits_for_the_log_still_says_goodbye(hub: Hub, log: Log) -> None:
    taker = opened(hub)
    eventually(lambda: registered(hub))
    hang, hangs = threading.Event(), threading.Event()

    def read(_: pb.Position) -> list[pb.Change]:
        hangs.set()
        hang.wait()
        return []

    log._read = read  # type: ignore[method-assign]
    hub.hint()
    assert hangs.wait(10)
    began = time.monotonic()
    hub.stop()
    hub.close()
    assert time.monotonic() - began < 10, "and not for ever"
    taker.take()
    assert taker.payloads[-1] == "goodbye"
    assert taker.stream.over
    hang.set()


def test_nothing_that_happened_after_its_session_had_ended_is_delivered(hub: Hub, log: Log) -> None:
    taker, other = opened(hub), Taker(hub.open(OTHER, "ann", pb.Position(), typing=False, watched={}))
    eventually(lambda: registered(hub) == 2)
    log.send(2)
    log.end_session(ANN.session_id)
    log.send(2)  # all of it is read at once
    hub.hint()
    other.until(4)
    eventually(lambda: taker.stream.ended)
    taker.take()
    assert taker.contents == numbers(0, 2)
    assert taker.payloads[-1] == "goodbye"
    assert other.contents == ["0", "1", "3", "4"], "of another session"


def test_a_session_ends_its_streams_while_the_log_says_nothing(hub: Hub, log: Log, ended_sessions: set[str]) -> None:
    """Also those that have fallen behind, whatever is in their queues."""
    takers = [opened(hub) for _ in range(3)]
    eventually(lambda: registered(hub) == 3)
    log.fails = True
    hub._post(lambda: hub._suspend(takers[0].stream))
    ended_sessions.add(ANN.session_id)
    for taker in takers:
        eventually(lambda taker=taker: taker.stream.ended)
        taker.take()
        assert taker.payloads[-1] == "goodbye"
        assert taker.stream.over
