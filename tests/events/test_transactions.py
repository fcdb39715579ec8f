"""PostgreSQL's transactions as streams meet them: held open, committed in another order, and committed although the
answer was lost."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest

from tests.conftest import Own
from tests.conversations import group, history, seqs
from tests.harness import Deployment
from tests.postgres import Postgres
from tests.proxy import Connection, proxy
from tests.repo.test_changes_order import send as send_within
from tests.streams import listening, received, scaled
from tests.waiting import eventually, once_available, polled, status_of

HELD = scaled(2, 40)  # seconds for which a transaction is held open
READY, IDLE = b"Z\0\0\0\5", b"I"
"""How an answer of PostgreSQL ends: then a letter, which says whether a transaction is in progress."""

SEND, READING, CHANGE = b" FROM send_", b" mark_read(", b"INSERT INTO changes"
"""In the statements that store and mark messages, and commit by themselves, and in transactions of several."""


@contextmanager
def begun(url: str) -> Iterator[Any]:
    """A cursor of a transaction that writes."""
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_xact_id()")
            yield cursor
            connection.rollback()
    finally:
        connection.close()


@pytest.mark.parametrize("layout", ["postgres"])
def test_a_transaction_that_is_held_open_delays_and_loses_none(own: Own, postgres: Postgres, layout: str) -> None:
    url = postgres.create_database()
    with begun(url) as transaction:
        # The server looks at the age of transactions when it starts and every 30 s; the metric has whole seconds.
        transaction.execute("SELECT pg_sleep(1)")
        app = own(layout, url=url)

        def held_back() -> float:
            return sum(process.metrics()("gochat_change_log_held_back_seconds") for process in app.processes)

        eventually(held_back)
        ann, ben = app.people(2)
        room = group(ann, ben)
        with listening(app, ben.metadata) as held:
            for number in range(3):
                ann.send(room, f"{number}")
            assert not polled(lambda: held.contents, seconds=HELD)
            eventually(lambda: held_back() >= min(HELD, 30) - 1, seconds=40)
            with listening(app, ben.metadata) as later:
                ann.send(room, "3")
                assert not later.contents
    # The transaction has ended, and the streams with it: what was held back comes from the cursors that they had.
    for listener in (held, later):
        with listening(app, ben.metadata, cursor=listener.cursor) as after:
            ann.send(room, "last")
            after.until(lambda each: "last" in each.contents)
            assert after.contents[:4] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("layout", ["postgres-split"])
def test_transactions_that_commit_in_another_order_are_delivered_in_the_order_of_commits(own: Own, layout: str) -> None:
    app = own(layout)
    ann, ben = app.people(2)
    room, elsewhere = group(ann, ben), group(ann, ben)
    cursors = list[str]()
    with listening(app, ben.metadata) as listener:
        for number in range(4):
            cursors.append(listener.cursor)
            with begun(app.url) as oldest, begun(app.url) as older:
                ann.send(room, "of the newest transaction")
                send_within(older, ann.id, room)
                older.connection.commit()
                send_within(oldest, ann.id, room)
                ann.send(elsewhere, "committed before what was stored before it")
                assert not polled(lambda before=4 * number: listener.contents[before:], seconds=0.5)
                oldest.connection.commit()
            listener.until(received(4 * number + 4))
    for number, cursor in enumerate(cursors):
        with listening(app, ben.metadata, cursor=cursor) as again:
            again.until(received(16 - 4 * number))
            for listened, first in ((listener, 0), (again, number)):
                messages = [each.message for each in listened.of_kind("message_sent")]
                came = [seqs(m for m in messages if m.conversation_id == place) for place in (room, elsewhere)]
                assert came == [list(range(3 * first + 1, 13)), list(range(first + 1, 5))]


class Losing(Connection):
    """To PostgreSQL. In place of passing on that a transaction with this text has committed, it cuts the connection:
    once for each text that is put into `texts`. lost: how many answers."""

    texts: list[bytes]
    lost = 0

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        super().__init__(client, server)
        self._loses = False
        self._answer = b""

    def from_client(self, data: bytes) -> None:
        if self.texts and self.texts[0] in data:
            self.texts.pop()
            self._loses = True
        super().from_client(data)

    def from_server(self, data: bytes) -> None:
        self._answer += data
        if self._loses and self._answer[-6:-1] != READY:
            return  # until it is whole
        if self._loses and self._answer.endswith(IDLE):
            type(self).lost += 1
            self.cut()
            return
        answer, self._answer = self._answer, b""
        super().from_server(answer)


@pytest.fixture
def losing() -> type[Losing]:
    class Kind(Losing):
        texts: list[bytes] = []  # noqa: RUF012 - of the test, as the class is

    return Kind


@contextmanager
def behind(own: Own, layout: str, postgres: Postgres, kind: type[Losing]) -> Iterator[Deployment]:
    """A GoChat whose database is behind a proxy of this kind."""
    url = postgres.create_database()
    parts = urlsplit(url)
    with proxy(f"{parts.hostname}:{parts.port}", kind) as between:
        yield own(layout, url=url.replace(f":{parts.port}/", f":{between.port}/"))


@pytest.mark.parametrize("layout", ["postgres", "postgres-split"])
def test_a_send_whose_commit_was_not_answered_is_delivered_once(
    own: Own, postgres: Postgres, losing: type[Losing], layout: str
) -> None:
    with behind(own, layout, postgres, losing) as app:
        ann, ben = app.people(2)
        room = group(ann, ben)
        with listening(app, ben.metadata) as listener:
            for number in range(5):
                losing.texts.append(SEND)
                content, repeat = f"{number}", {"client_msg_id": f"{number}"}
                first = once_available(lambda content=content, repeat=repeat: ann.send(room, content, metadata=repeat))
                assert losing.lost == number + 1
                assert ann.send(room, content, metadata=repeat).message_id == first.message_id
            losing.texts.append(SEND)
            assert status_of(lambda: ann.send(room, "who knows")) == "UNAVAILABLE", "it is not repeatable"
            assert losing.lost == 6
            ann.send(room, "last")
            listener.until(lambda each: "last" in each.contents)
            assert listener.contents == ["0", "1", "2", "3", "4", "who knows", "last"]
            assert [message.content for message in history(ben, room)] == listener.contents


@pytest.mark.parametrize("layout", ["postgres-split"])
def test_what_a_transaction_did_whose_commit_was_not_answered_is_delivered_once(
    own: Own, postgres: Postgres, losing: type[Losing], layout: str
) -> None:
    with behind(own, layout, postgres, losing) as app:
        ann, ben, cem = app.people(3)
        room = group(ann, ben)
        newest = ann.send(room, "first").message_id
        acts: list[Callable[[], Any]] = [
            lambda: ann.UpdateGroup(group_id=room, name="renamed"),
            lambda: ann.AddGroupMember(group_id=room, user_ids=[cem.id]),
            lambda: ben.MarkMessageRead(conversation_id=room, message_id=newest),
        ]
        with listening(app, ben.metadata) as listener:
            for number, act in enumerate(acts, 1):
                losing.texts.append(READING if number == len(acts) else CHANGE)
                once_available(act)
                assert losing.lost == number
                once_available(act)
            ann.send(room, "last")
            listener.until(lambda each: "last" in each.contents)
            for kind in ("group_updated", "member_joined", "read"):
                assert listener.kinds.count(kind) == 1, listener
