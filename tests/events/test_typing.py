"""Who sees that somebody types."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gochat.api.event.v1.event_pb2 import SetTypingRequest
from gochat.api.repo.v1 import repo_pb2
from gochat.events.typing import MAX_TYPISTS, REPEAT_INTERVAL, TIMEOUT, Typing
from gochat.internal.signal.v1 import signal_pb2
from gochat.internal.store.v1 import store_pb2
from gochat.repo import activity
from gochat.storage.database import Database
from tests.conftest import Own
from tests.conversations import conversation_of, group
from tests.harness import UNLIMITED, Deployment, Person, refused
from tests.repo.test_query_counts import Handlers
from tests.streams import Listener, listening
from tests.waiting import status_of

ANN = ("room", "ann")


def set_typing(app: Deployment, metadata: Any, conversation_id: str, typing: bool = True, user_id: str = "") -> None:
    request = SetTypingRequest(conversation_id=conversation_id, typing=typing, user_id=user_id)
    assert app.event.SetTyping(request, metadata=metadata, timeout=30).success


def typing_of(listener: Listener) -> list[tuple[str, bool]]:
    return [(typing.user_id, typing.typing) for typing in listener.of_kind("typing")]


def test_it_is_news_when_it_begins_and_ends_and_every_three_seconds() -> None:
    typing = Typing()
    assert typing.set(ANN, True, 0)
    assert not typing.set(ANN, True, REPEAT_INTERVAL - 0.1)
    assert typing.set(ANN, True, REPEAT_INTERVAL)
    assert typing.set(ANN, False, 4)
    assert not typing.set(ANN, False, 5)
    assert typing.set(ANN, True, 5), "again, although 3 s have not passed since"


def test_it_expires_after_the_last_time_that_it_was_said() -> None:
    typing = Typing()
    typing.set(ANN, True, 0)
    typing.set(("room", "ben"), True, 1)
    typing.set(ANN, True, 2)
    assert typing.expire(TIMEOUT) == []
    assert typing.expire(TIMEOUT + 1) == [("room", "ben")]
    assert typing.expire(TIMEOUT + 2) == [ANN]
    assert not typing
    assert not typing.set(ANN, False, 20), "it has ended before"


def test_more_typists_than_can_be_are_not_told_of() -> None:
    typing = Typing()
    assert all(typing.set(("room", str(number)), True, 0) for number in range(MAX_TYPISTS))
    assert not typing.set(ANN, True, 0)
    assert len(typing.expire(TIMEOUT)) == MAX_TYPISTS
    assert typing.set(ANN, True, TIMEOUT)


def test_members_who_look_are_told_and_a_message_ends_it(app: Deployment) -> None:
    ann, ben, cem = app.people(3)
    room = group(ann, ben)
    with (
        listening(app, ben.metadata, typing=True) as looks,
        listening(app, ben.metadata) as does_not,
        listening(app, ann.metadata, typing=True) as own_device,
        listening(app, cem.metadata, typing=True) as no_member,
    ):
        set_typing(app, ann.metadata, room)
        looks.until(lambda each: typing_of(each) == [(ann.id, True)])
        (event,) = [event for event in looks.events if event.HasField("typing")]
        assert (event.conversation_id, event.actor_id) == (room, ann.id)
        for _ in range(5):
            set_typing(app, ann.metadata, room)
        ann.send(room, "what I typed")
        looks.until(lambda each: typing_of(each) == [(ann.id, True), (ann.id, False)])
        set_typing(app, ann.metadata, room)
        set_typing(app, ann.metadata, room, typing=False)
        looks.until(lambda each: len(typing_of(each)) == 4)
        cursor = looks.cursor
        for other in (ben, cem):
            ann.send(other.id, "marker")
        for listener in (does_not, own_device, no_member):
            listener.until(lambda each: "marker" in each.contents)
            assert typing_of(listener) == []
    with listening(app, ben.metadata, cursor=cursor, typing=True) as later:
        later.until(lambda each: "marker" in each.contents)
        assert typing_of(later) == [], "it is not kept"


def test_it_expires(own: Own) -> None:
    app = own()
    ann, ben = app.people(2)
    room = group(ann, ben)
    with listening(app, ben.metadata, typing=True) as listener:
        set_typing(app, ann.metadata, room)
        listener.until(lambda each: typing_of(each) == [(ann.id, True), (ann.id, False)])
        begun, ended = [event.at for event in listener.events if event.HasField("typing")]
        assert TIMEOUT * 1000 - 10 <= ended - begun < TIMEOUT * 1000 + 2000


def test_only_members_may_and_only_for_themselves(app: Deployment) -> None:
    ann, ben, cem = app.people(3)
    room = group(ann, ben)
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        set_typing(app, cem.metadata, room)
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        set_typing(app, cem.metadata, room)
    with refused("PERMISSION_DENIED", reason="NOT_YOURSELF"):
        set_typing(app, ann.metadata, room, user_id=ben.id)
    with refused("NOT_FOUND", "conversation_id"):
        set_typing(app, ann.metadata, "nowhere")
    with refused("INVALID_ARGUMENT", "conversation_id"):
        set_typing(app, ann.metadata, "")
    with refused("INVALID_ARGUMENT", "user_id"):
        set_typing(app, app.service, room)
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        set_typing(app, app.service, room, user_id=cem.id)
    with listening(app, ben.metadata, typing=True) as listener:
        set_typing(app, app.service, room, user_id=ann.id)
        listener.until(lambda each: typing_of(each) == [(ann.id, True)])
        ann.RemoveGroupMember(group_id=room, user_id=ben.id)
        listener.until(lambda each: "member_left" in each.kinds)
        set_typing(app, ann.metadata, room, typing=False)
        ann.send(ben.id, "marker")
        listener.until(lambda each: "marker" in each.contents)
        assert typing_of(listener) == [(ann.id, True)], "nothing follows a removal"


def test_in_a_large_conversation_nobody_sees_it(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = Handlers(database)
    ann, ben, cem = (
        handlers.CreateUser(repo_pb2.CreateUserRequest(username=name, password="x")).user_id
        for name in ("ann", "ben", "cem")
    )
    small, large = (
        handlers.CreateGroup(store_pb2.CreateGroupRequest(name="g", owner_id=ann, member_ids=others)).group.group_id
        for others in ([ben], [ben, cem])
    )
    monkeypatch.setattr(activity, "MAX_TYPING_MEMBERS", 2)
    for room, shown in ((small, True), (large, False)):
        request = signal_pb2.CheckTypingRequest(conversation_id=room, user_id=ann)
        assert handlers.CheckTyping(request).is_shown == shown


def test_a_flood_of_it_is_limited_and_leaves_sends_alone(own: Own) -> None:
    app = own(env=UNLIMITED | {"GOCHAT_LIMITS_CALLS_PER_SECOND": "20"})
    ann, ben = app.people(2)
    room = conversation_of(ann.send(ben.id))
    outcomes = [
        status_of(lambda number=number: set_typing(app, ann.metadata, room, typing=bool(number % 2)))
        for number in range(300)
    ]
    assert {*outcomes} == {"OK", "RESOURCE_EXHAUSTED"}
    assert outcomes.count("OK") < 60
    for _ in range(50):  # more than are left of all calls, if those had counted
        ann.send(room)


def test_who_goes_on_typing_does_not_flicker(own: Own) -> None:
    """However often it is said, it is shown every 3 seconds, and never that it has ended."""
    app = own()
    ann, ben, cem = app.people(3)
    room = group(ann, ben, cem)
    began = time.monotonic()
    with listening(app, cem.metadata, typing=True) as listener, ThreadPoolExecutor(4) as pool:
        for number in range(20):
            said = [pool.submit(set_typing, app, ann.metadata, room) for _ in range(20)]
            ben.send(room, f"{number}")
            for each in said:
                each.result()
        set_typing(app, ann.metadata, room, typing=False)
        listener.until(lambda each: typing_of(each)[-1:] == [(ann.id, False)] and len(each.contents) == 20)
        *going_on, _ = typing_of(listener)
        assert set(going_on) == {(ann.id, True)}
        assert len(going_on) <= 1 + (time.monotonic() - began) / REPEAT_INTERVAL
        assert listener.contents == [f"{number}" for number in range(20)]


@pytest.mark.parametrize("layout", ["postgres-split"])
def test_a_flood_of_many_costs_no_event(own: Own, layout: str) -> None:
    """Ten people type in turns without pause, each in a burst; what is sent meanwhile comes, in order and once."""
    app = own(layout)
    people: list[Person] = app.people(10)
    room = group(*people)
    with listening(app, people[0].metadata, typing=True) as listener:
        for number in range(40):
            for person in people[1:]:
                set_typing(app, person.metadata, room, typing=bool(number % 2))
            people[1].send(room, f"{number}")
        listener.until(lambda each: len(each.contents) == 40)
        assert listener.contents == [f"{number}" for number in range(40)]
