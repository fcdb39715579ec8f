"""Streams of handlers on the serving loop, as state machines: however they end, they are closed once and leave nothing
behind. The loop is in this process, and the Subscription is the test's."""

import gc
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2

from gochat.errors import ChatError, invalid
from gochat.monitoring.exporter import CODE
from gochat.rpc import calls, loop, subscribing
from gochat.serving import connections
from gochat.serving.endpoints import REQUEST_TIMEOUT, Status
from gochat.serving.metrics import WIDTH, RpcReading, read
from tests.attacks import wire
from tests.attacks.hostile import called, numbers, opened, reset
from tests.attacks.wire import END_HEADERS, HEADERS, SHUT, WIDE, Raw
from tests.rpc.test_loop import SUBSCRIBE, InProcess
from tests.waiting import eventually, polled, status_of

GOODBYE = Status(code_pb2.UNAVAILABLE, "goodbye")


class Source:
    """A Subscription. closes: how often it was closed. threads: on which it was asked for messages, and asked: how
    often."""

    def __init__(self, *messages: bytes, over: Status | None = None) -> None:
        self.messages = deque(messages)
        self.over = over
        self.closes = 0
        self.taken = self.asked = 0
        self.threads: set[str] = set()
        self.error: Exception | None = None
        self.wake: Callable[[], None] = lambda: None

    def next(self) -> bytes | None:
        self.threads.add(threading.current_thread().name)
        self.asked += 1
        if self.error:
            raise self.error
        if not self.messages:
            return None
        self.taken += 1
        return self.messages.popleft()

    def closed(self) -> None:
        self.closes += 1

    def say(self, *messages: bytes) -> None:
        self.messages.extend(messages)
        self.wake()


class Served(InProcess):
    """sources: of all streams that were opened. prepared: those to open next, before new ones are made."""

    def __init__(self, *, queues: bool = False) -> None:
        self.sources: list[Source] = []
        self.prepared: deque[Source] = deque()
        self.gate: threading.Event | None = None
        self.error: ChatError | None = None
        super().__init__(subscribe=self._subscribe, queues=queues)

    def _subscribe(self, _: Any) -> Source:
        if self.gate:
            assert self.gate.wait(20)
        if self.error:
            raise self.error
        self.sources.append(self.prepared.popleft() if self.prepared else Source(b"first"))
        return self.sources[-1]

    def subscribe(self, channel: grpc.Channel | None = None, timeout: float | None = None) -> Any:
        return (channel or self.channel).unary_stream(SUBSCRIBE)(b"", metadata=self.metadata, timeout=timeout)

    def raw(self, opening: bytes = WIDE) -> Raw:
        return Raw(self.address, opening, acks=True)

    def reading(self) -> RpcReading:
        end = len(self.metrics.paths) * WIDTH  # of gRPC's; those of HTTP follow
        return read(self.metrics.rpcs()[end - WIDTH : end])

    def is_empty(self) -> bool:
        state = self.state
        left = (state.calls, state.sending, state.half_open, state.to_pump, state.streams)
        totals = state.connections.waiting, state.connections.subscribed, state.connections.unsent
        return not any(left) and totals == (0, 0, 0)


@pytest.fixture
def served() -> Iterator[Served]:
    """Every stream of it must be closed once at the end, and nothing be left."""
    made = Served()
    yield made
    made.channel.close()
    eventually(made.is_empty)
    eventually(lambda: all(source.closes == 1 for source in made.sources))
    assert made.loop.drain(5, 5)
    for source in made.sources:
        source.wake()  # as a thread may that does not know yet: nobody is there


def test_messages_come_in_order_and_the_status_after_the_last(served: Served) -> None:
    served.prepared.append(Source(b"1", b"2", b"3", over=GOODBYE))
    stream = served.subscribe()
    assert [next(stream) for _ in range(3)] == [b"1", b"2", b"3"]
    assert status_of(lambda: next(stream)) == "UNAVAILABLE"
    assert stream.details() == "goodbye"
    (source,) = served.sources
    assert source.threads == {"serving"}


def test_what_is_said_later_is_sent_at_once(served: Served) -> None:
    stream = served.subscribe()
    assert next(stream) == b"first"
    (source,) = served.sources
    for number in range(100):
        started = time.monotonic()
        source.say(b"%d" % number)
        assert next(stream) == b"%d" % number
        assert time.monotonic() - started < 1
    source.over = GOODBYE
    source.wake()
    assert status_of(lambda: next(stream)) == "UNAVAILABLE"


def test_many_threads_that_wake_lose_nothing(served: Served) -> None:
    stream = served.subscribe()
    assert next(stream) == b"first"
    (source,) = served.sources

    def says() -> None:
        for _ in range(500):
            source.say(b"x")

    threads = [threading.Thread(target=says) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert [next(stream) for _ in range(4000)] == [b"x"] * 4000
    for thread in threads:
        thread.join()
    stream.cancel()


def test_a_handler_that_refuses_ends_it_with_its_error(served: Served) -> None:
    served.error = invalid("cursor", "is none")
    stream = served.subscribe()
    assert status_of(lambda: next(stream)) == "INVALID_ARGUMENT"
    assert served.sources == []
    eventually(lambda: served.reading().handled[code_pb2.INVALID_ARGUMENT] == 1)


def test_a_client_that_leaves_before_it_is_open(served: Served) -> None:
    served.gate = threading.Event()
    stream = served.subscribe()
    eventually(lambda: served.state.connections.waiting == 1)
    stream.cancel()
    client = served.raw()
    client.send(called([1], SUBSCRIBE, metadata=served.metadata))
    eventually(lambda: served.reading().started == 2)
    client.close()  # the connection, not only the stream
    time.sleep(0.2)
    served.gate.set()
    eventually(lambda: served.reading().handled[code_pb2.CANCELLED] == 2)
    # The second is not opened at all where no thread had taken it up before its connection closed.
    assert {source.taken for source in served.sources} == {0}


@pytest.mark.parametrize("moment", range(8))
def test_a_client_that_leaves_while_it_opens(served: Served, moment: int) -> None:
    client = served.raw()
    for number in numbers(50):
        client.send(called([number], SUBSCRIBE, metadata=served.metadata))
        time.sleep(moment * 0.0002)
        client.send(reset([number]))
    eventually(lambda: sum(served.reading().handled.values()) == served.reading().started)
    client.close()


def test_a_client_that_leaves_after_the_opening(served: Served) -> None:
    streams = [served.subscribe() for _ in range(20)]
    assert [next(stream) for stream in streams] == [b"first"] * 20
    for stream in streams:
        stream.cancel()
    eventually(lambda: all(source.closes for source in served.sources))
    assert served.validate(), "other calls of the connection go on"


def test_a_client_that_leaves_while_a_message_is_sent(served: Served) -> None:
    served.prepared.append(Source(b"x" * 100_000, b"never"))
    client = served.raw(SHUT)
    client.send(called([1], SUBSCRIBE, metadata=served.metadata))
    eventually(lambda: served.state.sending)
    client.send(reset([1]))
    eventually(served.is_empty)
    assert served.sources[0].taken == 1
    client.close()


def test_a_connection_that_breaks(served: Served) -> None:
    client = served.raw()
    client.send(called(numbers(50), SUBSCRIBE, metadata=served.metadata))
    eventually(lambda: served.state.connections.subscribed == 50)
    client.close()
    eventually(served.is_empty)


def test_a_deadline_of_the_client_ends_it(served: Served) -> None:
    stream = served.subscribe(timeout=0.5)
    assert next(stream) == b"first"
    assert status_of(lambda: next(stream)) == "DEADLINE_EXCEEDED"
    eventually(served.is_empty)
    handled = {CODE[code]: count for code, count in served.reading().handled.items() if count}
    assert handled == {"OK": 1}, "it was opened in time; how long it stayed is no latency"


def test_a_subscription_that_fails_ends_as_internal(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    stream, other = served.subscribe(), served.subscribe()
    assert [next(stream), next(other)] == [b"first"] * 2
    eventually(lambda: all(source.asked == 2 for source in served.sources))  # else both would meet the error
    served.sources[0].error = served.sources[1].error = RuntimeError("no such table: secrets")
    served.sources[0].wake()
    ended = stream if polled(lambda: not stream.is_active(), seconds=0.5) else other
    assert status_of(lambda: next(ended)) == "INTERNAL"
    assert ended.details() == "internal error"
    assert "no such table" in caplog.text
    for source in served.sources:
        source.error = None
    going = other if ended is stream else stream
    for source in served.sources:
        source.say(b"next")
    assert next(going) == b"next"
    going.cancel()


def test_streams_do_not_count_as_waiting_calls(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MAX_WAITING", 20)
    monkeypatch.setattr(calls, "MAX_STREAMS", 20)
    streams: list[Any] = []
    for _ in range(3):
        added = [served.subscribe() for _ in range(10)]
        assert [next(each) for each in added] == [b"first"] * 10
        streams += added
    assert served.state.connections.waiting == 0
    assert not served.state.streams, "of health and reflection"
    assert served.validate()
    for stream in streams:
        stream.cancel()


def test_a_stream_whose_request_never_comes(served: Served) -> None:
    client = served.raw()
    client.send(opened([1], SUBSCRIBE, served.metadata))
    eventually(lambda: list(client.frames(0.2)) is not None and client.ended.get(1), REQUEST_TIMEOUT + 5)
    assert client.ended[1] == "DEADLINE_EXCEEDED"
    assert not served.sources
    client.close()


def test_a_stream_without_a_message_is_refused(served: Served) -> None:
    client = served.raw()
    block = wire.request(SUBSCRIBE, *served.metadata)
    client.send(wire.frame(HEADERS, END_HEADERS | wire.END_STREAM, 1, block))
    eventually(lambda: list(client.frames(0.2)) is not None and client.ended.get(1))
    assert client.ended[1] == "INVALID_ARGUMENT"
    client.close()


def test_a_client_that_does_not_read_costs_one_message_and_is_ended_alone(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its connection, other streams and calls go on; so do those of other connections."""
    monkeypatch.setattr(subscribing, "SEND_TIMEOUT", 1.0)
    good = served.subscribe()
    assert next(good) == b"first"
    client = served.raw(WIDE)
    no_window = wire.settings((wire.INITIAL_WINDOW_SIZE, 100))
    client.send(no_window)
    served.prepared.append(Source(b"x" * 50_000, *[b"more"] * 1000))
    client.send(called([1], SUBSCRIBE, metadata=served.metadata))
    eventually(lambda: len(served.sources) == 2)
    client.send(called([3], SUBSCRIBE, metadata=served.metadata))
    eventually(lambda: len(served.sources) == 3 and served.sources[2].taken)
    slow, other = served.sources[1], served.sources[2]
    eventually(lambda: list(client.frames(0.2)) is not None and client.ended.get(1), 5)
    assert client.ended[1] in {"RST_STREAM", "CANCELLED"}
    eventually(lambda: slow.closes == 1)
    assert slow.taken == 1
    assert other.closes == 0
    other.say(b"still")
    eventually(lambda: other.taken == 2)
    assert not client.cut
    served.sources[0].say(b"still")
    assert next(good) == b"still"
    assert served.state.dropped == 1
    good.cancel()
    client.close()


def test_a_connection_with_an_idle_stream_is_not_forgotten(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its limits would not hold for what the stream sends later."""
    monkeypatch.setattr(connections, "IDLE_TIMEOUT", 0.1)
    stream = served.subscribe()
    assert next(stream) == b"first"
    time.sleep(loop.FORGET_INTERVAL * 2)
    (call,) = served.state.calls
    assert served.state.connections.of(call.connection.peer.encode(), time.monotonic()) is call.connection
    stream.cancel()


def test_unary_calls_are_served_while_thousands_of_streams_are_pumped(served: Served) -> None:
    """A message to all of 3,000 streams keeps the loop busy for a while, but no call waits for it to end."""
    clients = [served.raw() for _ in range(3)]
    for client in clients:
        for first in range(0, 1000, 100):
            client.send(called(numbers(100, first), SUBSCRIBE, metadata=served.metadata))
            list(client.frames(0.05))
    eventually(lambda: served.state.connections.subscribed == 3000)
    assert served.validate()
    bursts, calls = 3, 0
    for _ in range(bursts):
        for source in served.sources:
            source.messages.append(b"x" * 200)
        for source in served.sources:
            source.wake()
        while any(source.messages for source in served.sources):
            assert served.validate()
            calls += 1
        for client in clients:
            list(client.frames(0.05))
    assert calls > bursts + 1, "a call that waits for the end is the only one of its burst"
    for client in clients:
        client.close()


def test_a_drain_ends_those_that_do_not_end_themselves() -> None:
    served = Served()
    streams = [served.subscribe() for _ in range(5)]
    assert [next(stream) for stream in streams] == [b"first"] * 5
    threading.Timer(0.3, lambda: _say_goodbye(served.sources[:3])).start()
    assert served.loop.drain(1, 5)
    assert [status_of(lambda stream=stream: next(stream)) for stream in streams[:3]] == ["UNAVAILABLE"] * 3
    assert status_of(lambda: next(streams[4])) in {"CANCELLED", "UNAVAILABLE"}
    assert [source.closes for source in served.sources] == [1] * 5
    assert served.is_empty()
    for source in served.sources:
        source.wake()


def _say_goodbye(sources: list[Source]) -> None:
    for source in sources:
        source.over = GOODBYE
        source.wake()


def test_thousands_of_openings_leave_nothing_behind(served: Served) -> None:
    def opens(count: int) -> None:
        client = served.raw()
        for first in range(0, count, 100):
            streams = numbers(100, first)
            client.send(called(streams, SUBSCRIBE, metadata=served.metadata))
            eventually(lambda: len(served.sources) >= 100)
            client.send(reset(streams))
            list(client.frames(0.01))
            eventually(served.is_empty)
            served.sources.clear()
        client.close()

    def held() -> tuple[int, int]:
        gc.collect()
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    opens(500)
    before, size = held(), _memory()
    opens(2000 if os.environ.get("CI") else 10_000)
    assert polled(held, lambda now: now <= before) <= before
    assert _memory() - size < 8 * 1024, "KiB"


def _memory() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
