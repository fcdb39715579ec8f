"""Reading the log on PostgreSQL, where transactions commit in another order than they begin."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import psycopg2
import pytest

from gochat.config import Config
from gochat.domain.changes import Kind
from gochat.internal.change.v1 import change_pb2 as pb
from gochat.repo.feed import Feed
from gochat.storage.database import Database

ADD = """
INSERT INTO changes (kind, conversation_id, user_id, actor_id, first_seq, seq, detail, at)
VALUES (%s, %s, '', '', %s, %s, '', 1)"""

pytestmark = pytest.mark.parametrize("dialect", ["postgres"], indirect=True)


class Transaction:
    """One that has begun to write."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._cursor.execute("SELECT pg_current_xact_id()")

    def add(self, conversation_id: str, seq: int) -> None:
        self._cursor.execute(ADD, (int(Kind.MESSAGES_SENT), conversation_id, seq, seq))

    def commit(self) -> None:
        self._connection.commit()


@pytest.fixture
def begun(config: Config) -> Iterator[Any]:
    with ExitStack() as connections:
        yield lambda: Transaction(connections.enter_context(closing(psycopg2.connect(config.database.url))))


def read(database: Database, start: pb.Position) -> tuple[list[int], pb.Position]:
    answer = Feed(database).ReadChanges(pb.ReadChangesRequest(start=start))
    assert not answer.gap
    return [change.seq for change in answer.changes], answer.position


def test_what_commits_late_is_not_missed(database: Database, begun: Any) -> None:
    _, start = read(database, pb.Position())
    early, late = begun(), begun()
    late.add("g", 2)
    late.commit()
    seqs, middle = read(database, start)
    assert seqs == [], "one that is older is in progress"
    early.add("other", 1)
    early.commit()
    seqs, _ = read(database, middle)
    assert sorted(seqs) == [1, 2]


def test_one_conversation_is_told_in_the_order_of_its_commits(database: Database, begun: Any) -> None:
    """The second of two sends began before the first, as it waited for its lock; and a third transaction, which began
    between them, is still in progress."""
    _, start = read(database, pb.Position())
    second, foreign, first = begun(), begun(), begun()
    first.add("g", 1)
    first.commit()
    second.add("g", 2)
    second.add("other", 7)
    second.commit()
    seqs, middle = read(database, start)
    assert seqs == []
    third = begun()
    third.add("g", 3)
    third.commit()
    seqs, middle = read(database, middle)
    assert seqs == []
    foreign.commit()
    seqs, end = read(database, middle)
    assert seqs == [1, 2, 7, 3]
    assert read(database, end)[0] == []
