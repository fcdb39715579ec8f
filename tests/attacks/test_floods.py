"""Floods: of connections, streams, frames, password hashes and calls. Other clients are served meanwhile."""

import resource
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
import pytest

from gochat.api.logic.v1 import logic_pb2, logic_pb2_grpc
from tests.attacks import wire
from tests.attacks.wire import (
    END_HEADERS,
    FLOODS,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    Raw,
    frame,
    long_headers,
)
from tests.conftest import Own
from tests.harness import PASSWORD, Deployment, Person, fresh, new_connection
from tests.processes import FAST, memory
from tests.waiting import eventually

PROFILE = "/gochat.api.logic.v1.LogicService/GetUserProfile"
SIGN_IN = "/gochat.api.logic.v1.LogicService/Authenticate"
HEALTH = "/grpc.health.v1.Health/Check"
STREAMS = 1000
MAX_GROWTH = 64 * 1024  # KiB
CANCEL = wire.CANCEL.to_bytes(4, "big")


@contextmanager
def open_files(soft: int) -> Iterator[int]:
    """How many files this process and those that it starts may have open, as far as it may say so."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = min(soft, before[1]) if before[1] != resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield soft
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture(scope="module")
def app(own_of_module: Own) -> Iterator[Deployment]:
    """Without rate limits."""
    with open_files(8192):
        yield own_of_module()


@pytest.fixture(scope="module")
def person(app: Deployment) -> Person:
    return app.person(password=PASSWORD)


@pytest.fixture(scope="module", autouse=True)
def slow(app: Deployment) -> Iterator[dict[str, Raw]]:
    """Connections that never finish their handshake, from before the other tests."""
    openings = {"nothing": b"", "half a preface": wire.PREFACE[:12], "no SETTINGS": wire.PREFACE}
    connections = {name: Raw(app.address, opening) for name, opening in openings.items()}
    yield connections
    for connection in connections.values():
        connection.close()


@contextmanager
def connections(app: Deployment, number: int = 1, opening: bytes | None = None) -> Iterator[list[Raw]]:
    opened = [Raw(app.address) if opening is None else Raw(app.address, opening) for _ in range(number)]
    try:
        yield opened
    finally:
        for connection in opened:
            connection.close()


def served(person: Person, seconds: float = 30) -> None:
    """On the connection that the person has, and on a new one."""
    request = logic_pb2.GetUserProfileRequest()
    for _ in range(5):
        assert person.app.logic.GetUserProfile(request, metadata=person.metadata, timeout=seconds).profile.username
    with several_channels(person.app, 1) as [stub]:
        assert stub.GetUserProfile(request, metadata=person.metadata, timeout=seconds).profile.user_id == person.id


def headers(stream: int, path: str = PROFILE) -> bytes:
    return frame(HEADERS, END_HEADERS, stream, wire.request(path))


@pytest.mark.parametrize("opening", [b"", wire.PREFACE + frame(SETTINGS)], ids=["TCP", "HTTP2"])
def test_a_thousand_idle_connections_leave_others_served(app: Deployment, person: Person, opening: bytes) -> None:
    with open_files(8192) as most:
        number = min(1000, most // 3)
        with connections(app, number, opening) as idle:
            served(person)
            assert not any(connection.cut for connection in idle)
        served(person)


def test_a_server_without_free_file_descriptors_still_serves(own: Own) -> None:
    with open_files(256):
        app = own()
    person = app.person(password=PASSWORD)
    with connections(app, 400):
        for _ in range(5):
            assert person.GetUserProfile()  # nobody new can come in
    served(person)


def test_connections_beyond_the_limit_are_refused_until_others_close(own: Own) -> None:
    app = own(env={"GOCHAT_LIMITS_CONNECTIONS": "20"})
    person = app.person(password=PASSWORD)  # on the first connection

    def has_room() -> bool:
        with connections(app) as [another]:
            taken = any(received.kind == SETTINGS for received in another.frames(1))
            return taken and not another.cut

    with connections(app, 30) as opened:
        for connection in opened:
            list(connection.frames(0.1))
        held = [connection for connection in opened if not connection.cut]
        assert len(held) == 20 - 1
        assert person.GetUserProfile()
        for connection in held[:5]:
            connection.close()
        eventually(has_room, 30)
        assert person.GetUserProfile()


def test_unfinished_headers_delay_no_other_client(app: Deployment, person: Person) -> None:
    block = wire.request(PROFILE)
    with connections(app, 100) as opened:
        for connection in opened:
            connection.send(frame(HEADERS, END_HEADERS, 1, block)[:20])
        for position in range(20, 25):
            for connection in opened:
                connection.send(frame(HEADERS, END_HEADERS, 1, block)[position : position + 1])
            served(person)
    served(person)


@pytest.mark.parametrize("path", [PROFILE, HEALTH, SIGN_IN])
@pytest.mark.skipif(not FAST, reason="grpcio waits for a request without end, on a thread")
def test_calls_without_a_body_delay_no_other_client(app: Deployment, person: Person, path: str) -> None:
    with connections(app) as [connection]:
        for number in range(100):
            connection.send(headers(2 * number + 1, path))
        list(connection.frames(0.5))
        served(person, 5)
        request = logic_pb2.AuthRequest(username=person.username, password=PASSWORD)
        assert app.logic.Authenticate(request, timeout=5).success


@pytest.mark.parametrize("path", [PROFILE, SIGN_IN])
def test_calls_reset_immediately_delay_no_other_client(app: Deployment, person: Person, path: str) -> None:
    before = memory(app.processes[0].pid)
    with connections(app) as [connection]:
        for first in range(1, 20_000, 400):
            streams = range(first, first + 400, 2)
            if not connection.send(b"".join(headers(i, path) + frame(RST_STREAM, 0, i, CANCEL) for i in streams)):
                break
        served(person)
    assert memory(app.processes[0].pid) - before < MAX_GROWTH
    served(person)


def test_streams_beyond_the_limit_of_a_connection_are_refused(app: Deployment, person: Person) -> None:
    with connections(app) as [connection]:
        received = list(connection.frames(0.5))
        announced = next(each.payload for each in received if each.kind == SETTINGS and each.payload)
        assert b"\0\3" + STREAMS.to_bytes(4, "big") in announced
        connection.send(b"".join(headers(2 * number + 1) for number in range(3 * STREAMS)))
        refused = Counter(received.kind for received in connection.frames(1.5))
        assert refused[RST_STREAM] >= 2 * STREAMS
    served(person)


def test_a_client_that_pings_too_often_is_disconnected(app: Deployment, person: Person) -> None:
    with connections(app) as [connection]:
        connection.send(frame(PING, payload=b"12345678") * 100)
        farewell = [received for received in connection.frames(10) if received.kind == GOAWAY]
        assert [received.error for received in farewell] == [wire.ENHANCE_YOUR_CALM]
        assert connection.cut
    served(person)


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_of_frames_delays_no_other_client(app: Deployment, person: Person, flood: str) -> None:
    before = memory(app.processes[0].pid)
    with connections(app, 5) as opened:
        for _ in range(20):
            for connection in opened:
                if not connection.cut:
                    connection.send(FLOODS[flood])
                    list(connection.frames(0.001))
        served(person)
    assert memory(app.processes[0].pid) - before < MAX_GROWTH
    served(person)


def test_headers_beyond_the_limit_never_reach_a_handler(app: Deployment, person: Person) -> None:
    metadata = (*person.metadata, *((f"x-{number}", "v" * 1000) for number in range(20)))
    with pytest.raises(grpc.RpcError) as raised:
        app.logic.GetUserProfile(logic_pb2.GetUserProfileRequest(), metadata=metadata, timeout=30)
    assert isinstance(raised.value, grpc.Call)
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    served(person)


def test_endless_headers_do_not_grow_memory(app: Deployment, person: Person) -> None:
    """At first the allocator grows, and gives back late; what counts is that it does not go on, 32 MB a round."""
    sizes = []
    for _ in range(8):
        with connections(app, 4) as opened:
            for connection in opened:
                connection.send(long_headers(PROFILE, 8_000_000))
                list(connection.frames(0.2))
            served(person)
        sizes.append(memory(app.processes[0].pid))
    assert min(sizes[4:]) - max(sizes[:4]) < MAX_GROWTH
    served(person)


def test_a_connection_without_calls_is_closed_in_time(own: Own) -> None:
    app = own(env={"GOCHAT_LIMITS_CONNECTION_IDLE": "1"})
    with connections(app) as [connection]:
        assert any(received.kind == GOAWAY for received in connection.frames(15))
    person, states = app.person(password=PASSWORD), list[grpc.ChannelConnectivity]()
    app.channel.subscribe(states.append)
    eventually(lambda: grpc.ChannelConnectivity.IDLE in states)
    assert person.GetUserProfile(), "a client just connects again"


def test_old_connections_are_replaced_without_a_failed_call(own: Own) -> None:
    app = own(env={"GOCHAT_LIMITS_CONNECTION_AGE": "1"})
    person = app.person(password=PASSWORD)
    with connections(app) as [connection]:
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            assert person.GetUserProfile()
        assert any(received.kind == GOAWAY for received in connection.frames(15))


@contextmanager
def several_channels(app: Deployment, number: int) -> Iterator[list[logic_pb2_grpc.LogicServiceStub]]:
    """Connections of their own, as of several clients."""
    channels = [new_connection(app.address) for _ in range(number)]
    yield [logic_pb2_grpc.LogicServiceStub(channel) for channel in channels]
    for channel in channels:
        channel.close()


def test_many_concurrent_calls_on_one_connection_are_served(app: Deployment, person: Person) -> None:
    request = logic_pb2.GetUserProfileRequest()
    with several_channels(app, 1) as [stub]:
        calls = [stub.GetUserProfile.future(request, metadata=person.metadata, timeout=60) for _ in range(400)]
        assert Counter(call.code().name for call in calls) == {"OK": 400}


def latencies(call: Callable[[], object], number: int) -> str:
    times = []
    for _ in range(number):
        started = time.perf_counter()
        assert call()
        times.append((time.perf_counter() - started) * 1e3)
    return f"P50 {statistics.median(times):.1f} ms, P99 {sorted(times)[number * 99 // 100]:.1f} ms"


def test_other_calls_are_served_during_a_flood_of_sign_ins(app: Deployment, person: Person) -> None:
    calm = latencies(person.GetUserProfile, 200)
    with several_channels(app, 4) as stubs:
        requests = [logic_pb2.AuthRequest(username=fresh("nobody"), password="a guess") for _ in range(100)]
        flood = [stubs[n % 4].Authenticate.future(request, timeout=60) for n, request in enumerate(requests)]
        under_flood = latencies(person.GetUserProfile, 200)
        codes = Counter(guess.code().name for guess in flood)
    print(f"without: {calm}; with the flood: {under_flood}")  # noqa: T201
    assert codes == {"UNAUTHENTICATED": 100}
    served(person)


@pytest.mark.parametrize("opening", ["nothing", "half a preface", "no SETTINGS"])
def test_a_connection_without_a_finished_handshake_is_closed(
    slow: dict[str, Raw], person: Person, opening: str
) -> None:
    """Last, since it was begun first: about 10 seconds have passed."""
    list(slow[opening].frames(30))
    assert slow[opening].cut
    served(person)
