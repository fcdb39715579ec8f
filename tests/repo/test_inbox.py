"""Lists of conversations by index: what members carry, what the lists answer, and that neither reads all there is."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gochat.api.common.v1.common_pb2 import PaginationRequest
from gochat.api.conversation.v1 import conversation_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.config import Config
from gochat.errors import ChatError
from gochat.internal.conversation.v1 import conversation_pb2 as conversation_store_pb2
from gochat.internal.store.v1 import store_pb2
from gochat.repo import (
    editing,
    feed,
    lists,
    members,
    message_details,
    messages,
    pins,
    reactions,
    seen,
    sending,
)
from gochat.repo.check_inboxes import ASTRAY
from gochat.repo.inboxes import refresh
from gochat.storage.database import Database, Tx, placeholders
from gochat.storage.engine import open_database
from gochat.storage.kept import Kept
from gochat.storage.models import MAX_INBOX_MEMBERS as SMALL
from tests.generate import all_kept
from tests.harness import fresh
from tests.repo.test_query_counts import Handlers


class Chats:
    """Ten people in one-to-one conversations and in groups around SMALL."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.do = Handlers(database)
        self.people = [
            self.do.CreateUser(repo_pb2.CreateUserRequest(username=f"user{n}", password="x")).user_id for n in range(14)
        ]
        self.reader = self.people[0]
        self.groups = [self._group(size) for size in (2, SMALL - 1, SMALL, SMALL + 1)]
        for other in self.people[1:8]:
            self.send(other, to_user_id=self.reader)

    def _group(self, size: int) -> str:
        request = store_pb2.CreateGroupRequest(name="g", owner_id=self.reader, member_ids=self.people[1:size])
        return str(self.do.CreateGroup(request).group.group_id)

    def send(self, sender: str, **where: str) -> Any:
        return self.do.CreateMessage(repo_pb2.CreateMessageRequest(from_user_id=sender, content="x", **where))

    def act(self, dice: random.Random) -> None:
        group, person = dice.choice(self.groups), dice.choice(self.people[1:])
        match dice.randrange(10):
            case 0 | 1 | 2:
                self.send(dice.choice((person, self.reader)), conversation_id=group)
            case 3:
                self.send(person, to_user_id=self.reader)
            case 4:
                add = repo_pb2.AddGroupMemberRequest(group_id=group, user_id=person)
                self.do.AddGroupMember(add)
            case 5:
                self.do.RemoveGroupMember(repo_pb2.RemoveGroupMemberRequest(group_id=group, user_id=person))
            case 6:
                hide = store_pb2.HideConversationRequest(conversation_id=group, user_id=self.reader)
                self.do.HideConversation(hide)
            case 7:
                sent = self.send(self.people[1], conversation_id=self.groups[0])
                status = repo_pb2.UpdateMessageStatusRequest(
                    message_id=sent.message_id, user_id=self.reader, status=dice.choice((3, 4))
                )
                self.do.UpdateMessageStatus(status)
            case 8:
                self.do.UpdateConversation(repo_pb2.UpdateConversationRequest(conversation_id=group, name=fresh("n")))
            case 9:
                refresh(self.database, self.reader)

    def expected(self) -> list[tuple[str, int]]:
        """(conversation id, unread), the latest first, by reading everything."""
        rows = self.database.read(
            lambda tx: tx.fetch_all(
                "SELECT c.conversation_id, c.updated_at, (SELECT COUNT(*) FROM messages l"
                " WHERE l.conversation_id = c.conversation_id AND l.seq > m.read_seq AND l.status < 4)"
                " FROM members m JOIN conversations c ON c.conversation_id = m.conversation_id"
                " WHERE m.user_id = ? AND c.last_seq > m.hidden_seq",
                self.reader,
            )
        )
        return [(row[0], row[2]) for row in sorted(rows, key=lambda row: (row[1], row[0]), reverse=True)]

    def listed(self, limit: int) -> list[tuple[str, int]]:
        """All pages."""
        found: list[tuple[str, int]] = []
        for page in range(1, 100):
            request = repo_pb2.GetConversationsByUserRequest(
                user_id=self.reader, pagination=PaginationRequest(page=page, limit=limit)
            )
            answer = self.do.GetConversationsByUser(request)
            found += [(info.conversation_id, info.unread_count) for info in answer.conversations]
            if page * limit >= answer.pagination.total:
                assert len(found) == answer.pagination.total
                break
        return found

    def paged(self, **filters: bool) -> list[str]:
        """All pages of ListConversations."""
        found, token = list[str](), ""
        while True:
            wanted = conversation_pb2.ListConversationsRequest(limit=3, page_token=token, **filters)
            request = conversation_store_pb2.ListConversationsRequest(user_id=self.reader, request=wanted)
            answer = self.do.ListConversations(request)
            found += [one.state.info.conversation_id for one in answer.conversations]
            if not (token := answer.next_page_token):
                return found


def astray(database: Database) -> list[Any]:
    """The members that do not carry what they should."""
    return database.read(
        lambda tx: tx.fetch_all(
            "SELECT t.*, c.member_count FROM members t JOIN conversations c"
            f" ON c.conversation_id = t.conversation_id WHERE {ASTRAY}"
        )
    )


@pytest.mark.parametrize("seed", range(3))
def test_lists_equal_those_of_a_full_scan(database: Database, seed: int) -> None:
    chats, dice = Chats(database), random.Random(seed)
    for step in range(120):
        try:
            chats.act(dice)
        except ChatError as refused:  # who is no member does not send, and is not removed
            assert refused.reason in {"NOT_A_PARTICIPANT", "ALREADY_A_MEMBER", "MEMBER_NOT_FOUND"}, refused
        if step % 20 == 19:
            assert astray(database) == []
            expected = chats.expected()
            assert chats.listed(limit=100) == expected
            assert chats.listed(limit=3) == expected
            assert chats.paged() == [conversation_id for conversation_id, _ in expected]
            assert chats.paged(unread=True) == [conversation_id for conversation_id, number in expected if number]
            unread = chats.do.GetUnread(store_pb2.GetUnreadRequest(user_id=chats.reader))
            assert [(info.conversation_id, info.unread_count) for info in unread.conversations] == [
                (conversation_id, number) for conversation_id, number in expected if number
            ]
            assert unread.total_count == sum(number for _, number in expected)


GROWING = {"users", "sessions", "conversations", "members", "messages", "sends", "reactions", "own_deletions"}


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        (lists.UNREAD_PAGE, ("u", 100)),
        (lists.UNREAD_TOTAL, ("u",)),
        (messages.HISTORY, ("c", "u", 5, 20)),
        (message_details.AFTER, ("c", "u", 5, 20)),
        (message_details.ONE, ("c", "u", 5)),
        (message_details.PINNED, ("c", "u")),
        (seen._SEEN, ("u", "c", 1, "u")),
        (reactions._LIST, ("c", 1, 0, 20)),
        (reactions._FIRST, ("c", 1, "r")),
        (pins._COUNT, ("c",)),
        (editing._VERSIONS, ("c", 1, 0, 20)),
        (messages._PAGE, ("c", 20, 0)),
        (messages._AT, ("c", 1)),
        (sending._CONVERSATION, (0, "c")),
        (sending._PAIR, ("c",)),
        (sending._IS_MEMBER, ("c", "u")),
        (sending._EARLIER, ("c", "u", "k")),
        (members._PAGE, ("u", 50, 0, "g")),
        (feed.EVERYTHING, (1,)),
        (feed.PIECE, (1,)),
        (feed.OF_USER, (1, "u", "s")),
    ],
)
def test_no_hot_query_reads_all_of_a_growing_table(
    database: Database, dialect: str, statement: str | Kept, parameters: tuple[object, ...]
) -> None:
    plan_by_index(database, dialect, statement, parameters)


def test_sqlite_prepares_no_kept_statement_again(tmp_path: Path) -> None:
    """Where a condition is like that of a partial index but for a parameter, SQLite plans anew for each value of it,
    which takes ten times as long as the statement. It asks the authorizer whenever it prepares one."""
    open_database(Config().with_settings("server", data=str(tmp_path))).close()
    asked = list[str]()

    def is_asked(*what: object) -> int:
        asked.append(str(what))
        return sqlite3.SQLITE_OK

    with closing(sqlite3.connect(tmp_path / "gochat.db")) as connection:
        connection.set_authorizer(is_asked)
        for kept in all_kept().values():
            for value in ("1", "2"):
                asked.clear()
                connection.execute(kept.text, [value] * len(kept.parameters)).fetchall()
            assert not asked, kept.name


def test_a_page_of_conversations_sorts_only_those_that_are_looked_up(database: Database, dialect: str) -> None:
    plan = plan_by_index(database, dialect, lists.PAGE, ("u", 20, 0))
    if dialect == "sqlite":
        merged = plan[plan.index("LEFT") : plan.index("SCAN page")]
        carried = len(merged) - merged[::-1].index("RIGHT")
        assert merged[:carried].count("USE TEMP B-TREE FOR ORDER BY") == 2
        assert "USE TEMP B-TREE FOR ORDER BY" not in merged[carried:]
    else:
        assert any("Merge Append" in line for line in plan), plan


def test_the_unread_total_of_nothing_is_zero(database: Database) -> None:
    assert database.read(lambda tx: tx.fetch_all(lists.UNREAD_TOTAL, "u")) == [(0,)]


def plan_by_index(database: Database, dialect: str, statement: str | Kept, parameters: tuple[object, ...]) -> list[str]:
    """Of a kept statement on PostgreSQL the plan for any parameters, which is the one that is kept."""

    def explain(tx: Tx) -> list[str]:
        if not tx.postgres:
            text = statement.text if isinstance(statement, Kept) else statement
            return [row[-1] for row in tx.fetch_all(f"EXPLAIN QUERY PLAN {text}", *parameters)]
        tx.sql("SET LOCAL enable_seqscan = off")  # where an index serves, the planner has no choice but to say so
        if not isinstance(statement, Kept):
            return [row[0] for row in tx.fetch_all(f"EXPLAIN {statement}", *parameters)]
        tx.sql("SET LOCAL plan_cache_mode = force_generic_plan")
        tx.sql(f"PREPARE explained ({', '.join(statement.parameters)}) AS {statement.body}")
        plan = tx.fetch_all(f"EXPLAIN EXECUTE explained ({placeholders(parameters)})", *parameters)
        tx.sql("DEALLOCATE explained")
        return [row[0] for row in plan]

    plan = database.read(explain)
    if dialect == "sqlite":
        results = {line.split()[1] for line in plan if line.startswith(("CO-ROUTINE", "MATERIALIZE"))} | {"CONSTANT"}
        scans = [line for line in plan if line.startswith("SCAN") and line.split()[1] not in results]
        assert not scans, plan
        assert not [line for line in plan if "AUTOMATIC" in line], plan
    else:
        assert not [line for line in plan if "Seq Scan on" in line], "\n".join(plan)
    return plan
