"""SendMessages: many messages in one request. Who may call it is in tests/attacks/test_access.py."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gochat.api.logic.v1.logic_pb2 import SendMessageRequest
from gochat.api.message.v1.message_pb2 import SendMessagesRequest
from gochat.api.repo.v1.repo_pb2 import CreateMessageRequest
from gochat.internal.store.v1.store_pb2 import StoreMessagesRequest
from tests.conftest import Own
from tests.conversations import conversation_of, group, history, seqs, single
from tests.harness import Deployment, Person, as_service, refused
from tests.waiting import eventually, started

KIB16 = 16 * 1024
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def trio(app: Deployment) -> list[Person]:
    return app.people(3)


def message(where: str, content: str, key: str = "", **fields: Any) -> SendMessageRequest:
    """where: a conversation id or a user id."""
    to = {"to_user_id" if where.startswith("u") else "conversation_id": where}
    return SendMessageRequest(**{"content": content, "metadata": {"client_msg_id": key} if key else {}} | to | fields)


def send(sender: Any, *messages: SendMessageRequest) -> list[Any]:
    return list(sender.SendMessages(messages=messages).results)


def reasons(results: list[Any]) -> list[str]:
    """ "" for what was sent."""
    assert all(bool(result.message_id and result.created_at) != result.HasField("error") for result in results)
    return [result.error.details["reason"] if result.HasField("error") else "" for result in results]


def test_each_message_has_its_outcome_at_its_index(trio: list[Person]) -> None:
    ann, ben, cem = trio
    rooms = [group(ann, ben), group(ann, cem)]
    texts = [f"{n} 你好 '\"\\ %s ? {{}}\n\u2028 \N{GRINNING FACE}" for n in range(40)]
    results = send(ann, *(message(rooms[n % 2], text) for n, text in enumerate(texts)))
    assert reasons(results) == [""] * 40
    for parity, room in enumerate(rooms):
        messages = history(ann, room)
        assert [one.content for one in messages] == texts[parity::2]
        assert [(one.message_id, one.created_at) for one in messages] == [
            (result.message_id, result.created_at) for result in results[parity::2]
        ]
        assert seqs(messages) == list(range(1, 21))


def test_a_bulk_send_stores_what_single_sends_store(trio: list[Person]) -> None:
    ann, ben, _ = trio
    for where in (group(ann, ben), ben.id):
        rich = {"message_type": "image", "metadata": {"width": "640", "名": "图"}}
        sent = [ann.send(where, "x", **rich), ann.send(where, "y")]
        sent += send(ann, message(where, "x", **rich), message(where, "y"))
        messages = history(ben, conversation_of(sent[0]))[-4:]
        assert [(one.message_id, one.created_at) for one in messages] == [(s.message_id, s.created_at) for s in sent]
        for one in messages:
            for field in ("message_id", "created_at", "updated_at"):
                one.ClearField(field)
        assert messages[:2] == messages[2:]


def test_the_one_to_one_conversation_is_found_or_made(app: Deployment) -> None:
    ann, ben, cem = app.people(3)
    results = send(ann, message(ben.id, "1"), message(cem.id, "2"), message(ben.id, "3"))
    assert reasons(results) == ["", "", ""]
    assert [m.content for m in history(ben, single(ben, ann))] == ["1", "3"]
    send(ben, message(ann.id, "4"), message(single(ann, ben), "5"), message(single(ann, ben), "6", to_user_id=ann.id))
    messages = history(ann, single(ann, ben))
    assert [m.content for m in messages] == ["1", "3", "4", "5", "6"]
    assert [m.to_user_id for m in messages] == [ben.id, ben.id, ann.id, ann.id, ann.id]
    both = [message(ann.id, "7", from_user_id=cem.id), message(cem.id, "8", from_user_id=ann.id)]
    assert reasons(send(as_service(app).message, *both)) == ["", ""]
    assert [m.content for m in history(cem, single(cem, ann))] == ["2", "7", "8"]


UNKNOWN_USER, UNKNOWN_GROUP = "u00000000000000000000000000", "g00000000000000000000000000"


def test_a_bad_message_is_not_sent_and_spoils_no_other(trio: list[Person]) -> None:
    ann, ben, cem = trio
    room, foreign = group(ann, ben), group(cem)
    send(ann, message(room, "first", "used"))
    bad = {
        ("INVALID_FIELD", "content", 1001): message(room, ""),
        ("INVALID_FIELD", "content ", 1001): message(room, "a\0b"),
        ("INVALID_FIELD", "content  ", 1001): message(room, "é" * (KIB16 // 2) + "x"),
        ("INVALID_FIELD", "message_type", 1001): message(room, "x", message_type="poem"),
        ("INVALID_FIELD", "metadata[client_msg_id]", 1001): message(room, "x", "k" * 129),
        ("INVALID_FIELD", "conversation_id", 1001): SendMessageRequest(content="x"),
        ("INVALID_FIELD", "to_user_id", 1001): message(ann.id, "x"),
        ("INVALID_FIELD", "to_user_id ", 1001): message(room, "x", to_user_id=ben.id),
        ("SYSTEM_MESSAGE", "", 1003): message(room, "x", message_type="system"),
        ("NOT_YOURSELF", "", 1003): message(room, "x", from_user_id=ben.id),
        ("NOT_A_PARTICIPANT", "", 1003): message(foreign, "x"),
        ("CONVERSATION_NOT_FOUND", "conversation_id", 1004): message(UNKNOWN_GROUP, "x"),
        ("USER_NOT_FOUND", "to_user_id", 1004): message(UNKNOWN_USER, "x"),
        ("CLIENT_MSG_ID_REUSED", "metadata", 1006): message(room, "other", "used"),
    }
    mixed = [one for each in bad.values() for one in (each, message(room, "good"))]
    results = send(ann, *mixed)
    assert reasons(results[1::2]) == [""] * len(bad)
    assert reasons(results[::2]) == [reason for reason, _, _ in bad]
    for place, (result, (reason, field, code)) in enumerate(zip(results[::2], bad, strict=True)):
        name = f"messages[{2 * place}].{field.strip()}"
        assert result.error.code == code, reason
        assert set(result.error.details) == ({"reason", name} if field else {"reason"})
        if reason == "INVALID_FIELD":
            assert result.error.message.startswith(f"{name} must "), result.error.message
    messages = history(ann, room)
    assert [one.content for one in messages] == ["first"] + ["good"] * len(bad)
    assert seqs(messages) == list(range(1, len(bad) + 2))
    with refused("NOT_FOUND"):
        ann.GetMessageHistory(conversation_id=UNKNOWN_GROUP)


def test_a_repeated_request_returns_the_first_answers(trio: list[Person]) -> None:
    ann, ben, _ = trio
    room = group(ann, ben)
    messages = [message((room, ben.id)[n % 2], f"{n}", f"{room}{n}") for n in range(30)]
    half = send(ann, *messages[:11])
    whole = send(ann, *messages)
    assert whole[:11] == half
    assert reasons(whole) == [""] * 30
    assert send(ann, *messages) == whole
    assert [ann.SendMessage(**{f.name: v for f, v in one.ListFields()}).message_id for one in messages] == [
        result.message_id for result in whole
    ]
    assert [m.content for m in history(ben, room)] == [f"{n}" for n in range(0, 30, 2)]
    others_key = send(ben, message(room, "mine", f"{room}0"))
    assert reasons(others_key) == [""], "a key is one sender's"


def test_a_client_msg_id_that_comes_twice_in_a_request_is_one_message(trio: list[Person]) -> None:
    ann, ben, _ = trio
    room = group(ann, ben)
    results = send(ann, message(room, "a", "k"), message(room, "a", "k"), message(room, "b", "k"), message(room, "c"))
    assert reasons(results) == ["", "", "CLIENT_MSG_ID_REUSED", ""]
    assert results[0] == results[1]
    assert [(m.content, m.metadata["client_msg_id"]) for m in history(ben, room)] == [("a", "k"), ("c", "")]


def test_racing_bulk_and_single_sends_leave_no_gap(app: Deployment) -> None:
    people = app.people(4)
    ann, ben, *_ = people
    room = group(ann, *people[1:])
    start = threading.Barrier(8)

    def bulk(sender: Person, tag: str) -> list[str]:
        start.wait()
        sent = []
        for part in range(5):
            keys = [f"{tag}{part}.{n}" for n in range(40)]
            wheres = [room if n % 4 else (ben if sender is ann else ann).id for n in range(40)]
            both = [message(where, key, key) for where, key in zip(wheres, keys, strict=True)]
            sent += [result.message_id for result in send(sender, *both)]
        return sent

    def one_by_one(sender: Person, tag: str) -> list[str]:
        start.wait()
        return [sender.send(room, f"{tag}{n}", metadata={"client_msg_id": f"{tag}{n}"}).message_id for n in range(40)]

    with ThreadPoolExecutor(8) as pool:
        racing = [pool.submit(bulk, one, "bulk") for one in people for _ in "ab"[: 2 if one is ann else 1]]
        racing += [pool.submit(one_by_one, one, "single") for one in people[:3]]
        answers = [future.result(timeout=60) for future in racing]
    assert answers[0] == answers[1], "the same keys, racing, were sent once"
    messages = history(ann, room)
    assert seqs(messages) == list(range(1, 4 * 5 * 30 + 3 * 40 + 1))
    assert {m.message_id for m in messages} == {i for sent in answers for i in sent if i.startswith(room)}
    for answer in answers:
        own = [message_id for message_id in answer if message_id.startswith(room)]
        assert own == sorted(own)
    by_place = [(m.from_user_id, m.content.partition(".")[0]) for m in messages if "." in m.content]
    assert all(len(set(by_place[n : n + 30])) == 1 for n in range(0, len(by_place), 30)), "a request is in one piece"
    pair = history(ann, single(ann, ben))
    assert seqs(pair) == list(range(1, len(pair) + 1))
    assert len(pair) == 100


def test_read_positions_are_as_if_sent_one_by_one(app: Deployment) -> None:
    ann, ben, cem = people = app.people(3)
    room = group(ann, ben, cem)
    ann.send(room, "before")
    senders = [ben, ann, ben, ann, ann]
    send(as_service(app).message, *(message(room, f"{n}", from_user_id=one.id) for n, one in enumerate(senders)))
    assert [one.GetUnreadMessages().total_count for one in people] == [0, 2, 6]
    (info,) = cem.GetConversations().conversations
    assert (info.last_message.content, info.unread_count, info.updated_at) == ("4", 6, info.last_message.created_at)
    key = message(room, "again", "key")
    send(cem, key)
    send(ann, message(room, "newer"))
    send(cem, key)
    assert cem.GetUnreadMessages().total_count == 1, "a repeat reads nothing"


def test_a_request_is_limited_in_messages_and_bytes(app: Deployment, trio: list[Person]) -> None:
    ann, ben, _ = trio
    room = group(ann, ben)
    assert reasons(send(ann, *(message(room, f"{n}") for n in range(1000)))) == [""] * 1000
    for wrong in (0, 1001):
        with refused("INVALID_ARGUMENT", "messages", "INVALID_FIELD"):
            send(ann, *[message(room, "x")] * wrong)
        with refused("INVALID_ARGUMENT", "messages", "INVALID_FIELD"):
            app.store.StoreMessages(
                StoreMessagesRequest(messages=[CreateMessageRequest()] * wrong), metadata=app.service
            )
    # In the whole of a largest request, and not a byte more; the repo half takes it with the names of all senders.
    count = 1000
    share = MIB // count - message(room, "").ByteSize() - 6
    largest = [message(room, "x" * share) for _ in range(count)]
    largest[-1].content += "x" * (MIB - sum(one.ByteSize() + 3 for one in largest) - 10)
    assert MIB - 100 < sum(one.ByteSize() + 3 for one in largest) <= MIB
    assert reasons(send(ann, *largest)) == [""] * count
    largest[0].content += "x" * 200
    with pytest.raises(Exception, match="RESOURCE_EXHAUSTED"):
        send(ann, *largest)
    assert reasons(send(ann, message(room, "x" * KIB16), message(room, "x" * (KIB16 + 1)))) == ["", "INVALID_FIELD"]
    (newest,) = ann.GetMessageHistory(conversation_id=room, limit=1).messages
    assert newest.message_id.endswith("-000000002001")


def test_each_message_is_judged_by_its_own_sender(app: Deployment, trio: list[Person]) -> None:
    ann, ben, cem = trio
    room = group(ann, ben)
    admin = app.person("admin", admin=True)
    named = [message(room, one.username, from_user_id=one.id) for one in (ann, ben, cem)] + [message(room, "nobody's")]
    assert reasons(send(ann, *named)) == ["", "NOT_YOURSELF", "NOT_YOURSELF", ""]
    assert reasons(send(admin, *named)) == ["", "", "NOT_A_PARTICIPANT", "NOT_A_PARTICIPANT"]
    service = as_service(app).message
    assert reasons(send(service, *named)) == ["", "", "NOT_A_PARTICIPANT", "INVALID_FIELD"]
    system = message(room, "x", from_user_id=ann.id, message_type="system")
    assert [reasons(send(one, system)) for one in (ann, admin, service)] == [["SYSTEM_MESSAGE"]] * 2 + [[""]]
    names = [ann.id, ann.id, ann.id, ben.id, ann.id, ben.id, ann.id]
    assert [m.from_user_id for m in history(ann, room)] == names
    ann.RemoveGroupMember(group_id=room, user_id=ben.id)
    assert reasons(send(ben, message(room, "x"), message(ann.id, "y"))) == ["NOT_A_PARTICIPANT", ""]


def test_each_message_counts_against_the_rate_limit(own: Own, mode: str) -> None:
    app = own(mode, env={"GOCHAT_LIMITS_SENDS_PER_SECOND": "0.4", "GOCHAT_LIMITS_CALLS_PER_SECOND": "0"})
    ann, ben = app.people(2)
    room = group(ann, ben)
    with refused("INVALID_ARGUMENT", "messages", "SENDS_LIMITED"):
        send(ann, *[message(room, "x")] * 3)
    assert reasons(send(ann, *[message(room, "x")] * 2)) == ["", ""]
    with refused("RESOURCE_EXHAUSTED", reason="SENDS_LIMITED") as refusal:
        send(ann, message(room, "x"), message(room, "x"))
    assert 2500 < int(refusal.response.details["retry_after_ms"]) <= 5000
    with refused("RESOURCE_EXHAUSTED", reason="SENDS_LIMITED"):
        ann.send(room)
    assert len(history(ben, room)) == 2
    service = as_service(app).message
    assert reasons(send(service, *[message(room, "x", from_user_id=ann.id)] * 20)) == [""] * 20


def test_a_repeat_completes_what_a_crash_interrupted(own: Own, mode: str) -> None:
    app = own(mode)
    ann, *friends = app.people(5)
    first, rest = (
        [message(friends[n % 4].id, f"{n}", f"{n}") for n in part] for part in (range(600), range(600, 1600))
    )
    sent = send(ann, *first)
    request = SendMessagesRequest(messages=rest)
    hanging = app.message.SendMessages.future(request, metadata=ann.metadata, timeout=30)
    eventually(lambda: started(app.processes[0], "SendMessages") == 2)
    app.kill()
    assert hanging.code() is not None
    app.start()
    assert send(ann, *first) == sent
    assert reasons(send(ann, *rest)) == [""] * 1000
    for number, friend in enumerate(friends):
        messages = history(ann, single(ann, friend))
        assert [m.content for m in messages] == [f"{n}" for n in range(number, 1600, 4)]
        assert seqs(messages) == list(range(1, 401))


def test_what_is_usual_is_stored_past_locks_and_the_rest_left(app: Deployment) -> None:
    ann, ben, cem = app.people(3)
    room = group(ann, ben)
    ann.send(room, "before", metadata={"client_msg_id": "old"})

    def of(sender: Person, **fields: Any) -> CreateMessageRequest:
        return CreateMessageRequest(**{"from_user_id": sender.id, "conversation_id": room, "content": "x"} | fields)

    asked = [
        of(ann),
        of(cem),
        of(ben, metadata={"client_msg_id": "new"}),
        of(ann, metadata={"client_msg_id": "old"}),
        of(ann, conversation_id="", to_user_id=cem.id),
        of(ann, conversation_id="nowhere"),
        of(ann, content=""),
        of(ben, content="last"),
    ]
    request = StoreMessagesRequest(messages=asked, skip_locked=True)
    results = app.store.StoreMessages(request, metadata=app.service).results
    message_ids = [result.message_id for result in results]
    assert [bool(message_id) for message_id in message_ids] == [True, False, True, False, False, False, False, True]
    assert all(bool(result.created_at) == bool(result.message_id) for result in results)
    assert not any(result.HasField("error") for result in results)
    assert {one.message_id for one in history(ann, room)[1:]} == {
        message_id for message_id in message_ids if message_id
    }
    assert seqs(history(ann, room)) == [1, 2, 3, 4]
    with refused("NOT_FOUND", "conversation_id", "CONVERSATION_NOT_FOUND"):
        ann.send("nowhere")
    assert cem.GetConversations().pagination.total == 0
