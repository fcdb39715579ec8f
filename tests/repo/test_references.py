"""What the metadata of a send refers to: checked like fields, whichever way it is sent, and shown with the message."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.conversations import conversation_of, group, single
from tests.harness import Deployment, Person, as_service, refused

MISSING = "g" + "0" * 26 + "-000000000001"
Send = Callable[..., str]
"""send(person, conversation_id, metadata) -> message id; raises as SendMessage does."""


def alone(person: Person, room: str, metadata: dict[str, str]) -> str:
    return str(person.SendMessage(conversation_id=room, content="x", metadata=metadata).message_id)


def by_backend(person: Person, room: str, metadata: dict[str, str]) -> str:
    create = as_service(person.app).repo.CreateMessage
    sent = create(conversation_id=room, from_user_id=person.id, content="x", metadata=metadata)
    return str(sent.message_id)


def detail(reader: Any, message_id: str) -> Any:
    return reader.GetMessage(message_id=message_id).message


def in_bulk(person: Person, room: str, *metadata: dict[str, str]) -> list[tuple[str, str]]:
    """Of each (reason, the field of its error)."""
    answer = person.SendMessages(messages=[{"conversation_id": room, "content": "x", "metadata": m} for m in metadata])
    return [
        (one.error.details["reason"], next((key for key in one.error.details if key != "reason"), ""))
        if one.error.code
        else ("", one.message_id)
        for one in answer.results
    ]


def test_a_reply_shows_what_it_answers(app: Deployment) -> None:
    ann, ben = app.people(2)
    room = group(ann, ben)
    asked = ann.send(room, "?" * 300).message_id
    answer = alone(ben, room, {"reply_to": asked})
    reply = detail(ann, answer).reply
    assert (reply.message_id, reply.from_user_id, reply.message_type, reply.status) == (asked, ann.id, "text", 1)
    assert reply.content == "?" * 200
    assert ann.ListMessages(conversation_id=room).messages[1].reply == reply
    ann.RecallMessage(message_id=asked)
    reply = detail(ann, answer).reply
    assert (reply.message_id, reply.content, reply.status) == (asked, "", 4)
    as_service(app).repo.DeleteMessage(message_id=asked, user_id=ann.id)
    assert not detail(ann, answer).HasField("reply")


def test_a_reply_does_not_show_what_its_reader_has_hidden(app: Deployment) -> None:
    ann, ben = app.people(2)
    asked = ann.send(ben.id, "old").message_id
    ben.DeleteConversation(conversation_id=conversation_of(asked))
    answer = alone(ann, conversation_of(asked), {"reply_to": asked})
    assert not detail(ben, answer).HasField("reply")
    assert detail(ann, answer).reply.content == "old"


@pytest.mark.parametrize("send", [alone, by_backend])
def test_what_cannot_be_answered_or_forwarded(app: Deployment, send: Send) -> None:
    ann, ben, eve = app.people(3)
    room, other = group(ann, ben, eve), group(ann, ben)
    secret = ann.send(other).message_id
    recalled, deleted, own = (ann.send(room).message_id for _ in range(3))
    ann.RecallMessage(message_id=recalled)
    as_service(app).repo.DeleteMessage(message_id=deleted, user_id=ann.id)
    eve.DeleteMessage(message_id=own)
    before = len(ann.GetMessageHistory(conversation_id=room).messages)
    for wrong in (MISSING, "x", secret, recalled, deleted, own):
        for key in ("reply_to", "forwarded_from"):
            with refused("NOT_FOUND", f"metadata[{key}]"):
                send(eve, room, {key: wrong})
    with refused("NOT_FOUND", "metadata[reply_to]"):
        send(ann, room, {"reply_to": secret})
    for key in ("reply_to", "forwarded_from", "mentions"):
        with refused("INVALID_ARGUMENT", f"metadata[{key}]"):
            send(ann, room, {key: ""})
    assert len(ann.GetMessageHistory(conversation_id=room).messages) == before


def test_who_is_mentioned(app: Deployment) -> None:
    ann, ben, cem, eve = app.people(4)
    room = group(ann, ben, cem)
    seen = detail(ann, alone(ben, room, {"mentions": f"{ann.id},{cem.id},{ann.id}"}))
    assert list(seen.mentioned_user_ids) == [ann.id, cem.id]
    assert not seen.mentions_all
    seen = detail(ben, alone(ann, room, {"mentions": "all"}))
    assert (list(seen.mentioned_user_ids), seen.mentions_all) == ([], True)
    with refused("PERMISSION_DENIED", reason="NOT_A_MANAGER"):
        alone(ben, room, {"mentions": "all"})
    for wrong in (eve.id, f"{ann.id},{eve.id}", f"{ann.id},", "x", ","):
        with refused("INVALID_ARGUMENT"):
            alone(ben, room, {"mentions": wrong})
    with refused("INVALID_ARGUMENT", "metadata[mentions]"):
        alone(ben, room, {"mentions": ",".join(f"u{number}" for number in range(101))})
    pair = single(ben, cem)
    assert detail(cem, alone(ben, pair, {"mentions": "all"})).mentions_all


def test_an_edit_mentions_others_or_nobody(app: Deployment) -> None:
    ann, ben, cem = app.people(3)
    room = group(ann, ben, cem)
    sent = alone(ben, room, {"mentions": ann.id, "colour": "red"})
    ben.EditMessage(message_id=sent, content="y")
    assert list(detail(ann, sent).mentioned_user_ids) == [ann.id]
    edited = ben.EditMessage(message_id=sent, content="y", mentions=cem.id).message
    assert list(edited.mentioned_user_ids) == [cem.id]
    assert dict(edited.message.metadata) == {"mentions": cem.id, "colour": "red"}
    with refused("PERMISSION_DENIED", reason="NOT_A_MANAGER"):
        ben.EditMessage(message_id=sent, content="z", mentions="all")
    with refused("INVALID_ARGUMENT", "mentions"):
        ben.EditMessage(message_id=sent, content="z", mentions=app.person().id)
    assert detail(ann, sent) == edited, "in a group everybody sees the same"
    edited = ben.EditMessage(message_id=sent, content="y", mentions="").message
    assert dict(edited.message.metadata) == {"colour": "red"}
    assert not edited.mentioned_user_ids


def test_a_forward_says_who_said_it_first(app: Deployment) -> None:
    ann, ben, cem = app.people(3)
    first = ann.send(ben.id, "news")
    again = alone(ben, single(ben, cem), {"forwarded_from": first.message_id})
    third = alone(cem, group(cem, ann), {"forwarded_from": again})
    for reader, message_id in ((cem, again), (ann, third)):
        shown = detail(reader, message_id)
        assert (shown.forwarded.from_user_id, shown.forwarded.created_at) == (ann.id, first.created_at)
        assert shown.message.metadata["forwarded_from"] == ann.id, "and not of which conversation"
    ann.RecallMessage(message_id=first.message_id)
    assert detail(cem, again).forwarded.from_user_id == ann.id, "it is a copy"


def test_in_bulk_each_is_judged_by_itself(app: Deployment) -> None:
    ann, ben = app.people(2)
    room = group(ann, ben)
    asked = ann.send(room, "?").message_id
    outcomes = in_bulk(ben, room, {"reply_to": asked}, {"reply_to": MISSING}, {}, {"mentions": "all"})
    assert [reason for reason, _ in outcomes] == ["", "MESSAGE_NOT_FOUND", "", "NOT_A_MANAGER"]
    assert outcomes[1][1] == "messages[1].metadata[reply_to]"
    history = ann.GetMessageHistory(conversation_id=room).messages
    assert [message.message_id for message in history] == [outcomes[2][1], outcomes[0][1], asked]
    assert detail(ann, outcomes[0][1]).reply.message_id == asked


def test_a_repeat_gets_the_first_answer_whatever_became_of_it(app: Deployment) -> None:
    ann, ben, cem = app.people(3)
    room = group(ann, ben, cem)
    asked = ann.send(room, "?").message_id
    metadata = {"reply_to": asked, "mentions": cem.id, "forwarded_from": asked, "client_msg_id": "once"}
    sends = [partial(alone, ben, room, metadata), partial(by_backend, ben, room, metadata)]
    first = sends[0]()
    as_service(app).repo.DeleteMessage(message_id=asked, user_id=ann.id)
    cem.LeaveGroup(group_id=room)
    assert [send() for send in sends] == [first, first]
    assert in_bulk(ben, room, metadata) == [("", first)]
    with refused("NOT_FOUND", "metadata[reply_to]"):
        alone(ben, room, metadata | {"client_msg_id": "twice"})
    ann.RemoveGroupMember(group_id=room, user_id=ben.id)
    assert sends[0]() == first
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        alone(ben, room, metadata | {"client_msg_id": "twice"})


def test_the_first_message_of_two(app: Deployment) -> None:
    ann, ben, cem, dan = app.people(4)
    sent = ann.SendMessage(to_user_id=ben.id, content="hi", metadata={"mentions": ben.id}).message_id
    assert list(detail(ben, sent).mentioned_user_ids) == [ben.id]
    forwarded = ben.SendMessage(to_user_id=cem.id, content="hi", metadata={"forwarded_from": sent}).message_id
    assert detail(cem, forwarded).forwarded.from_user_id == ann.id
    with refused("INVALID_ARGUMENT", "metadata[mentions]"):
        ann.SendMessage(to_user_id=dan.id, content="hi", metadata={"mentions": cem.id})
    with refused("NOT_FOUND", "metadata[reply_to]"):
        ann.SendMessage(to_user_id=dan.id, content="hi", metadata={"reply_to": sent})
    assert not dan.GetConversations().conversations
    assert len(ann.GetConversations().conversations) == 1, "none was opened"
