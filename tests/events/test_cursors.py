"""Cursors that a stream cannot go on from: each has its answer, after which the client is whole again."""

from pathlib import Path

import pytest

from gochat.api.event.v1.event_pb2 import SubscribeRequest
from gochat.domain import cursors
from gochat.domain.changes import Kind
from gochat.internal.change.v1.change_pb2 import Position
from gochat.repo.changes import COLUMNS
from gochat.repo.feed import MAX_REPLAYED
from tests.commands.copying import copied, opened
from tests.conftest import Own
from tests.harness import Deployment, Person, refused
from tests.postgres import Postgres
from tests.streams import listening, received
from tests.waiting import polled

SAID = ["before", "after", "later"]

on_both = pytest.mark.parametrize("layout", ["sqlite", "postgres-split"])


def read_again(app: Deployment, person: Person, cursor: str, reason: str) -> list[str]:
    """The client's way: a Resync for this reason, then its state and messages, then on from there. Returns the
    contents of all messages."""
    with listening(app, person.metadata, cursor=cursor) as listener:
        assert not listener.ready().resumed
        listener.until(lambda each: each.resync)
        assert listener.resync == reason
        state = person.GetState()
        contents = [
            detail.message.content
            for each in state.conversations
            for detail in person.ListMessages(conversation_id=each.info.conversation_id).messages
        ]
        sender = app.person()
        sender.send(person.id, "live")
        listener.until(received(1))
        assert listener.contents == ["live"], "the stream has stayed open"
    for went_on in (listener.cursor, state.cursor):
        with listening(app, person.metadata, cursor=went_on) as again:
            assert again.ready().resumed
            sender.send(person.id, "and on")
            again.until(lambda each: "and on" in each.contents)
            assert not again.resync
    return contents


def lived(app: Deployment) -> tuple[Person, Person, str]:
    """Two people who talk, and a cursor of the second from after the first message."""
    ann, ben = app.people(2)
    with listening(app, ben.metadata) as listener:
        ann.send(ben.id, SAID[0])
        cursor = listener.until(received(1)).cursor
    for content in SAID[1:]:
        ann.send(ben.id, content)
    return ann, ben, cursor


def database_of(app: Deployment) -> str:
    return app.url or f"sqlite:///{app.data}/gochat.db"


@pytest.mark.parametrize("cursor", ["garbage", "MS4", "x" * 512, "\u00e9", "MS5hYmNkZWYwMTIzNDUuLTE"])
def test_what_is_no_cursor_is_refused(app: Deployment, cursor: str) -> None:
    person = app.person()
    with refused("INVALID_ARGUMENT", "cursor"):
        next(iter(app.event.Subscribe(SubscribeRequest(cursor=cursor), metadata=person.metadata)))


def test_a_cursor_of_another_database_has_the_client_read_again(app: Deployment, own: Own) -> None:
    other = own()
    _, _, foreign = lived(other)
    _, ben, _ = lived(app)
    assert read_again(app, ben, foreign, "OTHER_DATABASE") == SAID


def test_so_does_one_of_a_position_that_there_is_not_yet(app: Deployment) -> None:
    """As where the database is that of a time before."""
    _, ben, cursor = lived(app)
    here = cursors.decode(cursor)
    beyond = cursors.encode(Position(epoch=here.epoch, at=here.at + 10**9))
    assert read_again(app, ben, beyond, "OTHER_DATABASE") == SAID


@on_both
def test_so_does_one_from_before_what_is_kept(own: Own, layout: str) -> None:
    app = own(layout, env={"GOCHAT_EVENTS_KEEP": "3600"})
    _, ben, cursor = lived(app)
    app.stop()
    with opened(database_of(app)) as database:
        database.execute("UPDATE changes SET at = 1")  # a server trims when it starts, and every minute
    app.start()

    def kept() -> int:
        with opened(database_of(app)) as database:
            database.execute("SELECT COUNT(*) FROM changes")
            return int(database.fetchone()[0])

    polled(kept, lambda rows: rows == 1)
    assert read_again(app, ben, cursor, "TOO_OLD") == SAID


@on_both
def test_so_does_one_after_which_too_much_has_happened(own: Own, layout: str) -> None:
    app = own(layout)
    _, ben, cursor = lived(app)
    columns, sent = ", ".join(COLUMNS), int(Kind.MESSAGES_SENT)
    with opened(database_of(app)) as database:
        for _ in range(MAX_REPLAYED.bit_length()):
            database.execute(f"INSERT INTO changes ({columns}) SELECT {columns} FROM changes WHERE kind = {sent}")
    assert read_again(app, ben, cursor, "TOO_MUCH") == SAID


@on_both
def test_a_stream_of_everything_is_fed_however_far_behind_it_is(own: Own, layout: str) -> None:
    app = own(layout)
    ann, ben = app.people(2)
    with listening(app, app.service) as listener:
        ann.send(ben.id, "first")
        listener.until(lambda each: each.contents == ["first"])
        cursor = listener.cursor
    ann.send(ben.id, "second")
    columns, nothing = ", ".join(COLUMNS), int(Kind.BEGIN)
    with opened(database_of(app)) as database:  # what nobody is sent is soon read
        for _ in range(MAX_REPLAYED.bit_length()):
            database.execute(f"INSERT INTO changes ({columns}) SELECT {columns} FROM changes WHERE kind = {nothing}")
    ann.send(ben.id, "last")
    with listening(app, app.service, cursor=cursor) as listener:
        listener.until(lambda each: "last" in each.contents, seconds=120)
        assert "resync" not in listener.kinds
        assert listener.contents == ["second", "last"]


def test_a_restored_database_has_all_clients_read_again(own: Own, tmp_path: Path) -> None:
    app = own()
    ann, ben, cursor = lived(app)
    app.run("backup", str(tmp_path / "backup.db"))
    with listening(app, ben.metadata, cursor=cursor) as listener:
        ann.send(ben.id, "lost by the restore")
        listener.until(received(3))
    app.stop()
    (app.data / "gochat.db").unlink()
    app.run("restore", str(tmp_path / "backup.db"))
    app.start()
    assert read_again(app, ben, listener.cursor, "OTHER_DATABASE") == SAID, "although it was ahead of that"


def test_a_copied_database_has_all_clients_read_again(own: Own, postgres: Postgres, tmp_path: Path) -> None:
    source, target = f"sqlite:///{tmp_path}/source.db", postgres.create_database()
    before = own(folder=tmp_path / "app", url=source)
    _, ben, cursor = lived(before)
    before.stop()
    copied(source, target)
    after = own(folder=tmp_path / "app", url=target)
    ben = Person(after, ben.id, ben.username, ben.access_token, ben.refresh_token)
    assert read_again(after, ben, cursor, "OTHER_DATABASE") == SAID
