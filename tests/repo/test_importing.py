"""Imported messages as they are stored: what `gochat check` says, and how many statements they take."""

from typing import Any

import pytest

from gochat.api.message.v1 import message_pb2 as pb
from gochat.api.message.v1 import message_types_pb2 as types
from gochat.api.repo.v1 import repo_pb2
from gochat.internal.store.v1 import store_pb2
from gochat.repo.check import findings
from gochat.storage.database import Database
from gochat.storage.models import MAX_INBOX_MEMBERS
from tests.repo.test_inbox import astray
from tests.repo.test_query_counts import Handlers, statements

AT = 1_500_000_000_000  # milliseconds


def _users(do: Handlers, number: int) -> list[str]:
    return [
        do.CreateUser(repo_pb2.CreateUserRequest(username=f"user{each}", password="x")).user_id
        for each in range(number)
    ]


def _import(do: Handlers, where: str, senders: list[str], numbers: range, **fields: Any) -> Any:
    messages = [
        types.ImportedMessage(
            import_id=f"i{number}",
            from_user_id=senders[number % len(senders)],
            content=f"m{number}",
            created_at=AT + number,
            edited_at=AT + number + 5 if number % 3 == 0 else 0,
            reply_to=f"i{number - 1}" if number > numbers.start else "",
            reactions=[types.ImportedReaction(user_id=user, reaction="👍") for user in senders],
        )
        for number in numbers
    ]
    return do.ImportMessages(pb.ImportMessagesRequest(conversation_id=where, messages=messages, **fields)).results


@pytest.mark.parametrize("members", [2, MAX_INBOX_MEMBERS + 1])
def test_a_database_with_imports_is_consistent(database: Database, members: int) -> None:
    do = Handlers(database)
    users = _users(do, members + 1)
    group = store_pb2.CreateGroupRequest(name="g", owner_id=users[0], member_ids=users[1:members])
    where = do.CreateGroup(group).group.group_id
    _import(do, where, users, range(30))
    do.CreateMessage(repo_pb2.CreateMessageRequest(conversation_id=where, from_user_id=users[1], content="live"))
    _import(do, where, users, range(40), any_order=True)
    _import(do, where, users[:1], range(50, 60), unread=True, any_order=True)
    pair = do.CreateMessage(
        repo_pb2.CreateMessageRequest(from_user_id=users[0], to_user_id=users[1], content="x")
    ).message.conversation_id
    _import(do, pair, users[:2], range(7), any_order=True)
    ((count, edited),) = database.read(
        lambda tx: tx.fetch_all("SELECT COUNT(*), SUM(CASE WHEN edited_at > 0 THEN 1 ELSE 0 END) FROM messages")
    )
    assert (count, edited) == (40 + 10 + 7 + 2, 14 + 3 + 3)  # two of them live
    assert astray(database) == []
    assert database.write(lambda tx: list(findings(tx))) == []


def test_the_statements_of_an_import_do_not_grow_with_it(
    database: Database, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    do = Handlers(database)
    users = _users(do, 3)
    group = store_pb2.CreateGroupRequest(name="g", owner_id=users[0], member_ids=users[1:])
    where = do.CreateGroup(group).group.group_id
    seen = statements(monkeypatch)
    counts = []
    for numbers in (range(10), range(10, 60), range(60)):  # the last: again
        seen.clear()
        _import(do, where, users, numbers)
        counts.append(len(seen))
    few, many, again = counts
    assert again < 10
    if dialect == "sqlite":
        assert many - few <= 3 * 40, "of each its import_id and the message"
    else:
        assert few == many
