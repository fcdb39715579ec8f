"""What webhooks are sent: each event at least once and signed, in order, whoever of both sides fails meanwhile."""

import threading
from datetime import datetime

from tests.conversations import group
from tests.harness import Person
from tests.waiting import eventually, polled
from tests.webhooks.conftest import Hooked
from tests.webhooks.receiver import Received, is_signed, receiving


def test_an_event_is_one_signed_post_of_the_contract(hooked: Hooked, ann: Person) -> None:
    room = group(ann)
    with receiving() as receiver:
        hook = hooked.add(receiver.url, room)
        sent = ann.send(room, "hello, wörld")
        (received,) = eventually(lambda: receiver.taken)
    assert set(received.body) == {"type", "timestamp", "data"}
    assert received.body["type"] == "message_sent"
    assert datetime.fromisoformat(received.body["timestamp"]).timestamp() * 1000 == int(received.body["data"]["at"])
    message = received.body["data"]["messageSent"]["message"]
    assert (message["messageId"], message["content"]) == (sent.message_id, "hello, wörld")
    assert received.body["data"]["conversationId"] == room
    assert received.headers["content-type"] == "application/json"
    assert is_signed(received, hook.secret)
    assert not is_signed(received, "whsec_" + "A" * 44)
    hooked.hook.DeleteWebhook(webhook_id=hook.id)


def test_messages_come_in_order_and_once_each(hooked: Hooked, ann: Person) -> None:
    rooms = [group(ann) for _ in range(3)]
    with receiving() as receiver:
        hook = hooked.add(receiver.url, *rooms)
        for number in range(20):
            for room in rooms:
                ann.send(room, str(number))
        eventually(lambda: len(receiver.taken) == 60)
        for room in rooms:
            of_room = [each.content for each in receiver.taken if each.body["data"]["conversationId"] == room]
            assert of_room == [str(number) for number in range(20)]
        assert len({each.id for each in receiver.taken}) == 60
        assert not polled(lambda: len(receiver.taken) > 60, seconds=1)
    hooked.hook.DeleteWebhook(webhook_id=hook.id)


def test_only_what_the_filter_takes_is_sent(hooked: Hooked, ann: Person) -> None:
    room, other = group(ann), group(ann)
    with receiving() as receiver:
        wanted = {"events": ["message_sent", "message_deleted"], "message_types": ["image"]}
        hook = hooked.add(receiver.url, room, **wanted)
        ann.send(other, "elsewhere", message_type="image")
        ann.send(room, "a text")
        image = ann.send(room, "an image", message_type="image")
        ann.AddReaction(message_id=image.message_id, reaction="👍")
        ann.DeleteMessage(message_id=image.message_id)
        ann.send(room, "last", message_type="image")
        eventually(lambda: "last" in receiver.contents)
        kinds = [each.body["type"] for each in receiver.taken]
    assert kinds in (["message_sent", "message_deleted", "message_sent"], ["message_deleted", "message_sent"])
    hooked.hook.DeleteWebhook(webhook_id=hook.id)


def test_a_failure_holds_up_its_conversation_alone_and_is_tried_again(hooked: Hooked, ann: Person) -> None:
    broken, whole = group(ann), group(ann)
    failing = {"now": True}

    def behave(received: Received) -> int:
        return 503 if failing["now"] and received.body["data"]["conversationId"] == broken else 200

    with receiving(behave) as receiver:
        hook = hooked.add(receiver.url, broken, whole)
        for number in range(3):
            ann.send(broken, f"broken {number}")
            ann.send(whole, f"whole {number}")
        eventually(lambda: receiver.contents == ["whole 0", "whole 1", "whole 2"])
        waiting = eventually(lambda: len(found := hooked.deliveries(hook.id)) == 3 and found)
        assert [each.state for each in waiting] == ["pending"] * 3
        assert (waiting[0].last_error, waiting[0].event, waiting[0].conversation_id) == (
            "status 503",
            "message_sent",
            broken,
        )
        assert [each.attempts for each in waiting[1:]] == [0, 0]
        assert {"broken 1", "broken 2"}.isdisjoint(each.content for each, _ in receiver.got)
        assert hooked.shown(hook.id).pending == 3
        failing["now"] = False
        eventually(lambda: receiver.contents[3:] == ["broken 0", "broken 1", "broken 2"], 60)
        tried = [each.id for each, _ in receiver.got if each.content == "broken 0"]
        assert len(tried) > 1
        assert len(set(tried)) == 1, "the id stays the same"
        eventually(lambda: hooked.deliveries(hook.id) == [])
    hooked.hook.DeleteWebhook(webhook_id=hook.id)


def test_conversations_whose_events_hang_hold_up_no_others(hooked: Hooked, ann: Person) -> None:
    hanging, moving = [group(ann) for _ in range(6)], group(ann)
    go_on = threading.Event()

    def behave(received: Received) -> int:
        if received.body["data"]["conversationId"] in hanging:
            go_on.wait(8)  # seconds, less than the attempt has
        return 200

    with receiving(behave) as receiver:
        hook = hooked.add(receiver.url, *hanging, moving)
        for room in hanging:
            ann.send(room, "a")
            ann.send(room, "b")
        eventually(lambda: len(hooked.deliveries(hook.id)) == 12)  # none is taken, and all wait
        for number in range(3):
            ann.send(moving, str(number))
            eventually(lambda: receiver.contents == [str(each) for each in range(number + 1)])  # noqa: B023
        go_on.set()
        eventually(lambda: len(receiver.taken) == 15)
        for room in hanging:
            of_room = [each for each in receiver.taken if each.body["data"]["conversationId"] == room]
            assert [each.content for each in of_room] == ["a", "b"], "each once: what was late was not tried again"
        eventually(lambda: hooked.deliveries(hook.id) == [])
    hooked.hook.DeleteWebhook(webhook_id=hook.id)


def test_what_was_recalled_while_it_waited_never_leaves(hooked: Hooked, ann: Person) -> None:
    room = group(ann)
    with receiving(lambda _: 500) as receiver:
        hook = hooked.add(receiver.url, room)
        said = ann.send(room, "a secret of mine")
        eventually(lambda: hooked.deliveries(hook.id))
        ann.RecallMessage(message_id=said.message_id)
        sent_before = len(receiver.got)
        receiver.behave = lambda _: 200
        eventually(lambda: receiver.taken, 60)
        assert all(b"a secret of mine" not in each.raw for each in receiver.taken)
        assert len(receiver.got) > sent_before
    hooked.hook.DeleteWebhook(webhook_id=hook.id)


def test_two_secrets_sign_after_a_rotation(hooked: Hooked, ann: Person) -> None:
    room = group(ann)
    with receiving() as receiver:
        hook = hooked.add(receiver.url, room)
        new = hooked.hook.RotateSecret(webhook_id=hook.id, keep_seconds=3600).secret
        assert new != hook.secret

        def is_signed_by_both() -> bool:
            ann.send(room, "again")
            eventually(lambda: receiver.taken)
            newest = receiver.taken[-1]
            return is_signed(newest, new) and is_signed(newest, hook.secret)

        eventually(is_signed_by_both)
        last = hooked.hook.RotateSecret(webhook_id=hook.id, keep_seconds=1).secret

        def is_signed_by_the_last() -> bool:
            ann.send(room, "and again")
            newest = receiver.taken[-1]
            return is_signed(newest, last) and not is_signed(newest, new) and not is_signed(newest, hook.secret)

        eventually(is_signed_by_the_last)
    hooked.hook.DeleteWebhook(webhook_id=hook.id)


def test_a_receiver_that_is_gone_is_asked_no_more_until_it_is_enabled(hooked: Hooked, ann: Person) -> None:
    room = group(ann)
    with receiving(lambda _: 410) as receiver:
        hook = hooked.add(receiver.url, room)
        ann.send(room, "first")
        eventually(lambda: not hooked.shown(hook.id).enabled)
        assert hooked.shown(hook.id).disabled_reason == "gone"
        receiver.behave = lambda _: 200
        ann.send(room, "second")
        asked = len(receiver.got)
        assert not polled(lambda: len(receiver.got) > asked, seconds=2)
        hooked.hook.UpdateWebhook(webhook_id=hook.id, enabled=True)
        eventually(lambda: receiver.contents == ["first", "second"], 60)
    hooked.hook.DeleteWebhook(webhook_id=hook.id)


def test_a_redirect_is_a_failure_and_not_followed(hooked: Hooked, ann: Person) -> None:
    """Where it leads to was not judged."""
    room = group(ann)
    with receiving() as elsewhere, receiving(lambda _: (302, {"location": elsewhere.url})) as receiver:
        hook = hooked.add(receiver.url, room)
        ann.send(room, "hello")
        (waiting,) = eventually(lambda: hooked.deliveries(hook.id))
        assert (waiting.last_error, elsewhere.got) == ("status 302", [])
    hooked.hook.DeleteWebhook(webhook_id=hook.id)


def test_a_receiver_that_answers_slowly_delays_no_other(hooked: Hooked, ann: Person) -> None:
    room = group(ann)
    free = {"slow": False}

    def slowly(_: Received) -> int:
        eventually(lambda: free["slow"], 60)
        return 200

    with receiving(slowly) as slow, receiving() as quick:
        hooks = [hooked.add(receiver.url, room) for receiver in (slow, quick)]
        for number in range(5):
            ann.send(room, str(number))
        eventually(lambda: quick.contents == ["0", "1", "2", "3", "4"])
        assert slow.contents == []
        free["slow"] = True
        eventually(lambda: slow.contents == ["0", "1", "2", "3", "4"], 60)
    for hook in hooks:
        hooked.hook.DeleteWebhook(webhook_id=hook.id)
