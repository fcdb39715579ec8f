"""Sending and history. Read positions and unread counts are in tests/repo/test_conversations.py."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from gochat.domain import ids
from tests.conversations import contents, group, single
from tests.harness import Deployment, Person, as_service, refused

KIB16 = 16 * 1024
TYPES = ("text", "image", "file", "audio", "video", "location", "custom")


@pytest.fixture(scope="module")
def trio(app: Deployment) -> list[Person]:
    """Three who share conversations with each other; tests make groups of their own of them."""
    return app.people(3)


@pytest.fixture(scope="module")
def admin(app: Deployment) -> Person:
    return app.person("admin", admin=True)


def send_some(sender: Person, to: str, number: int) -> list[str]:
    """The ids of messages "1", "2", ..."""
    return [sender.send(to, str(n)).message_id for n in range(1, number + 1)]


def test_a_first_message_makes_the_one_conversation_of_two_users(app: Deployment) -> None:
    ann, ben = app.people(2)
    ann.send(ben.id, "one")
    ben.send(ann.id, "two")
    conversation_id = single(ann, ben)
    ann.send(conversation_id, "three")
    for person, other in ((ann, ben), (ben, ann)):
        (info,) = person.GetConversations().conversations
        assert (info.conversation_id, info.type) == (conversation_id, "single")
        assert contents(person, conversation_id) == ["three", "two", "one"]
        assert single(person, other) == conversation_id


def test_the_answer_and_the_history_agree(trio: list[Person]) -> None:
    ann, ben, _ = trio
    answer = ann.send(ben.id, "héllo 你好", message_type="image", metadata={"width": "640", "名": "图"})
    message = ben.GetMessageHistory(conversation_id=single(ben, ann), limit=1).messages[0]
    assert (message.message_id, message.created_at) == (answer.message_id, answer.created_at)
    assert (message.conversation_id, message.from_user_id, message.to_user_id) == (single(ann, ben), ann.id, ben.id)
    assert (message.content, message.message_type, message.status) == ("héllo 你好", "image", 1)
    assert dict(message.metadata) == {"width": "640", "名": "图"}
    assert message.updated_at == message.created_at > 0


def test_conversation_and_recipient_may_both_be_named_if_they_agree(trio: list[Person]) -> None:
    ann, ben, cem = trio
    pair, room = single(ann, ben), group(ann, ben)
    ann.SendMessage(conversation_id=pair, to_user_id=ben.id, content="agreed")
    assert contents(ben, pair, limit=1) == ["agreed"]
    for conversation_id, to_user_id in ((pair, cem.id), (pair, ann.id), (pair, "unknown"), (room, ben.id)):
        with refused("INVALID_ARGUMENT", "to_user_id"):
            ann.SendMessage(conversation_id=conversation_id, to_user_id=to_user_id, content="at odds")
    assert contents(ben, pair, limit=1) == ["agreed"]


def test_a_message_needs_a_valid_destination(app: Deployment, trio: list[Person]) -> None:
    ann, ben, _ = trio
    with refused("INVALID_ARGUMENT", "conversation_id"):
        ann.SendMessage(content="hello")
    with refused("INVALID_ARGUMENT", "to_user_id"):
        ann.SendMessage(to_user_id=ann.id, content="hello, me")
    gone = app.create_user()
    as_service(app).repo.UpdateUser(user_id=gone, status=3)
    for to_user_id in ("unknown", gone):
        with refused("NOT_FOUND", "to_user_id"):
            ann.SendMessage(to_user_id=to_user_id, content="hello")
    with refused("NOT_FOUND", "conversation_id", "CONVERSATION_NOT_FOUND"):
        ann.SendMessage(conversation_id="unknown", content="hello")
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        ann.SendMessage(conversation_id=group(ben), content="hello")


def test_only_admins_and_services_send_for_another(app: Deployment, trio: list[Person], admin: Person) -> None:
    ann, ben, cem = trio
    room = group(ann, ben)
    with refused("PERMISSION_DENIED", reason="NOT_YOURSELF"):
        ann.SendMessage(from_user_id=ben.id, conversation_id=room, content="as Ben")
    ann.SendMessage(from_user_id=ann.id, conversation_id=room, content="as myself")
    for caller in (as_service(app).logic, admin):
        caller.SendMessage(from_user_id=ben.id, conversation_id=room, content="for Ben")
        with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
            caller.SendMessage(from_user_id=cem.id, conversation_id=room, content="for Cem")
    with refused("INVALID_ARGUMENT", "from_user_id"):
        as_service(app).logic.SendMessage(conversation_id=room, content="for nobody")
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        admin.SendMessage(conversation_id=room, content="as an admin who is not in it")
    sent = ann.GetMessageHistory(conversation_id=room).messages
    assert [message.from_user_id for message in sent] == [ben.id, ben.id, ann.id]


def test_services_alone_send_system_messages(app: Deployment, trio: list[Person], admin: Person) -> None:
    ann, ben, _ = trio
    room = group(ann, ben)
    for caller in (ann, admin):
        with refused("PERMISSION_DENIED", reason="SYSTEM_MESSAGE"):
            caller.SendMessage(from_user_id=caller.id, conversation_id=room, content="hi", message_type="system")
    as_service(app).logic.SendMessage(from_user_id=ann.id, conversation_id=room, content="hi", message_type="system")
    (message,) = ben.GetMessageHistory(conversation_id=room).messages
    assert message.message_type == "system"


def test_message_types_are_known_and_text_is_the_default(trio: list[Person]) -> None:
    ann, room = trio[0], group(trio[0])
    for kind in ("", *TYPES):
        ann.send(room, "x", message_type=kind)
    kinds = [message.message_type for message in ann.GetMessageHistory(conversation_id=room).messages]
    assert kinds == [*reversed(TYPES), "text"]
    for kind in ("TEXT", "unknown", " text"):
        with refused("INVALID_ARGUMENT", "message_type"):
            ann.send(room, "x", message_type=kind)


@pytest.mark.parametrize("content", ["", "a" * (KIB16 + 1), "é" * (KIB16 // 2) + "a", "😀" * (KIB16 // 4 + 1), "a\0b"])
def test_content_that_is_empty_too_long_or_has_nul_is_refused(trio: list[Person], content: str) -> None:
    with refused("INVALID_ARGUMENT", "content"):
        trio[0].send(trio[1].id, content)


@pytest.mark.parametrize("content", ["a" * KIB16, "é" * (KIB16 // 2), "😀" * (KIB16 // 4), " ", "\x01\n\u202e%s\\'\""])
def test_content_of_up_to_16_kib_comes_back_as_it_is(trio: list[Person], content: str) -> None:
    ann, room = trio[0], group(trio[0])
    ann.send(room, content)
    assert contents(ann, room) == [content]


@pytest.mark.parametrize(
    ("field", "metadata"),
    [
        ("metadata", {str(n): "" for n in range(33)}),
        ("metadata", {"k" * 65: ""}),
        ("metadata", {"é" * 33: ""}),
        ("metadata", {"k\0": ""}),
        ("metadata", {"": "value"}),
        ("metadata", {"k": "v" * 4096}),
        ("metadata", {"k": "é" * 2048}),
        ("metadata[k]", {"k": "nul\0"}),
        ("metadata[client_msg_id]", {"client_msg_id": ""}),
        ("metadata[client_msg_id]", {"client_msg_id": "c" * 129}),
    ],
)
def test_metadata_beyond_its_limits_is_refused(trio: list[Person], field: str, metadata: dict[str, str]) -> None:
    with refused("INVALID_ARGUMENT") as refusal:
        trio[0].send(trio[1].id, metadata=metadata)
    (named,) = refusal.fields or ()
    assert named.startswith(field)


@pytest.mark.parametrize(
    "metadata",
    [{f"k{n}": "" for n in range(32)}, {"é" * 32: "v" * 4032}, {"k": "é" * 2047 + "x"}, {"client_msg_id": "é" * 64}],
)
def test_metadata_within_its_limits_comes_back_as_it_is(trio: list[Person], metadata: dict[str, str]) -> None:
    ann, room = trio[0], group(trio[0])
    ann.send(room, metadata=metadata)
    assert dict(ann.GetMessageHistory(conversation_id=room).messages[0].metadata) == metadata


def test_a_repeated_client_msg_id_gets_the_first_answer(app: Deployment) -> None:
    ann, ben = app.people(2)
    key = {"client_msg_id": "key"}
    first = ann.send(ben.id, "hello", metadata=key)
    for again in (
        ann.send(ben.id, "hello", metadata=key),
        ann.send(single(ann, ben), "hello", metadata=key),
        ann.send(ben.id, "hello", message_type="text", metadata=key | {"attempt": "2"}),
        as_service(app).logic.SendMessage(from_user_id=ann.id, to_user_id=ben.id, content="hello", metadata=key),
    ):
        assert again == first
    assert contents(ben, single(ann, ben)) == ["hello"]
    following = ann.send(ben.id, "next").message_id
    assert [ids.parse_message(message_id) for message_id in (first.message_id, following)] == [
        (single(ann, ben), 1),
        (single(ann, ben), 2),
    ]


def test_a_client_msg_id_is_not_for_other_content_or_another_type(trio: list[Person]) -> None:
    ann, room = trio[0], group(trio[0])
    first = ann.send(room, "hello", metadata={"client_msg_id": "key"})
    for fields in ({"content": "hello!"}, {"content": "hello", "message_type": "custom"}):
        with refused("ALREADY_EXISTS", "metadata", "CLIENT_MSG_ID_REUSED"):
            ann.SendMessage(conversation_id=room, metadata={"client_msg_id": "key"}, **fields)
    assert ann.send(room, "hello", metadata={"client_msg_id": "key"}) == first
    assert contents(ann, room) == ["hello"]


def test_a_client_msg_id_belongs_to_one_sender_in_one_conversation(trio: list[Person]) -> None:
    ann, ben, _ = trio
    rooms = group(ann, ben), group(ann, ben)
    for room in rooms:
        for sender in (ann, ben):
            sender.send(room, f"by {sender.id}", metadata={"client_msg_id": "key"})
    for room in rooms:
        assert contents(ann, room) == [f"by {ben.id}", f"by {ann.id}"]


def test_racing_repeats_make_one_message_and_racing_first_messages_one_conversation(app: Deployment) -> None:
    ann, ben = app.people(2)

    def send(number: int) -> str:
        sender, to = (ann, ben) if number % 2 else (ben, ann)
        return str(sender.send(to.id, "hello", metadata={"client_msg_id": str(number // 4)}).message_id)

    with ThreadPoolExecutor(8) as threads:
        sent = set(threads.map(send, range(16)))
    history = ann.GetMessageHistory(conversation_id=single(ann, ben)).messages
    assert {message.message_id for message in history} == sent
    assert [ids.parse_message(message.message_id) for message in history] == [
        (single(ann, ben), seq) for seq in range(8, 0, -1)
    ]


def test_history_is_newest_first_and_has_more_is_exact(trio: list[Person]) -> None:
    ann, ben, _ = trio
    room = group(ann, ben)
    empty = ben.GetMessageHistory(conversation_id=room)
    assert (list(empty.messages), empty.has_more) == ([], False)
    sent = send_some(ann, room, 5)
    assert sent == sorted(sent)
    for before, limit, expected, has_more in (
        ("", 0, "54321", False),
        ("", 5, "54321", False),
        ("", 4, "5432", True),
        ("", 200, "54321", False),
        (sent[4], 2, "43", True),
        (sent[2], 1, "2", True),
        (sent[2], 2, "21", False),
        (sent[1], 1, "1", False),
        (sent[0], 1, "", False),
    ):
        page = ben.GetMessageHistory(conversation_id=room, before_message_id=before, limit=limit)
        assert ("".join(m.content for m in page.messages), page.has_more) == (expected, has_more), (before, limit)


def test_a_page_of_history_is_50_unless_asked_and_200_at_most(trio: list[Person]) -> None:
    ann, room = trio[0], group(trio[0])
    send_some(ann, room, 51)
    page = ann.GetMessageHistory(conversation_id=room)
    assert (len(page.messages), page.has_more) == (50, True)
    for limit in (-1, 201):
        with refused("INVALID_ARGUMENT", "limit"):
            ann.GetMessageHistory(conversation_id=room, limit=limit)


def test_a_cursor_is_a_message_of_the_conversation(trio: list[Person]) -> None:
    ann, ben, _ = trio
    room = group(ann, ben)
    sent = ann.send(room).message_id
    for cursor in (
        "garbage", "-", f"{room}-", f"{room}-1", f"{room}-000000000000", f"{room}-00000000000１", f"{sent} ",
        ids.message(room, 2), ann.send(group(ann)).message_id, ann.send(ben.id).message_id,
    ):  # fmt: skip
        with refused("INVALID_ARGUMENT", "before_message_id"):
            ben.GetMessageHistory(conversation_id=room, before_message_id=cursor)


def test_history_is_for_participants_admins_and_services(app: Deployment, trio: list[Person], admin: Person) -> None:
    ann, ben, cem = trio
    room = group(ann, ben)
    ann.send(room, "secret")
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        cem.GetMessageHistory(conversation_id=room)
    for reader in (ben, admin, as_service(app).logic):
        assert contents(reader, room) == ["secret"]
    for reader in (ben, admin, as_service(app).logic):
        with refused("NOT_FOUND", "conversation_id"):
            reader.GetMessageHistory(conversation_id="unknown")
    with refused("INVALID_ARGUMENT", "conversation_id"):
        ben.GetMessageHistory()
