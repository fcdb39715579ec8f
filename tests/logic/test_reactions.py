"""Reactions and pins, through the server."""

from typing import Any

import pytest

from gochat.domain.limits import MAX_PINS, MAX_REACTIONS
from tests.conversations import contents, conversation_of, group, unread
from tests.harness import Deployment, Person, as_service, refused


def reactions(reader: Any, message_id: str) -> list[tuple[str, int, bool, list[str]]]:
    found = reader.GetMessage(message_id=message_id).message.reactions
    return [(one.reaction, one.count, one.mine, list(one.user_ids)) for one in found]


def pinned(reader: Any, conversation_id: str) -> list[str]:
    return [each.message.message_id for each in reader.ListPinnedMessages(conversation_id=conversation_id).messages]


def test_reactions_are_counted_by_kind(app: Deployment) -> None:
    ann, ben, cem = app.people(3)
    room = group(ann, ben, cem)
    sent = ann.send(room).message_id
    for person, reaction in ((ben, "👍"), (cem, "🎉"), (cem, "👍"), (ben, ":ship-it:"), (ben, "👍")):
        person.AddReaction(message_id=sent, reaction=reaction)
    assert reactions(ben, sent) == [
        ("👍", 2, True, [ben.id, cem.id]),
        ("🎉", 1, False, [cem.id]),
        (":ship-it:", 1, True, [ben.id]),
    ]
    (listed,) = ann.ListMessages(conversation_id=room).messages
    assert [one.mine for one in listed.reactions] == [False] * 3
    who = ann.ListReactions(message_id=sent).reactions
    assert [(one.user_id, one.reaction) for one in who] == [
        (ben.id, "👍"),
        (cem.id, "🎉"),
        (cem.id, "👍"),
        (ben.id, ":ship-it:"),
    ]
    ben.RemoveReaction(message_id=sent, reaction="👍")
    ben.RemoveReaction(message_id=sent, reaction="👍")
    cem.RemoveReaction(message_id=sent, reaction="🎉")
    cem.RemoveReaction(message_id=sent, reaction=":ship-it:")
    assert reactions(ann, sent) == [("👍", 1, False, [cem.id]), (":ship-it:", 1, False, [ben.id])]
    assert unread(ben, room) == 1
    assert contents(ben, room) == [contents(ann, room)[0]]


def test_one_emoji_is_one_however_it_is_written(app: Deployment) -> None:
    ann, ben = app.people(2)
    sent = ann.send(ben.id).message_id
    ann.AddReaction(message_id=sent, reaction="❤\ufe0f")
    ben.AddReaction(message_id=sent, reaction="❤")
    assert reactions(ann, sent) == [("❤\ufe0f", 2, True, [ann.id, ben.id])]
    ann.RemoveReaction(message_id=sent, reaction="❤")
    assert reactions(ann, sent) == [("❤\ufe0f", 1, False, [ben.id])]


def test_a_message_has_the_first_users_and_says_if_one_is_another(app: Deployment) -> None:
    people = app.people(13)
    room = group(*people)
    sent = people[0].send(room).message_id
    for person in people[1:]:
        person.AddReaction(message_id=sent, reaction="👍")
    everybody = [person.id for person in people[1:]]
    assert reactions(people[12], sent) == [("👍", 12, True, everybody[:10])]
    assert reactions(people[0], sent) == [("👍", 12, False, everybody[:10])]
    assert [
        one.mine for detail in people[11].ListMessages(conversation_id=room).messages for one in detail.reactions
    ] == [True]
    people[1].RemoveReaction(message_id=sent, reaction="👍")
    assert reactions(people[0], sent) == [("👍", 11, False, everybody[1:11])]
    found, token = [], ""
    while True:
        page = people[0].ListReactions(message_id=sent, limit=4, page_token=token)
        found += [one.user_id for one in page.reactions]
        token = page.next_page_token
        if not token:
            break
    assert found == everybody[1:]


def test_a_message_has_so_many_kinds(app: Deployment) -> None:
    ann, ben = app.people(2)
    sent = ann.send(ben.id).message_id
    for number in range(MAX_REACTIONS):
        ann.AddReaction(message_id=sent, reaction=f":r{number}:")
    with refused("PERMISSION_DENIED", reason="TOO_MANY_REACTIONS"):
        ben.AddReaction(message_id=sent, reaction="👍")
    assert len(ben.ListReactions(message_id=sent, limit=200).reactions) == MAX_REACTIONS, "nothing was kept of it"
    ben.AddReaction(message_id=sent, reaction=":r7:")
    ann.RemoveReaction(message_id=sent, reaction=":r8:")
    ben.AddReaction(message_id=sent, reaction="👍")


@pytest.mark.parametrize(
    "reaction", ["x", "👍👍", "👍 ", "1", "", ":", ":A:", ":" + "a" * 33 + ":", "a\0", "\ufe0f", "🇩"]
)
def test_what_is_no_reaction(app: Deployment, reaction: str) -> None:
    ann, ben = app.people(2)
    sent = ann.send(ben.id).message_id
    for act in (ann.AddReaction, ann.RemoveReaction):
        with refused("INVALID_ARGUMENT", "reaction"):
            act(message_id=sent, reaction=reaction)


def test_who_does_not_see_a_message_does_nothing_with_it(app: Deployment) -> None:
    ann, ben, eve = app.people(3)
    room = group(ann, ben)
    sent = ben.send(room).message_id
    ben.AddReaction(message_id=sent, reaction="👍")

    def nothing_of_it(stranger: Person) -> None:
        for act, more in (
            (stranger.GetMessage, {}),
            (stranger.AddReaction, {"reaction": "👍"}),
            (stranger.RemoveReaction, {"reaction": "👍"}),
            (stranger.ListReactions, {}),
            (stranger.PinMessage, {}),
            (stranger.UnpinMessage, {}),
        ):
            with refused("NOT_FOUND", "message_id"):
                act(message_id=sent, **more)

    nothing_of_it(eve)
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        eve.ListPinnedMessages(conversation_id=room)
    with refused("PERMISSION_DENIED", reason="NOT_YOURSELF"):
        ann.RemoveReaction(message_id=sent, reaction="👍", user_id=ben.id)
    ben.LeaveGroup(group_id=room)
    nothing_of_it(ben)
    assert reactions(ann, sent) == [("👍", 1, False, [ben.id])]
    as_service(app).repo.DeleteMessage(message_id=sent, user_id=ann.id)
    nothing_of_it(ann)


def test_a_service_reacts_for_users_alone(app: Deployment) -> None:
    ann, ben = app.people(2)
    sent = ann.send(ben.id).message_id
    service = as_service(app).message
    with refused("INVALID_ARGUMENT", "user_id"):
        service.AddReaction(message_id=sent, reaction="👍")
    service.AddReaction(message_id=sent, reaction="👍", user_id=ben.id)
    assert reactions(service, sent) == [("👍", 1, False, [ben.id])]
    with refused("NOT_FOUND", "message_id"):
        service.AddReaction(message_id=sent, reaction="👍", user_id=app.person().id)


def test_managers_pin_and_everybody_sees_it(app: Deployment) -> None:
    owner, ben = app.people(2)
    room = group(owner, ben)
    one, two = ben.send(room).message_id, ben.send(room).message_id
    for act in (ben.PinMessage, ben.UnpinMessage):
        with refused("PERMISSION_DENIED", reason="NOT_A_MANAGER"):
            act(message_id=one)
    owner.PinMessage(message_id=two)
    before = ben.GetMessage(message_id=two).message.pin
    assert before.user_id == owner.id
    as_service(app).message.PinMessage(message_id=one)
    owner.PinMessage(message_id=two)
    assert ben.GetMessage(message_id=two).message.pin == before
    assert ben.GetMessage(message_id=one).message.pin.user_id == ""
    assert sorted(pinned(ben, room)) == [one, two]
    owner.UnpinMessage(message_id=one)
    owner.UnpinMessage(message_id=one)
    assert pinned(ben, room) == [two]
    assert not ben.GetMessage(message_id=one).message.HasField("pin")
    actions = [event.action for event in app.events(action="message.") if event.target_id in (one, two)]
    assert sorted(actions) == ["message.pin", "message.pin", "message.unpin"]


def test_both_of_two_pin(app: Deployment) -> None:
    ann, ben = app.people(2)
    sent = ann.send(ben.id).message_id
    ben.PinMessage(message_id=sent)
    ann.UnpinMessage(message_id=sent)
    assert pinned(ben, conversation_of(sent)) == []


def test_a_conversation_has_so_many_pins(app: Deployment) -> None:
    ann, ben = app.people(2)
    sent = [ann.send(ben.id).message_id for _ in range(MAX_PINS + 1)]
    for message_id in sent[:-1]:
        ann.PinMessage(message_id=message_id)
    with refused("PERMISSION_DENIED", reason="TOO_MANY_PINS"):
        ann.PinMessage(message_id=sent[-1])
    ann.PinMessage(message_id=sent[0])
    assert pinned(ben, conversation_of(sent[0])) == sent[-2::-1], "the latest first"
    ann.RecallMessage(message_id=sent[3])
    ann.PinMessage(message_id=sent[-1])
