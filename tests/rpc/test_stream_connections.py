"""What becomes of streams where their connection is idle, old, or gone."""

import time

import pytest

from gochat.api.event.v1 import event_pb2
from tests.attacks.hostile import SUBSCRIBE, called
from tests.attacks.wire import WIDE, Raw
from tests.conftest import Own
from tests.harness import bearer, new_connection
from tests.streams import Listener, listening
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


def test_a_client_that_is_cut_resumes_without_loss(own: Own) -> None:
    app = own()
    ann, ben = app.people(2)
    channel = new_connection(app.address)
    listener = Listener(channel, ann.metadata, event_pb2.SubscribeRequest())
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
        streams.append(Listener(app.channel, ann.metadata, event_pb2.SubscribeRequest()))
        streams[-1].ready()
    one_more = Listener(app.channel, ann.metadata, event_pb2.SubscribeRequest())
    if kind == "process":
        assert one_more.ended() == "RESOURCE_EXHAUSTED"
        streams.pop().close()
        eventually(lambda: Listener(app.channel, ben.metadata, event_pb2.SubscribeRequest()).until(_answered).responses)
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
    opened = [
        Listener(channel, bearer(person.access_token), event_pb2.SubscribeRequest()).until(_answered) for _ in range(30)
    ]
    refused = [each for each in opened if not each.responses]
    assert 10 <= len(refused) <= 20
    assert {each.ended() for each in refused} == {"RESOURCE_EXHAUSTED"}
    channel.close()


def test_a_stream_whose_client_has_vanished_is_freed(own: Own) -> None:
    """It takes what the server sends, and answers nothing any more, as a host that is gone."""
    app = own()
    person = app.person()
    client = Raw(app.address, WIDE, acks=True)
    client.send(called([1], SUBSCRIBE, metadata=person.metadata))
    list(client.frames(1))
    assert app.processes[0].metrics()("gochat_streams_open") == 1
    eventually(lambda: app.processes[0].metrics()("gochat_streams_open") == 0, VANISHED)
    client.close()
