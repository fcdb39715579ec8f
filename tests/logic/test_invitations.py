"""Invitations: whoever has the token may join, as long as it works."""

import secrets
import time
from typing import Any

import pytest

from tests.conversations import group, unread
from tests.harness import Deployment, Person, as_service, refused
from tests.waiting import eventually

EVERYONE, MANAGERS = 1, 2
CLOSED = 4


class Club:
    """A group of an owner, an admin and a plain member, and two who are not in it."""

    def __init__(self, app: Deployment) -> None:
        self.owner, self.admin, self.member, self.ann, self.ben = app.people(5)
        self.id = group(self.owner, self.admin, self.member, description="d", avatar="a")
        self.owner.SetMemberRole(group_id=self.id, user_id=self.admin.id, role="admin")
        self.service = as_service(app)

    def invite(self, who: Any, **fields: Any) -> str:
        return str(who.CreateInvitation(group_id=self.id, **fields).invitation.token)

    def tokens(self, who: Any) -> list[str]:
        return [each.token for each in who.ListInvitations(group_id=self.id).invitations]

    def ids(self) -> set[str]:
        return {member.user_id for member in self.service.repo.GetGroupMembers(group_id=self.id).members}


@pytest.fixture
def club(app: Deployment) -> Club:
    return Club(app)


def works_not(who: Person, token: str) -> Any:
    """What one is answered for a token that does not work, by both RPCs that take one."""
    answers = []
    for rpc in ("GetInvitation", "JoinByInvitation"):
        with refused("NOT_FOUND", "token", reason="INVITATION_NOT_FOUND") as refusal:
            getattr(who, rpc)(token=token)
        answers.append((refusal.message, refusal.fields))
    return answers


def test_who_is_invited_sees_what_they_join_and_joins(club: Club) -> None:
    club.owner.send(club.id)
    club.owner.UpdateGroupSettings(group_id=club.id, joining=3)
    token = club.invite(club.admin)
    preview = club.ann.GetInvitation(token=token).group
    assert (preview.group_id, preview.name, preview.description, preview.avatar) == (club.id, "group", "d", "a")
    assert (preview.member_count, preview.joining) == (3, 3)
    assert club.ann.JoinByInvitation(token=token).group_id == club.id
    assert club.ann.id in club.ids()
    assert unread(club.ann, club.id) == 0, "what was said before counts as read"
    with refused("ALREADY_EXISTS", reason="ALREADY_A_MEMBER"):
        club.ann.JoinByInvitation(token=token)
    (invitation,) = club.owner.ListInvitations(group_id=club.id).invitations
    assert (invitation.uses, invitation.max_uses, invitation.created_by) == (1, 0, club.admin.id)
    with refused("PERMISSION_DENIED", reason="NOT_YOURSELF"):
        club.ann.JoinByInvitation(token=token, user_id=club.ben.id)
    club.service.group.JoinByInvitation(token=token, user_id=club.ben.id)
    assert club.ben.id in club.ids()


def test_tokens_that_do_not_work_are_alike(club: Club) -> None:
    """Guessed, expired, used up, revoked, of a maker who is gone or may not add any more, of a dissolved group."""
    now = int(time.time() * 1000)
    expiring = club.invite(club.owner, expires_at=now + 1500)
    used_up = club.invite(club.owner, max_uses=1)
    club.ben.JoinByInvitation(token=used_up)
    revoked = club.invite(club.owner)
    club.admin.RevokeInvitation(group_id=club.id, token=revoked)
    club.owner.UpdateGroupSettings(group_id=club.id, adding=EVERYONE)
    by_member, by_admin = club.invite(club.member), club.invite(club.admin)
    by_removed = club.invite(club.ben)
    club.owner.RemoveGroupMember(group_id=club.id, user_id=club.ben.id)
    other = group(club.owner)
    of_dissolved = club.owner.CreateInvitation(group_id=other).invitation.token
    club.owner.DissolveGroup(group_id=other)
    club.ann.GetInvitation(token=by_member)
    club.owner.UpdateGroupSettings(group_id=club.id, adding=MANAGERS)
    club.owner.SetMemberRole(group_id=club.id, user_id=club.admin.id, role="member")
    eventually(lambda: time.time() * 1000 > now + 1700)
    tokens = [secrets.token_hex(16), expiring, used_up, revoked, by_member, by_admin, by_removed, of_dissolved]
    answers = [works_not(club.ann, token) for token in tokens]
    assert answers == [answers[0]] * len(tokens)
    assert club.tokens(club.owner) == []
    assert club.ann.id not in club.ids()


def test_who_was_removed_does_not_come_back_by_an_invitation_of_their_own(club: Club) -> None:
    token = club.invite(club.admin)
    club.owner.RemoveGroupMember(group_id=club.id, user_id=club.admin.id)
    works_not(club.admin, token)
    again = club.invite(club.owner)
    club.admin.JoinByInvitation(token=again)
    assert club.admin.id in club.ids(), "by a manager's they do"
    club.admin.LeaveGroup(group_id=club.id)
    club.admin.JoinGroup(group_id=club.id)


def test_an_invitation_does_not_open_a_closed_or_full_group(club: Club) -> None:
    token = club.invite(club.owner, max_uses=1)
    club.owner.UpdateGroupSettings(group_id=club.id, joining=CLOSED)
    with refused("PERMISSION_DENIED", reason="JOINING"):
        club.ann.JoinByInvitation(token=token)
    club.owner.UpdateGroupSettings(group_id=club.id, joining=1)
    club.owner.UpdateGroup(group_id=club.id, max_members=3)
    with refused("PERMISSION_DENIED", reason="GROUP_FULL"):
        club.ann.JoinByInvitation(token=token)
    club.owner.UpdateGroup(group_id=club.id, max_members=4)
    club.ann.JoinByInvitation(token=token)


def test_those_who_may_add_invite_and_see_invitations(club: Club) -> None:
    with refused("PERMISSION_DENIED", reason="NOT_A_MANAGER"):
        club.invite(club.member)
    with refused("PERMISSION_DENIED", reason="NOT_A_MANAGER"):
        club.tokens(club.member)
    for rpc in ("CreateInvitation", "ListInvitations"):
        with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
            getattr(club.ann, rpc)(group_id=club.id)
    club.owner.UpdateGroupSettings(group_id=club.id, adding=EVERYONE)
    made = [club.invite(who) for who in (club.owner, club.member, club.service.group)]
    assert len(set(made)) == 3
    assert all(len(token) == 32 for token in made)
    assert club.tokens(club.admin) == club.tokens(club.service.group) == made
    assert club.tokens(club.member) == made[1:2]
    with refused("NOT_FOUND", "token"):
        club.member.RevokeInvitation(group_id=club.id, token=made[0])
    club.member.RevokeInvitation(group_id=club.id, token=made[1])
    other = group(club.ann)
    with refused("NOT_FOUND", "token"):
        club.ann.RevokeInvitation(group_id=other, token=made[0])
    assert club.tokens(club.owner) == [made[0], made[2]]
    club.ben.JoinByInvitation(token=made[2])


def test_a_group_has_so_many_invitations_and_no_more(club: Club) -> None:
    for _ in range(100):
        club.invite(club.owner)
    with refused("PERMISSION_DENIED", reason="TOO_MANY_INVITATIONS"):
        club.invite(club.admin)
    club.owner.RevokeInvitation(group_id=club.id, token=club.tokens(club.owner)[0])
    club.invite(club.admin, max_uses=1)
    with refused("INVALID_ARGUMENT", "max_uses"):
        club.invite(club.admin, max_uses=-1)


def test_no_token_is_in_the_audit_log(club: Club, app: Deployment) -> None:
    token = club.invite(club.owner)
    club.ann.JoinByInvitation(token=token)
    club.owner.RevokeInvitation(group_id=club.id, token=token)
    events = [event for event in app.events() if event.target_id == club.id]
    assert [event.action for event in events][-3:] == ["group.invite", "group.join", "group.invite.revoke"]
    assert token not in str(events)
