"""What streams are told of acts on groups, as it happens and from a cursor: those whom it concerns, and nobody else."""

import time
from typing import Any

from gochat.api.event.v1 import event_pb2
from gochat.api.group.v1 import group_types_pb2
from tests.conversations import group
from tests.harness import Deployment, as_service
from tests.streams import Listener, listening, received

STATE = event_pb2.JoinRequestChanged


def of(kind: str, number: int = 1) -> Any:
    """Has it come so often?"""
    return lambda listener: len(listener.of_kind(kind)) >= number


def states(listener: Listener, number: int) -> list[tuple[str, str]]:
    """(user id, state) of the requests that it was told of."""
    told = listener.until(of("join_request_changed", number)).of_kind("join_request_changed")
    return [(each.user_id, STATE.State.Name(each.state).removeprefix("STATE_")) for each in told]


def test_members_see_settings_roles_and_details_live_and_from_a_cursor(app: Deployment) -> None:
    ann, ben, eve = app.people(3)
    room = group(ann, ben)
    until = int(time.time() + 3600) * 1000
    with listening(app, ben.metadata) as before:
        cursor = before.cursor
    with listening(app, ben.metadata) as live, listening(app, eve.metadata) as of_eve:
        ann.UpdateGroupSettings(group_id=room, slow_mode_seconds=5)
        ann.SetMemberTitle(group_id=room, user_id=ben.id, title="Poet")
        ben.SetMemberNickname(group_id=room, nickname="Bee")
        ann.MuteMember(group_id=room, user_id=ben.id, until=until)
        ann.SetMemberRole(group_id=room, user_id=ben.id, role="admin")
        ann.TransferOwnership(group_id=room, user_id=ben.id)
        live.until(of("group_updated"))
        with listening(app, ben.metadata, cursor=cursor) as resumed:
            resumed.until(of("group_updated"))
            for listener in (live, resumed):
                (settings,) = [each.settings for each in listener.of_kind("group_settings_updated")]
                assert settings.slow_mode_seconds == 5
                details = [each.member for each in listener.of_kind("member_detail_updated")]
                assert [detail.member.user_id for detail in details] == [ben.id] * 3
                assert [(each.member.user_id, each.member.role) for each in listener.of_kind("member_updated")] == [
                    (ben.id, "admin"),
                    (ann.id, "admin"),
                    (ben.id, "owner"),
                ]
                assert [each.group.owner_id for each in listener.of_kind("group_updated")] == [ben.id]
        assert details[-1].title == "Poet"
        titles = [each.member for each in live.of_kind("member_detail_updated")]
        assert (titles[-1].title, titles[-1].group_nickname) == ("Poet", "Bee")
        eve.UpdateUserProfile(bio="sees nothing of it")
        assert of_eve.until(of("profile_updated")).kinds == ["profile_updated"]


def test_a_banned_member_is_told_and_sees_nothing_more(app: Deployment) -> None:
    ann, ben, cem = app.people(3)
    room = group(ann, ben, cem)
    with listening(app, ben.metadata) as of_ben, listening(app, cem.metadata) as of_cem:
        cursor = of_ben.cursor
        ann.BanMember(group_id=room, user_id=ben.id, reason="for managers alone")
        ann.send(room, "without them")
        of_cem.until(of("message_sent"))
        ben.UpdateUserProfile(bio="last")
        with listening(app, ben.metadata, cursor=cursor) as resumed:
            for listener in (of_ben.until(of("profile_updated")), resumed.until(of("profile_updated"))):
                assert listener.kinds == ["member_left", "profile_updated"]
                (left,) = listener.of_kind("member_left")
                assert (left.user_id, left.reason) == (ben.id, event_pb2.MemberLeft.REASON_REMOVED)
        assert of_cem.kinds == ["member_left", "message_sent"]
        assert "for managers alone" not in str(of_cem.responses) + str(of_ben.responses)


def test_managers_and_who_asked_see_a_request(app: Deployment) -> None:
    ann, ben, cem, eve, fay = app.people(5)
    room = group(ann, ben, cem)
    ann.SetMemberRole(group_id=room, user_id=ben.id, role="admin")
    ann.UpdateGroupSettings(group_id=room, joining=group_types_pb2.JOINING_APPROVAL)
    with (
        listening(app, ben.metadata) as of_admin,
        listening(app, cem.metadata) as of_member,
        listening(app, eve.metadata) as of_eve,
        listening(app, fay.metadata) as of_fay,
    ):
        cursors = of_admin.cursor, of_eve.cursor
        eve.RequestToJoin(group_id=room, note="for managers alone")
        eve.RequestToJoin(group_id=room, note="for managers alone")  # nothing has changed
        eve.CancelRequest(group_id=room)
        eve.RequestToJoin(group_id=room)
        ann.DecideJoinRequest(group_id=room, user_id=eve.id)
        eve.RequestToJoin(group_id=room)
        fay.RequestToJoin(group_id=room)
        ann.DecideJoinRequest(group_id=room, user_id=eve.id, accept=True)
        ann.BanMember(group_id=room, user_id=fay.id)
        ends = ("WITHDRAWN", "DECLINED", "ACCEPTED")
        of_eves = [(eve.id, word) for end in ends for word in ("REQUESTED", end)]
        of_both = [*of_eves[:5], (fay.id, "REQUESTED"), of_eves[5], (fay.id, "DECLINED")]
        assert states(of_admin, 8) == of_both
        assert states(of_eve, 6) == of_eves
        assert states(of_fay, 2) == [(fay.id, "REQUESTED"), (fay.id, "DECLINED")]
        joined = of_eve.kinds.index("conversation_updated")
        assert "join_request_changed" in of_eve.kinds[joined:], "who is accepted sees the group first"
        with listening(app, ben.metadata, cursor=cursors[0]) as resumed:
            assert states(resumed, 8) == of_both
        with listening(app, eve.metadata, cursor=cursors[1]) as resumed:
            assert states(resumed, 6) == of_eves
        of_member.until(of("member_joined"))
        assert set(of_member.kinds) == {"member_joined"}
        assert "for managers alone" not in str(of_admin.responses), "it is read with ListJoinRequests"


def test_a_dissolution_is_told_once_to_all_members(app: Deployment) -> None:
    ann, ben, cem, eve = app.people(4)
    room = group(ann, ben, cem)
    ann.send(room, "the end")
    ann.UpdateGroupSettings(group_id=room, joining=group_types_pb2.JOINING_APPROVAL)
    eve.RequestToJoin(group_id=room)
    with listening(app, ben.metadata) as of_ben, listening(app, eve.metadata) as of_eve:
        cursor = of_ben.cursor
        as_service(app).group.DissolveGroup(group_id=room)
        assert states(of_eve, 1) == [(eve.id, "DECLINED")]
        ben.UpdateUserProfile(bio="after")
        with listening(app, ben.metadata, cursor=cursor) as resumed:
            for listener in (of_ben.until(of("profile_updated")), resumed.until(of("profile_updated"))):
                assert listener.kinds == ["group_dissolved", "profile_updated"]
                assert listener.events[0].conversation_id == room


def test_a_dissolution_reaches_streams_of_all_kinds(app: Deployment) -> None:
    """Those of members and of services, open and resumed, whether they resume before what was said in it or after; and
    not of who left before it."""
    ann, ben, cem, dan = app.people(4)
    room, other = group(ann, ben, cem), group(ann, ben, cem, dan)
    with listening(app, ben.metadata) as listener:
        cursor = listener.cursor
    ann.send(room, "one")
    cem.LeaveGroup(group_id=room)
    ann.send(room, "two")
    with (
        listening(app, ben.metadata, presence_user_ids=[ann.id]) as of_ben,
        listening(app, dan.metadata) as of_dan,
        listening(app, app.service) as of_service,
    ):
        between = of_ben.cursor
        ann.DissolveGroup(group_id=room)
        ann.send(other, "three")
        for listener in (of_ben, of_dan):
            listener.until(received(1))
        of_service.until(lambda each: "three" in each.contents)
        assert [each for each in of_ben.kinds if each != "presence"] == ["group_dissolved", "message_sent"]
        assert of_dan.kinds == ["message_sent"]
        events = zip(of_service.events, of_service.kinds, strict=True)
        assert [kind for event, kind in events if event.conversation_id == room] == ["group_dissolved"]
    seen = {(ben, cursor): ["one", "two", "three"], (ben, between): ["three"], (cem, cursor): ["one", "three"]}
    for (reader, start), contents in seen.items():
        with listening(app, reader.metadata, cursor=start) as resumed:
            resumed.until(received(len(contents)))
            assert resumed.contents == contents
            assert resumed.kinds.count("group_dissolved") == (reader is ben)
