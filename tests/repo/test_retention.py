"""The log of changes is trimmed from its beginning, and says to a reader whom that concerns that it was."""

import pytest

from gochat.domain.changes import Kind
from gochat.internal.change.v1 import change_pb2 as pb
from gochat.internal.group.v1 import group_pb2
from gochat.repo import retention
from gochat.repo.feed import read_log
from gochat.repo.retention import trim, trimming
from gochat.repo.roles import Roles
from gochat.storage.database import Database
from tests.repo.changelog import Reader, Repo, said
from tests.waiting import eventually

OLD, LIMIT = 1000, 2000  # Unix milliseconds


def rows(database: Database) -> int:
    database.collect()
    return int(database.read(lambda tx: tx.fetch_all("SELECT COUNT(*) FROM changes"))[0][0])


def age(database: Database) -> None:
    """Makes all that has happened up to now old."""
    database.collect()
    database.write(lambda tx: tx.sql("UPDATE changes SET at = ?", OLD))


def trim_all(database: Database) -> None:
    while database.write(lambda tx: trim(tx, LIMIT)):
        pass


def gap(database: Database, position: pb.Position) -> str:
    return pb.Gap.Name(database.read(lambda tx: read_log(tx, position)).gap).removeprefix("GAP_")


@pytest.fixture
def repo(database: Database) -> Repo:
    return Repo(database)


def test_what_is_old_goes_and_readers_who_were_there_are_told(repo: Repo, database: Database) -> None:
    reader, ann = Reader(database), repo.user()
    positions = [reader.position]
    for number in range(6):
        if number == 4:
            age(database)
        repo.store.UpdateProfile(user_id=ann, bio=str(number))
        reader.read_all()
        positions.append(reader.position)
    trim_all(database)
    # Of the four old ones the newest stays.
    assert rows(database) == 3
    gaps = [gap(database, position) for position in positions]
    assert gaps == ["TOO_OLD"] * 3 + ["UNSPECIFIED"] * 4
    reader.position = positions[4]
    assert said(reader.read_all()) == [("PROFILE_UPDATED", ann)] * 2
    trim_all(database)
    assert rows(database) == 3


def test_who_was_in_a_dissolved_group_is_known_for_as_long_as_that_it_was(repo: Repo, database: Database) -> None:
    """A stream that resumes must have been in it."""
    reader = Reader(database)
    ann, ben = repo.users(2)
    room = repo.group(ann, ben)
    repo.send(ann, room)
    start = reader.position
    reader.read_all()
    wanted = group_pb2.DissolveGroupRequest(service=True, request={"group_id": room})
    Roles(database).DissolveGroup(wanted)
    assert said(reader.read_all()) == [("GROUP_DISSOLVED", room)]
    opened = repo.change.OpenFeed(user_id=ben, start=start)
    kinds = [Kind(change.kind) for change in opened.changes]
    assert kinds == [Kind.MEMBER_JOINED, Kind.MESSAGES_SENT, Kind.GROUP_DISSOLVED]
    assert not opened.conversation_ids

    def known() -> int:
        return len(database.read(lambda tx: tx.fetch_all("SELECT 1 FROM former_members")))

    trim_all(database)
    assert known() == 2
    age(database)
    repo.group(ann)
    trim_all(database)
    assert known() == 2, "the newest of what is old stays"
    age(database)
    repo.group(ann)
    trim_all(database)
    assert known() == 0


def test_the_log_is_never_empty_and_who_was_there_when_it_fell_silent_goes_on(repo: Repo, database: Database) -> None:
    reader, ann = Reader(database), repo.user()
    for number in range(3):
        repo.store.UpdateProfile(user_id=ann, bio=str(number))
    reader.read_all()
    age(database)
    for _ in range(3):
        trim_all(database)
        assert rows(database) == 1
    assert reader.read_all() == []
    repo.store.UpdateProfile(user_id=ann, bio="after a week")
    assert said(reader.read_all()) == [("PROFILE_UPDATED", ann)]


def test_it_goes_in_chunks_and_a_position_goes_as_one(
    repo: Repo, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "CHUNK", 2)
    people = repo.users(7)
    for _ in range(3):
        repo.group(*people)
    age(database)
    reader = Reader(database)
    repo.store.UpdateProfile(user_id=people[0], bio="new")
    deleted = []
    before = rows(database)
    while database.write(lambda tx: trim(tx, LIMIT)):
        deleted.append(before - rows(database))
        before = rows(database)
    assert len(deleted) > 1
    assert max(deleted) <= 8, "the rows of a chunk, or of a position"
    assert rows(database) <= 8
    assert said(reader.read_all()) == [("PROFILE_UPDATED", people[0])]


def test_it_is_trimmed_in_the_background(repo: Repo, database: Database) -> None:
    ann = repo.user()
    for number in range(3):
        repo.store.UpdateProfile(user_id=ann, bio=str(number))
    age(database)
    repo.store.UpdateProfile(user_id=ann, bio="new")
    with trimming(database, keep=60):
        eventually(lambda: rows(database) == 2)
