"""What streams are told of edits, recalls, reactions, pins and own deletions, live and after a resume."""

from typing import Any

from tests.conftest import Own
from tests.conversations import group
from tests.harness import Deployment, Person
from tests.streams import Listener, listening, received

ACTS = ("message_updated", "message_deleted", "reaction_changed", "pin_changed")


def acts(listener: Listener) -> list[Any]:
    """What was said of messages that were there, in order."""
    named = [(str(event.WhichOneof("event")), event) for event in listener.events]
    return [(kind, getattr(event, kind)) for kind, event in named if kind in ACTS]


def end(sender: Person, room: str, *listeners: Listener) -> None:
    """Has them come to where all before was said."""
    sender.send(room, "the end")
    for listener in listeners:
        listener.until(lambda each: "the end" in each.contents)


def test_acts_are_told_live_and_after_a_resume(app: Deployment) -> None:
    ann, ben, eve = app.people(3)
    room = group(ann, ben)
    sent = ann.send(room, "one").message_id
    with (
        listening(app, ben.metadata) as of_ben,
        listening(app, ann.metadata) as of_ann,
        listening(app, eve.metadata) as of_eve,
    ):
        cursor = of_ben.cursor
        edited = ann.EditMessage(message_id=sent, content="two").message
        ben.AddReaction(message_id=sent, reaction="👍")
        ann.PinMessage(message_id=sent)
        for listener in (of_ann, of_ben):
            listener.until(lambda each: len(acts(each)) == 3)
        end(ann, room, of_ann, of_ben)
        eve.send(ann.id, "to herself")
        of_eve.until(received(1))
        assert acts(of_eve) == []
    assert acts(of_ann) == acts(of_ben)
    (_, updated), (_, reacted), (_, pinned) = acts(of_ben)
    assert (updated.message.content, updated.edited_at) == ("two", edited.edited_at)
    assert (reacted.message_id, reacted.user_id, reacted.reaction) == (sent, ben.id, "👍")
    assert (reacted.added, reacted.count) == (True, 1)
    assert (pinned.message_id, pinned.pin.user_id) == (sent, ann.id)
    assert next(e.actor_id for e in of_ben.events if e.HasField("reaction_changed")) == ben.id
    ben.RemoveReaction(message_id=sent, reaction="👍")
    ann.UnpinMessage(message_id=sent)
    with listening(app, ben.metadata, cursor=cursor) as of_ben:
        end(ann, room, of_ben)
        changed = of_ben.of_kind("reaction_changed")
        assert [(one.added, one.count) for one in changed] == [(False, 0)] * 2, "as it is now"
        assert [one.HasField("pin") for one in of_ben.of_kind("pin_changed")] == [False] * 2


def test_a_recall_leaves_nothing_to_be_told(app: Deployment) -> None:
    ann, ben = app.people(2)
    room = group(ann, ben)
    with listening(app, ben.metadata) as of_ben:
        cursor = of_ben.cursor
    sent = ann.send(room, "one").message_id
    ann.EditMessage(message_id=sent, content="two")
    ann.AddReaction(message_id=sent, reaction="👍")
    ann.PinMessage(message_id=sent)
    ann.RecallMessage(message_id=sent)
    with listening(app, ben.metadata, cursor=cursor) as of_ben:
        end(ann, room, of_ben)
        assert {kind for kind, _ in acts(of_ben)} == {"message_updated"}
        assert {(one.message.status, one.message.content) for one in of_ben.of_kind("message_updated")} == {(4, "")}
        assert of_ben.contents == ["", "the end"]


def test_an_own_deletion_is_told_to_ones_own_devices_and_then_nothing_more(app: Deployment) -> None:
    ann, ben = app.people(2)
    room = group(ann, ben)
    sent = ann.send(room, "one").message_id
    phone = app.signed_in(ben.id, ben.username, device_id="phone")
    with (
        listening(app, ann.metadata) as of_ann,
        listening(app, ben.metadata) as of_ben,
        listening(app, phone.metadata) as of_phone,
    ):
        cursor = of_ben.cursor
        ben.DeleteMessage(message_id=sent)
        for listener in (of_ben, of_phone):
            listener.until(lambda each: each.of_kind("message_deleted"))
        ann.EditMessage(message_id=sent, content="two")
        ann.AddReaction(message_id=sent, reaction="👍")
        ann.PinMessage(message_id=sent)
        end(ann, room, of_ann, of_ben, of_phone)
    told = [("message_deleted", sent)]
    for listener in (of_ben, of_phone):
        assert [(kind, one.message_id) for kind, one in acts(listener)] == told
    assert [kind for kind, _ in acts(of_ann)] == ["message_updated", "reaction_changed", "pin_changed"]
    with listening(app, ben.metadata, cursor=cursor) as of_ben:
        end(ann, room, of_ben)
        assert [(kind, one.message_id) for kind, one in acts(of_ben)] == told
    with listening(app, app.service, cursor=cursor) as of_service:
        of_service.until(lambda each: each.contents.count("the end") >= 2)
        assert "pin_changed" in of_service.kinds, "a stream of everything"


def test_acts_survive_kill_9(own: Own) -> None:
    app = own("sqlite")
    ann, ben = app.people(2)
    room = group(ann, ben)
    sent = ann.send(room, "one").message_id
    with listening(app, ben.metadata) as of_ben:
        cursor = of_ben.cursor
    ann.EditMessage(message_id=sent, content="two", mentions=ben.id)
    ben.AddReaction(message_id=sent, reaction="👍")
    ann.PinMessage(message_id=sent)
    before = ben.GetMessage(message_id=sent)
    app.kill()
    assert app.run("check", check=False).stdout.startswith("clean:")
    app.start()
    assert ben.GetMessage(message_id=sent) == before
    with listening(app, ben.metadata, cursor=cursor) as of_ben:
        end(ann, room, of_ben)
        assert [kind for kind, _ in acts(of_ben)] == ["message_updated", "reaction_changed", "pin_changed"]
