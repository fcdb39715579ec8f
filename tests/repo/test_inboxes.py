"""Lists of a user in many large conversations: that they look up few, and leave out nothing."""

import threading
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from gochat.api.repo.v1 import repo_pb2
from gochat.config import Config
from gochat.domain import ids
from gochat.internal.store.v1 import store_pb2
from gochat.repo import inboxes
from gochat.repo.inboxes import MOST, Inboxes, refresh
from gochat.repo.lists import UNREAD_PAGE
from gochat.repo.recipients import unread_of
from gochat.repo.sending import as_stored, store
from gochat.storage.database import Database, Tx, Work
from gochat.storage.engine import renew_log
from gochat.storage.leases import IN_USE_LOCK
from gochat.storage.models import LOOKED_UP
from gochat.storage.models import MAX_INBOX_MEMBERS as SMALL
from gochat.storage.postgres import PostgresDatabase
from tests.repo.test_inbox import astray
from tests.repo.test_query_counts import Handlers
from tests.waiting import eventually


class Crowd:
    """A reader who is in many groups of more than SMALL."""

    def __init__(self, database: Database, groups: int) -> None:
        self.database, self.do = database, Handlers(database)
        self.reader, self.talker, *others = [
            self.do.CreateUser(repo_pb2.CreateUserRequest(username=f"user{n}", password="x")).user_id
            for n in range(SMALL + 1)
        ]
        self.groups = [
            self.do.CreateGroup(
                store_pb2.CreateGroupRequest(name="g", owner_id=self.reader, member_ids=[self.talker, *others])
            ).group.group_id
            for _ in range(groups)
        ]

    def message(self, group_id: str) -> repo_pb2.CreateMessageRequest:
        return repo_pb2.CreateMessageRequest(conversation_id=group_id, from_user_id=self.talker, content="x")

    def unread(self) -> dict[str, int]:
        answer = self.do.GetUnread(store_pb2.GetUnreadRequest(user_id=self.reader))
        return {info.conversation_id: info.unread_count for info in answer.conversations}

    def latest(self) -> str:
        request = repo_pb2.GetConversationsByUserRequest(user_id=self.reader)
        return str(self.do.GetConversationsByUser(request).conversations[0].conversation_id)

    def lookups(self) -> int:
        """By the list that was read."""
        ((_, _, lookups),) = self.database.read(lambda tx: tx.fetch_all(UNREAD_PAGE, self.reader, 100))
        return int(lookups)


def test_a_list_looks_up_what_has_moved_alone(database: Database) -> None:
    crowd = Crowd(database, 5)
    for group_id in crowd.groups:
        crowd.do.CreateMessage(crowd.message(group_id))
    assert crowd.lookups() == 5
    refresh(database, crowd.reader)
    assert crowd.lookups() == 0
    assert crowd.unread() == dict.fromkeys(crowd.groups, 1)
    crowd.do.CreateMessage(crowd.message(crowd.groups[2]))
    assert crowd.lookups() == 1
    assert crowd.latest() == crowd.groups[2]
    assert crowd.unread() == dict.fromkeys(crowd.groups, 1) | {crowd.groups[2]: 2}
    found = database.read(lambda tx: unread_of(tx, crowd.groups[0], [crowd.reader]))
    assert (found[crowd.reader].total, found[crowd.reader].here) == (6, 1)
    refresh(database, crowd.reader)
    assert crowd.lookups() == 0
    assert astray(database) == []


def test_what_was_read_and_moves_is_unread_again(database: Database) -> None:
    crowd = Crowd(database, 2)
    first = crowd.do.CreateMessage(crowd.message(crowd.groups[0]))
    refresh(database, crowd.reader)
    crowd.do.MarkRead(
        store_pb2.MarkReadRequest(conversation_id=crowd.groups[0], message_id=first.message_id, user_id=crowd.reader)
    )
    assert crowd.unread() == {}
    crowd.do.CreateMessage(crowd.message(crowd.groups[0]))
    assert crowd.unread() == {crowd.groups[0]: 1}
    found = database.read(lambda tx: unread_of(tx, crowd.groups[0], [crowd.reader]))
    assert (found[crowd.reader].total, found[crowd.reader].here) == (1, 1)


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)  # SQLite's transactions write one after the other
def test_a_send_that_commits_after_a_refresh_is_looked_up(database: Database) -> None:
    crowd = Crowd(database, 2)
    sent, refreshed = threading.Event(), threading.Event()

    def send(tx: Tx) -> None:
        store(tx, [as_stored(0, crowd.message(crowd.groups[0]), database.pair_key)], ids.now_ms())
        sent.set()
        assert refreshed.wait(30)

    sending = threading.Thread(target=lambda: database.write(send))
    sending.start()
    try:
        assert sent.wait(30)
        for group_id in crowd.groups[1:]:  # other transactions, of which the refresh sees all
            crowd.do.CreateMessage(crowd.message(group_id))
        refresh(database, crowd.reader)
    finally:
        refreshed.set()
        sending.join()
    assert crowd.unread() == dict.fromkeys(crowd.groups, 1)
    assert astray(database) == []


def test_a_refresh_ends_while_messages_go_on(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = Crowd(database, 3)
    refresh(database, crowd.reader)
    for group_id in crowd.groups:
        crowd.do.CreateMessage(crowd.message(group_id))
    write, calls = database.write, list[str]()

    def write_and_send(work: Work[Any], **how: Any) -> Any:
        done = write(work, **how)
        if len(calls) % 2 == 0:  # not after the send itself
            calls.append("refresh")
            assert len(calls) < 100
            crowd.do.CreateMessage(crowd.message(crowd.groups[len(calls) % 3]))
            calls.append("send")
        return done

    monkeypatch.setattr(database, "write", write_and_send)
    refresh(database, crowd.reader)
    monkeypatch.undo()
    assert astray(database) == []
    assert sum(crowd.unread().values()) == 3 + len(calls) // 2
    assert crowd.lookups() <= 3


def test_whose_list_looks_up_many_is_refreshed_and_nobody_else(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inboxes, "INTERVAL", 0.05)
    crowd, noted = Crowd(database, 3), Inboxes(database)
    with noted.refreshing():
        noted.note(crowd.talker, MOST)
        noted.note(crowd.reader, MOST + 1)
        eventually(lambda: crowd.lookups() == 0)
    assert database.read(lambda tx: tx.fetch_all("SELECT user_id FROM inboxes")) == [(crowd.reader,)]


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)  # SQLite has one process
def test_nothing_is_carried_while_a_program_of_before_reads_it(database: PostgresDatabase, config: Config) -> None:
    crowd = Crowd(database, 2)
    with closing(psycopg2.connect(config.database.url)) as older:
        older.cursor().execute("SELECT pg_advisory_lock_shared(%s)", (IN_USE_LOCK,))
        refresh(database, crowd.reader)
        assert crowd.lookups() == 2
    eventually(lambda: refresh(database, crowd.reader) or crowd.lookups() == 0)


def test_a_new_log_has_everything_looked_up_again(database: Database) -> None:
    crowd = Crowd(database, 3)
    refresh(database, crowd.reader)
    crowd.do.CreateMessage(crowd.message(crowd.groups[1]))
    database.write(renew_log)
    assert crowd.lookups() == 3
    assert crowd.unread() == {crowd.groups[1]: 1}
    rows = database.read(lambda tx: tx.fetch_all("SELECT DISTINCT last_seq, active_at FROM members"))
    assert rows == [(LOOKED_UP, LOOKED_UP)]
    assert database.read(lambda tx: tx.fetch_all("SELECT MAX(position) FROM conversations")) == [(0,)]
