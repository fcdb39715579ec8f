"""Reads and read positions of many clients at the same moment, which share a round trip to PostgreSQL: each gets what
it would get alone."""

from contextlib import closing
from types import SimpleNamespace
from typing import Any, cast

import grpc
import psycopg2
import pytest

from gochat.api.logic.v1 import logic_pb2 as pb
from gochat.context import SERVICE, Call
from gochat.errors import internal
from gochat.logic.users import Users
from tests.conftest import Own
from tests.conversations import group
from tests.harness import Deployment, Person
from tests.streams import listening

TIMES = 15


@pytest.fixture(scope="module")
def world(app: Deployment) -> "World":
    return World(app)


class World:
    """ann and ben are in a group with messages; eve is in none. Groups of 2 are small, those of 12 are not."""

    def __init__(self, app: Deployment) -> None:
        self.app = app
        self.ann, self.ben, self.eve, *others = app.people(13)
        self.small, self.large = group(self.ann, self.ben), group(self.ann, self.ben, *others)
        self.sent = {room: [self.ann.send(room, str(n)).message_id for n in range(5)] for room in self.rooms}

    @property
    def rooms(self) -> tuple[str, str]:
        return self.small, self.large

    def begin(self, person: Person, rpc: str, **fields: Any) -> Any:
        request = getattr(pb, f"{rpc}Request")(**fields)
        return getattr(self.app.logic, rpc).future(request, metadata=person.metadata, timeout=30)


def outcome(call: Any) -> Any:
    try:
        return call.result()
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        return error.code(), error.details()


def cases(world: World) -> list[tuple[Person, str, dict[str, Any]]]:
    ann, ben, eve = world.ann, world.ben, world.eve
    history = [
        {"conversation_id": world.small},
        {"conversation_id": world.small, "limit": 2},
        {"conversation_id": world.large, "limit": 200},
        {"conversation_id": world.small, "before_message_id": world.sent[world.small][2]},
        {"conversation_id": world.small, "before_message_id": world.sent[world.large][2]},
        {"conversation_id": "none"},
        {"conversation_id": ""},
        {"conversation_id": world.small, "limit": 201},
    ]
    return [
        *((each, "GetUserProfile", {"user_id": ann.id}) for each in (ann, ben, eve)),
        *((ann, "GetUserProfile", {"user_id": user_id}) for user_id in ("", "nobody", "x" * 200)),
        *((each, "GetMessageHistory", fields) for each in (ann, eve) for fields in history),
        *((each, rpc, {}) for each in (ann, ben, eve) for rpc in ("GetConversations", "GetUnreadMessages")),
        *((eve, rpc, {"user_id": ann.id}) for rpc in ("GetConversations", "GetUnreadMessages")),
        (ann, "GetConversations", {"pagination": {"page": 2, "limit": 1}}),
        (ann, "GetConversations", {"pagination": {"limit": 101}}),
    ]


def test_each_read_gets_what_it_would_get_alone(world: World) -> None:
    wanted = cases(world)
    alone = [outcome(world.begin(person, rpc, **fields)) for person, rpc, fields in wanted]
    assert {code for code, _ in (each for each in alone if isinstance(each, tuple))} == {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.PERMISSION_DENIED,
    }
    for _ in range(TIMES):
        running = [world.begin(person, rpc, **fields) for person, rpc, fields in wanted]
        assert [outcome(call) for call in running] == alone


def test_each_reads_in_their_own_name(world: World) -> None:
    room, ids, small = world.large, world.sent[world.large], world.sent[world.small]
    with listening(world.app, world.ben.metadata) as listener:
        running = [
            world.begin(world.ben, "MarkMessageRead", conversation_id=room, message_id=ids[0]),
            world.begin(world.eve, "MarkMessageRead", conversation_id=room, message_id=ids[0]),
            world.begin(
                world.ben, "MarkMessageRead", conversation_id=world.small, message_id=world.sent[world.small][1]
            ),
            world.begin(world.ben, "MarkMessageRead", conversation_id=room, message_id=f"{room}-999999999999"),
            world.begin(world.ben, "MarkMessageRead", conversation_id=room, message_id=ids[3]),
        ]
        assert [call.exception() and call.code() for call in running] == [
            None,
            grpc.StatusCode.PERMISSION_DENIED,
            None,
            grpc.StatusCode.NOT_FOUND,
            None,
        ]
        listener.until(lambda each: {ids[3], small[1]} <= set(read_in(each)))
        read = [event for event in listener.events if event.HasField("read")]
        assert {(event.actor_id, event.read.user_id) for event in read} == {(world.ben.id, world.ben.id)}
    unread = {each.conversation_id: each.unread_count for each in world.ben.GetUnreadMessages().conversations}
    assert unread == {world.small: 3, world.large: 1}


def read_in(listener: Any) -> list[str]:
    return [event.read.message_id for event in listener.events if event.HasField("read")]


def test_calls_are_made_alone_where_the_repo_half_is_older() -> None:
    def refuse(_: Any) -> Any:
        raise internal("NOT_OFFERED")

    store = cast("Any", SimpleNamespace(CallTogether=refuse))
    calls = [(Call(SERVICE, "-", 0.0), pb.GetUserProfileRequest(user_id=each)) for each in ("u1", "u2")]
    assert Users(store).batch_GetUserProfile(calls) == [None, None]


def test_a_locked_row_holds_up_its_own_reader_alone(own: Own) -> None:
    app = own("postgres")
    world = World(app)
    with closing(psycopg2.connect(app.url)) as other:
        locked = "SELECT 1 FROM members WHERE conversation_id = %s AND user_id = %s FOR UPDATE"
        other.cursor().execute(locked, (world.small, world.ben.id))
        waiting = world.begin(
            world.ben, "MarkMessageRead", conversation_id=world.small, message_id=world.sent[world.small][0]
        )
        for message_id in world.sent[world.large]:
            assert world.ann.MarkMessageRead(conversation_id=world.large, message_id=message_id).success
        assert not waiting.done()
        other.rollback()
        assert waiting.result().success
