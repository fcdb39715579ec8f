"""On PostgreSQL transactions commit in another order than they begin. A reader of the log misses none, and is told what
happened in one conversation in the order in which it was committed."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import pytest

from gochat.config import Config
from gochat.domain.changes import Kind
from gochat.repo.feed import Row
from gochat.storage.database import Database
from tests.repo.changelog import Reader, Repo, said

pytestmark = pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
_SEND = "SELECT seq FROM send_messages(%s, json_build_array(json_build_object({fields})), 5)"
SENDERS, SENDS = 6, 40


@contextmanager
def begun(config: Config) -> Iterator[Any]:
    """A cursor of a transaction of another process, which has its number already."""
    with closing(psycopg2.connect(config.database.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()")
        yield cursor
        connection.rollback()  # before the connection is closed, which the server notices later


def send(cursor: Any, sender: str, place: str) -> int:
    names = ("number", "from_user_id", "to_user_id", "content", "message_type", "metadata", "client_msg_id", "digest")
    values = (0, sender, "", "late", "text", "", "", "")
    fields = ", ".join(f"'{name}', %s" for name in names)
    cursor.execute(_SEND.format(fields=fields), (place, *values))
    ((seq,),) = cursor.fetchall()
    return int(seq)


@pytest.fixture
def repo(database: Database) -> Repo:
    return Repo(database)


def test_an_older_transaction_that_acts_later_is_told_later(config: Config, database: Database, repo: Repo) -> None:
    ann, ben = repo.users(2)
    room = repo.group(ann, ben)
    reader = Reader(database)
    with begun(config) as late:
        repo.send(ann, room)  # by a newer transaction, which commits first
        assert reader.read() == [], "an older one may still precede it"
        assert send(late, ben, room) == 2
        assert reader.read() == []
        late.connection.commit()
    assert said(reader.read()) == [("MESSAGES_SENT", room, 1, 1), ("MESSAGES_SENT", room, 2, 2)]
    assert reader.read() == []


def test_also_while_one_between_the_two_is_in_progress(config: Config, database: Database, repo: Repo) -> None:
    ann, ben = repo.users(2)
    room = repo.group(ann, ben)
    reader = Reader(database)
    with begun(config) as late, begun(config) as between:
        repo.send(ann, room)
        send(late, ben, room)
        late.connection.commit()  # older than the one in progress, and second nevertheless
        assert reader.read() == []
        between.connection.commit()
    assert said(reader.read()) == [("MESSAGES_SENT", room, 1, 1), ("MESSAGES_SENT", room, 2, 2)]


def test_the_older_transaction_may_also_act_first(config: Config, database: Database, repo: Repo) -> None:
    ann, ben = repo.users(2)
    room, elsewhere = repo.group(ann, ben), repo.group(ann)
    reader = Reader(database)
    with begun(config) as early:
        assert send(early, ben, room) == 1
        repo.send(ann, elsewhere)
        assert reader.read() == []
        early.connection.commit()
    assert said(reader.read()) == [("MESSAGES_SENT", room, 1, 1), ("MESSAGES_SENT", elsewhere, 1, 1)]


def test_a_transaction_that_is_held_open_delays_and_loses_none(config: Config, database: Database, repo: Repo) -> None:
    ann = repo.user()
    reader = Reader(database)
    with begun(config):
        room = repo.group(ann)
        for _ in range(3):
            repo.send(ann, room)
            assert reader.read() == []
    assert [row.seq for row in reader.read() if row.kind == Kind.MESSAGES_SENT] == [1, 2, 3]


def test_racing_senders_are_told_in_the_order_of_the_conversation(database: Database, repo: Repo) -> None:
    """Some one by one, some in batches, into two conversations; read all the while."""
    people = repo.users(SENDERS)
    rooms = [repo.group(*people) for _ in range(2)]
    reader, rows, done = Reader(database), list[Row](), threading.Event()

    def read() -> None:
        while not done.is_set():
            rows.extend(reader.read())
        rows.extend(reader.read())

    def write(person: str) -> None:
        for number in range(SENDS):
            place = rooms[number % 2]
            if number % 3:
                repo.send(person, place)
            else:
                one = {"from_user_id": person, "content": "x"}
                both = [{"conversation_id": each, **one} for each in rooms]
                repo.store.StoreMessages(messages=both, skip_locked=number % 2 == 0)

    with ThreadPoolExecutor(SENDERS + 1) as threads:
        reading = threads.submit(read)
        for written in [threads.submit(write, person) for person in people]:
            written.result()
        done.set()
        reading.result()
    for room in rooms:
        told = [(row.first_seq, row.seq) for row in rows if row.conversation_id == room]
        ((newest,),) = database.read(
            lambda tx, room=room: tx.fetch_all("SELECT last_seq FROM conversations WHERE conversation_id = ?", room)
        )
        assert newest >= SENDERS * SENDS // 2 - SENDERS * SENDS // 6
        assert [first for first, _ in told] == [1, *(last + 1 for _, last in told[:-1])]
        assert told[-1][1] == newest
