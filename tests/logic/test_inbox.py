"""ListConversations and GetConversation as clients call them. tests/repo/test_listing.py holds them against a model."""

from typing import Any

import pytest

from tests.conversations import conversation_of, group
from tests.harness import Deployment, Person, as_service, refused
from tests.repo.test_states import events, states


def listed(reader: Person, **fields: Any) -> list[str]:
    """All of it, page by page."""
    answer = reader.ListConversations(**fields)
    found = list(answer.conversations)
    while answer.next_page_token:
        answer = reader.ListConversations(page_token=answer.next_page_token, **fields)
        found += answer.conversations
    return [detail.state.info.conversation_id for detail in found]


def test_pinned_ones_come_first_then_the_latest(app: Deployment) -> None:
    ann, ben = app.people(2)
    rooms = [group(ann, ben) for _ in range(5)]
    big = group(ann, ben, *app.people(10))
    for room in (*rooms, big):
        ben.send(room)
    assert listed(ann) == [big, *rooms[::-1]]
    for room in (rooms[0], rooms[3]):
        ann.UpdateSettings(conversation_id=room, pinned=True)
    ben.send(rooms[1])
    expected = [rooms[3], rooms[0], rooms[1], big, rooms[4], rooms[2]]
    for limit in (0, 1, 2, 5):
        assert listed(ann, limit=limit) == expected
    assert listed(ann, pinned=True, limit=1) == expected[:2]
    assert listed(ann, pinned=False, limit=1) == expected[2:]
    assert [info.conversation_id for info in ann.GetConversations().conversations] == [
        *(rooms[1], big, rooms[4], rooms[3], rooms[2], rooms[0])
    ]


def test_filters_hold_together(app: Deployment) -> None:
    ann, ben = app.people(2)
    read, news, marked = (group(ann, ben) for _ in range(3))
    pair = conversation_of(ben.send(ann.id))
    ben.send(news)
    ann.MarkMessageRead(conversation_id=read, message_id=ben.send(read).message_id)
    ann.UpdateSettings(conversation_id=marked, marked_unread=True)
    assert set(listed(ann, unread=True)) == {news, pair, marked}
    assert listed(ann, unread=True, type="single") == [pair]
    assert listed(ann, type="single", archived=True) == []
    for room in (news, read):
        ann.UpdateSettings(conversation_id=room, archived=True)
    assert set(listed(ann, archived=True)) == {news, read}
    assert set(listed(ann, archived=False)) == {marked, pair}
    assert listed(ann, archived=True, unread=True) == [news]
    ben.send(news)
    assert news in listed(ann, archived=True), "a message does not unarchive"
    as_service(app).repo.UpdateMessageStatus(message_id=ben.send(read).message_id, user_id=ben.id, status=4)
    assert read not in listed(ann, unread=True), "what was recalled is not unread"


def test_a_detail_has_the_state_of_get_state(app: Deployment) -> None:
    ann, ben = app.people(2)
    room = group(ann, ben)
    pair = conversation_of(ann.send(ben.id))
    first = ben.send(room).message_id
    ben.send(room)
    ann.MarkMessageRead(conversation_id=room, message_id=first)
    events(ben).Acknowledge(message_ids=[ann.send(pair).message_id])
    of_ann = states(events(ann))
    details = {one.state.info.conversation_id: one for one in ann.ListConversations().conversations}
    assert {where: detail.state for where, detail in details.items()} == of_ann
    for where, detail in details.items():
        assert ann.GetConversation(conversation_id=where).conversation == detail
    assert (details[room].member_count, details[room].HasField("peer")) == (2, False)
    assert details[pair].peer == ann.GetUserProfile(user_id=ben.id).profile


def test_unread_mentions_go_when_they_are_read_recalled_or_deleted(app: Deployment) -> None:
    ann, ben, *others = app.people(12)
    for room in (group(ann, ben), group(ann, ben, *others), conversation_of(ann.send(ben.id))):
        mentions = [
            ann.send(room, metadata={"mentions": mentioned}).message_id for mentioned in (ben.id, "all", ben.id, "all")
        ]
        ann.send(room, "no mention")

        def shown(room: str = room) -> int:
            found = {one.state.info.conversation_id: one for one in ben.ListConversations(mentioned=True).conversations}
            detail = ben.GetConversation(conversation_id=room).conversation
            assert found.get(room, detail) == detail
            assert (room in found) == (detail.unread_mentions > 0)
            return int(detail.unread_mentions)

        assert shown() == 4
        assert ann.GetConversation(conversation_id=room).conversation.unread_mentions == 0
        ben.DeleteMessage(message_id=mentions[3])
        assert shown() == 3
        ann.RecallMessage(message_id=mentions[2])
        assert shown() == 2
        ben.MarkMessageRead(conversation_id=room, message_id=mentions[0])
        assert shown() == 1
        ben.send(room)
        assert shown() == 0


def test_hidden_left_and_unseen_ones_are_not_listed(app: Deployment) -> None:
    ann, ben = app.people(2)
    hidden, left, kept = (group(ann, ben) for _ in range(3))
    pair = conversation_of(ann.send(ben.id))
    for room in (hidden, left, kept):
        ann.send(room)
    for room in (hidden, pair, kept):
        ben.UpdateSettings(conversation_id=room, pinned=True)
    for room in (hidden, pair):
        ben.DeleteConversation(conversation_id=room)
    ben.LeaveGroup(group_id=left)
    assert listed(ben) == [kept]
    assert ben.OpenDirect(peer_user_id=ann.id).conversation.state.info.conversation_id == pair
    assert listed(ben) == [kept], "opening does not show again what was hidden"
    ann.send(hidden)
    assert listed(ben) == [kept, hidden]


def test_a_list_is_ones_own(app: Deployment) -> None:
    ann, ben = app.people(2)
    for _ in range(3):
        group(ann, ben)
    token = ann.ListConversations(limit=1).next_page_token
    service = as_service(app).conversation
    assert len(service.ListConversations(user_id=ann.id, page_token=token).conversations) == 2
    for wrong in ({"page_token": token, "unread": True}, {"page_token": token[:-2]}, {"page_token": "é"}):
        with refused("INVALID_ARGUMENT", "page_token", "BAD_CURSOR"):
            ann.ListConversations(**wrong)
    with refused("INVALID_ARGUMENT", "page_token", "BAD_CURSOR"):
        ben.ListConversations(page_token=token)
    with refused("PERMISSION_DENIED", reason="NOT_YOURSELF"):
        ben.ListConversations(user_id=ann.id)
    with refused("INVALID_ARGUMENT", "user_id"):
        service.ListConversations()
    with refused("NOT_FOUND", "user_id"):
        service.ListConversations(user_id="u" * 27)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [("limit", -1), ("limit", 201), ("type", "room"), ("page_token", "x" * 600), ("user_id", "x" * 129)],
)
def test_what_is_wrong_is_named(app: Deployment, field: str, wrong: Any) -> None:
    caller = as_service(app).conversation if field == "user_id" else app.person()
    with refused("INVALID_ARGUMENT", field):
        caller.ListConversations(**{field: wrong})
