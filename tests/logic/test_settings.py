"""A user's own settings of conversations: what they change, what clears them, who may have which."""

from functools import partial
from typing import Any

import grpc
import pytest

from gochat.domain.limits import MAX_PINNED
from tests.conversations import conversation_of, group, unread
from tests.harness import Deployment, Person, as_service, refused
from tests.repo.test_races import together
from tests.repo.test_states import MISSING, events
from tests.streams import listening

FOR_GOOD = 2**63 - 1
DELETED_USER = 3


def settings(person: Person, conversation_id: str) -> tuple[int, bool, bool, bool]:
    """(muted until, is it pinned, archived, marked as unread), the same wherever they are read."""
    found = person.GetConversation(conversation_id=conversation_id).conversation.settings
    listed = [
        one.settings for one in person.ListConversations(limit=200).conversations if where(one) == conversation_id
    ]
    assert listed in ([found], [])
    assert person.UpdateSettings(conversation_id=conversation_id).settings == found
    return found.muted_until, found.pinned_at > 0, found.archived, found.marked_unread


def where(detail: Any) -> str:
    return str(detail.state.info.conversation_id)


def test_settings_that_are_not_set_stay(app: Deployment) -> None:
    ann, ben = app.people(2)
    room = group(ann, ben)
    assert settings(ann, room) == (0, False, False, False)
    ann.UpdateSettings(conversation_id=room, muted_until=FOR_GOOD)
    ann.UpdateSettings(conversation_id=room, pinned=True)
    ann.UpdateSettings(conversation_id=room, archived=True, marked_unread=True)
    assert settings(ann, room) == (FOR_GOOD, True, True, True)
    pinned_at = ann.UpdateSettings(conversation_id=room).settings.pinned_at
    assert ann.UpdateSettings(conversation_id=room, pinned=True).settings.pinned_at == pinned_at
    ann.UpdateSettings(conversation_id=room, muted_until=0, archived=False)
    assert settings(ann, room) == (0, True, False, True)
    ann.UpdateSettings(conversation_id=room, pinned=False, marked_unread=False)
    assert settings(ann, room) == settings(ben, room) == (0, False, False, False)


def test_reading_sending_and_hiding_clear_the_mark_and_nothing_else(app: Deployment) -> None:
    ann, ben = app.people(2)
    big = group(ann, ben, *app.people(10))
    for room in (group(ann, ben), big, conversation_of(ben.send(ann.id))):
        newest = ben.send(room).message_id
        ann.MarkMessageRead(conversation_id=room, message_id=newest)
        mark = partial(ann.UpdateSettings, conversation_id=room, muted_until=5, archived=True, marked_unread=True)
        mark()
        assert unread(ann, room) == 0
        ben.send(room)
        assert settings(ann, room)[3], "what others send does not clear it"
        newest = ben.send(room).message_id
        ann.MarkMessageRead(conversation_id=room, message_id=newest)
        assert settings(ann, room) == (5, False, True, False)
        mark()
        ann.MarkMessageRead(conversation_id=room, message_id=newest)  # the position stays
        assert settings(ann, room) == (5, False, True, False)
        mark()
        ann.send(room)
        assert settings(ann, room) == (5, False, True, False)
        mark()
        ann.SendMessages(messages=[{"conversation_id": room, "content": "x"}] * 2)
        assert settings(ann, room) == (5, False, True, False)
        mark()
        as_service(app).repo.UpdateMessageStatus(message_id=newest, user_id=ann.id, status=3)
        assert settings(ann, room) == (5, False, True, False)
        mark()
        ann.DeleteConversation(conversation_id=room)
        assert settings(ann, room) == (5, False, True, False)


def test_leaving_a_group_forgets_them(app: Deployment) -> None:
    ann, ben = app.people(2)
    room = group(ann, ben)
    ben.UpdateSettings(conversation_id=room, muted_until=9, pinned=True, archived=True, marked_unread=True)
    ben.LeaveGroup(group_id=room)
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        ben.UpdateSettings(conversation_id=room, pinned=True)
    ben.JoinGroup(group_id=room)
    assert settings(ben, room) == (0, False, False, False)


def test_settings_are_for_those_who_are_in_the_conversation(app: Deployment) -> None:
    ann, ben, cem = app.people(3)
    room, pair = group(ann, ben), conversation_of(ann.send(ben.id))
    for conversation_id in (room, pair):
        for act in ({"pinned": True}, {"marked_unread": True}, {}):
            with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
                cem.UpdateSettings(conversation_id=conversation_id, **act)
        with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
            cem.GetConversation(conversation_id=conversation_id)
    for missing in ("g" + MISSING, "s" + MISSING):
        with refused("NOT_FOUND", "conversation_id"):
            ann.UpdateSettings(conversation_id=missing, archived=True)
        with refused("NOT_FOUND", "conversation_id"):
            ann.GetConversation(conversation_id=missing)
    with refused("PERMISSION_DENIED", reason="NOT_YOURSELF"):
        ann.UpdateSettings(conversation_id=room, user_id=ben.id, archived=True)
    with refused("INVALID_ARGUMENT", "user_id"):
        as_service(app).conversation.UpdateSettings(conversation_id=room, archived=True)
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        as_service(app).conversation.UpdateSettings(conversation_id=room, user_id=cem.id, archived=True)
    as_service(app).conversation.UpdateSettings(conversation_id=room, user_id=ben.id, archived=True)
    assert (settings(ben, room)[2], settings(ann, room)[2]) == (True, False)
    ann.RemoveGroupMember(group_id=room, user_id=ben.id)
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        ben.UpdateSettings(conversation_id=room, archived=True)
    ann.LeaveGroup(group_id=room)
    with refused("NOT_FOUND", "conversation_id"):
        ann.UpdateSettings(conversation_id=room, archived=True)


@pytest.mark.parametrize(
    ("field", "wrong"), [("muted_until", -1), ("conversation_id", ""), ("conversation_id", "x" * 129)]
)
def test_what_is_wrong_is_named(app: Deployment, field: str, wrong: Any) -> None:
    ann = app.person()
    with refused("INVALID_ARGUMENT", field):
        ann.UpdateSettings(**{"conversation_id": group(ann), "archived": True, field: wrong})


def test_own_devices_are_told_live_and_from_a_cursor_and_nobody_else(app: Deployment) -> None:
    ann, ben = app.people(2)
    room = group(ann, ben)
    newest = ben.send(room).message_id
    with listening(app, ann.metadata) as own, listening(app, ben.metadata) as other:
        cursor = own.cursor
        ann.UpdateSettings(conversation_id=room, pinned=True, muted_until=7)
        own.until(lambda each: each.of_kind("conversation_settings_updated"))
        ann.UpdateSettings(conversation_id=room, pinned=True, muted_until=7)  # nothing differs
        ann.UpdateSettings(conversation_id=room, marked_unread=True)
        ann.MarkMessageRead(conversation_id=room, message_id=newest)
        ann.MarkMessageRead(conversation_id=room, message_id=newest)
        ben.send(room, "last")
        for each in (own, other):
            each.until(lambda each: "last" in each.contents)
        told = [one.settings for one in own.of_kind("conversation_settings_updated")]
        assert [(one.muted_until, one.pinned_at > 0) for one in told] == [(7, True)] * 3
        # As it is when it is delivered: the mark may be gone by then.
        assert told[-1].marked_unread is False
        assert not other.of_kind("conversation_settings_updated")
        assert {event.conversation_id for event in own.events if event.HasField("conversation_settings_updated")} == {
            room
        }
    with listening(app, ann.metadata, cursor=cursor) as again:
        again.until(lambda each: "last" in each.contents)
        assert len(again.of_kind("conversation_settings_updated")) == 3


def test_no_more_than_100_are_pinned(app: Deployment) -> None:
    ann = app.person()
    groups = [group(ann) for _ in range(MAX_PINNED + 5)]
    for room in groups[: MAX_PINNED - 3]:
        ann.UpdateSettings(conversation_id=room, pinned=True)
    answers = together(
        partial(ann.UpdateSettings, conversation_id=room, pinned=True) for room in groups[MAX_PINNED - 3 :]
    )
    assert answers.count(grpc.StatusCode.PERMISSION_DENIED) == 5
    left = [
        room for room, answer in zip(groups[MAX_PINNED - 3 :], answers, strict=True) if not hasattr(answer, "settings")
    ]
    with refused("PERMISSION_DENIED", reason="TOO_MANY_PINNED"):
        ann.UpdateSettings(conversation_id=left[0], pinned=True, archived=True)
    assert settings(ann, left[0]) == (0, False, False, False), "all of it or nothing"
    ann.UpdateSettings(conversation_id=groups[0], pinned=True)  # it is pinned already
    ann.UpdateSettings(conversation_id=groups[0], pinned=False)
    ann.UpdateSettings(conversation_id=left[0], pinned=True)
    assert len(ann.ListConversations(pinned=True, limit=200).conversations) == MAX_PINNED


def test_settings_and_sends_together_lose_nothing(app: Deployment) -> None:
    ann, ben = app.people(2)
    room = group(ann, ben)
    for number in range(1, 6):
        answers = together(
            [
                partial(ann.UpdateSettings, conversation_id=room, muted_until=number),
                partial(ann.UpdateSettings, conversation_id=room, archived=number % 2 == 1),
                partial(ann.UpdateSettings, conversation_id=room, pinned=number % 2 == 0),
                partial(ben.send, room),
                partial(ann.send, room),
                partial(ann.MarkMessageRead, conversation_id=room, message_id=ben.send(room).message_id),
                partial(events(ann).Acknowledge, message_ids=[ben.send(room).message_id]),
            ]
        )
        assert not [answer for answer in answers if isinstance(answer, grpc.StatusCode)]
        assert settings(ann, room) == (number, number % 2 == 0, number % 2 == 1, False)


def test_opening_a_conversation_with_somebody_shows_them_nothing(app: Deployment) -> None:
    ann, ben = app.people(2)
    with listening(app, ben.metadata) as other, listening(app, ann.metadata) as own:
        opened = ann.OpenDirect(peer_user_id=ben.id).conversation
        pair = where(opened)
        own.until(lambda each: "conversation_updated" in each.kinds)
        assert (opened.peer.user_id, opened.peer.username, opened.member_count) == (ben.id, ben.username, 2)
        assert (opened.state.peer_user_id, opened.state.info.type) == (ben.id, "single")
        assert not opened.state.info.HasField("last_message")
        assert ann.OpenDirect(peer_user_id=ben.id).conversation == opened
        assert not ben.ListConversations().conversations
        assert [where(one) for one in ann.ListConversations().conversations] == [pair]
        assert conversation_of(ann.send(ben.id, "hello")) == pair
        other.until(lambda each: each.contents)
        assert other.kinds.index("message_sent") >= other.kinds.index("conversation_updated")
        assert {event.conversation_id for event in other.events} == {pair}
        assert "member_joined" not in other.kinds
    assert where(ben.OpenDirect(peer_user_id=ann.id).conversation) == pair


def test_who_opens_and_with_whom(app: Deployment) -> None:
    ann, disabled, gone = app.people(3)
    service = as_service(app)
    pair = where(ann.OpenDirect(peer_user_id=gone.id).conversation)
    service.repo.UpdateUser(user_id=disabled.id, status=2)
    service.repo.UpdateUser(user_id=gone.id, nickname="Gone")
    service.repo.UpdateUser(user_id=gone.id, status=DELETED_USER)
    with refused("INVALID_ARGUMENT", "peer_user_id"):
        ann.OpenDirect(peer_user_id=ann.id)
    with refused("INVALID_ARGUMENT", "peer_user_id"):
        ann.OpenDirect()
    for nobody in ("u" + MISSING, gone.id):
        with refused("NOT_FOUND", "peer_user_id"):
            ann.OpenDirect(peer_user_id=nobody)
    with refused("PERMISSION_DENIED", reason="NOT_YOURSELF"):
        ann.OpenDirect(peer_user_id=disabled.id, user_id=disabled.id)
    with refused("INVALID_ARGUMENT", "user_id"):
        service.conversation.OpenDirect(peer_user_id=ann.id)
    with refused("NOT_FOUND", "user_id"):
        service.conversation.OpenDirect(peer_user_id=ann.id, user_id=gone.id)
    assert ann.OpenDirect(peer_user_id=disabled.id).conversation.peer.status == 2
    peer = ann.GetConversation(conversation_id=pair).conversation.peer
    assert (peer.user_id, peer.status, peer.nickname, peer.username, peer.bio) == (gone.id, 3, "Gone", "", "")
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        service.conversation.GetConversation(conversation_id=pair, user_id=gone.id)


def test_racing_openings_make_one_conversation(app: Deployment) -> None:
    ann, ben = app.people(2)
    answers = together(
        partial(one.OpenDirect, peer_user_id=other.id) for one, other in ((ann, ben), (ben, ann)) for _ in range(4)
    )
    assert len({where(answer.conversation) for answer in answers}) == 1
    for reader in (ann, ben):
        assert len(reader.ListConversations().conversations) == 1


def test_a_hidden_conversation_is_shown_without_what_it_held(app: Deployment) -> None:
    ann, ben = app.people(2)
    for room in (group(ann, ben, *app.people(10)), conversation_of(ben.send(ann.id, "secret"))):
        recalled = ben.send(room, "secret").message_id
        ben.send(room, "secret")
        ann.UpdateSettings(conversation_id=room, pinned=True)
        ann.DeleteConversation(conversation_id=room)
        as_service(app).repo.UpdateMessageStatus(message_id=recalled, user_id=ben.id, status=4)
        opened = ann.GetConversation(conversation_id=room).conversation
        assert not opened.state.info.HasField("last_message")
        assert (opened.state.info.unread_count, opened.settings.pinned_at > 0) == (0, True)
        assert b"secret" not in opened.SerializeToString()
        assert not [one for one in ann.ListConversations().conversations if where(one) == room]
        ben.send(room, "new")
        opened = ann.GetConversation(conversation_id=room).conversation
        assert (opened.state.info.last_message.content, opened.state.info.unread_count) == ("new", 1)
