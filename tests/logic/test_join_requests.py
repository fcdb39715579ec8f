"""Requests to join a group that takes members by approval."""

from typing import Any

import pytest

from tests.conversations import group, unread
from tests.harness import Deployment, as_service, refused

OPEN, APPROVAL, INVITATION, CLOSED = range(1, 5)


class Club:
    """A group of an owner, an admin and a plain member that takes members by approval, and two who are not in it."""

    def __init__(self, app: Deployment) -> None:
        self.owner, self.admin, self.member, self.ann, self.ben = app.people(5)
        self.id = group(self.owner, self.admin, self.member)
        self.owner.SetMemberRole(group_id=self.id, user_id=self.admin.id, role="admin")
        self.joining(APPROVAL)
        self.service = as_service(app)

    def joining(self, joining: int) -> None:
        self.owner.UpdateGroupSettings(group_id=self.id, joining=joining)

    def asked(self, **fields: Any) -> list[tuple[str, str]]:
        """(user id, note) of each request."""
        listed = self.admin.ListJoinRequests(group_id=self.id, **fields).requests
        return [(each.user_id, each.note) for each in listed]

    def decide(self, who: Any, user_id: str, *, accept: bool = True) -> None:
        who.DecideJoinRequest(group_id=self.id, user_id=user_id, accept=accept)

    def ids(self) -> set[str]:
        return {member.user_id for member in self.service.repo.GetGroupMembers(group_id=self.id).members}


@pytest.fixture
def club(app: Deployment) -> Club:
    return Club(app)


def test_a_manager_accepts_or_declines_who_asks(club: Club) -> None:
    club.owner.send(club.id)
    club.ann.RequestToJoin(group_id=club.id, note="please")
    club.ben.RequestToJoin(group_id=club.id)
    assert club.asked() == [(club.ann.id, "please"), (club.ben.id, "")]
    club.decide(club.admin, club.ann.id)
    club.decide(club.owner, club.ben.id, accept=False)
    assert club.asked() == []
    assert club.ann.id in club.ids()
    assert club.ben.id not in club.ids()
    assert unread(club.ann, club.id) == 0
    club.ben.RequestToJoin(group_id=club.id, note="again")
    club.decide(club.service.group, club.ben.id)
    assert club.ben.id in club.ids()


def test_asking_again_changes_the_note_and_keeps_the_turn(club: Club) -> None:
    club.ann.RequestToJoin(group_id=club.id, note="one")
    club.ben.RequestToJoin(group_id=club.id)
    club.ann.RequestToJoin(group_id=club.id, note="two")
    first = club.owner.ListJoinRequests(group_id=club.id, limit=1)
    assert [each.note for each in first.requests] == ["two"]
    assert club.asked(page_token=first.next_page_token) == [(club.ben.id, "")]
    with refused("INVALID_ARGUMENT", "page_token"):
        club.asked(page_token="x")
    with refused("INVALID_ARGUMENT", "note"):
        club.ann.RequestToJoin(group_id=club.id, note="x" * 501)


def test_a_request_is_withdrawn_by_who_made_it(club: Club) -> None:
    club.ann.RequestToJoin(group_id=club.id)
    for who in (club.ben, club.member):
        with refused("NOT_FOUND", "user_id"):
            who.CancelRequest(group_id=club.id)
        with refused("PERMISSION_DENIED", reason="NOT_YOURSELF"):
            who.CancelRequest(group_id=club.id, user_id=club.ann.id)
    club.ann.CancelRequest(group_id=club.id)
    with refused("NOT_FOUND", "user_id"):
        club.ann.CancelRequest(group_id=club.id)
    with refused("NOT_FOUND", "user_id"):
        club.decide(club.owner, club.ann.id)
    assert club.ann.id not in club.ids()


def test_managers_alone_see_and_decide_requests(club: Club) -> None:
    club.ann.RequestToJoin(group_id=club.id)
    for who, reason in ((club.member, "NOT_A_MANAGER"), (club.ann, "NOT_A_PARTICIPANT")):
        with refused("PERMISSION_DENIED", reason=reason):
            who.ListJoinRequests(group_id=club.id)
        with refused("PERMISSION_DENIED", reason=reason):
            club.decide(who, club.ann.id)
    other = group(club.ben)
    with refused("NOT_FOUND", "user_id"):
        club.ben.DecideJoinRequest(group_id=other, user_id=club.ann.id, accept=True)
    assert club.ann.id not in club.ids()


@pytest.mark.parametrize("joining", [OPEN, INVITATION, CLOSED])
def test_one_asks_where_managers_approve_and_they_decide_later_too(club: Club, joining: int) -> None:
    club.ann.RequestToJoin(group_id=club.id)
    club.joining(joining)
    with refused("PERMISSION_DENIED", reason="JOINING"):
        club.ben.RequestToJoin(group_id=club.id)
    club.decide(club.owner, club.ann.id)
    assert club.ann.id in club.ids()


def test_who_is_in_does_not_ask_and_who_comes_in_has_no_request(club: Club) -> None:
    with refused("ALREADY_EXISTS", reason="ALREADY_A_MEMBER"):
        club.member.RequestToJoin(group_id=club.id)
    club.ann.RequestToJoin(group_id=club.id)
    club.ben.RequestToJoin(group_id=club.id)
    club.owner.AddGroupMember(group_id=club.id, user_ids=[club.ann.id])
    club.ben.JoinByInvitation(token=club.owner.CreateInvitation(group_id=club.id).invitation.token)
    assert club.asked() == []
    club.owner.RemoveGroupMember(group_id=club.id, user_id=club.ann.id)
    club.ann.RequestToJoin(group_id=club.id)
    club.decide(club.owner, club.ann.id)
    assert club.ann.id in club.ids(), "also who was removed"


def test_a_full_group_accepts_nobody_and_the_request_stays(club: Club) -> None:
    club.owner.UpdateGroup(group_id=club.id, max_members=3)
    club.ann.RequestToJoin(group_id=club.id)
    with refused("PERMISSION_DENIED", reason="GROUP_FULL"):
        club.decide(club.owner, club.ann.id)
    assert club.asked() == [(club.ann.id, "")]


def test_a_request_of_a_user_who_is_deleted_goes(club: Club) -> None:
    club.ann.RequestToJoin(group_id=club.id)
    club.service.repo.UpdateUser(user_id=club.ann.id, status=3)
    assert club.asked() == []
