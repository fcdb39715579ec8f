"""Readers of the change log that go on where they were: one process at a time, and nothing is lost between them."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from gochat import following
from gochat.app import repo_handlers
from gochat.config import Messages
from gochat.domain.changes import Kind
from gochat.errors import ChatError
from gochat.events.relay import Relay
from gochat.following import Follower
from gochat.internal.change.v1.change_pb2 import Change, Delivery, Position
from gochat.internal.change.v1.change_pb2_grpc import ChangeServiceStub
from gochat.internal.reader.v1 import reader_pb2 as pb
from gochat.internal.reader.v1.reader_pb2_grpc import ReaderServiceStub
from gochat.repo import feed
from gochat.repo.inboxes import Inboxes
from gochat.rpc.local import LocalChannel
from gochat.services import REPO, served_by
from gochat.serving.binding import bind
from gochat.storage.database import Database
from tests.repo.changelog import Repo
from tests.waiting import eventually, polled

Deliver = Callable[[Sequence[Change], Sequence[Sequence[Delivery]]], None]


class World:
    """A database with a group in which people talk, and processes that follow the log."""

    def __init__(self, database: Database) -> None:
        self.database, self.repo = database, Repo(database)
        self.ann = self.repo.user()
        self.room = self.repo.group(self.ann)
        handlers = repo_handlers(database, Relay(), Messages(), Inboxes(database))
        self.channel = LocalChannel(bind(served_by(REPO), handlers))
        self.readers = ReaderServiceStub(self.channel)

    def send(self, content: str) -> None:
        self.repo.send(self.ann, self.room, content)

    def follower(self, deliver: Deliver, name: str = "test") -> Follower:
        return Follower(name, ChangeServiceStub(self.channel), self.readers, deliver)

    def collecting(self) -> "tuple[Follower, list[str]]":
        """A process, and what was said that it has delivered."""
        found: list[str] = []
        return self.follower(lambda _, described: found.extend(said(described))), found


def said(described: Sequence[Sequence[Delivery]]) -> list[str]:
    return [
        each.event.message_sent.message.content
        for deliveries in described
        for each in deliveries
        if each.event.HasField("message_sent")
    ]


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def test_one_of_two_delivers_and_the_other_takes_over_where_it_stopped(world: World) -> None:
    (one, by_one), (other, by_other) = world.collecting(), world.collecting()
    with one.running(0.01):
        eventually(lambda: one._position)
        with other.running(0.01):
            world.send("first")
            eventually(lambda: by_one == ["first"])
            assert by_other == []
            other.step()
            assert by_other == []
        world.send("second")
        eventually(lambda: by_one == ["first", "second"])
    world.send("third")  # nobody follows
    third, by_third = world.collecting()
    third.step()
    assert (by_third, by_other) == (["third"], [])


def test_the_lease_of_a_process_that_died_passes_on_and_no_change_is_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LEASE", 1)
    monkeypatch.setattr(following, "RENEW_INTERVAL", 0.1)

    def die(*_: Any) -> None:
        raise RuntimeError("killed before it is done")

    dying = world.follower(die)
    dying.step()
    world.send("first")
    with pytest.raises(RuntimeError):
        dying.step()  # has read it, and never comes back
    world.send("second")
    heir, inherited = world.collecting()
    heir.step()
    assert inherited == []
    with heir.running(0.05):
        eventually(lambda: inherited == ["first", "second"])


def test_what_fails_comes_again_and_what_is_done_does_not(world: World) -> None:
    seen: list[str] = []

    def deliver(_: object, described: Sequence[Sequence[Delivery]]) -> None:
        seen.extend(said(described))
        if seen.count("second") == 1:
            raise ValueError("not yet")

    follower = world.follower(deliver)
    follower.step()
    world.send("first")
    follower.step()
    world.send("second")
    with pytest.raises(ValueError, match="not yet"):
        follower.step()
    assert follower.behind > 0
    follower.step()
    follower.step()
    assert (seen, follower.behind) == (["first", "second", "second"], 0)


def test_who_has_lost_the_lease_moves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "LEASE", 1)
    heirs: list[str] = []

    def deliver(_: object, described: Sequence[Sequence[Delivery]]) -> None:
        """Takes longer than the lease lasts."""
        if said(described):
            eventually(lambda: claim(world, "heir").held)
            heirs.append("heir")

    slow = world.follower(deliver)
    slow.step()
    begun = claim_position(world, slow)
    world.send("first")
    slow.step()
    assert heirs == ["heir"]
    assert claim(world, "heir").position == begun, "the position is where the heir found it"
    with pytest.raises(ChatError) as refused:
        world.readers.Advance(pb.AdvanceRequest(name="test", holder=slow._lease.holder, position=begun))
    assert refused.value.reason == "LEASE_LOST"


def claim(world: World, holder: str, seconds: int = 60) -> pb.ClaimResponse:
    return world.readers.Claim(pb.ClaimRequest(name="test", holder=holder, seconds=seconds))


def claim_position(world: World, follower: Follower) -> Position:
    return claim(world, follower._lease.holder, 1).position


def test_a_lease_is_taken_where_it_is_free_expired_or_ones_own(world: World) -> None:
    assert claim(world, "a").held
    assert claim(world, "a", 1).held, "its own"
    assert not claim(world, "b").held
    assert polled(lambda: claim(world, "b").held, seconds=10), "expired"
    world.readers.Release(pb.ReleaseRequest(name="test", holder="a"))
    assert not claim(world, "a").held, "of another it releases nothing"
    world.readers.Release(pb.ReleaseRequest(name="test", holder="b"))
    assert claim(world, "a").held, "free"
    assert world.readers.Claim(pb.ClaimRequest(name="other", holder="b", seconds=9)).held, "of another reader"


def test_a_reader_of_another_database_goes_on_from_now(world: World, caplog: pytest.LogCaptureFixture) -> None:
    follower, found = world.collecting()
    follower.step()
    world.database.write(lambda tx: tx.sql("UPDATE log_readers SET epoch = 'another', held_until = 0"))
    world.send("before")
    follower, found = world.collecting()
    follower.step()
    world.send("after")
    follower.step()
    assert found == ["after"]
    assert "GAP_OTHER_DATABASE" in caplog.text


def test_a_long_way_behind_is_read_in_pieces(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a stream would read at once, and some of it at one position on PostgreSQL."""
    monkeypatch.setattr(feed, "MAX_PIECE", 10)
    piece = feed._of_all("changes_piece", 10)
    world.database.write(lambda tx: tx.postgres and tx.sql(piece.definition))
    monkeypatch.setattr(feed, "PIECE", piece)
    follower, found = world.collecting()
    follower.step()
    for number in range(35):
        world.send(str(number))
    followed: list[int] = []
    monkeypatch.setattr(world.readers, "Advance", _counted(world.readers.Advance, followed))

    def joined(tx: Any) -> None:
        for number in range(25):
            tx.sql(
                "INSERT INTO changes (kind, conversation_id, user_id, actor_id, first_seq, seq, detail, at)"
                " VALUES (?, ?, ?, '', 0, 0, '', 1)",
                int(Kind.CONVERSATION_HIDDEN),
                world.room,
                f"u{number}",
            )

    world.database.write(joined)
    world.send("last")
    for _ in range(5):
        follower.step()
    assert found == [*map(str, range(35)), "last"]
    assert len(followed) > 3, "in pieces"


def _counted(call: Callable[[Any], Any], calls: list[int]) -> Callable[[Any], Any]:
    def counted(request: Any) -> Any:
        calls.append(1)
        return call(request)

    return counted


def test_a_reader_stops_when_its_block_ends(world: World) -> None:
    with ExitStack() as running:
        follower, found = world.collecting()
        running.enter_context(follower.running(0.01))
        eventually(lambda: follower._position)
    world.send("after")
    follower.step()
    assert found == []
