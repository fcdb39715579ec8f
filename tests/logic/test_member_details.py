"""Titles and nicknames of members in a group, and lists of members."""

from typing import Any

import pytest

from tests.conversations import group
from tests.harness import Deployment, as_service, fresh, refused


class Club:
    """A group of an owner, two admins and two plain members, and who is not in it."""

    def __init__(self, app: Deployment) -> None:
        self.owner, self.admin, self.other_admin, self.member, self.other, self.stranger = app.people(6)
        self.id = group(self.owner, self.admin, self.other_admin, self.member, self.other)
        for admin in (self.admin, self.other_admin):
            self.owner.SetMemberRole(group_id=self.id, user_id=admin.id, role="admin")
        self.service = as_service(app).group

    def detail(self, of: Any) -> Any:
        return self.owner.GetMember(group_id=self.id, user_id=of.id).member


@pytest.fixture
def club(app: Deployment) -> Club:
    return Club(app)


def test_managers_give_titles_to_themselves_and_to_those_whom_they_outrank(club: Club) -> None:
    for who, target, title in (
        (club.owner, club.owner, "Chair"),
        (club.owner, club.admin, "Treasurer"),
        (club.admin, club.member, "Poet"),
        (club.admin, club.admin, "Clerk"),
        (club.service, club.other, "Bot's friend"),
        (club.service, club.owner, "Founder"),
        (club.owner, club.member, ""),
    ):
        who.SetMemberTitle(group_id=club.id, user_id=target.id, title=title)
        assert club.detail(target).title == title
    for who, target, reason in (
        (club.member, club.member, "NOT_A_MANAGER"),
        (club.member, club.other, "NOT_A_MANAGER"),
        (club.admin, club.other_admin, "NOT_A_MANAGER"),
        (club.admin, club.owner, "OWNER"),
        (club.stranger, club.member, "NOT_A_PARTICIPANT"),
    ):
        with refused("PERMISSION_DENIED", reason=reason):
            who.SetMemberTitle(group_id=club.id, user_id=target.id, title="x")


def test_members_name_themselves_and_managers_those_whom_they_outrank(club: Club) -> None:
    club.member.SetMemberNickname(group_id=club.id, nickname="Bee")
    club.owner.SetMemberNickname(group_id=club.id, nickname="Boss", user_id=club.owner.id)
    club.admin.SetMemberNickname(group_id=club.id, nickname="Ceedee", user_id=club.other.id)
    club.service.SetMemberNickname(group_id=club.id, nickname="Adm", user_id=club.admin.id)
    names = [club.detail(each).group_nickname for each in (club.member, club.owner, club.other, club.admin)]
    assert names == ["Bee", "Boss", "Ceedee", "Adm"]
    for who, target, reason in (
        (club.member, club.other, "NOT_A_MANAGER"),
        (club.admin, club.owner, "OWNER"),
        (club.stranger, club.member, "NOT_A_PARTICIPANT"),
    ):
        with refused("PERMISSION_DENIED", reason=reason):
            who.SetMemberNickname(group_id=club.id, nickname="x", user_id=target.id)
    with refused("INVALID_ARGUMENT", "user_id"):
        club.service.SetMemberNickname(group_id=club.id, nickname="x")
    club.member.SetMemberNickname(group_id=club.id)
    assert club.detail(club.member).group_nickname == ""
    assert club.detail(club.member).member.nickname, "the nickname of the profile stays"


@pytest.mark.parametrize(
    ("rpc", "field", "value"),
    [
        ("SetMemberTitle", "title", "x" * 33),
        ("SetMemberTitle", "title", "two\nlines"),
        ("SetMemberTitle", "title", "\u200b"),
        ("SetMemberNickname", "nickname", "x" * 65),
    ],
)
def test_what_is_too_long_or_blank_is_refused(club: Club, rpc: str, field: str, value: str) -> None:
    with refused("INVALID_ARGUMENT", field):
        getattr(club.owner, rpc)(group_id=club.id, user_id=club.member.id, **{field: value})
    with refused("INVALID_ARGUMENT", reason="INVALID_FIELD") as refusal:  # a field whose name `details` has otherwise
        club.owner.BanMember(group_id=club.id, user_id=club.member.id, reason="x" * 201)
    assert refusal.fields
    assert "reason" in refusal.fields


def test_titles_and_nicknames_go_with_the_member(club: Club) -> None:
    club.owner.SetMemberTitle(group_id=club.id, user_id=club.member.id, title="Poet")
    club.member.SetMemberNickname(group_id=club.id, nickname="Bee")
    club.member.LeaveGroup(group_id=club.id)
    with refused("NOT_FOUND", "user_id"):
        club.detail(club.member)
    for rpc, fields in (("SetMemberTitle", {"title": "x"}), ("SetMemberNickname", {"nickname": "x"})):
        with refused("NOT_FOUND", "user_id"):
            getattr(club.owner, rpc)(group_id=club.id, user_id=club.member.id, **fields)
    club.member.JoinGroup(group_id=club.id)
    assert (club.detail(club.member).title, club.detail(club.member).group_nickname) == ("", "")


def test_members_are_listed_by_when_they_joined(club: Club) -> None:
    club.stranger.JoinGroup(group_id=club.id)
    club.owner.SetMemberTitle(group_id=club.id, user_id=club.stranger.id, title="New")
    by_old_rpc = list(club.member.GetGroupMembers(group_id=club.id).members)
    listed, token = [], ""
    for size in (2, 2, 2):
        page = club.member.ListMembers(group_id=club.id, limit=2, page_token=token)
        assert len(page.members) == size
        listed, token = [*listed, *page.members], page.next_page_token
    assert token == ""
    assert [each.member for each in listed] == by_old_rpc
    assert listed[-1].title == "New"
    for rpc, fields in (("ListMembers", {}), ("GetMember", {"user_id": club.owner.id})):
        club.owner.RemoveGroupMember(group_id=club.id, user_id=club.other.id) if rpc == "ListMembers" else None
        with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
            getattr(club.other, rpc)(group_id=club.id, **fields)
    with refused("INVALID_ARGUMENT", "page_token"):
        club.member.ListMembers(group_id=club.id, page_token="?")


def test_members_are_found_by_any_of_their_names(club: Club, app: Deployment) -> None:
    word = fresh("Zoe")
    club.member.SetMemberNickname(group_id=club.id, nickname=f"dear {word}")
    club.other.UpdateUserProfile(nickname=f"{word.upper()} X")
    named = app.person(word.lower())
    named.JoinGroup(group_id=club.id)

    def found(query: str) -> list[str]:
        return [each.member.user_id for each in club.owner.ListMembers(group_id=club.id, query=query).members]

    assert sorted(found(word)) == sorted([club.member.id, club.other.id, named.id])
    assert found(f"dear {word}") == [club.member.id]
    assert found("nobody is called so") == []
    assert found("\u200b") == []
    assert club.stranger.id not in found(club.stranger.username), "who is not in the group"
