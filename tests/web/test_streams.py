"""Server streams by HTTP: live, resumed after a kill, ended by a goodbye, a deadline or the client; slow readers."""

import base64
import json
import socket
import time
from contextlib import ExitStack
from http.client import HTTPException

import pytest

from gochat.api.event.v1 import event_pb2
from tests.conftest import Own
from tests.harness import Deployment, Person
from tests.processes import memory
from tests.waiting import eventually
from tests.web.client import END_STREAM, ON, TRAILERS, Stream, Web, bearer, enveloped, path, web_of

STREAMS = 300
MAX_STREAM_MEMORY = 50  # KiB


def contents(stream: Stream, number: int) -> list[str]:
    """Of so many messages that were sent."""
    found: list[str] = []
    while len(found) < number:
        found += [event["messageSent"]["message"]["content"] for event in stream.events() if "messageSent" in event]
    return found


def streams_open(app: Deployment) -> float:
    return app.processes[0].metrics()("gochat_streams_open")


@pytest.fixture
def pair(server: Deployment) -> tuple[Person, Person]:
    return server.person("ann"), server.person("bob")


def test_events_in_json(web: Web, pair: tuple[Person, Person]) -> None:
    ann, bob = pair
    with web.stream("Event.Subscribe", {}, bob, x_request_id="mine") as stream:
        assert stream.response.headers["content-type"] == "application/connect+json"
        assert stream.json()["ready"]["heartbeatSeconds"] > 0
        for number in range(3):
            ann.SendMessage(to_user_id=bob.id, content=f"ü{number}")
        assert contents(stream, 3) == ["ü0", "ü1", "ü2"]


def test_events_in_protobuf_by_grpc_web(web: Web, pair: tuple[Person, Person]) -> None:
    ann, bob = pair
    request = event_pb2.SubscribeRequest().SerializeToString()
    kind = "application/grpc-web+proto"
    with web.stream("Event.Subscribe", request, bob, content_type=kind) as stream:
        assert event_pb2.SubscribeResponse.FromString(stream.next()[1]).HasField("ready")
        ann.SendMessage(to_user_id=bob.id, content="by web")
        flags, data = stream.next()
        assert not flags & TRAILERS
        batch = event_pb2.SubscribeResponse.FromString(data).batch
        assert "by web" in [event.message_sent.message.content for event in batch.events]


def test_a_stream_that_is_refused(web: Web, pair: tuple[Person, Person]) -> None:
    with web.stream("Event.Subscribe", {}) as stream:
        assert stream.response.status == 200
        ended = stream.json()
        assert (ended["end"], ended["error"]["code"]) == (True, "unauthenticated")
    with web.stream("Event.Subscribe", {"cursor": "!"}, pair[0]) as stream:
        assert stream.json()["error"]["code"] == "invalid_argument"
    answer = web.call("Event.Subscribe", {}, pair[0])
    assert answer.status == 415


def test_a_server_that_is_killed_and_a_stream_that_resumes(own: Own) -> None:
    app = own(env=ON)
    ann, bob = app.person("ann"), app.person("bob")
    with web_of(app).stream("Event.Subscribe", {}, bob) as stream:
        cursor = stream.json()["cursor"]
        ann.SendMessage(to_user_id=bob.id, content="before")
        message = stream.json()
        assert message["batch"]["events"]
        cursor = message["cursor"]
        ann.SendMessage(to_user_id=bob.id, content="missed?")
        app.kill()
        with pytest.raises((AssertionError, OSError, HTTPException)):
            _read_to_the_end(stream)  # what it got of it before the kill does not count
    app.start()
    with web_of(app).stream("Event.Subscribe", {"cursor": cursor}, bob) as stream:
        assert "ready" in stream.json()
        assert contents(stream, 1) == ["missed?"]


def _read_to_the_end(stream: Stream) -> None:
    while True:
        stream.next()


def test_a_stop_says_goodbye(own: Own) -> None:
    app = own(env=ON | {"GOCHAT_SERVER_GRACE": "20"})
    person, process = app.person(), app.processes[0]
    web = web_of(app)
    with web.stream("Event.Subscribe", {}, person) as stream:
        assert "ready" in stream.json()
        began = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - began < 10
        assert "goodbye" in stream.json()
        assert stream.json()["error"]["code"] == "unavailable"
        assert stream.response.read() == b""
    with pytest.raises(OSError):  # noqa: PT011 - refused
        web.connect()


def test_a_client_that_leaves_ends_its_stream(server: Deployment, web: Web, pair: tuple[Person, Person]) -> None:
    before = streams_open(server)
    with web.stream("Event.Subscribe", {}, pair[0]) as stream:
        stream.json()
        eventually(lambda: streams_open(server) == before + 1)
    eventually(lambda: streams_open(server) == before)


def test_a_deadline_ends_a_stream(server: Deployment, web: Web, pair: tuple[Person, Person]) -> None:
    before = streams_open(server)
    with web.stream("Event.Subscribe", {}, pair[0], connect_timeout_ms="500") as stream:
        stream.json()
        assert stream.json()["error"]["code"] == "deadline_exceeded"
    eventually(lambda: streams_open(server) == before)


def test_a_session_that_ends_takes_its_stream_with_it(web: Web, pair: tuple[Person, Person]) -> None:
    person = pair[0]
    with web.stream("Event.Subscribe", {}, person) as stream:
        stream.json()
        person.Logout()
        while "goodbye" not in (message := stream.json()):
            assert "batch" in message
        assert message["goodbye"]["reason"]


def test_the_connection_serves_the_next_request_after_a_stream(web: Web, pair: tuple[Person, Person]) -> None:
    with web.connect() as connection:
        body = enveloped(b"{}")
        head = (
            f"POST {path('Event.Subscribe')} HTTP/1.1\r\nhost: x\r\ncontent-type: application/connect+json\r\n"
            f"connect-timeout-ms: 200\r\nauthorization: {bearer(pair[0])['authorization']}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body + b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        received = b""
        while b"SERVING" not in received:
            more = connection.recv(65536)
            assert more, received
            received += more
        assert b'"deadline_exceeded"' in received
        assert received.count(b"HTTP/1.1 200 OK") == 2


def test_a_reader_that_takes_nothing_costs_one_message(own: Own) -> None:
    """What is told to it beyond is kept in the log alone: the hub drops its queue, and the server's memory stays."""
    app = own(env=ON)
    ann, bob = app.person("ann"), app.person("bob")
    conversation = ann.SendMessage(to_user_id=bob.id, content="x").message_id.rpartition("-")[0]
    web = web_of(app)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(web.address)
        body = enveloped(b"{}")
        head = (
            f"POST {path('Event.Subscribe')} HTTP/1.1\r\nhost: x\r\ncontent-type: application/connect+json\r\n"
            f"authorization: {bearer(bob)['authorization']}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body)
        eventually(lambda: streams_open(app) == 1)
        before = memory(app.processes[0].pid)
        for _ in range(600):
            ann.SendMessage(conversation_id=conversation, content="x" * 16_000)
        dropped = "gochat_stream_queues_dropped_total"
        assert eventually(lambda: app.processes[0].metrics()(dropped)) >= 1
        assert memory(app.processes[0].pid) - before < 30_000
        assert web.call("GetUserProfile", {}, bob).status == 200


def test_streams_are_small(own: Own) -> None:
    app = own(env=ON | {"GOCHAT_EVENTS_STREAMS_PER_USER": "1000"})
    web, people = web_of(app), [app.person() for _ in range(10)]
    with ExitStack() as opened:
        for person in people:  # what the first ones bring in is not the streams'
            opened.enter_context(web.stream("Event.Subscribe", {}, person)).json()
        before = memory(app.processes[0].pid)
        streams = [
            opened.enter_context(web.stream("Event.Subscribe", {}, people[number % len(people)]))
            for number in range(STREAMS)
        ]
        for stream in streams:
            assert "ready" in stream.json()
        each = (memory(app.processes[0].pid) - before) / STREAMS
        assert each < MAX_STREAM_MEMORY, f"{each:.0f} KiB a stream"
        people[0].SendMessage(to_user_id=people[1].id, content="to all")
        for number in range(1, STREAMS, len(people)):
            assert contents(streams[number], 1) == ["to all"]


def test_text_of_grpc_web_is_base64_message_by_message(web: Web, pair: tuple[Person, Person]) -> None:
    headers = {"content-type": "application/grpc-web-text", "grpc-timeout": "300m"} | bearer(pair[0])
    answer = web.request("POST", path("Event.Subscribe"), base64.b64encode(enveloped(b"")), headers)
    decoded = b"".join(base64.b64decode(part) for part in _groups(answer.body))
    assert b"grpc-status: 4" in decoded


def _groups(text: bytes) -> list[bytes]:
    return [text[start : start + 4] for start in range(0, len(text), 4)]


def test_the_last_envelope_is_marked(web: Web, pair: tuple[Person, Person]) -> None:
    with web.stream("Event.Subscribe", {}, pair[0], connect_timeout_ms="200") as stream:
        flags = [stream.next()[0], *(last := stream.next())[:1]]
        assert flags == [0, END_STREAM]
        assert json.loads(last[1])["error"]
