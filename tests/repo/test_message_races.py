"""Many who act on one message: counts and limits are exact, and what is recalled stays so."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
import pytest

from gochat.api.message.v1 import message_pb2, message_pb2_grpc
from gochat.domain.limits import MAX_PINS, MAX_REACTIONS
from tests.conversations import conversation_of, group, unread
from tests.harness import Deployment, Person, caller, new_connection
from tests.repo.test_races import together

CROWD = 50


class Acting:
    """A person on a connection of their own; RPCs of MessageService."""

    def __init__(self, app: Deployment) -> None:
        self.person: Person = app.person()
        self.id, self.channel = self.person.id, new_connection(app.address)
        self._stub = message_pb2_grpc.MessageServiceStub(self.channel)

    def __getattr__(self, rpc: str) -> Callable[..., Any]:
        return caller(self._stub, message_pb2, "MessageService", rpc, self.person.metadata)


@pytest.fixture(scope="module")
def crowd(app: Deployment) -> Iterator[list[Acting]]:
    with ThreadPoolExecutor(4) as pool:
        people = list(pool.map(lambda _: Acting(app), range(CROWD)))
    yield people
    for one in people:
        one.channel.close()


def refusals(answers: list[Any]) -> int:
    codes = [answer for answer in answers if isinstance(answer, grpc.StatusCode)]
    assert set(codes) <= {grpc.StatusCode.PERMISSION_DENIED}
    return len(codes)


def test_reactions_of_a_crowd_are_counted_exactly(crowd: list[Acting]) -> None:
    owner = crowd[0].person
    sent = owner.send(group(*(one.person for one in crowd))).message_id
    assert refusals(together(partial(one.AddReaction, message_id=sent, reaction="👍") for one in crowd)) == 0
    (thumbs,) = owner.GetMessage(message_id=sent).message.reactions
    assert (thumbs.count, thumbs.mine, len(thumbs.user_ids)) == (CROWD, True, 10)
    who = [one.user_id for one in owner.ListReactions(message_id=sent, limit=200).reactions]
    assert sorted(who) == sorted(one.id for one in crowd)
    assert list(thumbs.user_ids) == who[:10]
    acts = [
        *(partial(one.RemoveReaction, message_id=sent, reaction="👍") for one in crowd[:25]),
        *(partial(one.AddReaction, message_id=sent, reaction="🎉") for one in crowd[25:]),
    ]
    assert refusals(together(acts)) == 0
    found = owner.GetMessage(message_id=sent).message.reactions
    assert {one.reaction: one.count for one in found} == {"👍": 25, "🎉": 25}
    rest = [one.user_id for one in owner.ListReactions(message_id=sent, limit=200).reactions if one.reaction == "👍"]
    assert list(found[0].user_ids) == rest[:10]


def test_kinds_of_a_crowd_end_at_the_limit(crowd: list[Acting]) -> None:
    owner = crowd[0].person
    sent = owner.send(group(*(one.person for one in crowd))).message_id
    for number in range(MAX_REACTIONS - 20):
        owner.AddReaction(message_id=sent, reaction=f":old{number}:")
    answers = together(
        partial(one.AddReaction, message_id=sent, reaction=f":new{number}:") for number, one in enumerate(crowd)
    )
    assert refusals(answers) == CROWD - 20
    assert len(owner.GetMessage(message_id=sent).message.reactions) == MAX_REACTIONS
    assert len(owner.ListReactions(message_id=sent, limit=200).reactions) == MAX_REACTIONS


def test_one_user_reacts_once_however_often_at_a_time(crowd: list[Acting]) -> None:
    one = crowd[0]
    sent = one.person.send(crowd[1].id).message_id
    assert refusals(together([partial(one.AddReaction, message_id=sent, reaction="👍")] * 10)) == 0
    assert [each.count for each in one.GetMessage(message_id=sent).message.reactions] == [1]


def test_pins_at_the_limit_end_there(crowd: list[Acting]) -> None:
    one, other = crowd[:2]
    sent = [one.person.send(other.id).message_id for _ in range(MAX_PINS + 10)]
    for message_id in sent[: MAX_PINS - 10]:
        one.PinMessage(message_id=message_id)
    answers = together(
        partial((one, other)[number % 2].PinMessage, message_id=message_id)
        for number, message_id in enumerate(sent[MAX_PINS - 10 :])
    )
    assert len(answers) == 20
    assert refusals(answers) == 10
    pinned = one.ListPinnedMessages(conversation_id=conversation_of(sent[0])).messages
    assert len(pinned) == MAX_PINS


def test_what_is_recalled_is_not_edited_back(crowd: list[Acting]) -> None:
    one, other = crowd[4:6]
    for _ in range(10):
        sent = one.person.send(other.id, "before").message_id
        edit, recall, *_ = together(
            [
                partial(one.EditMessage, message_id=sent, content="after"),
                partial(one.RecallMessage, message_id=sent),
                partial(other.AddReaction, message_id=sent, reaction="👍"),
                partial(other.PinMessage, message_id=sent),
            ]
        )
        assert not isinstance(recall, grpc.StatusCode)
        assert not isinstance(edit, grpc.StatusCode) or edit is grpc.StatusCode.INVALID_ARGUMENT
        found = other.GetMessage(message_id=sent).message
        assert (found.message.status, found.message.content, found.edited_at) == (4, "", 0)
        assert not found.reactions
        assert not found.HasField("pin")
        assert not one.ListVersions(message_id=sent).versions
    assert not one.ListPinnedMessages(conversation_id=conversation_of(sent)).messages


def test_deletions_for_oneself_beside_reading_leave_exact_counts(crowd: list[Acting]) -> None:
    reader, writer = crowd[2], crowd[3].person
    room = conversation_of(writer.send(reader.id, "0"))
    for _ in range(5):
        sent = [writer.send(room, str(number)).message_id for number in range(8)]
        together(
            [
                *(partial(reader.DeleteMessage, message_id=message_id) for message_id in sent[1::2]),
                partial(reader.person.MarkMessageRead, conversation_id=room, message_id=sent[3]),
                partial(writer.send, room, "last"),
            ]
        )
        assert unread(reader.person, room) == 3, "4, 6 and the last"
        shown = reader.person.GetMessageHistory(conversation_id=room, limit=5).messages
        assert [message.content for message in shown] == ["last", "6", "4", "2", "0"]
