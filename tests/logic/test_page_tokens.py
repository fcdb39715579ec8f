"""Page tokens: each is good for the list that it is of, and for no other group, message, user, filter or RPC."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conversations import group
from tests.harness import FOR_APPS, Deployment, Person, fresh, refused


class World:
    """ann, who owns two groups, of each of which every list has two entries; and ben, a member of both."""

    def __init__(self, app: Deployment) -> None:
        self.ann, self.ben, self.word = app.person(), app.person(), fresh("Pages")
        others = [app.person() for _ in range(4)]
        self.groups = [self._group(others), self._group(others)]
        self.messages = [self._message(group_id) for group_id in self.groups]
        for person in others:
            self.ben.send(person.id)

    def _group(self, others: list[Person]) -> str:
        group_id = group(self.ann, self.ben, name=f"{self.word} of many")
        self.ann.UpdateGroupSettings(group_id=group_id, joining=2, searchable=True)
        for person in others[:2]:
            person.RequestToJoin(group_id=group_id)
        for person in others[2:]:
            self.ann.BanMember(group_id=group_id, user_id=person.id)
        return group_id

    def _message(self, group_id: str) -> str:
        message_id: str = self.ann.send(group_id, "1").message_id
        for content in ("2", "3"):
            self.ann.EditMessage(message_id=message_id, content=content)
        for reaction in (":one:", ":two:"):
            self.ann.AddReaction(message_id=message_id, reaction=reaction)
        return message_id


@pytest.fixture
def world(app: Deployment) -> World:
    return World(app)


def _of_group(w: World) -> list[dict[str, Any]]:
    return [{"group_id": group_id} for group_id in w.groups]


def _of_message(w: World) -> list[dict[str, Any]]:
    return [{"message_id": message_id} for message_id in w.messages]


# Of each RPC that takes a page_token: the list, and others that differ from it in one thing.
LISTS: dict[str, Callable[[World], list[dict[str, Any]]]] = {
    "GetState": lambda _: [{}],
    "ListConversations": lambda _: [{}, {"type": "group"}, {"archived": False}, {"pinned": False}],
    "ListBannedMembers": _of_group,
    "ListJoinRequests": _of_group,
    "ListMembers": lambda w: [*_of_group(w), {"group_id": w.groups[0], "query": w.ann.username}],
    "SearchGroups": lambda w: [{"query": w.word}, {"query": f"{w.word} of"}],
    "ListVersions": _of_message,
    "ListReactions": _of_message,
}
PERSONAL = ("GetState", "ListConversations")  # of who asks; the others are the same for all who may read them


def test_no_list_is_left_out() -> None:
    methods = [one for _, module, name in FOR_APPS for one in module.DESCRIPTOR.services_by_name[name].methods]
    assert {one.name for one in methods if "page_token" in one.input_type.fields_by_name} == set(LISTS)


def test_a_token_is_good_for_its_own_list_alone(world: World) -> None:
    tokens = {rpc: getattr(world.ann, rpc)(limit=1, **of(world)[0]).next_page_token for rpc, of in LISTS.items()}
    for rpc, of in LISTS.items():
        right, *others = of(world)
        token = tokens[rpc]
        assert token
        assert getattr(world.ann, rpc)(limit=2, page_token=token, **right)
        wrong = [(world.ann, token, fields) for fields in others]
        wrong += [(world.ann, foreign, right) for other, foreign in tokens.items() if other != rpc]
        wrong += [(world.ann, made, right) for made in ("1", "x", "é", token[:-1], token + "A")]
        wrong += [(world.ben, token, right)] if rpc in PERSONAL else []
        for who, given, fields in wrong:
            with refused("INVALID_ARGUMENT", "page_token", "BAD_CURSOR"):
                getattr(who, rpc)(page_token=given, **fields)


def test_a_search_goes_on_from_a_group_and_not_from_a_number(app: Deployment) -> None:
    """What goes before the page that was read, or comes there, moves nothing on the next one; names that begin alike
    are kept apart, and long ones make no token too long."""
    owner, reader = app.people(2)
    word = fresh("Far").lower()
    names = [f"{word} {'𠀀' * 60} {number}" for number in range(6)]
    groups = [group(owner, name=name) for name in names]
    for group_id in groups:
        owner.UpdateGroupSettings(group_id=group_id, searchable=True)
    first = reader.SearchGroups(query=word, limit=3)
    owner.UpdateGroupSettings(group_id=first.groups[0].group_id, searchable=False)
    rest = reader.SearchGroups(query=word, limit=3, page_token=first.next_page_token)
    listed = [each.group_id for each in [*first.groups, *rest.groups]]
    assert (sorted(listed), rest.next_page_token) == (sorted(groups), "")
