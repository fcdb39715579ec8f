"""Receipts: who has received and who has read a message, in groups of every size, and who is told."""

from functools import partial

import grpc

from gochat.api.repo.v1 import repo_pb2
from gochat.bench.seed import Room, fill
from gochat.domain.limits import MAX_RECEIPTS
from gochat.internal.change.v1 import change_pb2
from gochat.internal.conversation.v1 import conversation_pb2 as conversation_store_pb2
from gochat.internal.store.v1 import store_pb2
from gochat.storage.database import Database, Tx
from tests.conversations import conversation_of, group
from tests.harness import Deployment, Person, as_service, refused
from tests.repo.test_query_counts import Handlers
from tests.repo.test_races import together
from tests.repo.test_states import MISSING, events
from tests.streams import listening

SENT, DELIVERED, READ = 1, 2, 3


def receipts(reader: Person, message_id: str) -> dict[str, int]:
    """Statuses by user, which the numbers agree with."""
    answer = reader.GetReceipts(message_id=message_id)
    statuses = [receipt.status for receipt in answer.receipts]
    assert statuses == sorted(statuses, reverse=True)
    assert answer.read_count == statuses.count(READ)
    assert answer.delivered_count == len(statuses) - statuses.count(SENT)
    assert answer.recipient_count == len(statuses)
    found = {receipt.user_id: receipt.status for receipt in answer.receipts}
    assert len(found) == len(statuses)
    return found


def test_receipts_follow_positions(app: Deployment) -> None:
    ann, ben, cem, dan = app.people(4)
    for room in (group(ann, ben, cem, dan), group(ann, ben, cem, dan, *app.people(9))):
        first, second = ann.send(room).message_id, ann.send(room).message_id
        events(ben).Acknowledge(message_ids=[second])
        events(cem).Acknowledge(message_ids=[first])
        events(cem).Acknowledge(message_ids=[second])
        events(cem).Acknowledge(message_ids=[first])  # never back
        cem.MarkMessageRead(conversation_id=room, message_id=first)
        people = {ben.id, cem.id, dan.id}
        of_first = {user: status for user, status in receipts(ann, first).items() if user in people}
        assert of_first == {ben.id: DELIVERED, cem.id: READ, dan.id: SENT}
        of_second = {user: status for user, status in receipts(ben, second).items() if user in people}
        assert of_second == {ben.id: DELIVERED, cem.id: DELIVERED, dan.id: SENT}
        assert ann.id not in receipts(dan, first)
        dan.send(room)  # who sends has read
        assert receipts(ann, first)[dan.id] == receipts(ann, second)[dan.id] == READ
        # In lists nothing of a group shows as delivered or read.
        assert {message.status for message in ann.GetMessageHistory(conversation_id=room).messages} == {SENT}
    told = ann.send(ben.id).message_id
    assert receipts(ann, told) == {ben.id: SENT}
    events(ben).Acknowledge(message_ids=[told])
    assert receipts(ann, told) == receipts(ben, told) == {ben.id: DELIVERED}
    ben.MarkMessageRead(conversation_id=conversation_of(told), message_id=told)
    assert receipts(ann, told) == {ben.id: READ}


def test_late_joiners_are_no_recipients_and_leavers_none_any_more(app: Deployment) -> None:
    ann, ben, cem, dan = app.people(4)
    room = group(ann, ben, cem)
    first = ann.send(room).message_id
    dan.JoinGroup(group_id=room)
    second = ann.send(room).message_id
    assert set(receipts(dan, first)) == {ben.id, cem.id}
    assert set(receipts(ann, second)) == {ben.id, cem.id, dan.id}
    ben.MarkMessageRead(conversation_id=room, message_id=second)
    ben.LeaveGroup(group_id=room)
    ann.RemoveGroupMember(group_id=room, user_id=cem.id)
    assert receipts(ann, first) == {}
    assert receipts(ann, second) == {dan.id: SENT}
    ben.JoinGroup(group_id=room)  # is a newcomer
    ann.AddGroupMember(group_id=room, user_ids=[cem.id])
    third = ann.send(room).message_id
    assert receipts(ann, second) == {dan.id: SENT}
    assert set(receipts(ann, third)) == {ben.id, cem.id, dan.id}
    as_service(app).repo.UpdateUser(user_id=cem.id, status=3)
    assert set(receipts(ann, third)) == {ben.id, dan.id}
    told = ann.send(dan.id).message_id
    dan.MarkMessageRead(conversation_id=conversation_of(told), message_id=told)
    as_service(app).repo.UpdateUser(user_id=dan.id, status=3)
    assert receipts(ann, told) == {}, "who is deleted is no recipient, as in a group"
    as_service(app).repo.UpdateUser(user_id=dan.id, status=1)
    assert receipts(ann, told) == {dan.id: READ}


def test_receipts_are_for_those_who_see_the_message(app: Deployment) -> None:
    ann, ben, cem = app.people(3)
    room = group(ann, ben)
    pair = conversation_of(ann.send(ben.id))
    for where in (room, pair):
        hidden, deleted = ann.send(where).message_id, ann.send(where).message_id
        recalled = ann.send(where).message_id
        repo = as_service(app).repo
        repo.DeleteMessage(message_id=deleted, user_id=ann.id)
        repo.UpdateMessageStatus(message_id=recalled, user_id=ann.id, status=4)
        assert set(receipts(ben, recalled)) == {ben.id}  # it is still there
        with refused("NOT_FOUND", "message_id"):
            cem.GetReceipts(message_id=hidden)
        for reader in (ann, ben):
            with refused("NOT_FOUND", "message_id"):
                reader.GetReceipts(message_id=deleted)
            for seq in (0, 9, 10**11):
                with refused("NOT_FOUND", "message_id"):
                    reader.GetReceipts(message_id=f"{where}-{seq:012}")
        with refused("NOT_FOUND", "message_id"):
            ben.DeleteMessage(message_id=recalled)
            ben.GetReceipts(message_id=recalled)
        ben.DeleteConversation(conversation_id=where)
        with refused("NOT_FOUND", "message_id"):
            ben.GetReceipts(message_id=hidden)
        assert receipts(ann, hidden) == {ben.id: READ}
        with refused("PERMISSION_DENIED", reason="NOT_YOURSELF"):
            cem.GetReceipts(message_id=hidden, user_id=ann.id)
        with refused("INVALID_ARGUMENT", "user_id"):
            as_service(app).conversation.GetReceipts(message_id=hidden)
        with refused("NOT_FOUND", "message_id"):
            as_service(app).conversation.GetReceipts(message_id=hidden, user_id=cem.id)
        assert as_service(app).conversation.GetReceipts(message_id=hidden, user_id=ann.id).recipient_count == 1
    sent = ann.send(room).message_id
    ben.LeaveGroup(group_id=room)
    with refused("NOT_FOUND", "message_id"):
        ben.GetReceipts(message_id=sent)
    ann.LeaveGroup(group_id=room)
    with refused("NOT_FOUND", "message_id"):
        ann.GetReceipts(message_id=sent)
    for nothing in ("nonsense", "g" + MISSING + "-000000000001", sent + "0"):
        with refused("NOT_FOUND", "message_id"):
            ann.GetReceipts(message_id=nothing)
    with refused("INVALID_ARGUMENT", "message_id"):
        ann.GetReceipts()


def test_acknowledging_in_a_group_is_told_to_nobody(app: Deployment) -> None:
    ann, ben = app.people(2)
    room = group(ann, ben)
    with listening(app, ann.metadata) as sender, listening(app, ben.metadata) as own:
        message_id = ann.send(room).message_id
        events(ben).Acknowledge(message_ids=[message_id])
        assert receipts(ann, message_id) == {ben.id: DELIVERED}
        ann.send(room, "last")
        for each in (sender, own):
            each.until(lambda each: "last" in each.contents)
            assert "delivered" not in each.kinds


def test_racing_acknowledgements_keep_the_newest(app: Deployment) -> None:
    ann, ben = app.people(2)
    rooms = [group(ann, ben) for _ in range(6)]
    pair = conversation_of(ann.send(ben.id))
    sent = {where: [ann.send(where).message_id for _ in range(4)] for where in (*rooms, pair)}
    orders = [list(sent), list(sent)[::-1]]
    acknowledge = [
        partial(events(ben).Acknowledge, message_ids=[sent[where][number] for where in orders[number % 2]])
        for number in range(4)
    ]
    leave = [partial(ben.LeaveGroup, group_id=rooms[0]), partial(ann.send, rooms[1])]
    answers = together([*acknowledge, *leave])
    assert {answer for answer in answers if isinstance(answer, grpc.StatusCode)} <= {
        grpc.StatusCode.PERMISSION_DENIED  # of the group that ben has left
    }
    events(ben).Acknowledge(message_ids=[messages[-1] for where, messages in sent.items() if where != rooms[0]])
    for where in (*rooms[1:], pair):
        assert [receipts(ann, message_id) for message_id in sent[where]] == [{ben.id: DELIVERED}] * 4


def test_beyond_1000_members_there_are_numbers_alone(database: Database) -> None:
    do = Handlers(database)
    fill(database, MAX_RECEIPTS + 1, [Room("group", range(MAX_RECEIPTS), 1)])  # all but the last one
    people = database.read(lambda tx: tx.fetch_all("SELECT user_id FROM users ORDER BY username_key"))
    ann, ben, *crowd = (user_id for (user_id,) in people)
    ((room,),) = database.read(lambda tx: tx.fetch_all("SELECT conversation_id FROM conversations"))

    def sent() -> str:
        send = repo_pb2.CreateMessageRequest(conversation_id=room, from_user_id=ann, content="x")
        return str(do.CreateMessage(send).message_id)

    def asked(message_id: str) -> tuple[int, int, int, int]:
        request = {"user_id": ann, "request": {"message_id": message_id}}
        answer = do.GetReceipts(conversation_store_pb2.GetReceiptsRequest(**request))
        return answer.read_count, answer.delivered_count, answer.recipient_count, len(answer.receipts)

    first = sent()
    do.Acknowledge(change_pb2.AcknowledgeRequest(user_id=ben, message_ids=[first]))
    assert asked(first) == (0, 1, MAX_RECEIPTS - 1, MAX_RECEIPTS - 1)
    do.AddGroupMember(repo_pb2.AddGroupMemberRequest(group_id=room, user_id=crowd[-1]))
    second = sent()
    do.Acknowledge(change_pb2.AcknowledgeRequest(user_id=ben, message_ids=[second]))
    assert asked(first) == (0, 0, MAX_RECEIPTS - 1, 0)
    assert asked(second) == (0, 0, MAX_RECEIPTS, 0)
    do.MarkRead(store_pb2.MarkReadRequest(conversation_id=room, user_id=ben, message_id=first))
    assert (asked(first), asked(second)) == ((1, 1, MAX_RECEIPTS - 1, 0), (0, 0, MAX_RECEIPTS, 0))
    do.RemoveGroupMember(repo_pb2.RemoveGroupMemberRequest(group_id=room, user_id=crowd[0]))
    assert asked(second) == (0, 0, MAX_RECEIPTS - 1, MAX_RECEIPTS - 1)


def test_members_from_before_the_column_count_by_time(database: Database) -> None:
    do = Handlers(database)
    ann, ben, cem = (
        do.CreateUser(repo_pb2.CreateUserRequest(username=f"user{number}", password="x")).user_id for number in range(3)
    )
    create = store_pb2.CreateGroupRequest(name="g", owner_id=ann, member_ids=[ben, cem])
    room = do.CreateGroup(create).group.group_id
    send = repo_pb2.CreateMessageRequest(conversation_id=room, from_user_id=ann, content="x")
    message = do.CreateMessage(send).message

    def joined(tx: Tx) -> None:
        tx.sql("UPDATE members SET joined_seq = -1, joined_at = ? WHERE user_id = ?", message.created_at, ben)
        tx.sql("UPDATE members SET joined_seq = -1, joined_at = ? WHERE user_id = ?", message.created_at + 1, cem)

    database.write(joined)
    request = {"user_id": ann, "request": {"message_id": message.message_id}}
    answer = do.GetReceipts(conversation_store_pb2.GetReceiptsRequest(**request))
    assert [receipt.user_id for receipt in answer.receipts] == [ben]
