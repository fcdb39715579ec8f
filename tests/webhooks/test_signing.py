"""Signatures, ids and pauses, as rules."""

from base64 import b64decode

import pytest

from gochat.api.event.v1.event_pb2 import Event
from gochat.api.webhook.v1.webhook_pb2 import WebhookFilter
from gochat.domain import ids
from gochat.domain.changes import Kind
from gochat.domain.webhooks import EVENTS, new_secret
from gochat.internal.change.v1.change_pb2 import Change, Delivery
from gochat.webhooks.delivery import MAX_PAUSE, MIN_PAUSE, pause
from gochat.webhooks.items import is_wanted, items_of
from gochat.webhooks.signing import signed

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_a_signature_is_that_of_the_specification() -> None:
    """Its published example."""
    headers = signed([SECRET], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_secret_signs() -> None:
    both = signed([new_secret(), SECRET], "m", 1, b"{}")["webhook-signature"].split(" ")
    assert both[1] == signed([SECRET], "m", 1, b"{}")["webhook-signature"]
    assert len(b64decode(new_secret().removeprefix("whsec_"))) == 32


def deliveries(*seqs: int) -> tuple[Change, list[Delivery]]:
    change = Change(kind=Kind.MESSAGES_SENT, conversation_id="g1", first_seq=1, seq=9, at=5, position=7)
    events = [Event(conversation_id="g1") for _ in seqs]
    for event, seq in zip(events, seqs, strict=True):
        event.message_sent.message.message_id = ids.message("g1", seq)
    return change, [Delivery(event=event) for event in events]


def test_the_id_of_an_event_stays_when_others_of_its_change_go() -> None:
    before = {item.change.seq: item.id for item in items_of(*deliveries(1, 2, 3))}
    after = {item.change.seq: item.id for item in items_of(*deliveries(1, 3))}
    assert after == {1: before[1], 3: before[3]}
    assert len(set(before.values())) == 3


def test_what_several_users_get_comes_once() -> None:
    change = Change(kind=Kind.READ, conversation_id="s1", user_id="u1", seq=1)
    read, of_other = Event(), Event()
    read.read.user_id, of_other.read.user_id = "u1", "u1"
    both = [Delivery(event=read, user_ids=["u1"]), Delivery(event=of_other, user_ids=["u2"])]
    assert [item.number for item in items_of(change, both)] == [0]


@pytest.mark.parametrize(
    ("wanted", "is_taken"),
    [
        ({}, True),
        ({"events": ["message_sent"]}, True),
        ({"events": ["member_joined"]}, False),
        ({"conversation_ids": ["g1"]}, True),
        ({"conversation_ids": ["g2"]}, False),
        ({"message_types": ["text"]}, False),
        ({"message_types": ["text", "image"]}, True),
        ({"events": ["message_sent"], "conversation_ids": ["g2"]}, False),
    ],
)
def test_all_that_a_filter_names_must_be_met(wanted: dict[str, list[str]], *, is_taken: bool) -> None:
    change, described = deliveries(1)
    described[0].event.message_sent.message.message_type = "image"
    (item,) = items_of(change, described)
    assert is_wanted(item, WebhookFilter(**wanted)) == is_taken


def test_pauses_grow_up_to_a_bound_and_are_spread() -> None:
    for attempts in (1, 5, 40, 4000):
        found = [pause(attempts) for _ in range(200)]
        most = min(MAX_PAUSE, 2.0 ** min(attempts + 1, 30))
        assert MIN_PAUSE <= min(found) < max(found) <= MIN_PAUSE + most
        assert max(found) > MIN_PAUSE + most / 2


def test_events_are_those_of_the_log() -> None:
    assert {"message_sent", "group_dissolved", "session_ended"} <= set(EVENTS)
    assert {"typing", "presence"}.isdisjoint(EVENTS)
