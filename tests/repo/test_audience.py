"""Who is sent what a change is described as, for the streams of all, which read what happens to many at once."""

import pytest

from gochat.domain.changes import Kind
from gochat.internal.change.v1 import change_pb2
from gochat.storage.database import Database
from tests.repo.changelog import Repo
from tests.repo.test_query_counts import statements

Withheld = list[tuple[str, set[str]]]


@pytest.fixture
def repo(database: Database) -> Repo:
    return Repo(database)


def described(repo: Repo, start: change_pb2.Position) -> Withheld:
    """What happened since, as it is described now: the kind of each event, and who in its conversation is left out."""
    changes = repo.change.ReadChanges(start=start).changes
    return [
        (str(delivery.event.WhichOneof("event")), set(delivery.except_user_ids))
        for deliveries in repo.change.DescribeChanges(changes=changes).changes
        for delivery in deliveries.deliveries
    ]


def test_who_leaves_before_it_is_read_is_left_out_of_what_is_said_as_of_now(repo: Repo) -> None:
    ann, ben, cem = repo.users(3)
    room = repo.group(ann, ben, cem)
    start = repo.change.ReadChanges().position
    repo.send(ann, room)
    repo.store.UpdateGroup(group_id=room, user_id=ann, name="new")
    repo.store.RemoveMember(group_id=room, operator_id=ann, user_id=ben)
    repo.store.UpdateGroup(group_id=room, user_id=ann, name="newer")
    updated = [("group_updated", {ben}), ("conversation_updated", {ben})]
    assert described(repo, start) == [("message_sent", set()), *updated, ("member_left", set()), *updated]
    repo.store.AddMembers(group_id=room, operator_id=ann, user_ids=[ben])
    assert {kind for kind, but in described(repo, start) if but} == set(), "who is back"


def test_a_send_costs_one_statement_to_describe(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, ben = repo.users(2)
    room = repo.group(ann, ben)
    start = repo.change.ReadChanges().position
    for _ in range(3):
        repo.send(ann, room)
    changes = repo.change.ReadChanges(start=start).changes
    assert [change.kind for change in changes] == [Kind.MESSAGES_SENT] * 3
    seen = statements(monkeypatch)
    repo.change.DescribeChanges(changes=changes)
    assert len([text for text, _ in seen if text != "COMMIT"]) == 1
