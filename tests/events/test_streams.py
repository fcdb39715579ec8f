"""What streams are told, and that they go on from where they were: by the contract of event.proto."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from gochat.api.event.v1 import event_pb2
from tests.conftest import Own
from tests.conversations import conversation_of, group, single, unread
from tests.harness import Deployment, as_service, refused
from tests.streams import listening, received
from tests.waiting import eventually


def is_of(event: event_pb2.Event, sent: Any) -> bool:
    return event.message_sent.message.message_id == sent.message_id


def test_a_message_is_told_to_those_in_the_conversation_and_to_nobody_else(app: Deployment) -> None:
    ann, ben, cem = app.people(3)
    with (
        listening(app, ann.metadata) as of_ann,
        listening(app, ben.metadata) as of_ben,
        listening(app, cem.metadata) as of_cem,
    ):
        sent = ann.send(ben.id, "hello", metadata={"k": "v"})
        for listener in (of_ann, of_ben):
            (message,) = [one.message for one in listener.until(received(1)).of_kind("message_sent")]
            assert (message.message_id, message.from_user_id, message.content) == (sent.message_id, ann.id, "hello")
            assert (message.to_user_id, dict(message.metadata), message.status) == (ben.id, {"k": "v"}, 1)
            assert "conversation_updated" in listener.kinds[: listener.kinds.index("message_sent")]
        cem.send(ann.id, "to ann")
        of_cem.until(received(1))
        assert of_cem.contents == ["to ann"], "all before it in the log was not for them"


def test_a_stream_goes_on_from_its_cursor(app: Deployment) -> None:
    ann, ben = app.people(2)
    room = group(ann, ben)
    with listening(app, ben.metadata) as listener:
        assert not listener.responses[0].ready.resumed
        ann.send(room, "one")
        cursor = listener.until(received(1)).cursor
    for content in ("two", "three"):
        ann.send(room, content)
    for _ in range(2):  # as often as it asks
        with listening(app, ben.metadata, cursor=cursor) as listener:
            assert listener.responses[0].ready.resumed
            assert listener.until(received(2)).contents == ["two", "three"]
    with listening(app, ben.metadata, cursor=listener.cursor) as listener:
        ann.send(room, "four")
        assert listener.until(received(1)).contents == ["four"]


def test_every_act_is_told(app: Deployment) -> None:
    ann, ben, cem = app.people(3)
    service = as_service(app)
    with listening(app, ann.metadata) as of_ann, listening(app, ben.metadata) as of_ben:
        room = group(ann, ben)
        sent = ann.send(room)
        ben.MarkMessageRead(conversation_id=room, message_id=sent.message_id)
        ann.UpdateGroup(group_id=room, name="renamed")
        cem.JoinGroup(group_id=room)
        service.repo.UpdateGroupMemberRole(group_id=room, user_id=cem.id, role="admin")
        cem.LeaveGroup(group_id=room)
        service.repo.UpdateMessageStatus(message_id=sent.message_id, user_id=ann.id, status=4)
        gone = ann.send(room)
        service.repo.DeleteMessage(message_id=gone.message_id, user_id=ann.id)
        of_ben.until(lambda each: "message_deleted" in each.kinds)  # not sent to who has hidden it
        ben.UpdateUserProfile(nickname="Ben")
        ben.DeleteConversation(conversation_id=room)
        of_ben.until(lambda each: "conversation_hidden" in each.kinds)
        # What was deleted before it was told is told as deleted alone.
        kinds = [kind for kind, event in zip(of_ben.kinds, of_ben.events, strict=True) if not is_of(event, gone)]
        assert kinds == [
            *("conversation_updated", "message_sent", "read", "group_updated", "conversation_updated"),
            *("member_joined", "member_updated", "member_left", "message_updated"),
            *("message_deleted", "profile_updated", "read", "conversation_hidden"),
        ]
        read, _ = of_ben.of_kind("read")
        assert (read.user_id, read.message_id, read.unread_count) == (ben.id, sent.message_id, 0)
        assert of_ben.of_kind("group_updated")[0].group.name == "renamed"
        assert of_ben.of_kind("member_joined")[0].member.user_id == cem.id
        assert of_ben.of_kind("member_updated")[0].member.role == "admin"
        (left,) = of_ben.of_kind("member_left")
        assert (left.user_id, left.reason) == (cem.id, event_pb2.MemberLeft.REASON_LEFT)
        assert of_ben.of_kind("message_updated")[-1].message.status == 4
        assert of_ben.of_kind("message_deleted")[0].message_id == gone.message_id
        assert of_ben.of_kind("profile_updated")[0].profile.nickname == "Ben"
        ann.send(ben.id, "over")
        of_ann.until(lambda each: "over" in each.contents)
        assert not {"read", "conversation_hidden", "profile_updated"} & set(of_ann.kinds), "of another user"


def test_positions_in_a_one_to_one_conversation_are_told_to_both(app: Deployment) -> None:
    ann, ben = app.people(2)
    first, second = (ann.send(ben.id).message_id for _ in range(2))
    place = conversation_of(first)
    with listening(app, ann.metadata) as of_ann, listening(app, ben.metadata) as of_ben:
        ben.Acknowledge(message_ids=[first, second])
        ben.MarkMessageRead(conversation_id=place, message_id=first)
        (delivered,) = of_ann.until(lambda each: each.of_kind("read")).of_kind("delivered")
        assert (delivered.user_id, delivered.message_id) == (ben.id, second)
        (read,) = of_ann.of_kind("read")
        assert (read.user_id, read.message_id, read.unread_count) == (ben.id, first, 0)
        (own,) = of_ben.until(lambda each: each.of_kind("read")).of_kind("read")
        assert (own.message_id, own.unread_count) == (first, 1)
        assert own.unread_count == unread(ben, place)
        assert not of_ben.of_kind("delivered")


def test_who_joins_is_told_from_then_on_and_who_leaves_until_then(app: Deployment) -> None:
    """Also when it is read later, from a cursor."""
    ann, ben, cem = app.people(3)
    room = group(ann, cem)

    def act() -> None:
        ann.send(room, "before")
        ben.JoinGroup(group_id=room)
        ann.send(room, "within")
        ann.RemoveGroupMember(group_id=room, user_id=ben.id)
        ann.send(room, "after")
        ann.send(ben.id, "marker")

    with listening(app, ben.metadata) as live:
        cursor = live.cursor
        act()
        live.until(lambda each: "marker" in each.contents)
    with listening(app, ben.metadata, cursor=cursor) as later:
        later.until(lambda each: "marker" in each.contents)
    for listener in (live, later):
        assert listener.contents == ["within", "marker"]
        (left,) = listener.of_kind("member_left")
        assert (left.user_id, left.reason) == (ben.id, event_pb2.MemberLeft.REASON_REMOVED)


def test_what_was_recalled_meanwhile_is_not_told(app: Deployment) -> None:
    ann, ben = app.people(2)
    room = group(ann, ben)
    with listening(app, ben.metadata) as listener:
        cursor = listener.cursor
    sent, gone = ann.send(room, "secret words").message_id, ann.send(room, "more secret words").message_id
    as_service(app).repo.UpdateMessageStatus(message_id=sent, user_id=ann.id, status=4)
    as_service(app).repo.DeleteMessage(message_id=gone, user_id=ann.id)
    with listening(app, ben.metadata, cursor=cursor) as listener:
        listener.until(lambda each: each.of_kind("message_deleted"))
        (recalled,) = listener.of_kind("message_sent")
        assert (recalled.message.message_id, recalled.message.content, recalled.message.status) == (sent, "", 4)
        assert b"secret words" not in b"".join(each.SerializeToString() for each in listener.responses)


def test_two_devices_agree(app: Deployment) -> None:
    ann, ben = app.people(2)
    other = app.signed_in(ann.id, ann.username)
    with listening(app, ann.metadata) as one, listening(app, other.metadata) as two:
        place = conversation_of(ben.send(ann.id, "hello"))
        newest = ben.send(ann.id, "again").message_id
        other.MarkMessageRead(conversation_id=place, message_id=newest)
        ann.send(ben.id, "mine")
        other.DeleteConversation(conversation_id=place)
        for listener in (one, two):
            listener.until(lambda each: "conversation_hidden" in each.kinds)
        assert one.kinds == two.kinds
        assert one.of_kind("read")[0].unread_count == 0


def test_a_service_is_told_everything_or_what_concerns_one_user(app: Deployment) -> None:
    ann, ben, cem = app.people(3)
    with listening(app, app.service) as everything, listening(app, app.service, user_id=ben.id) as of_ben:
        ann.send(cem.id, "not for ben")
        ann.send(ben.id, "for ben")
        assert of_ben.until(received(1)).contents == ["for ben"]
        everything.until(lambda each: "for ben" in each.contents)
        assert "not for ben" in everything.contents
    with refused("PERMISSION_DENIED", reason="NOT_YOURSELF"):
        next(iter(app.event.Subscribe(event_pb2.SubscribeRequest(user_id=ben.id), metadata=ann.metadata)))
    with refused("NOT_FOUND", "user_id"):
        next(iter(app.event.Subscribe(event_pb2.SubscribeRequest(user_id="nobody"), metadata=app.service)))


def test_streams_that_open_while_others_send_miss_nothing(app: Deployment) -> None:
    """A send at each step of an opening: told once, in order."""
    ann, ben = app.people(2)
    room = group(ann, ben)
    with listening(app, ben.metadata) as listener:
        cursor = listener.cursor
    with ThreadPoolExecutor(3) as pool, ExitStack() as streams:
        sends = [pool.submit(ann.send, room, f"{sender} {number}") for number in range(60) for sender in "abc"]
        listeners = [
            streams.enter_context(listening(app, ben.metadata, cursor=cursor, own_connection=False)) for _ in range(8)
        ]
        numbers = sorted(int(send.result().message_id[-12:]) for send in sends)
        for listener in listeners:
            came = [
                int(each.message.message_id[-12:]) for each in listener.until(received(180)).of_kind("message_sent")
            ]
            assert came == numbers


def test_a_stopping_server_says_goodbye(own: Own, mode: str) -> None:
    app = own(mode)
    people = app.people(3)
    with ExitStack() as streams:
        listeners = [streams.enter_context(listening(app, each.metadata)) for each in people]
        assert set(app.stop()) == {0}
        assert [each.goodbye for each in listeners] == ["RECONNECT"] * 3
        waits = {r.goodbye.retry_after_ms for each in listeners for r in each.responses if r.HasField("goodbye")}
        assert len(waits) > 1


def test_the_state_and_the_stream_after_it_are_whole(app: Deployment) -> None:
    ann, ben = app.people(2)
    room, pair = group(ann, ben, name="room"), single(ann, ben)
    ben.send(room, "in the room")
    hello = ben.send(ann.id, "hello").message_id
    ann.MarkMessageRead(conversation_id=pair, message_id=hello)
    state = ann.GetState()
    found = {each.info.conversation_id: each for each in state.conversations}
    assert (found[room].role, found[room].info.unread_count, found[room].read_message_id) == ("owner", 1, "")
    assert (found[pair].peer_user_id, found[pair].read_message_id, found[pair].role) == (ben.id, hello, "")
    ben.send(room, "since then")
    with listening(app, ann.metadata, cursor=state.cursor) as listener:
        assert listener.until(received(1)).contents == ["since then"]


def test_a_lost_listener_is_forgotten(own: Own) -> None:
    app = own()
    (process,) = app.processes
    ann = app.person()
    for _ in range(3):
        with ExitStack() as streams:
            for _ in range(5):
                streams.enter_context(listening(app, ann.metadata))
        eventually(lambda: process.metrics()("grpc_server_in_flight", grpc_method="Subscribe") == 0)


def test_the_oldest_of_too_many_streams_of_a_user_is_replaced(app: Deployment) -> None:
    ann = app.person()
    with ExitStack() as streams:
        listeners = [streams.enter_context(listening(app, ann.metadata)) for _ in range(11)]
        assert listeners[0].goodbye == "REPLACED"
        assert not any(each.error for each in listeners[1:])
