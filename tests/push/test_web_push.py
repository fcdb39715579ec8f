"""Notifications to browsers, at a push service that decrypts them as the browser would."""

import os
import signal
from collections.abc import Iterator

import pytest

from gochat.push import delivery
from tests.conftest import DIAGONAL, Own
from tests.conversations import group, single
from tests.events.test_signals import two_workers
from tests.harness import Deployment, fresh
from tests.push.service import LOCAL, PushService, push_service
from tests.push.test_notifying import QUICK, SOON
from tests.rpc.workers import TWO, workers
from tests.streams import listening
from tests.waiting import eventually, once_available, polled

ENV = QUICK | LOCAL | {"GOCHAT_PUSH_CONTACT": "mailto:chat@example.com"}


@pytest.fixture(scope="module")
def browsers() -> Iterator[PushService]:
    with push_service() as service:
        yield service


@pytest.fixture(scope="module")
def pushing(own_of_module: Own, mode: str) -> Deployment:
    return own_of_module(mode, env=ENV)


@DIAGONAL
def test_a_browser_shows_who_sent_something_and_not_what(pushing: Deployment, browsers: PushService) -> None:
    ann, ben, cem = pushing.people(3)
    ann.UpdateUserProfile(nickname="Ann")
    at_ben, at_cem = browsers.subscribe(), browsers.subscribe()
    ben.RegisterPushToken(**at_ben.fields)
    cem.RegisterPushToken(**at_cem.fields)
    direct = single(ann, ben)
    ann.send(direct, "secret")
    (push,) = at_ben.until(1)
    assert push.payload == {"conversation_id": direct, "title": "Ann", "unread": 1}
    assert push.headers["topic"] == delivery.topic_of(direct)
    assert int(push.headers["ttl"]) > 23 * 3600
    room = group(ann, ben, cem, name="Lunch")
    ann.send(room, "secret")
    assert at_ben.until(2)[-1].payload == {"conversation_id": room, "title": "Lunch", "unread": 2}
    assert at_cem.until(1)[-1].payload == {"conversation_id": room, "title": "Lunch", "unread": 1}
    assert [*browsers.keys] == [ann.GetWebPushKey().public_key]
    browsers.keys.clear()


@DIAGONAL
def test_a_subscription_that_is_gone_ends_its_token(pushing: Deployment, browsers: PushService) -> None:
    ann, ben = pushing.people(2)
    gone, there = browsers.subscribe(), browsers.subscribe()
    gone.answers = [410]
    for subscription in (gone, there):
        ben.RegisterPushToken(**subscription.fields)
    ann.send(ben.id)
    there.until(1)
    eventually(lambda: [each.token for each in ben.ListPushTokens().tokens] == [there.endpoint])
    browsers.keys.clear()


@DIAGONAL
def test_what_a_push_service_does_not_take_now_is_sent_again(pushing: Deployment, browsers: PushService) -> None:
    ann, ben = pushing.people(2)
    subscription = browsers.subscribe()
    subscription.answers = [503]
    ben.RegisterPushToken(**subscription.fields)
    ann.send(ben.id)
    subscription.until(1)
    assert subscription.requests == 2
    assert not polled(lambda: subscription.requests > 2, seconds=SOON)
    metrics = pushing.processes[0].metrics()
    assert metrics("gochat_web_pushes_total", outcome="failed") >= 1
    assert metrics("gochat_web_pushes_total", outcome="sent") >= 1
    assert metrics("gochat_recipients_notified_total") >= 1
    browsers.keys.clear()


def test_with_the_setting_a_notification_has_the_text(own: Own, browsers: PushService) -> None:
    app = own("sqlite", env=ENV | {"GOCHAT_PUSH_CONTENT": "true"})
    ann, ben, cem = app.people(3)
    ann.UpdateUserProfile(nickname="Ann")
    subscription = browsers.subscribe()
    ben.RegisterPushToken(**subscription.fields)
    room = group(ann, ben, cem, name="Lunch")
    ann.send(room, "noodles\n" + "x" * 16_000)
    (push,) = subscription.until(1)
    assert push.payload["body"].startswith("Ann: noodles\nxxx")
    assert len(push.payload["body"]) < 1000
    browsers.keys.clear()


def test_endpoints_at_private_addresses_are_sent_nothing(own: Own, browsers: PushService) -> None:
    app = own("sqlite", env=QUICK)
    ann, ben = app.people(2)
    subscription = browsers.subscribe()
    secure = {"token": subscription.endpoint.replace("http:", "https:")}
    ben.RegisterPushToken(**subscription.fields | secure)
    ann.send(ben.id)
    eventually(lambda: app.processes[0].metrics()("gochat_web_pushes_total", outcome="failed") >= 1)
    assert "is not a public one" in app.logs()
    assert subscription.requests == 0


def test_of_several_workers_and_after_kills_nobody_is_notified_twice(own: Own, browsers: PushService) -> None:
    """The event comes once for each conversation, whatever is killed meanwhile. What a killed process was just sending
    to a browser may be lost; nothing is sent twice."""
    app = own("postgres", env=ENV | TWO | {"GOCHAT_PUSH_INTERVAL": "600"})
    ann, ben = app.people(2)
    subscription = browsers.subscribe()
    ben.RegisterPushToken(**subscription.fields)
    with two_workers(app) as channels:
        for channel in channels:
            with listening(app, ben.metadata, channel=channel) as page:
                ann.send(group(ann, ben))
                page.until(lambda each: each.contents)
                assert not polled(lambda: subscription.requests, seconds=SOON), "a stream at any worker is one"
    rooms = [group(ann, ben, name=fresh("room")) for _ in range(8)]
    with listening(app, app.service) as listener:
        before = listener.cursor
    for number, room in enumerate(rooms):
        once_available(lambda room=room: ann.send(room, metadata={"client_msg_id": "1"}))
        if number in (2, 5):
            os.kill(min(workers(app.processes[0])), signal.SIGKILL)
    eventually(lambda: sorted(_said(app, before, rooms)) == sorted(rooms), seconds=60)
    app.kill()
    app.start()
    cem, dan = app.people(2)
    other = browsers.subscribe()
    dan.RegisterPushToken(**other.fields)
    room = single(cem, dan)
    cem.send(room)
    other.until(1)  # so what was started again has looked
    eventually(lambda: sorted(_said(app, before, [*rooms, room])) == sorted([*rooms, room]))
    said = [push.payload["conversation_id"] for push in subscription.pushes]
    assert len(said) == len(set(said))
    assert len(browsers.keys) == 1, "all processes have the same key"


def _said(app: Deployment, cursor: str, rooms: list[str]) -> list[str]:
    """Of which of these the log says since then that somebody was to be notified."""
    with listening(app, app.service, cursor=cursor) as listener:
        said = [event.conversation_id for event in listener.events if event.HasField("recipients_offline")]
        return [room for room in said if room in rooms]
