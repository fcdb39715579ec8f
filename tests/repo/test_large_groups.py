"""Groups of more than 1,000: what would concern everybody concerns few."""

from typing import Any

import pytest

from gochat.api.group.v1 import group_pb2
from gochat.bench.seed import Room, fill, nickname, username
from gochat.domain.changes import FOUNDING, Kind
from gochat.domain.limits import MAX_ANNOUNCED, MAX_NOTIFIED
from gochat.internal.change.v1 import change_pb2
from gochat.internal.group.v1 import group_pb2 as group_store_pb2
from gochat.repo import audience, member_details
from gochat.repo.describing import describe
from gochat.repo.feed import read_log
from gochat.storage.database import Database
from tests.repo.changelog import Repo
from tests.repo.test_query_counts import Handlers

SIZE = max(MAX_ANNOUNCED, MAX_NOTIFIED) + 1


class Large(Repo):
    """A group of SIZE, which the first of them owns, and one of few; `outside` is in neither."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        fill(database, SIZE + 2, [Room("group", range(SIZE), 1), Room("group", range(2), 1)])
        rows = database.read(lambda tx: tx.fetch_all("SELECT user_id FROM users ORDER BY username_key"))
        self.people = [user_id for (user_id,) in rows]
        self.outside = self.people[SIZE]
        found = "SELECT conversation_id FROM conversations ORDER BY member_count"
        (self.small,), (self.large,) = database.read(lambda tx: tx.fetch_all(found))

    def described(self, kind: Kind, user_id: str | None) -> list[change_pb2.Delivery]:
        """Of the newest change of that kind."""
        self.database.collect()

        def work(tx: Any) -> list[change_pb2.Delivery]:
            rows = read_log(tx, self.start).rows
            (row,) = [row for row in rows if row.kind == kind and row.detail != FOUNDING]
            change = change_pb2.Change(
                kind=row.kind,
                position=row.position,
                conversation_id=row.conversation_id,
                user_id=row.user_id,
                detail=row.detail,
                at=row.at,
            )
            return describe(tx, [change], user_id)[0]

        return self.database.read(work)

    def begin(self) -> None:
        self.start = self.database.read(lambda tx: read_log(tx, change_pb2.Position()).now)


@pytest.fixture
def repo(database: Database) -> Large:
    return Large(database)


def test_who_comes_and_goes_is_pushed_to_managers_alone(repo: Large) -> None:
    owner = repo.people[0]
    repo.begin()
    repo.store.JoinGroup(group_id=repo.large, user_id=repo.outside)
    shown, joined, of_services = repo.described(Kind.MEMBER_JOINED, None)
    assert list(shown.user_ids) == [repo.outside]
    assert list(joined.user_ids) == [repo.outside, owner]
    assert joined.event.member_joined.member.user_id == repo.outside
    assert (of_services.is_for_services, of_services.event) == (True, joined.event)
    assert [list(each.user_ids) for each in repo.described(Kind.MEMBER_JOINED, "")] == [[repo.outside], []]
    repo.store.LeaveGroup(group_id=repo.large, user_id=repo.outside)
    (left,) = repo.described(Kind.MEMBER_LEFT, None)
    assert list(left.user_ids) == [repo.outside, owner]
    assert left.event.member_left.user_id == repo.outside


def test_in_a_small_group_they_are_pushed_to_all(repo: Large) -> None:
    repo.begin()
    repo.store.JoinGroup(group_id=repo.small, user_id=repo.outside)
    _, joined = repo.described(Kind.MEMBER_JOINED, None)
    repo.store.LeaveGroup(group_id=repo.small, user_id=repo.outside)
    (left,) = repo.described(Kind.MEMBER_LEFT, None)
    assert list(joined.user_ids) == list(left.user_ids) == []


def test_of_a_large_group_those_who_are_mentioned_are_notified(repo: Large) -> None:
    owner, one, other = repo.people[:3]
    repo.reader.Claim(name="push", holder="test", seconds=60)

    def notified(**message: Any) -> set[str]:
        """By the message and one in the small group."""
        repo.send(owner, repo.small)
        repo.send(owner, repo.large, **message)
        repo.push.CollectPending(all_recipients=True, delay=0, interval=0)
        rows = repo.database.write(
            lambda tx: tx.fetch_all("DELETE FROM push_pending RETURNING conversation_id, user_id")
        )
        assert [user_id for room, user_id in rows if room == repo.small] == [one]
        return {user_id for room, user_id in rows if room == repo.large}

    assert notified() == set()
    assert notified(metadata={"mentions": other}) == {other}
    assert notified(metadata={"mentions": "all"}) == set(repo.people[1:SIZE])


@pytest.mark.parametrize("most_found", [member_details.MOST_FOUND, 0])
def test_members_are_found_by_name_wherever_they_are(
    repo: Large, monkeypatch: pytest.MonkeyPatch, most_found: int
) -> None:
    monkeypatch.setattr(member_details, "MOST_FOUND", most_found)
    handlers = Handlers(repo.database)

    def call(user_id: str, request: Any, rpc: str) -> Any:
        wrapped = getattr(group_store_pb2, f"{rpc}Request")(user_id=user_id, request=request)
        return getattr(handlers, rpc)(wrapped)

    def found(query: str) -> list[str]:
        names, token = list[str](), ""
        while True:
            asked = group_pb2.ListMembersRequest(group_id=repo.large, query=query, limit=7, page_token=token)
            answer = call(repo.people[0], asked, "ListMembers")
            names += [each.member.user_id for each in answer.members]
            if not (token := answer.next_page_token):
                return names

    last = repo.people[SIZE - 1]
    assert found(username(SIZE - 1)) == [last]
    assert found(username(SIZE)) == []  # who is no member
    assert found("nobody is called so") == []
    assert found(nickname(5)) == [
        user_id for number, user_id in enumerate(repo.people[:SIZE]) if nickname(5) in nickname(number)
    ]
    named = group_pb2.SetMemberNicknameRequest(group_id=repo.large, user_id=last, nickname="Zebra")
    call(last, named, "SetMemberNickname")
    assert found("zebra") == [last]
    assert len(found("")) == SIZE


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)  # PostgreSQL's plan depends on how many there are
def test_what_concerns_few_reads_few(database: Database) -> None:
    unseen = audience._UNSEEN_BY.format("(?, ?)", "", "")
    for statement, parameters, index in (
        (unseen, ("c", 1), "members_hidden"),
        (audience._MANAGERS, ("c",), "members_managing"),
    ):
        text, values = f"EXPLAIN QUERY PLAN {statement}", parameters
        plan = database.read(lambda tx, text=text, values=values: tx.fetch_all(text, *values))
        assert any(index in row[-1] for row in plan), plan
