"""What becomes of streams where their connection is idle, old, or gone."""

import time

import pytest

from gochat.api.event.v1.event_pb2 import SubscribeRequest
from tests.attacks.hostile import SUBSCRIBE, called
from tests.attacks.wire import GOAWAY, WIDE, WINDOW_UPDATE, Raw, frame
from tests.conftest import Own
from tests.conversations import group
from tests.harness import bearer, new_connection
from tests.proxy import proxy
from tests.streams import NARROW, Listener, RawStreams, listening
from tests.waiting import eventually

VANISHED = 90  # seconds: a ping after 60, of which 20 may pass without an answer
SHORT = {"GOCHAT_LIMITS_CONNECTION_AGE": "1", "GOCHAT_LIMITS_CONNECTION_IDLE": "1"}


def test_a_stream_outlives_the_age_of_its_connection_and_the_idle_time(own: Own) -> None:
    """The client is asked to reconnect after a second; its calls then use another connection, its stream this one."""
    app = own(env=SHORT)
    ann, ben = app.people(2)
    with listening(app, ann.metadata) as listener:
        for number in range(5):
            time.sleep(0.7)
            ben.send(ann.id, str(number))
            listener.until(lambda each, number=number: each.contents[number:] == [str(number)])
        assert listener.error is None
        assert app.processes[0].stop() == 0
        assert listener.goodbye == "RECONNECT"


def test_a_connection_is_given_up_in_the_middle_of_a_message_and_loses_none(own: Own) -> None:
    """Its client has taken a part of a batch when it is asked to reconnect, and the rest, and more, after that."""
    app = own(env=SHORT)
    ann, ben = app.people(2)
    room = group(ann, ben)
    client = RawStreams(app.address, ben.metadata, NARROW)
    (stream,) = client.open()
    sent = [{"conversation_id": room, "content": f"{number} {'x' * 2000}"} for number in range(50)]
    assert all(each.message_id for each in ann.SendMessages(messages=sent).results)
    client.until(lambda: GOAWAY in client.kinds)
    assert len(client.messages[stream]) == 1, "of the batch it has 100 bytes at most"
    client.raw.send(frame(WINDOW_UPDATE, stream=stream, payload=(2**30).to_bytes(4, "big")))
    ann.send(room, "after that")
    client.until(lambda: "after that" in client.contents(stream))
    assert client.contents(stream) == [*(each["content"] for each in sent), "after that"]
    client.raw.close()


def test_a_client_that_is_cut_resumes_without_loss(own: Own) -> None:
    app = own()
    ann, ben = app.people(2)
    channel = new_connection(app.address)
    listener = Listener(channel, ann.metadata, SubscribeRequest())
    listener.ready()
    ben.send(ann.id, "before")
    listener.until(lambda each: each.contents == ["before"])
    channel.close()  # without a goodbye
    listener.ended()
    eventually(lambda: app.processes[0].metrics()("gochat_streams_open") == 0)
    ben.send(ann.id, "between")
    with listening(app, ann.metadata, cursor=listener.cursor) as again:
        ben.send(ann.id, "after")
        again.until(lambda each: each.contents == ["between", "after"])
        assert again.ready().resumed
    assert app.processes[0].metrics()("gochat_streams_resumed_total") == 1


@pytest.mark.parametrize("kind", ["user", "process"])
def test_streams_are_limited(own: Own, kind: str) -> None:
    limits = {"user": "GOCHAT_EVENTS_STREAMS_PER_USER", "process": "GOCHAT_EVENTS_STREAMS"}
    app = own(env={limits[kind]: "3"})
    ann, ben = app.people(2)
    streams = []
    for _ in range(3):
        streams.append(Listener(app.channel, ann.metadata, SubscribeRequest()))
        streams[-1].ready()
    one_more = Listener(app.channel, ann.metadata, SubscribeRequest())
    if kind == "process":
        assert one_more.ended() == "RESOURCE_EXHAUSTED"
        streams.pop().close()
        eventually(lambda: Listener(app.channel, ben.metadata, SubscribeRequest()).until(_answered).responses)
    else:
        one_more.ready()
        assert streams[0].goodbye == "REPLACED"
        ben.send(ann.id, "to all three")
        for stream in (*streams[1:], one_more):
            stream.until(lambda each: each.contents == ["to all three"])


def _answered(listener: Listener) -> object:
    return listener.responses or listener.error


def test_openings_are_limited_by_the_rate_of_calls(own: Own) -> None:
    app = own(env={"GOCHAT_LIMITS_CALLS_PER_SECOND": "2"})
    person = app.person()
    channel = new_connection(app.address)
    opened = [Listener(channel, bearer(person.access_token), SubscribeRequest()).until(_answered) for _ in range(30)]
    refused = [each for each in opened if not each.responses]
    assert 10 <= len(refused) <= 20
    assert {each.ended() for each in refused} == {"RESOURCE_EXHAUSTED"}
    channel.close()


def test_streams_whose_clients_have_vanished_are_freed(own: Own) -> None:
    """One takes what the server sends, and answers nothing any more, as a host that is gone. Another one is behind a
    network that loses everything from now on."""
    app = own()
    (process,) = app.processes
    ann, ben, cem = app.people(3)
    client = Raw(app.address, WIDE, acks=True)
    client.send(called([1], SUBSCRIBE, metadata=ann.metadata))
    list(client.frames(1))
    with proxy(app.address) as between, listening(app, cem.metadata) as other:
        cut = Listener(new_connection(between.address), ben.metadata, SubscribeRequest())
        cut.ready()
        assert process.metrics()("gochat_streams_open") == 3
        between.lose()
        eventually(lambda: process.metrics()("gochat_streams_open") == 1, VANISHED)
        ann.send(cem.id, "still there")
        other.until(lambda each: each.contents == ["still there"])
    client.close()
