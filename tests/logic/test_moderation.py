"""Bans and mutes."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.conversations import contents, group
from tests.harness import Deployment, Person, as_service, fresh, refused
from tests.waiting import eventually

FOR_GOOD = 2**63 - 1


def soon(milliseconds: int = 3_600_000) -> int:
    return int(time.time() * 1000) + milliseconds


class Club:
    """A group of an owner, two admins and two plain members, and who is not in it."""

    def __init__(self, app: Deployment) -> None:
        self.owner, self.admin, self.other_admin, self.member, self.other, self.stranger = app.people(6)
        self.id = group(self.owner, self.admin, self.other_admin, self.member, self.other)
        for admin in (self.admin, self.other_admin):
            self.owner.SetMemberRole(group_id=self.id, user_id=admin.id, role="admin")
        self.service = as_service(app)

    def ids(self) -> set[str]:
        members = self.service.repo.GetGroupMembers(group_id=self.id).members
        return {member.user_id for member in members}


@pytest.fixture
def club(app: Deployment) -> Club:
    return Club(app)


ACTS: dict[str, Callable[[Person, Club, str], Any]] = {
    "ban": lambda who, club, user_id: who.BanMember(group_id=club.id, user_id=user_id),
    "mute": lambda who, club, user_id: who.MuteMember(group_id=club.id, user_id=user_id, until=soon()),
}


@pytest.mark.parametrize("act", ACTS)
def test_managers_act_on_those_whom_they_outrank(club: Club, act: str) -> None:
    do = ACTS[act]
    for who, target, reason in (
        (club.member, club.other, "NOT_A_MANAGER"),
        (club.member, club.owner, "OWNER"),
        (club.member, club.member, "NOT_A_MANAGER"),
        (club.admin, club.other_admin, "NOT_A_MANAGER"),
        (club.admin, club.admin, "NOT_A_MANAGER"),
        (club.admin, club.owner, "OWNER"),
        (club.owner, club.owner, "OWNER"),
        (club.stranger, club.member, "NOT_A_PARTICIPANT"),
        (club.stranger, club.stranger, "NOT_A_PARTICIPANT"),
    ):
        with refused("PERMISSION_DENIED", reason=reason):
            do(who, club, target.id)
    do(club.admin, club, club.member.id)
    do(club.owner, club, club.admin.id)
    do(club.service.group, club, club.other.id)


def test_a_manager_of_one_group_is_none_of_another(club: Club) -> None:
    own = group(club.stranger)
    assert club.stranger.GetGroupSettings(group_id=own)
    for act in ACTS.values():
        with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
            act(club.stranger, club, club.member.id)


def test_a_banned_member_is_removed_and_kept_out_in_every_way(club: Club) -> None:
    token = club.owner.CreateInvitation(group_id=club.id).invitation.token
    club.admin.BanMember(group_id=club.id, user_id=club.member.id, until=soon(), reason="spam")
    assert club.member.id not in club.ids()
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        club.member.send(club.id)
    with refused("PERMISSION_DENIED", reason="BANNED") as refusal:
        club.member.JoinGroup(group_id=club.id)
    assert int(refusal.response.details["banned_until"]) > soon(0)
    with refused("PERMISSION_DENIED", reason="BANNED"):
        club.member.JoinByInvitation(token=token)
    club.owner.UpdateGroupSettings(group_id=club.id, joining=2)
    with refused("PERMISSION_DENIED", reason="BANNED"):
        club.member.RequestToJoin(group_id=club.id)
    with refused("PERMISSION_DENIED", reason="BANNED"):
        club.owner.AddGroupMember(group_id=club.id, user_ids=[club.stranger.id, club.member.id])
    with refused("PERMISSION_DENIED", reason="BANNED"):
        club.service.repo.AddGroupMember(group_id=club.id, user_id=club.member.id)
    assert not {club.stranger.id, club.member.id} & club.ids(), "all or none"
    club.owner.UnbanMember(group_id=club.id, user_id=club.member.id)
    club.owner.UpdateGroupSettings(group_id=club.id, joining=1)
    club.member.JoinGroup(group_id=club.id)
    assert club.member.id in club.ids()


def test_a_ban_ends_by_itself(club: Club) -> None:
    until = soon(1000)
    club.admin.BanMember(group_id=club.id, user_id=club.member.id, until=until)

    def joined() -> bool:
        if soon(0) <= until:
            with refused("PERMISSION_DENIED", reason="BANNED"):
                club.member.JoinGroup(group_id=club.id)
            return soon(0) > until  # the answer was in time
        club.member.JoinGroup(group_id=club.id)
        return True

    eventually(lambda: soon(0) > until + 200)
    joined()
    assert club.member.id in club.ids()
    assert not club.owner.ListBannedMembers(group_id=club.id).bans


def test_who_was_removed_may_join_once_a_ban_of_theirs_is_lifted(club: Club) -> None:
    """Lifted, and not only ended by itself: then they may join as little as before the ban."""
    ban = {"group_id": club.id, "user_id": club.member.id}
    club.owner.RemoveGroupMember(**ban)
    until = soon(1000)
    club.owner.BanMember(until=until, **ban)
    eventually(lambda: soon(0) > until + 200)
    with refused("PERMISSION_DENIED", reason="REMOVED"):
        club.member.JoinGroup(group_id=club.id)
    with refused("NOT_FOUND", "user_id"):
        club.owner.UnbanMember(**ban)
    with refused("PERMISSION_DENIED", reason="REMOVED"):
        club.member.JoinGroup(group_id=club.id)
    club.owner.BanMember(**ban)
    club.owner.UnbanMember(**ban)
    club.member.JoinGroup(group_id=club.id)
    assert club.member.id in club.ids()


def test_who_is_no_member_can_be_banned_and_a_request_of_theirs_is_declined(club: Club) -> None:
    club.owner.UpdateGroupSettings(group_id=club.id, joining=2)
    club.stranger.RequestToJoin(group_id=club.id)
    with refused("PERMISSION_DENIED", reason="NOT_A_MANAGER"):
        club.member.BanMember(group_id=club.id, user_id=club.stranger.id)
    club.admin.BanMember(group_id=club.id, user_id=club.stranger.id)
    assert not club.owner.ListJoinRequests(group_id=club.id).requests
    with refused("PERMISSION_DENIED", reason="BANNED") as refusal:
        club.stranger.RequestToJoin(group_id=club.id)
    assert refusal.response.details["banned_until"] == "0"
    with refused("NOT_FOUND", "user_id"):
        club.admin.BanMember(group_id=club.id, user_id="unknown")


def test_managers_alone_see_bans(club: Club) -> None:
    before = soon(0)
    club.admin.BanMember(group_id=club.id, user_id=club.member.id, reason="spam", until=FOR_GOOD)
    club.owner.BanMember(group_id=club.id, user_id=club.other.id)
    club.service.group.BanMember(group_id=club.id, user_id=club.stranger.id)
    first = club.admin.ListBannedMembers(group_id=club.id, limit=2)
    rest = club.admin.ListBannedMembers(group_id=club.id, limit=2, page_token=first.next_page_token)
    assert (len(first.bans), len(rest.bans), rest.next_page_token) == (2, 1, "")
    bans = {ban.user_id: ban for ban in [*first.bans, *rest.bans]}
    ban = bans[club.member.id]
    assert (ban.reason, ban.until, ban.banned_by) == ("spam", FOR_GOOD, club.admin.id)
    assert before - 60_000 < ban.banned_at < soon(60_000)
    assert (bans[club.other.id].until, bans[club.stranger.id].banned_by) == (0, "")
    for who, reason in ((club.stranger, "NOT_A_PARTICIPANT"), (club.member, "NOT_A_PARTICIPANT")):
        with refused("PERMISSION_DENIED", reason=reason):
            who.ListBannedMembers(group_id=club.id)
    plain = club.owner
    plain.TransferOwnership(group_id=club.id, user_id=club.admin.id)
    plain.SetMemberRole(group_id=club.id, user_id=plain.id, role="member")
    for rpc, fields in (("ListBannedMembers", {}), ("UnbanMember", {"user_id": club.member.id})):
        with refused("PERMISSION_DENIED", reason="NOT_A_MANAGER"):
            getattr(plain, rpc)(group_id=club.id, **fields)


def test_a_ban_replaces_a_ban_and_lifting_none_is_an_error(club: Club) -> None:
    club.admin.BanMember(group_id=club.id, user_id=club.member.id)
    club.admin.BanMember(group_id=club.id, user_id=club.member.id, until=soon(), reason="less")
    (ban,) = club.owner.ListBannedMembers(group_id=club.id).bans
    assert ban.reason == "less"
    assert ban.until
    club.admin.UnbanMember(group_id=club.id, user_id=club.member.id)
    with refused("NOT_FOUND", "user_id", reason="BAN_NOT_FOUND"):
        club.admin.UnbanMember(group_id=club.id, user_id=club.member.id)


def test_a_disabled_owner_is_banned_and_the_group_handed_over(club: Club) -> None:
    club.service.repo.UpdateUser(user_id=club.owner.id, status=2)
    club.admin.BanMember(group_id=club.id, user_id=club.owner.id)
    assert club.admin.GetGroupInfo(group_id=club.id).group.owner_id in (club.admin.id, club.other_admin.id)


def test_who_is_muted_reads_and_does_not_send(club: Club) -> None:
    key = {"client_msg_id": fresh("key")}
    said = club.member.send(club.id, "before", metadata=key)
    until = soon()
    club.admin.MuteMember(group_id=club.id, user_id=club.member.id, until=until)
    with refused("PERMISSION_DENIED", reason="MUTED") as refusal:
        club.member.send(club.id)
    assert refusal.response.details["muted_until"] == str(until)
    with refused("PERMISSION_DENIED", reason="MUTED"):
        club.member.EditMessage(message_id=said.message_id, content="instead")
    answer = club.member.SendMessages(messages=[{"conversation_id": club.id, "content": "x"}])
    assert answer.results[0].error.details["reason"] == "MUTED"
    assert answer.results[0].error.details["muted_until"] == str(until)
    assert club.member.send(club.id, "before", metadata=key).message_id == said.message_id, "a repeat"
    assert contents(club.member, club.id) == ["before"]
    assert club.member.GetMember(group_id=club.id, user_id=club.member.id).member.muted_until == until
    service = club.service
    service.logic.SendMessage(from_user_id=club.member.id, conversation_id=club.id, content="by a service")
    service.repo.CreateMessage(from_user_id=club.member.id, conversation_id=club.id, content="by repo")
    service.message.SendMessages(
        messages=[{"from_user_id": club.member.id, "conversation_id": club.id, "content": "many"}]
    )
    club.admin.MuteMember(group_id=club.id, user_id=club.member.id)
    club.member.send(club.id, "after")
    assert contents(club.owner, club.id) == ["after", "many", "by repo", "by a service", "before"]


def test_a_mute_outlives_leaving_and_coming_back(club: Club) -> None:
    club.admin.MuteMember(group_id=club.id, user_id=club.member.id, until=FOR_GOOD)
    for _ in range(2):
        club.member.LeaveGroup(group_id=club.id)
        club.member.JoinGroup(group_id=club.id)
        with refused("PERMISSION_DENIED", reason="MUTED"):
            club.member.send(club.id)
    club.admin.MuteMember(group_id=club.id, user_id=club.member.id)
    club.member.LeaveGroup(group_id=club.id)
    club.member.JoinGroup(group_id=club.id)
    club.member.send(club.id)


def test_a_new_owner_is_not_muted(club: Club) -> None:
    club.owner.MuteMember(group_id=club.id, user_id=club.admin.id, until=FOR_GOOD)
    with refused("PERMISSION_DENIED", reason="MUTED"):
        club.admin.send(club.id)
    club.owner.TransferOwnership(group_id=club.id, user_id=club.admin.id)
    club.admin.send(club.id)


@pytest.mark.parametrize(
    ("rpc", "field"), [("BanMember", "until"), ("MuteMember", "until"), ("CreateInvitation", "expires_at")]
)
def test_a_time_that_has_passed_is_refused(club: Club, rpc: str, field: str) -> None:
    named = {} if rpc == "CreateInvitation" else {"user_id": club.member.id}
    for value in (1, soon(-1000), -1):
        with refused("INVALID_ARGUMENT", field):
            getattr(club.owner, rpc)(group_id=club.id, **named, **{field: value})


def test_acts_of_managers_are_in_the_audit_log(club: Club, app: Deployment) -> None:
    club.admin.MuteMember(group_id=club.id, user_id=club.member.id, until=soon())
    club.admin.MuteMember(group_id=club.id, user_id=club.member.id)
    club.admin.BanMember(group_id=club.id, user_id=club.member.id, reason="secret words")
    club.admin.UnbanMember(group_id=club.id, user_id=club.member.id)
    events = [event for event in app.events(user_id=club.member.id) if event.actor_id == club.admin.id]
    assert [event.action for event in events] == ["group.mute", "group.unmute", "group.ban", "group.unban"]
    assert "secret words" not in str(events)
