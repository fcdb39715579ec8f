"""Messages by id and by page, their status, withdrawal. Sending itself is in tests/logic/test_messages.py."""

from typing import Any

import pytest

from gochat.domain import ids
from tests.conversations import conversation_of, group
from tests.harness import Deployment, Person, as_service, refused


@pytest.fixture(scope="module")
def people(app: Deployment) -> list[Person]:
    """Ann, Ben, Cem and Dora; tests make groups of their own of them."""
    return app.people(4)


@pytest.fixture(scope="module")
def repo(app: Deployment) -> Any:
    return as_service(app).repo


def shown(repo: Any, message_id: str) -> Any:
    """The message, or None."""
    conversation_id = conversation_of(message_id)
    return next(iter(repo.GetMessages(conversation_id=conversation_id, message_ids=[message_id]).messages), None)


def test_a_created_message_is_answered_as_it_is_kept(repo: Any, people: list[Person]) -> None:
    ann, ben, *_ = people
    created = repo.CreateMessage(from_user_id=ann.id, to_user_id=ben.id, content="hi", metadata={"k": "v"})
    message = created.message
    assert created.message_id == message.message_id
    assert (message.from_user_id, message.to_user_id, message.content) == (ann.id, ben.id, "hi")
    assert (message.message_type, message.status, dict(message.metadata)) == ("text", 1, {"k": "v"})
    assert message.created_at == message.updated_at > 0
    assert shown(repo, created.message_id) == message


def test_a_message_to_a_group_has_no_recipient(repo: Any, people: list[Person]) -> None:
    ann, room = people[0], group(*people[:2])
    message = repo.CreateMessage(from_user_id=ann.id, conversation_id=room, content="hi", message_type="system").message
    assert (message.conversation_id, message.to_user_id, message.message_type) == (room, "", "system")


def test_the_sender_of_a_message_is_a_participant(repo: Any, people: list[Person]) -> None:
    ann, ben, *_ = people
    with refused("INVALID_ARGUMENT", "from_user_id"):
        repo.CreateMessage(to_user_id=ben.id, content="hi")
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        repo.CreateMessage(from_user_id=ben.id, conversation_id=group(ann), content="hi")
    with refused("NOT_FOUND", "conversation_id"):
        repo.CreateMessage(from_user_id=ben.id, conversation_id="unknown", content="hi")


def test_an_unknown_sender_is_not_found(repo: Any, people: list[Person]) -> None:
    with refused("NOT_FOUND", "from_user_id"):
        repo.CreateMessage(from_user_id="unknown", to_user_id=people[0].id, content="hi")


def test_messages_by_id_come_in_request_order_once_without_unknown_and_foreign_ones(
    repo: Any, people: list[Person]
) -> None:
    ann, room = people[0], group(people[0])
    one, two, three = (ann.send(room, word).message_id for word in ("one", "two", "three"))
    foreign = ann.send(group(ann), "foreign").message_id
    ann_deleted = ann.send(room, "deleted").message_id
    repo.DeleteMessage(message_id=ann_deleted, user_id=ann.id)
    asked = [three, foreign, "garbage", one, three, ids.message(room, 99), ann_deleted, two, one]
    answer = repo.GetMessages(conversation_id=room, message_ids=asked)
    assert [message.content for message in answer.messages] == ["three", "one", "two"]
    assert answer.total == 3
    nothing = repo.GetMessages(conversation_id=room, message_ids=[foreign, "garbage"])
    assert (list(nothing.messages), nothing.total) == ([], 0)


def test_messages_by_page_are_counted_in_all(repo: Any, people: list[Person]) -> None:
    ann, room = people[0], group(people[0])
    sent = [ann.send(room, str(n)).message_id for n in range(7)]
    repo.DeleteMessage(message_id=sent[3], user_id=ann.id)
    repo.UpdateMessageStatus(message_id=sent[5], user_id=ann.id, status=4)
    for limit, offset, expected in (
        (0, 0, ["6", "", "4", "2", "1", "0"]),
        (2, 0, ["6", ""]),
        (2, 2, ["4", "2"]),
        (2, 4, ["1", "0"]),
        (200, 5, ["0"]),
        (2, 6, []),
        (2, 2**31 - 1, []),
    ):
        answer = repo.GetMessages(conversation_id=room, limit=limit, offset=offset)
        assert ([message.content for message in answer.messages], answer.total) == (expected, 6), (limit, offset)
    empty = repo.GetMessages(conversation_id=group(ann))
    assert (list(empty.messages), empty.total) == ([], 0)


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("conversation_id", {"conversation_id": ""}),
        ("limit", {"limit": -1}),
        ("limit", {"limit": 201}),
        ("offset", {"offset": -1}),
        ("message_ids", {"message_ids": ["x"] * 1001}),
        ("message_ids[0]", {"message_ids": [""]}),
    ],
)
def test_get_messages_names_the_bad_field(repo: Any, people: list[Person], field: str, fields: dict[str, Any]) -> None:
    with refused("INVALID_ARGUMENT", field):
        repo.GetMessages(**({"conversation_id": group(people[0])} | fields))


def test_get_messages_knows_the_default_page_and_refuses_unknown_conversations(repo: Any, people: list[Person]) -> None:
    ann, room = people[0], group(people[0])
    sent = [ann.send(room, str(n)).message_id for n in range(51)]
    answer = repo.GetMessages(conversation_id=room)
    assert (len(answer.messages), answer.total) == (50, 51)
    assert repo.GetMessages(conversation_id=room, message_ids=sent * 3).total == 51
    for message_ids in ([], sent):
        with refused("NOT_FOUND", "conversation_id"):
            repo.GetMessages(conversation_id="unknown", message_ids=message_ids)


@pytest.mark.parametrize(
    ("steps", "status"),
    [([2], 2), ([3], 3), ([2, 3], 3), ([3, 2], 3), ([3, 3], 3), ([4], 4), ([4, 4], 4), ([4, 2, 3], 4), ([2, 4], 4)],
)
def test_a_status_moves_forward_only(repo: Any, people: list[Person], steps: list[int], status: int) -> None:
    ann, ben, *_ = people
    message_id = ann.send(group(ann, ben)).message_id
    for step in steps:
        actor = ann if step == 4 else ben
        assert repo.UpdateMessageStatus(message_id=message_id, user_id=actor.id, status=step).success
    assert shown(repo, message_id).status == status


@pytest.mark.parametrize("status", [-1, 0, 1, 6])
def test_other_statuses_cannot_be_set(repo: Any, people: list[Person], status: int) -> None:
    with refused("INVALID_ARGUMENT", "status"):
        repo.UpdateMessageStatus(
            message_id=people[0].send(people[1].id).message_id, user_id=people[0].id, status=status
        )


def test_a_status_change_names_a_participant_and_a_message(repo: Any, people: list[Person]) -> None:
    ann, ben, cem, _ = people
    room = group(ann, ben)
    message_id = ann.send(room).message_id
    for status in (2, 3, 4, 5):
        with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
            repo.UpdateMessageStatus(message_id=message_id, user_id=cem.id, status=status)
        with refused("INVALID_ARGUMENT", "user_id"):
            repo.UpdateMessageStatus(message_id=message_id, status=status)
        with refused("INVALID_ARGUMENT", "message_id"):
            repo.UpdateMessageStatus(user_id=ann.id, status=status)
        for unknown in ("garbage", ids.message(room, 2), ids.message("unknown", 1)):
            with refused("NOT_FOUND", "message_id"):
                repo.UpdateMessageStatus(message_id=unknown, user_id=ann.id, status=status)
    assert shown(repo, message_id).status == 1


def test_status_read_moves_the_read_position_of_that_user(repo: Any, people: list[Person]) -> None:
    ann, ben, cem, _ = people
    room = group(ann, ben, cem)
    first, second, _ = (ann.send(room, word).message_id for word in ("1", "2", "3"))
    repo.UpdateMessageStatus(message_id=second, user_id=ben.id, status=3)
    repo.UpdateMessageStatus(message_id=first, user_id=ben.id, status=3)
    repo.UpdateMessageStatus(message_id=second, user_id=cem.id, status=2)
    counts = []
    for person in (ben, cem):
        counts += [i.unread_count for i in person.GetUnreadMessages().conversations if i.conversation_id == room]
    assert counts == [1, 3]


def test_the_sender_cannot_make_a_message_look_read_by_its_recipient(app: Deployment, repo: Any) -> None:
    ann, ben = app.people(2)
    message_id = ann.send(ben.id).message_id
    repo.UpdateMessageStatus(message_id=message_id, user_id=ann.id, status=3)
    assert ben.GetUnreadMessages().total_count == 1
    assert shown(repo, message_id).status < 3


@pytest.fixture(scope="module")
def managed(app: Deployment, people: list[Person]) -> dict[str, Person]:
    """Who is who in the groups that `managed_group` makes."""
    ann, ben, cem, dora = people
    return {"owner": ann, "admin": ben, "sender": cem, "member": dora, "outsider": app.person()}


def managed_group(repo: Any, managed: dict[str, Person]) -> str:
    room = group(managed["owner"], managed["admin"], managed["sender"], managed["member"])
    repo.UpdateGroupMemberRole(group_id=room, user_id=managed["admin"].id, role="admin")
    return room


@pytest.mark.parametrize("status", [4, 5])
def test_the_sender_and_managers_of_the_group_withdraw_a_message(
    repo: Any, managed: dict[str, Person], status: int
) -> None:
    room = managed_group(repo, managed)
    for who in ("member", "outsider"):
        message_id = managed["sender"].send(room, "keep").message_id
        with refused("PERMISSION_DENIED"):
            repo.UpdateMessageStatus(message_id=message_id, user_id=managed[who].id, status=status)
        assert shown(repo, message_id).content == "keep"
    for who in ("sender", "owner", "admin"):
        message_id = managed["sender"].send(room, "take back").message_id
        assert repo.UpdateMessageStatus(message_id=message_id, user_id=managed[who].id, status=status).success
        left = shown(repo, message_id)
        assert left is None if status == 5 else (left.status, left.content) == (4, "")


@pytest.mark.parametrize("status", [4, 5])
def test_in_a_one_to_one_conversation_the_sender_alone_withdraws(repo: Any, people: list[Person], status: int) -> None:
    ann, ben, *_ = people
    message_id = ann.send(ben.id, "mine").message_id
    with refused("PERMISSION_DENIED", reason="NOT_THE_SENDER"):
        repo.UpdateMessageStatus(message_id=message_id, user_id=ben.id, status=status)
    assert shown(repo, message_id).content == "mine"
    repo.UpdateMessageStatus(message_id=message_id, user_id=ann.id, status=status)


def test_a_recalled_message_stays_in_its_place_without_content_and_metadata(repo: Any, people: list[Person]) -> None:
    ann, ben, *_ = people
    room = group(ann, ben)
    message_id = ann.send(room, "secret", message_type="file", metadata={"name": "secret.pdf"}).message_id
    ann.send(room, "after")
    repo.UpdateMessageStatus(message_id=message_id, user_id=ann.id, status=4)
    _, recalled = ben.GetMessageHistory(conversation_id=room).messages
    assert (recalled.message_id, recalled.from_user_id, recalled.message_type) == (message_id, ann.id, "file")
    assert (recalled.status, recalled.content, dict(recalled.metadata)) == (4, "", {})
    assert recalled.updated_at >= recalled.created_at
    assert shown(repo, message_id) == recalled


def test_a_deleted_message_is_absent_everywhere(repo: Any, people: list[Person]) -> None:
    ann, ben, *_ = people
    room = group(ann, ben)
    first, second, third = (ann.send(room, word).message_id for word in ("1", "2", "3"))
    for message_id in (first, third):
        assert repo.DeleteMessage(message_id=message_id, user_id=ann.id).success
    page = ben.GetMessageHistory(conversation_id=room, limit=1)
    assert ([message.message_id for message in page.messages], page.has_more) == ([second], False)
    before = ben.GetMessageHistory(conversation_id=room, before_message_id=third).messages
    assert [message.message_id for message in before] == [second]
    assert repo.GetMessages(conversation_id=room).total == 1
    assert [i.unread_count for i in ben.GetUnreadMessages().conversations if i.conversation_id == room] == [1]


def test_a_message_is_deleted_once_even_when_it_was_recalled(repo: Any, people: list[Person]) -> None:
    ann = people[0]
    message_id = ann.send(people[1].id).message_id
    repo.UpdateMessageStatus(message_id=message_id, user_id=ann.id, status=4)
    repo.DeleteMessage(message_id=message_id, user_id=ann.id)
    with refused("NOT_FOUND", "message_id"):
        repo.DeleteMessage(message_id=message_id, user_id=ann.id)
    for status in (2, 3, 4, 5):
        with refused("NOT_FOUND", "message_id"):
            repo.UpdateMessageStatus(message_id=message_id, user_id=ann.id, status=status)


def test_the_last_message_follows_withdrawals(repo: Any, people: list[Person]) -> None:
    ann, ben, *_ = people
    room = group(ann, ben)
    first, second = (ann.send(room, word).message_id for word in ("1", "2"))

    def last() -> tuple[str, str, str]:
        (info,) = (i for i in ben.GetConversations().conversations if i.conversation_id == room)
        plain = repo.GetConversation(conversation_id=room).conversation.last_message
        assert info.HasField("last_message") == bool(info.last_message.message_id)
        return info.last_message.message_id, info.last_message.content, plain

    assert last() == (second, "2", "2")
    repo.UpdateMessageStatus(message_id=second, user_id=ann.id, status=4)
    assert last() == (second, "", "")
    repo.DeleteMessage(message_id=second, user_id=ann.id)
    assert last() == (first, "1", "1")
    repo.DeleteMessage(message_id=first, user_id=ann.id)
    assert last() == ("", "", "")
