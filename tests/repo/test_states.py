"""What a client reads that begins or has missed something: its state and messages in order; and saying what it has."""

import base64
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from gochat.api.event.v1 import event_pb2, event_pb2_grpc
from gochat.api.repo.v1 import repo_pb2
from tests.conftest import DIAGONAL
from tests.conversations import conversation_of, group, history, seq_of, seqs, single
from tests.harness import Deployment, Person, as_service, caller, refused

MISSING = "m" * 20
DELETED_USER = 3


class Events:
    """Calls of EventService as this person, or with the metadata of a service."""

    def __init__(self, app: Deployment, metadata: Any) -> None:
        self._stub, self._metadata = event_pb2_grpc.EventServiceStub(app.channel), metadata

    def __getattr__(self, rpc: str) -> Any:
        return caller(self._stub, event_pb2, "EventService", rpc, self._metadata)


def events(person: Person) -> Events:
    return Events(person.app, person.metadata)


def pages(reader: Events, **fields: Any) -> Iterator[event_pb2.GetStateResponse]:
    token, more = "", True
    while more:
        page = reader.GetState(page_token=token, **fields)
        yield page
        token = page.next_page_token
        more = bool(token)


def states(reader: Events, **fields: Any) -> dict[str, event_pb2.ConversationState]:
    found = [state for page in pages(reader, **fields) for state in page.conversations]
    assert [one.info.conversation_id < other.info.conversation_id for one, other in pairwise(found)] == [True] * (
        len(found) - 1
    )
    return {state.info.conversation_id: state for state in found}


def test_the_state_says_what_lists_say_and_more(app: Deployment) -> None:
    ann, ben = app.people(2)
    room = group(ann, ben)
    first = ben.send(room).message_id
    ben.send(room)
    pair = conversation_of(told := ann.send(ben.id).message_id)
    ann.MarkMessageRead(conversation_id=room, message_id=first)
    events(ben).Acknowledge(message_ids=[told])
    empty = single(ann, app.person())
    of_ann = states(events(ann))
    assert set(of_ann) == {room, pair, empty}
    listed = {one.conversation_id: one for one in ann.GetConversations().conversations}
    for conversation_id, state in of_ann.items():
        assert state.info == listed[conversation_id]
    assert (of_ann[room].role, of_ann[room].read_message_id, of_ann[room].info.unread_count) == ("owner", first, 1)
    assert (of_ann[room].peer_user_id, of_ann[room].peer_read_message_id) == ("", "")
    assert (of_ann[pair].role, of_ann[pair].peer_user_id) == ("", ben.id)
    assert (of_ann[pair].peer_read_message_id, of_ann[pair].peer_delivered_message_id) == ("", told)
    assert of_ann[pair].info.last_message.status == 2
    assert states(events(ben))[pair].peer_read_message_id == told


def test_what_is_hidden_left_or_not_opened_is_not_in_the_state(app: Deployment) -> None:
    ann, ben = app.people(2)
    hidden, left, kept = group(ann, ben), group(ann, ben), group(ann, ben)
    ann.send(hidden)
    ben.DeleteConversation(conversation_id=hidden)
    ben.LeaveGroup(group_id=left)
    single(ann, ben)  # ben is not shown it before there is a message
    assert set(states(events(ben))) == {kept}
    ann.send(hidden)
    assert set(states(events(ben))) == {kept, hidden}


def test_a_deleted_peer_stays_named(app: Deployment) -> None:
    ann, ben = app.people(2)
    pair = conversation_of(ann.send(ben.id))
    as_service(app).repo.UpdateUser(user_id=ben.id, status=DELETED_USER)
    assert states(events(ann))[pair].peer_user_id == ben.id
    with refused("NOT_FOUND", "user_id"):
        Events(app, app.service).GetState(user_id="u" + MISSING)


def test_the_cursor_is_that_of_the_first_page(app: Deployment) -> None:
    ann = app.person()
    for _ in range(5):
        group(ann)
    reader, cursors, found = events(ann), [], []
    for page in pages(reader, limit=2):
        cursors.append(page.cursor)
        found += [state.info.conversation_id for state in page.conversations]
        group(ann)  # meanwhile more happens, which the cursor's events tell
    assert len(set(cursors)) == 1
    assert len(found) == len(set(found)) >= 5
    assert reader.GetState().cursor != cursors[0]


def test_pages_have_100_unless_asked_and_at_most_500(app: Deployment) -> None:
    ann = app.person()
    reader = events(ann)
    with refused("INVALID_ARGUMENT", "limit"):
        reader.GetState(limit=501)
    with refused("INVALID_ARGUMENT", "limit"):
        reader.GetState(limit=-1)
    assert reader.GetState(limit=500).next_page_token == ""


@pytest.mark.parametrize("token", ["x", "????", "1.2", base64.urlsafe_b64encode(b"1.abc.1/g").decode(), "é", "x" * 600])
def test_a_token_that_is_none_names_its_field(app: Deployment, token: str) -> None:
    with refused("INVALID_ARGUMENT", "page_token"):
        events(app.person()).GetState(page_token=token)


def test_users_read_only_their_own_state(app: Deployment) -> None:
    ann, ben = app.people(2)
    with refused("PERMISSION_DENIED"):
        events(ann).GetState(user_id=ben.id)
    with refused("INVALID_ARGUMENT", "user_id"):
        Events(app, app.service).GetState()
    room = group(ben)
    assert set(states(Events(app, app.service), user_id=ben.id)) == {room}


def test_messages_are_listed_in_order(app: Deployment) -> None:
    ann, ben, cem = app.people(3)
    room = group(ann, ben)
    sent = [ann.send(room, str(number)).message_id for number in range(5)]
    repo = as_service(app).repo
    repo.DeleteMessage(message_id=sent[1], user_id=ann.id)
    repo.UpdateMessageStatus(message_id=sent[2], user_id=ann.id, status=4)
    page = ben.ListMessages(conversation_id=room)
    assert [detail.message for detail in page.messages] == history(ben, room)
    assert seqs(detail.message for detail in page.messages) == [1, 3, 4, 5]
    assert not page.has_more
    # From a message on, also from one that is deleted; has_more is exact.
    for after, limit, wanted, more in (
        (sent[0], 2, [3, 4], True),
        (sent[1], 3, [3, 4, 5], False),
        (sent[2], 1, [4], True),
        (sent[4], 1, [], False),
    ):
        page = ben.ListMessages(conversation_id=room, after_message_id=after, limit=limit)
        assert (seqs(detail.message for detail in page.messages), page.has_more) == (wanted, more)
    with refused("PERMISSION_DENIED"):
        cem.ListMessages(conversation_id=room)
    assert len(as_service(app).message.ListMessages(conversation_id=room).messages) == 4
    ben.DeleteConversation(conversation_id=room)
    assert not ben.ListMessages(conversation_id=room).messages
    last = ann.send(room).message_id
    assert [detail.message.message_id for detail in ben.ListMessages(conversation_id=room).messages] == [last]


def test_listing_refuses_what_is_not_there_and_names_the_field(app: Deployment) -> None:
    ann, ben = app.people(2)
    room, other = group(ann, ben), group(ann)
    foreign = ann.send(other).message_id
    ann.send(room)
    for after in (foreign, room + "-000000000009", room + "-000000000000", "nonsense"):
        with refused("INVALID_ARGUMENT", "after_message_id"):
            ann.ListMessages(conversation_id=room, after_message_id=after)
    with refused("NOT_FOUND", "conversation_id"):
        ann.ListMessages(conversation_id="g" + MISSING)
    with refused("INVALID_ARGUMENT", "conversation_id"):
        ann.ListMessages()
    with refused("INVALID_ARGUMENT", "limit"):
        ann.ListMessages(conversation_id=room, limit=201)
    as_service(app).message.SendMessages(
        messages=[{"conversation_id": room, "from_user_id": ann.id, "content": "x"}] * 200
    )
    page = ann.ListMessages(conversation_id=room, limit=200)
    assert (len(page.messages), page.has_more) == (200, True)
    assert len(ann.ListMessages(conversation_id=room).messages) == 50


def test_acknowledging_is_for_members_and_for_messages_that_there_are(app: Deployment) -> None:
    ann, ben, cem = app.people(3)
    room, other = group(ann, ben), group(cem)
    first, foreign = ann.send(room).message_id, cem.send(other).message_id
    reader = events(ben)
    assert reader.Acknowledge(message_ids=[first]).success
    with refused("PERMISSION_DENIED"):
        reader.Acknowledge(message_ids=[first, foreign])
    for missing in (room + "-000000000009", room + "-000000000000", "g" + MISSING + "-000000000001", "nonsense"):
        with refused("NOT_FOUND", "message_ids"):
            reader.Acknowledge(message_ids=[missing])
    with refused("INVALID_ARGUMENT", "message_ids"):
        reader.Acknowledge()
    with refused("INVALID_ARGUMENT", "message_ids"):
        reader.Acknowledge(message_ids=[first] * 101)
    with refused("PERMISSION_DENIED"):
        reader.Acknowledge(user_id=ann.id, message_ids=[first])
    assert Events(app, app.service).Acknowledge(user_id=ben.id, message_ids=[first] * 100).success


def statuses(app: Deployment, reader: Person, message_id: str) -> set[int]:
    """Of a message that is the newest of its conversation, wherever a client reads it."""
    place = conversation_of(message_id)
    service = as_service(app)
    listed = {one.conversation_id: one for one in reader.GetConversations().conversations}
    by_service = service.repo.GetMessages(conversation_id=place, message_ids=[message_id]).messages
    by_page = service.repo.GetMessages(conversation_id=place).messages
    found = [
        *(message for message in history(reader, place) if message.message_id == message_id),
        *(message for message in history(service.logic, place) if message.message_id == message_id),
        *(detail.message for detail in reader.ListMessages(conversation_id=place).messages[seq_of(message_id) - 1 :]),
        *by_service,
        by_page[0],
        listed[place].last_message,
        states(events(reader))[place].info.last_message,
    ]
    assert len(found) == 7
    return {message.status for message in found}


def test_delivered_shows_until_it_is_read(app: Deployment) -> None:
    ann, ben = app.people(2)
    first = ann.send(ben.id).message_id
    pair = conversation_of(first)
    assert statuses(app, ann, first) == {1}
    events(ben).Acknowledge(message_ids=[first])
    assert statuses(app, ann, first) == statuses(app, ben, first) == {2}
    (unread,) = ben.GetUnreadMessages().conversations
    assert unread.last_message.status == 2
    second = ann.send(ben.id).message_id
    assert statuses(app, ann, second) == {1}
    assert [message.status for message in history(ann, pair)] == [2, 1]
    ben.MarkMessageRead(conversation_id=pair, message_id=second)
    assert statuses(app, ann, second) == {3}
    assert [message.status for message in history(ann, pair)] == [3, 3]
    as_service(app).repo.UpdateMessageStatus(message_id=second, user_id=ann.id, status=4)
    assert statuses(app, ann, second) == {4}


def test_in_groups_nothing_shows_as_delivered(app: Deployment) -> None:
    ann, ben = app.people(2)
    sent = ann.send(group(ann, ben)).message_id
    events(ben).Acknowledge(message_ids=[sent])
    assert statuses(app, ann, sent) == {1}


@DIAGONAL
def test_a_state_of_2000_conversations_has_no_gap(app: Deployment) -> None:
    ann = app.person()
    groups = set[str]()
    for _ in range(20):
        request = repo_pb2.CreateGroupRequest(name="g", owner_id=ann.id)
        calls = [app.repo.CreateGroup.future(request, metadata=app.service, timeout=60) for _ in range(100)]
        groups |= {call.result().group_id for call in calls}
    found = list(pages(events(ann), limit=500))
    assert [len(page.conversations) for page in found] == [500] * 4
    assert {state.info.conversation_id for page in found for state in page.conversations} == groups
    assert len({page.cursor for page in found}) == 1
    assert [len(page.conversations) for page in pages(events(ann))] == [100] * 20
