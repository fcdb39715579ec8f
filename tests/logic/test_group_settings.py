"""What a group lets people do, by its settings."""

from typing import Any

import pytest

from gochat.api.group.v1 import group_types_pb2 as pb
from tests.conversations import contents, group
from tests.harness import Deployment, Person, as_service, fresh, refused
from tests.waiting import eventually

EVERYONE, MANAGERS = pb.WHO_EVERYONE, pb.WHO_MANAGERS
OPEN, APPROVAL, INVITATION, CLOSED = range(1, 5)


class Club:
    """A group of an owner, an admin and a plain member, and who is not in it."""

    def __init__(self, app: Deployment, **settings: Any) -> None:
        self.owner, self.admin, self.member, self.stranger = app.people(4)
        self.id = group(self.owner, self.admin, self.member)
        self.owner.SetMemberRole(group_id=self.id, user_id=self.admin.id, role="admin")
        if settings:
            self.set(**settings)

    def set(self, **settings: Any) -> Any:
        return self.admin.UpdateGroupSettings(group_id=self.id, **settings).settings


def test_a_new_group_has_the_settings_of_always(app: Deployment) -> None:
    club = Club(app)
    settings = club.member.GetGroupSettings(group_id=club.id).settings
    assert settings == pb.GroupSettings(
        group_id=club.id, posting=EVERYONE, adding=MANAGERS, editing=MANAGERS, joining=OPEN
    )
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        club.stranger.GetGroupSettings(group_id=club.id)


def test_managers_change_what_they_give_and_nothing_else(app: Deployment) -> None:
    club = Club(app)
    assert club.set(posting=MANAGERS, slow_mode_seconds=30, searchable=True).slow_mode_seconds == 30
    club.set(joining=APPROVAL)
    as_service(app).group.UpdateGroupSettings(group_id=club.id, adding=EVERYONE)
    assert club.set() == pb.GroupSettings(
        group_id=club.id,
        posting=MANAGERS,
        adding=EVERYONE,
        editing=MANAGERS,
        slow_mode_seconds=30,
        joining=APPROVAL,
        searchable=True,
    )
    off = club.set(slow_mode_seconds=0, searchable=False)
    assert (off.slow_mode_seconds, off.searchable, off.joining) == (0, False, APPROVAL)
    for who, reason in ((club.member, "NOT_A_MANAGER"), (club.stranger, "NOT_A_PARTICIPANT")):
        with refused("PERMISSION_DENIED", reason=reason):
            who.UpdateGroupSettings(group_id=club.id, posting=EVERYONE)
    details = [event.detail for event in app.events(action="group.settings") if event.target_id == club.id]
    assert details == ["posting search_key slow_mode_seconds", "joining", "adding", "search_key slow_mode_seconds"]


@pytest.mark.parametrize(
    ("field", "value"), [("slow_mode_seconds", 86_401), ("slow_mode_seconds", -1), ("posting", 9), ("joining", 9)]
)
def test_a_setting_that_is_none_is_refused(app: Deployment, field: str, value: int) -> None:
    club = Club(app)
    with refused("INVALID_ARGUMENT", field):
        club.set(**{field: value})


def test_only_managers_send_where_posting_is_theirs(app: Deployment) -> None:
    club = Club(app)
    key = {"client_msg_id": fresh("key")}
    said = club.member.send(club.id, "before", metadata=key)
    club.set(posting=MANAGERS)
    with refused("PERMISSION_DENIED", reason="POSTING"):
        club.member.send(club.id)
    with refused("PERMISSION_DENIED", reason="POSTING"):
        club.member.EditMessage(message_id=said.message_id, content="instead")
    answer = club.member.SendMessages(messages=[{"conversation_id": club.id, "content": "x"}] * 2)
    assert {result.error.details["reason"] for result in answer.results} == {"POSTING"}
    assert club.member.send(club.id, "before", metadata=key).message_id == said.message_id
    for who in (club.admin, club.owner):
        who.send(club.id, "news")
    as_service(app).logic.SendMessage(from_user_id=club.member.id, conversation_id=club.id, content="bot")
    assert contents(club.member, club.id) == ["bot", "news", "news", "before"]


def test_slow_mode_spaces_the_messages_of_plain_members(app: Deployment) -> None:
    club = Club(app, slow_mode_seconds=1)
    club.owner.AddGroupMember(group_id=club.id, user_ids=[club.stranger.id])
    key = {"client_msg_id": fresh("key")}
    first = club.member.send(club.id, metadata=key)
    with refused("RESOURCE_EXHAUSTED", reason="SLOW_MODE") as refusal:
        club.member.send(club.id)
    assert 0 < int(refusal.response.details["retry_after_ms"]) <= 1000
    assert club.member.send(club.id, metadata=key).message_id == first.message_id
    club.member.EditMessage(message_id=first.message_id, content="better")
    club.stranger.send(club.id)
    for who in (club.admin, club.owner):
        for _ in range(2):
            who.send(club.id)
    as_service(app).logic.SendMessage(from_user_id=club.stranger.id, conversation_id=club.id, content="bot")

    def sent() -> bool:
        answer = club.member.SendMessages(messages=[{"conversation_id": club.id, "content": str(n)} for n in range(3)])
        of_first, *others = answer.results
        assert {result.error.details["reason"] for result in others} == {"SLOW_MODE"}
        assert not of_first.message_id or 0 < int(others[0].error.details["retry_after_ms"]) <= 1000
        return bool(of_first.message_id)

    eventually(sent)
    club.set(slow_mode_seconds=0)
    club.member.send(club.id)


def test_slow_mode_does_not_end_by_leaving_and_coming_back(app: Deployment) -> None:
    club = Club(app, slow_mode_seconds=3600)
    club.member.send(club.id)
    club.member.LeaveGroup(group_id=club.id)
    club.member.JoinGroup(group_id=club.id)
    with refused("RESOURCE_EXHAUSTED", reason="SLOW_MODE") as refusal:
        club.member.send(club.id)
    assert 3_500_000 < int(refusal.response.details["retry_after_ms"]) <= 3_600_000


@pytest.mark.parametrize("seconds", [0, 3600])
def test_in_a_large_group_members_are_bound_too(app: Deployment, seconds: int) -> None:
    club = Club(app)
    club.owner.AddGroupMember(group_id=club.id, user_ids=[app.create_user() for _ in range(12)])
    club.set(slow_mode_seconds=seconds)
    club.member.send(club.id)
    if seconds:
        with refused("RESOURCE_EXHAUSTED", reason="SLOW_MODE"):
            club.member.send(club.id)
    club.set(posting=MANAGERS)
    with refused("PERMISSION_DENIED", reason="POSTING"):
        club.member.send(club.id)


def test_members_add_others_where_adding_is_everyones(app: Deployment) -> None:
    club = Club(app)
    with refused("PERMISSION_DENIED", reason="NOT_A_MANAGER"):
        club.member.AddGroupMember(group_id=club.id, user_ids=[club.stranger.id])
    club.set(adding=EVERYONE, joining=CLOSED)
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        club.stranger.AddGroupMember(group_id=club.id, user_ids=[club.stranger.id])
    assert club.member.AddGroupMember(group_id=club.id, user_ids=[club.stranger.id]).added_user_ids


def test_members_edit_where_editing_is_everyones_but_not_the_places(app: Deployment) -> None:
    club = Club(app)
    by_group = {"group_id": club.id, "description": "d"}
    by_conversation = {"conversation_id": club.id, "name": "n"}
    with refused("PERMISSION_DENIED", reason="NOT_A_MANAGER"):
        club.member.UpdateGroup(**by_group)
    with refused("PERMISSION_DENIED", reason="NOT_A_MANAGER"):
        club.member.UpdateConversation(**by_conversation)
    club.set(editing=EVERYONE)
    assert club.member.UpdateGroup(**by_group).group.description == "d"
    assert club.member.UpdateConversation(**by_conversation).conversation.name == "n"
    with refused("PERMISSION_DENIED", reason="NOT_A_MANAGER"):
        club.member.UpdateGroup(group_id=club.id, max_members=4)
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        club.stranger.UpdateGroup(**by_group)


@pytest.mark.parametrize(("joining", "word"), [(APPROVAL, "approval"), (INVITATION, "invitation"), (CLOSED, "closed")])
def test_who_knows_the_id_joins_an_open_group_alone(app: Deployment, joining: int, word: str) -> None:
    club = Club(app, joining=joining)
    with refused("PERMISSION_DENIED", reason="JOINING") as refusal:
        club.stranger.JoinGroup(group_id=club.id)
    assert refusal.response.details["joining"] == word
    with refused("PERMISSION_DENIED", reason="JOINING"):
        as_service(app).logic.JoinGroup(group_id=club.id, user_id=club.stranger.id)
    with refused("ALREADY_EXISTS", reason="ALREADY_A_MEMBER"):
        club.member.JoinGroup(group_id=club.id)
    club.owner.AddGroupMember(group_id=club.id, user_ids=[club.stranger.id])


def found(reader: Person, query: str, **fields: Any) -> list[str]:
    return [each.name for each in reader.SearchGroups(query=query, **fields).groups]


def test_groups_that_are_searchable_are_found_by_name(app: Deployment) -> None:
    owner, reader = app.people(2)
    word = fresh("Chess")
    names = [f"The {word} players", f"{word} club", word.upper(), f"{word} and go"]
    for name in names:
        owner.UpdateGroupSettings(group_id=group(owner, name=name, description="d"), searchable=True)
    group(owner, name=f"{word} in secret")
    by_rank = [word.upper(), f"{word} and go", f"{word} club", f"The {word} players"]
    assert found(reader, word.lower()) == by_rank
    first = reader.SearchGroups(query=word, limit=3)
    (preview, *_), token = first.groups, first.next_page_token
    assert (preview.member_count, preview.joining, preview.description) == (1, OPEN, "d")
    last = reader.SearchGroups(query=word, limit=3, page_token=token)
    assert [each.name for each in [*first.groups, *last.groups]] == by_rank
    assert last.next_page_token == ""
    assert set(by_rank) <= set(found(reader, "", limit=100)), "all, by name"
    with refused("INVALID_ARGUMENT", "page_token"):
        reader.SearchGroups(query=word, page_token="x")
    owner.UpdateGroup(group_id=preview.group_id, name="Another")
    assert found(reader, word) == by_rank[1:], "by the name that it has now"
    owner.UpdateGroupSettings(group_id=last.groups[0].group_id, searchable=False)
    assert found(reader, word) == by_rank[1:3]
    owner.LeaveGroup(group_id=first.groups[1].group_id)
    assert found(reader, word) == by_rank[2:3], "the last member has left"
    assert found(reader, "\u200b") == []
    assert found(reader, "%") == [], "no pattern"
