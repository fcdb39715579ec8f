"""Conversations as they are kept, read positions, unread counts."""

from typing import Any

import pytest

from gochat.domain import ids
from tests.conversations import conversation_of, group, unread
from tests.harness import Deployment, Person, as_service, refused
from tests.waiting import next_millisecond


@pytest.fixture(scope="module")
def people(app: Deployment) -> list[Person]:
    """Tests that look at whole lists make people of their own."""
    return app.people(3)


@pytest.fixture(scope="module")
def repo(app: Deployment) -> Any:
    return as_service(app).repo


def test_a_one_to_one_conversation_is_created_once(repo: Any, app: Deployment) -> None:
    ann, ben = app.create_user(), app.create_user()
    created = repo.CreateConversation(type="single", name="pair", avatar="pic", participant_ids=[ann, ben])
    kept = created.conversation
    assert (kept.conversation_id, kept.type, kept.name, kept.avatar) == (
        created.conversation_id,
        "single",
        "pair",
        "pic",
    )
    assert kept.last_message == ""
    assert repo.CreateConversation(type="single", name="x", participant_ids=[ben, ann, ben]) == created
    assert repo.GetConversation(conversation_id=created.conversation_id).conversation == kept
    found = repo.GetConversationParticipants(conversation_id=created.conversation_id).participant_ids
    assert sorted(found) == sorted([ann, ben])


def test_the_first_participant_owns_a_group(repo: Any, people: list[Person]) -> None:
    ann, ben, cem = people
    created = repo.CreateConversation(
        type="group", name="room", avatar="pic", participant_ids=[cem.id, ann.id, cem.id, ben.id]
    )
    assert (created.conversation.type, created.conversation.name, created.conversation.avatar) == (
        "group",
        "room",
        "pic",
    )
    kept = repo.GetGroup(group_id=created.conversation_id).group
    assert (kept.owner_id, kept.current_members, kept.max_members) == (cem.id, 3, 500)
    assert (kept.name, kept.avatar) == ("room", "pic")


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("type", {"type": ""}),
        ("type", {"type": "channel"}),
        ("name", {"name": ""}),
        ("name", {"name": "n" * 101}),
        ("avatar", {"avatar": "a" * 2049}),
        ("participant_ids", {"participant_ids": []}),
        ("participant_ids", {"participant_ids": [f"x{n}" for n in range(501)]}),
        ("participant_ids", {"participant_ids": ["x"] * 1001}),
        ("participant_ids[0]", {"participant_ids": [""]}),
        ("participant_ids", {"type": "single", "participant_ids": ["x"]}),
        ("participant_ids", {"type": "single", "participant_ids": ["x", "x"]}),
        ("participant_ids", {"type": "single", "participant_ids": ["x", "y", "z"]}),
    ],
)
def test_create_conversation_names_the_bad_field(repo: Any, field: str, fields: dict[str, Any]) -> None:
    with refused("INVALID_ARGUMENT", field):
        repo.CreateConversation(**({"type": "group", "name": "room", "participant_ids": ["x"]} | fields))


@pytest.mark.parametrize("kind", ["single", "group"])
def test_create_conversation_refuses_unknown_users(repo: Any, people: list[Person], kind: str) -> None:
    for participant_ids in ([people[0].id, "unknown"], ["unknown", people[0].id]):
        with refused("NOT_FOUND", "participant_ids", "USER_NOT_FOUND"):
            repo.CreateConversation(type=kind, name="room", participant_ids=participant_ids)


def test_a_conversation_shows_its_newest_message(repo: Any, people: list[Person]) -> None:
    ann, room = people[0], group(people[0])
    before = repo.GetConversation(conversation_id=room).conversation
    for word in ("one", "two"):
        next_millisecond()
        answer = ann.send(room, word)
        after = repo.GetConversation(conversation_id=room).conversation
        assert (after.last_message, after.updated_at) == (word, answer.created_at)
        assert after.created_at == before.created_at < after.updated_at


def test_update_conversation_changes_what_is_not_empty(repo: Any, people: list[Person]) -> None:
    ann, room = people[0], group(people[0])
    ann.send(room, "newest")
    first = repo.UpdateConversation(conversation_id=room, name="new", avatar="pic")
    assert first.success
    changed = repo.UpdateConversation(conversation_id=room, avatar="other").conversation
    assert (changed.name, changed.avatar, changed.last_message) == ("new", "other", "newest")
    assert repo.UpdateConversation(conversation_id=room).conversation == changed
    assert repo.GetConversation(conversation_id=room).conversation == changed


def test_an_unknown_conversation_is_not_found(repo: Any) -> None:
    for rpc in (repo.GetConversation, repo.UpdateConversation, repo.GetConversationParticipants):
        with refused("NOT_FOUND", "conversation_id", "CONVERSATION_NOT_FOUND"):
            rpc(conversation_id="unknown")
        with refused("INVALID_ARGUMENT", "conversation_id"):
            rpc()


def test_a_dissolved_group_is_not_found(repo: Any, people: list[Person]) -> None:
    ann, room = people[0], group(people[0])
    ann.LeaveGroup(group_id=room)
    for rpc in (repo.GetConversation, repo.UpdateConversation, repo.GetConversationParticipants, repo.GetMessages):
        with refused("NOT_FOUND", "conversation_id"):
            rpc(conversation_id=room)


def test_participants_come_by_the_time_they_joined(repo: Any, people: list[Person]) -> None:
    ann, ben, cem = people
    room = group(ben)
    for person in (cem, ann):
        next_millisecond()
        repo.AddGroupMember(group_id=room, user_id=person.id)
    assert list(repo.GetConversationParticipants(conversation_id=room).participant_ids) == [ben.id, cem.id, ann.id]
    repo.RemoveGroupMember(group_id=room, user_id=cem.id)
    assert list(repo.GetConversationParticipants(conversation_id=room).participant_ids) == [ben.id, ann.id]


def test_the_conversations_of_a_user_come_in_pages_latest_first_without_hidden_ones(app: Deployment, repo: Any) -> None:
    ann, ben = app.people(2)
    rooms = []
    for _ in range(4):
        rooms.insert(0, group(ann, ben))
        next_millisecond()
    ann.send(rooms[3], "activity")
    ben.DeleteConversation(conversation_id=rooms[1])
    order = [rooms[3], rooms[0], rooms[2]]
    for page, expected in ((1, order[:2]), (2, order[2:]), (3, [])):
        answer = repo.GetConversationsByUser(user_id=ben.id, pagination={"page": page, "limit": 2})
        assert [info.conversation_id for info in answer.conversations] == expected
        assert (answer.pagination.total, answer.pagination.page, answer.pagination.limit) == (3, page, 2)
    latest = repo.GetConversationsByUser(user_id=ben.id).conversations[0]
    assert (latest.unread_count, latest.last_message.content) == (1, "activity")
    with refused("NOT_FOUND", "user_id"):
        repo.GetConversationsByUser(user_id="unknown")
    with refused("INVALID_ARGUMENT", "pagination.limit"):
        repo.GetConversationsByUser(user_id=ben.id, pagination={"limit": 101})


def test_a_read_position_moves_forward_only(people: list[Person]) -> None:
    ann, ben, _ = people
    room = group(ann, ben)
    sent = [ann.send(room).message_id for _ in range(4)]
    for message_id, left in ((sent[1], 2), (sent[0], 2), (sent[1], 2), (sent[2], 1), (sent[3], 0), (sent[0], 0)):
        assert ben.MarkMessageRead(conversation_id=room, message_id=message_id).success
        assert unread(ben, room) == left


def test_only_a_message_of_the_conversation_is_marked_read(app: Deployment, people: list[Person]) -> None:
    ann, ben, cem = people
    room = group(ann, ben)
    message_id, foreign = ann.send(room).message_id, ann.send(group(ann, ben)).message_id
    for unknown in (foreign, "garbage", ids.message(room, 0), ids.message(room, 2)):
        with refused("NOT_FOUND", "message_id"):
            ben.MarkMessageRead(conversation_id=room, message_id=unknown)
    with refused("NOT_FOUND", "conversation_id"):
        ben.MarkMessageRead(conversation_id="unknown", message_id=message_id)
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        cem.MarkMessageRead(conversation_id=room, message_id=message_id)
    with refused("PERMISSION_DENIED", reason="NOT_YOURSELF"):
        ann.MarkMessageRead(conversation_id=room, message_id=message_id, user_id=ben.id)
    for field in ("user_id", "conversation_id", "message_id"):
        fields = {"user_id": ben.id, "conversation_id": room, "message_id": message_id, field: ""}
        with refused("INVALID_ARGUMENT", field):
            as_service(app).logic.MarkMessageRead(**fields)
    assert unread(ben, room) == 1
    as_service(app).logic.MarkMessageRead(conversation_id=room, message_id=message_id, user_id=ben.id)
    assert unread(ben, room) == 0


def test_own_recalled_and_deleted_messages_are_not_unread(repo: Any, people: list[Person]) -> None:
    ann, ben, cem = people
    room = group(ann, ben, cem)
    ben.send(room, "own")
    sent = [ann.send(room).message_id for _ in range(5)]
    assert (unread(ann, room), unread(ben, room), unread(cem, room)) == (0, 5, 6)
    repo.UpdateMessageStatus(message_id=sent[1], user_id=ann.id, status=4)
    repo.DeleteMessage(message_id=sent[3], user_id=ann.id)
    assert (unread(ben, room), unread(cem, room)) == (3, 4)
    ben.MarkMessageRead(conversation_id=room, message_id=sent[3])
    assert unread(ben, room) == 1
    repo.DeleteMessage(message_id=sent[1], user_id=ann.id)
    assert (unread(ben, room), unread(cem, room)) == (1, 4)
    repo.DeleteMessage(message_id=sent[4], user_id=ann.id)
    assert unread(ben, room) == 0


def test_sending_reads_what_came_before_for_the_sender_alone(people: list[Person]) -> None:
    ann, ben, cem = people
    room = group(ann, ben, cem)
    for _ in range(2):
        ann.send(room)
    ben.send(room)
    ben.send(room)
    assert (unread(ann, room), unread(ben, room), unread(cem, room)) == (2, 0, 4)


def test_a_repeated_send_moves_no_read_position(people: list[Person]) -> None:
    ann, ben, _ = people
    room = group(ann, ben)
    ben.send(room, "x", metadata={"client_msg_id": "key"})
    ann.send(room)
    ben.send(room, "x", metadata={"client_msg_id": "key"})
    assert (unread(ann, room), unread(ben, room)) == (0, 1)


def test_a_new_member_has_read_what_came_before(people: list[Person]) -> None:
    ann, ben, _ = people
    room = group(ann)
    ann.send(room)
    ben.JoinGroup(group_id=room)
    assert unread(ben, room) == 0
    ann.send(room)
    assert unread(ben, room) == 1


def test_unread_conversations_come_latest_first_with_their_newest_message(app: Deployment) -> None:
    ann, ben, cem = app.people(3)
    rooms = [group(ann, ben) for _ in range(3)]
    for room, word in ((rooms[0], "1"), (rooms[1], "2"), (rooms[0], "3")):
        next_millisecond()
        ann.send(room, word)
    answer = ben.GetUnreadMessages()
    assert answer.total_count == 3
    assert [(i.conversation_id, i.unread_count, i.last_message.content) for i in answer.conversations] == [
        (rooms[0], 2, "3"),
        (rooms[1], 1, "2"),
    ]
    assert as_service(app).logic.GetUnreadMessages(user_id=ben.id) == answer
    nothing = cem.GetUnreadMessages()
    assert (nothing.total_count, list(nothing.conversations)) == (0, [])
    with refused("PERMISSION_DENIED", reason="NOT_YOURSELF"):
        cem.GetUnreadMessages(user_id=ben.id)
    with refused("INVALID_ARGUMENT", "user_id"):
        as_service(app).logic.GetUnreadMessages()
    with refused("NOT_FOUND", "user_id"):
        as_service(app).logic.GetUnreadMessages(user_id="unknown")


def test_a_one_to_one_message_shows_when_its_recipient_has_read_it(app: Deployment) -> None:
    ann, ben = app.people(2)
    sent = [ann.send(ben.id).message_id for _ in range(3)]
    pair = conversation_of(sent[0])

    def statuses() -> list[int]:
        return [message.status for message in ann.GetMessageHistory(conversation_id=pair).messages]

    assert statuses() == [1, 1, 1]
    ann.MarkMessageRead(conversation_id=pair, message_id=sent[2])
    assert statuses() == [1, 1, 1]
    ben.MarkMessageRead(conversation_id=pair, message_id=sent[1])
    assert statuses() == [1, 3, 3]
    assert ben.GetConversations().conversations[0].last_message.status == 1
    ben.send(ann.id, "an answer reads them all")
    assert statuses() == [1, 3, 3, 3]
    as_service(app).repo.UpdateMessageStatus(message_id=sent[1], user_id=ann.id, status=4)
    assert statuses() == [1, 3, 4, 3]
