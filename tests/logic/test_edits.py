"""Editing, recalling and deleting messages for oneself, through the server."""

from typing import Any

import pytest

from tests.conftest import Own
from tests.conversations import contents, conversation_of, group, single, unread
from tests.harness import Deployment, Person, as_service, refused
from tests.waiting import next_millisecond

MISSING = "0" * 26 + "-000000000001"


def detail(reader: Any, message_id: str) -> Any:
    return reader.GetMessage(message_id=message_id).message


def ids_of(answer: Any) -> list[str]:
    return [each.message.message_id for each in answer.messages]


def shown_last(reader: Person, conversation_id: str) -> str:
    """The last message that the list of conversations shows."""
    infos = {info.conversation_id: info for info in reader.GetConversations().conversations}
    states = {state.info.conversation_id: state.info for state in reader.GetState().conversations}
    assert infos[conversation_id].last_message == states[conversation_id].last_message
    assert infos[conversation_id].unread_count == states[conversation_id].unread_count
    return str(infos[conversation_id].last_message.content)


def test_an_edit_replaces_the_text_and_keeps_what_it_was(app: Deployment) -> None:
    ann, ben = app.people(2)
    room = group(ann, ben)
    sent = ben.send(room, "frist", metadata={"colour": "red"})
    before = detail(ann, sent.message_id)
    assert before.edited_at == 0
    edited = ben.EditMessage(message_id=sent.message_id, content="first").message
    assert edited.message.content == "first"
    assert edited.edited_at >= sent.created_at
    assert dict(edited.message.metadata) == {"colour": "red"}
    assert edited.message.created_at == sent.created_at
    ben.EditMessage(message_id=sent.message_id, content="First")
    assert unread(ann, room) == 1
    assert contents(ann, room) == ["First"]
    (listed,) = ann.ListMessages(conversation_id=room).messages
    assert listed == detail(ann, sent.message_id)
    first, second = ben.ListVersions(message_id=sent.message_id).versions
    assert (first.content, second.content) == ("frist", "first")
    assert first.created_at == sent.created_at
    assert first.replaced_at == second.created_at == edited.edited_at
    assert second.replaced_at == listed.edited_at
    assert {first.replaced_by, second.replaced_by} == {ben.id}
    assert list(ann.ListVersions(message_id=sent.message_id).versions) == [first, second], "a manager"


def test_a_version_lasts_from_one_text_to_the_next(app: Deployment) -> None:
    ann, ben = app.people(2)
    sent = ann.send(group(ann, ben), "first")
    next_millisecond()
    ann.EditMessage(message_id=sent.message_id, content="first", mentions=ben.id)
    next_millisecond()
    ann.EditMessage(message_id=sent.message_id, content="second")
    (version,) = ann.ListVersions(message_id=sent.message_id).versions
    assert version.created_at == sent.created_at, "its mentions are not its text"


def test_a_page_of_another_list_is_none(app: Deployment) -> None:
    ann, ben = app.people(2)
    sent = ann.send(ben.id, "0").message_id
    for person in (ann, ben):
        person.AddReaction(message_id=sent, reaction="👍")
    token = ann.ListReactions(message_id=sent, limit=1).next_page_token
    with refused("INVALID_ARGUMENT", "page_token"):
        ann.ListVersions(message_id=sent, page_token=token)


def test_versions_come_page_by_page(app: Deployment) -> None:
    ann, ben = app.people(2)
    sent = ann.send(ben.id, "0").message_id
    for number in range(1, 6):
        ann.EditMessage(message_id=sent, content=str(number))
    found, token = [], ""
    while True:
        page = ann.ListVersions(message_id=sent, limit=2, page_token=token)
        found += [version.content for version in page.versions]
        token = page.next_page_token
        if not token:
            break
    assert found == ["0", "1", "2", "3", "4"]
    other = ann.send(ben.id).message_id
    token = ann.ListVersions(message_id=sent, limit=1).next_page_token
    for wrong in (token[:-2], "x", "é"):
        with refused("INVALID_ARGUMENT", "page_token"):
            ann.ListVersions(message_id=sent, page_token=wrong)
    with refused("INVALID_ARGUMENT", "page_token"):
        ann.ListVersions(message_id=other, page_token=token)


def test_the_same_text_again_is_no_edit(app: Deployment) -> None:
    ann, ben = app.people(2)
    sent = ann.send(ben.id, "same").message_id
    assert ann.EditMessage(message_id=sent, content="same").message.edited_at == 0
    once = ann.EditMessage(message_id=sent, content="other").message
    assert ann.EditMessage(message_id=sent, content="other").message == once
    assert len(ann.ListVersions(message_id=sent).versions) == 1


def test_only_the_sender_edits_and_services(app: Deployment) -> None:
    owner, ben, eve = app.people(3)
    room = group(owner, ben)
    sent = ben.send(room, "mine").message_id
    with refused("PERMISSION_DENIED", reason="NOT_THE_SENDER"):
        owner.EditMessage(message_id=sent, content="theirs")
    with refused("NOT_FOUND", "message_id"):
        eve.EditMessage(message_id=sent, content="theirs")
    with refused("PERMISSION_DENIED", reason="NOT_THE_SENDER"):
        person = app.person()
        owner.AddGroupMember(group_id=room, user_ids=[person.id])
        person.ListVersions(message_id=sent)
    as_service(app).message.EditMessage(message_id=sent, content="ours")
    assert contents(ben, room) == ["ours"]
    assert [version.replaced_by for version in ben.ListVersions(message_id=sent).versions] == [""]
    assert [event.action for event in app.events(action="message.edit") if event.target_id == sent] == ["message.edit"]
    owner.RemoveGroupMember(group_id=room, user_id=ben.id)
    with refused("NOT_FOUND", "message_id"):
        ben.EditMessage(message_id=sent, content="x")
    for act in (ben.RecallMessage, ben.GetMessage, ben.ListVersions, ben.DeleteMessage):
        with refused("NOT_FOUND", "message_id"):
            act(message_id=sent)


def test_what_cannot_be_edited(app: Deployment) -> None:
    ann, ben = app.people(2)
    image = ann.send(ben.id, "x.png", message_type="image").message_id
    with refused("INVALID_ARGUMENT", "message_id"):
        ann.EditMessage(message_id=image, content="y.png")
    recalled = ann.send(ben.id).message_id
    ann.RecallMessage(message_id=recalled)
    with refused("INVALID_ARGUMENT", "message_id"):
        ann.EditMessage(message_id=recalled, content="again")
    sent = ann.send(ben.id).message_id
    for wrong in ({"content": ""}, {"content": "x\0"}, {"content": "x" * 16_385}):
        with refused("INVALID_ARGUMENT", "content"):
            ann.EditMessage(message_id=sent, **wrong)
    for message_id in ("", "x", MISSING, sent[:-1], conversation_of(sent) + "-000000000099"):
        with refused("NOT_FOUND" if message_id else "INVALID_ARGUMENT", "message_id"):
            ann.EditMessage(message_id=message_id, content="x")


@pytest.mark.parametrize("mode", ["sqlite", "postgres"])
def test_edits_end_by_setting(own: Own, mode: str) -> None:
    app = own(mode, env={"GOCHAT_MESSAGES_EDIT_WITHIN": "1"})
    ann, ben = app.people(2)
    sent = ann.send(ben.id, "now").message_id
    outcomes = []
    while not outcomes or outcomes[-1] == "":  # the first one may be late, on a busy machine
        try:
            ann.EditMessage(message_id=sent, content=f"later {len(outcomes)}")
            outcomes.append("")
        except Exception as error:  # noqa: BLE001 - judged below
            outcomes.append(str(error))
    with refused("PERMISSION_DENIED", reason="TOO_LATE"):
        ann.EditMessage(message_id=sent, content="too late")
    as_service(app).message.EditMessage(message_id=sent, content="by a service")
    ann.RecallMessage(message_id=sent)


def test_a_recall_erases_all_of_a_message(app: Deployment) -> None:
    owner, ben, cem = app.people(3)
    room = group(owner, ben, cem)
    first = ben.send(room, "what?").message_id
    sent = ben.send(room, "bad", metadata={"reply_to": first, "mentions": cem.id}).message_id
    ben.EditMessage(message_id=sent, content="worse")
    cem.AddReaction(message_id=sent, reaction="👎")
    owner.PinMessage(message_id=sent)
    with refused("PERMISSION_DENIED", reason="NOT_THE_SENDER"):
        cem.RecallMessage(message_id=sent)
    assert unread(cem, room) == 2
    owner.RecallMessage(message_id=sent)
    owner.RecallMessage(message_id=sent)
    seen = detail(cem, sent)
    assert seen.message.status == 4
    assert (seen.message.content, dict(seen.message.metadata)) == ("", {})
    seen.ClearField("message")
    assert seen == type(seen)()
    assert unread(cem, room) == 1
    assert not owner.ListVersions(message_id=sent).versions
    assert not owner.ListReactions(message_id=sent).reactions
    assert not owner.ListPinnedMessages(conversation_id=room).messages
    for act, more in ((cem.AddReaction, {"reaction": "👎"}), (owner.PinMessage, {})):
        with refused("INVALID_ARGUMENT", "message_id"):
            act(message_id=sent, **more)


def test_one_of_two_recalls_their_own_alone(app: Deployment) -> None:
    ann, ben = app.people(2)
    sent = ann.send(ben.id).message_id
    with refused("PERMISSION_DENIED", reason="NOT_THE_SENDER"):
        ben.RecallMessage(message_id=sent)
    ann.RecallMessage(message_id=sent)
    other = ann.send(ben.id).message_id
    as_service(app).message.RecallMessage(message_id=other)
    assert [message.status for message in ben.GetMessageHistory(conversation_id=conversation_of(sent)).messages] == [
        4,
        4,
    ]


def test_a_message_deleted_for_oneself_is_gone_for_them_alone(app: Deployment) -> None:
    ann, ben = app.people(2)
    room = single(ann, ben)
    first, second, third = (ann.send(room, text).message_id for text in ("one", "two", "three"))
    answer = ben.send(room, "yes", metadata={"reply_to": second}).message_id
    last = ann.send(room, "four").message_id
    ann.PinMessage(message_id=second)
    assert unread(ben, room) == 1
    ben.DeleteMessage(message_id=second)
    ben.DeleteMessage(message_id=last)
    assert contents(ben, room) == ["yes", "three", "one"]
    assert ids_of(ben.ListMessages(conversation_id=room)) == [first, third, answer]
    assert unread(ben, room) == 0
    assert shown_last(ben, room) == "yes"
    assert not detail(ben, answer).HasField("reply")
    assert not ben.ListPinnedMessages(conversation_id=room).messages
    for act, more in (
        (ben.GetMessage, {}),
        (ben.DeleteMessage, {}),
        (ben.AddReaction, {"reaction": "👍"}),
        (ben.ListReactions, {}),
        (ben.PinMessage, {}),
    ):
        with refused("NOT_FOUND", "message_id"):
            act(message_id=second, **more)
    with refused("NOT_FOUND", "metadata[reply_to]"):
        ben.send(room, metadata={"reply_to": second})
    assert contents(ann, room) == ["four", "yes", "three", "two", "one"]
    assert shown_last(ann, room) == "four"
    assert detail(ann, answer).reply.content == "two"
    assert ids_of(ann.ListPinnedMessages(conversation_id=room)) == [second]
    assert len(as_service(app).message.ListMessages(conversation_id=room).messages) == 5


def test_unread_counts_subtract_each_message_once(app: Deployment) -> None:
    ann, ben = app.people(2)
    room = group(ann, ben)
    sent = [ann.send(room, str(number)).message_id for number in range(6)]
    ben.DeleteMessage(message_id=sent[1])
    ben.DeleteMessage(message_id=sent[2])
    assert unread(ben, room) == 4
    ann.RecallMessage(message_id=sent[2])
    assert unread(ben, room) == 4, "it was not counted before either"
    ann.RecallMessage(message_id=sent[3])
    assert unread(ben, room) == 3
    ben.MarkMessageRead(conversation_id=room, message_id=sent[2])
    assert unread(ben, room) == 2
    ben.DeleteMessage(message_id=sent[5])
    assert unread(ben, room) == 1
    assert shown_last(ben, room) == "4"


def test_own_deletions_page_and_last_beyond_a_return(app: Deployment) -> None:
    owner, ben = app.people(2)
    room = group(owner, ben)
    sent = [owner.send(room, str(number)).message_id for number in range(9)]
    for message_id in sent[1:8:2]:
        ben.DeleteMessage(message_id=message_id)
    page = ben.GetMessageHistory(conversation_id=room, limit=3)
    assert ([message.content for message in page.messages], page.has_more) == (["8", "6", "4"], True)
    page = ben.GetMessageHistory(conversation_id=room, limit=3, before_message_id=page.messages[-1].message_id)
    assert ([message.content for message in page.messages], page.has_more) == (["2", "0"], False)
    listed = ben.ListMessages(conversation_id=room, limit=2, after_message_id=sent[1])
    assert ([each.message.content for each in listed.messages], listed.has_more) == (["2", "4"], True)
    ben.LeaveGroup(group_id=room)
    owner.AddGroupMember(group_id=room, user_ids=[ben.id])
    assert contents(ben, room) == ["8", "6", "4", "2", "0"]


def test_a_hidden_conversation_stays_so_when_all_since_is_deleted_by_oneself(app: Deployment) -> None:
    ann, ben = app.people(2)
    sent = ann.send(ben.id).message_id
    room = conversation_of(sent)
    ben.DeleteConversation(conversation_id=room)
    with refused("NOT_FOUND", "message_id"):
        ben.GetMessage(message_id=sent)
    one, two = ann.send(room).message_id, ann.send(room).message_id
    ben.DeleteMessage(message_id=one)
    assert [info.conversation_id for info in ben.GetConversations().conversations] == [room]
    as_service(app).repo.DeleteMessage(message_id=two, user_id=ann.id)
    assert not ben.GetConversations().conversations
    three = ann.send(room).message_id
    ben.DeleteMessage(message_id=three)
    assert not ben.GetConversations().conversations
    ann.send(room, "new")
    assert contents(ben, room) == ["new"]


def test_deletions_are_ones_own(app: Deployment) -> None:
    ann, ben = app.people(2)
    sent = ann.send(ben.id).message_id
    with refused("PERMISSION_DENIED", reason="NOT_YOURSELF"):
        ann.DeleteMessage(message_id=sent, user_id=ben.id)
    with refused("INVALID_ARGUMENT", "user_id"):
        as_service(app).message.DeleteMessage(message_id=sent)
    as_service(app).message.DeleteMessage(message_id=sent, user_id=ben.id)
    assert contents(ben, conversation_of(sent)) == []


def test_mentions_that_the_metadata_has_no_room_for(app: Deployment) -> None:
    """An error of an edit names what an edit has."""
    ann, ben = app.people(2)
    room = single(ann, ben)
    large, many = {"x": "y" * 4_090}, {f"x{number}": "y" for number in range(32)}
    for metadata in (large, many):
        sent = ann.send(room, metadata=metadata).message_id
        with refused("INVALID_ARGUMENT", "mentions") as refusal:
            ann.EditMessage(message_id=sent, content="x", mentions=ben.id)
        assert set(refusal.fields or ()) == {"mentions"}
        ann.EditMessage(message_id=sent, content="x")


def test_the_largest_page_fits_what_clients_take(app: Deployment) -> None:
    ann, ben = app.people(2)
    room = single(ann, ben)
    more = {"mentions": ben.id, "x": "y" * 3_900}
    for _ in range(20):
        answer = ann.SendMessages(
            messages=[{"conversation_id": room, "content": "é" * 8_192, "metadata": more} for _ in range(10)]
        )
        assert {result.error.code for result in answer.results} == {0}
    for message_id in ids_of(ann.ListMessages(conversation_id=room, limit=100)):
        for number in range(3):
            ann.AddReaction(message_id=message_id, reaction=f":reaction{number}:")
    page = ann.ListMessages(conversation_id=room, limit=200)
    assert (len(page.messages), page.has_more) == (100, True)
    rest = ann.ListMessages(conversation_id=room, limit=200, after_message_id=ids_of(page)[-1])
    assert (len(rest.messages), rest.has_more) == (100, False)
