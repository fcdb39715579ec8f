"""Who is notified of messages, when, and how often: RecipientsOffline in streams of everything."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from gochat.api.event.v1 import event_pb2
from tests.conftest import Own
from tests.conversations import group, single
from tests.harness import Deployment, Person, as_service, fresh
from tests.streams import Listener, listening
from tests.waiting import polled

QUICK = {"GOCHAT_PUSH_DELAY": "0.3", "GOCHAT_PUSH_INTERVAL": "3"}
SOON = 2.0  # seconds after which whoever is notified without an interval has been, if the machine is not too busy
LONG_AGO = 1


@pytest.fixture(scope="module")
def pushing(own_of_module: Own, mode: str) -> Deployment:
    """With short times, for the tests of this file in one mode."""
    return own_of_module(mode, env=QUICK)


@pytest.fixture
def adapter(pushing: Deployment) -> Iterator[Listener]:
    """What an adapter is sent."""
    with listening(pushing, pushing.service) as listener:
        yield listener


def with_token(app: Deployment, number: int) -> list[Person]:
    people = app.people(number)
    for person in people:
        person.RegisterPushToken(platform="fcm", token=f"token of {person.id}".replace(" ", "-"))
    return people


def of(listener: Listener, conversation_id: str) -> list[event_pb2.RecipientsOffline]:
    """What was said of a conversation."""
    return [
        event.recipients_offline
        for event in listener.events
        if event.HasField("recipients_offline") and event.conversation_id == conversation_id
    ]


def notified(listener: Listener, conversation_id: str) -> list[str]:
    """Who was, in order."""
    return [each.user_id for offline in of(listener, conversation_id) for each in offline.recipients]


def until(listener: Listener, conversation_id: str, *people: Person) -> list[event_pb2.RecipientsOffline]:
    """What was said of a conversation, once these have been notified."""
    wanted = sorted(person.id for person in people)
    listener.until(lambda _: len(notified(listener, conversation_id)) >= len(wanted))
    assert sorted(notified(listener, conversation_id)) == wanted
    return of(listener, conversation_id)


def test_who_is_offline_is_notified_once_and_nobody_else(pushing: Deployment, adapter: Listener) -> None:
    ann, ben, cem, dan = with_token(pushing, 4)
    (eve,) = pushing.people(1)  # has no token
    room = group(ann, ben, cem, dan, eve)
    as_service(pushing).user.SetExternalId(user_id=ben.id, external_id=fresh("ben"))
    before = ann.send(ben.id, "before")
    until(adapter, before.message_id.rpartition("-")[0], ben)
    with listening(pushing, cem.metadata), listening(pushing, cem.metadata), listening(pushing, dan.metadata):
        dan.send(room, "of dan")
        sent = ann.send(room, "hello")
        (offline,) = until(adapter, room, ben)
        assert (offline.message.message_id, offline.message.content) == (sent.message_id, "hello")
        assert offline.message_count == 2
        (recipient,) = offline.recipients
        assert recipient.external_id.startswith("ben")
        assert (recipient.unread_total, recipient.unread_in_conversation) == (3, 2)
        assert [(each.platform, each.token) for each in recipient.tokens] == [("fcm", f"token-of-{ben.id}")]
        assert not recipient.is_mentioned
        assert not polled(lambda: len(notified(adapter, room)) > 1, seconds=SOON)


def test_who_reads_at_once_is_not_notified(pushing: Deployment, adapter: Listener) -> None:
    ann, ben, cem = with_token(pushing, 3)
    room = group(ann, ben, cem)
    sent = ann.send(room)
    ben.MarkMessageRead(conversation_id=room, message_id=sent.message_id)
    until(adapter, room, cem)


def test_what_is_recalled_at_once_notifies_nobody(pushing: Deployment, adapter: Listener) -> None:
    ann, ben = with_token(pushing, 2)
    room = group(ann, ben)
    ann.RecallMessage(message_id=ann.send(room, "oops").message_id)
    sent = ann.send(room, "this")
    (offline,) = until(adapter, room, ben)
    assert (offline.message.message_id, offline.message_count) == (sent.message_id, 1)


def test_who_has_muted_the_conversation_is_notified_of_mentions_alone(pushing: Deployment, adapter: Listener) -> None:
    ann, ben, cem, dan = with_token(pushing, 4)
    room = group(ann, ben, cem, dan)
    for muted, until_ms in ((ben, 2**62), (cem, 2**62), (dan, LONG_AGO)):
        muted.UpdateSettings(conversation_id=room, muted_until=until_ms)
    ann.send(room, "all")
    until(adapter, room, dan)
    ann.send(room, "ben!", metadata={"mentions": ben.id})
    offline = until(adapter, room, dan, ben)[-1] if polled(lambda: len(notified(adapter, room)) > 1) else None
    assert offline is not None
    mentioned = {each.user_id: each.is_mentioned for each in offline.recipients}
    assert mentioned[ben.id]


def test_a_burst_is_one_notification_now_and_one_when_the_interval_is_over(
    pushing: Deployment, adapter: Listener
) -> None:
    ann, ben = with_token(pushing, 2)
    room = single(ann, ben)
    began = time.monotonic()
    ann.send(room, "first")
    until(adapter, room, ben)
    for number in range(30):
        ann.send(room, f"{number}")
    adapter.until(lambda _: len(of(adapter, room)) >= 2)
    assert time.monotonic() - began > float(QUICK["GOCHAT_PUSH_INTERVAL"])
    first, rest = of(adapter, room)
    assert (first.message.content, first.message_count) == ("first", 1)
    assert (rest.message.content, rest.message_count) == ("29", 30)
    assert rest.recipients[0].unread_in_conversation == 31
    assert not polled(lambda: len(of(adapter, room)) > 2, seconds=SOON)


def test_what_is_imported_meanwhile_counts_for_nothing(pushing: Deployment, adapter: Listener) -> None:
    ann, ben = with_token(pushing, 2)
    room = group(ann, ben)
    ann.send(room, "first")
    until(adapter, room, ben)
    ann.send(room, "one")
    messages = [
        {"from_user_id": ann.id, "import_id": f"{n}", "content": "then", "created_at": LONG_AGO} for n in range(5)
    ]
    results = (
        as_service(pushing).message.ImportMessages(conversation_id=room, messages=messages, any_order=True).results
    )
    assert [each.error.message for each in results] == [""] * 5
    ann.send(room, "two")
    adapter.until(lambda _: len(of(adapter, room)) >= 2)
    rest = of(adapter, room)[-1]
    assert (rest.message.content, rest.message_count) == ("two", 2)


def test_who_has_left_or_is_not_active_or_signed_out_is_not_notified(pushing: Deployment, adapter: Listener) -> None:
    ann, ben, cem, dan, eve = with_token(pushing, 5)
    room = group(ann, ben, cem, dan, eve)
    as_service(pushing).user.DisableUser(user_id=cem.id)
    dan.Logout()
    ann.send(room)
    ben.LeaveGroup(group_id=room)
    (offline,) = until(adapter, room, eve)
    assert offline.recipients[0].tokens


def test_people_hear_nothing_of_it(pushing: Deployment, adapter: Listener) -> None:
    ann, ben = with_token(pushing, 2)
    room = single(ann, ben)
    with listening(pushing, ann.metadata) as live:
        cursor = live.cursor
        ann.send(room, "one")
        until(adapter, room, ben)
        ann.send(room, "two")
        live.until(lambda each: each.contents[-1:] == ["two"])
        assert "recipients_offline" not in live.kinds
    with listening(pushing, ann.metadata, cursor=cursor) as resumed:
        resumed.until(lambda each: each.contents[-1:] == ["two"])
        assert "recipients_offline" not in resumed.kinds


def test_an_adapter_that_was_away_gets_what_is_not_read_yet(pushing: Deployment, adapter: Listener) -> None:
    ann, ben, cem = with_token(pushing, 3)
    room = group(ann, ben, cem)
    before = adapter.cursor
    sent = ann.send(room, "hello")
    until(adapter, room, ben, cem)
    ben.MarkMessageRead(conversation_id=room, message_id=sent.message_id)
    with listening(pushing, pushing.service, cursor=before) as resumed:
        assert [each.message.content for each in until(resumed, room, cem)] == ["hello"]


def test_who_closes_their_page_is_notified_of_what_comes_then(pushing: Deployment, adapter: Listener) -> None:
    ann, ben = with_token(pushing, 2)
    room = single(ann, ben)
    with listening(pushing, ben.metadata) as page:
        ann.send(room, "seen")
        page.until(lambda each: each.contents == ["seen"])
        assert not polled(lambda: notified(adapter, room), seconds=SOON)
    polled(partial(_has_left, pushing))
    ann.send(room, "not seen")
    assert until(adapter, room, ben)[-1].message.content == "not seen"


def _has_left(app: Deployment) -> Any:
    return app.processes[0].metrics()("gochat_streams_open") == 1
