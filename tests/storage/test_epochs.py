"""A log of changes goes on over restarts, and begins again, with another epoch, in a database that was made of another,
and where a standby takes over: then no cursor that a client holds points into it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from gochat.api.repo.v1 import repo_pb2
from gochat.config import Config, Database
from gochat.errors import ChatError
from gochat.internal.change.v1 import change_pb2 as pb
from gochat.internal.reader.v1 import reader_pb2
from gochat.repo.backup import backup, restore
from gochat.repo.copying import copy
from gochat.repo.feed import read_log
from gochat.repo.groups import Groups
from gochat.repo.readers import Readers
from gochat.repo.users import Users
from gochat.storage.engine import open_database
from tests.postgres import Pair, Postgres, running_postgres
from tests.waiting import eventually

Make = Callable[[str], Config]


@pytest.fixture(scope="module")
def postgres(direct_postgres: Postgres) -> Postgres:
    """pg_restore changes settings of its session."""
    return direct_postgres


@pytest.fixture
def make(tmp_path: Path, request: pytest.FixtureRequest) -> Make:
    """make("sqlite" | "postgres"): the configuration of an empty database."""
    names = iter(range(100))

    def config(dialect: str) -> Config:
        folder = tmp_path / str(next(names))
        url = request.getfixturevalue("postgres").create_database() if dialect == "postgres" else ""
        url = url or f"sqlite:///{folder}/gochat.db"
        return Config(database=Database(url=url, pool_min=1)).with_settings("server", data=str(folder))

    return config


def lived(config: Config, name: str = "ann") -> pb.Position:
    """Something happens in the database; returns the position after it."""
    with closing(open_database(config)) as database:
        user = Users(database).CreateUser(repo_pb2.CreateUserRequest(username=name, password="x")).user_id
        for name in ("one", "two"):
            Groups(database).CreateGroup(repo_pb2.CreateGroupRequest(name=name, owner_id=user))
        return database.read(lambda tx: read_log(tx, pb.Position())).now


def gap_at(config: Config, position: pb.Position) -> int:
    with closing(open_database(config)) as database:
        return database.read(lambda tx: read_log(tx, position)).gap


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_a_restart_goes_on(make: Make, dialect: str) -> None:
    config = make(dialect)
    position = lived(config)
    for _ in range(2):
        assert gap_at(config, position) == pb.GAP_UNSPECIFIED


def test_what_was_restored_begins_again(make: Make, tmp_path: Path) -> None:
    config, other = make("sqlite"), make("sqlite")
    position = lived(config)
    backup(config, tmp_path / "backup", print)
    made = restore(other, tmp_path / "backup", print)
    assert made.findings == []
    assert gap_at(other, position) == pb.GAP_OTHER_DATABASE
    assert gap_at(config, position) == pb.GAP_UNSPECIFIED, "the database itself goes on"


@pytest.mark.parametrize("pair", ["sqlite-postgres", "postgres-sqlite", "sqlite-sqlite", "postgres-postgres"])
@pytest.mark.parametrize("migrated", [False, True])
def test_what_was_copied_begins_again(make: Make, pair: str, migrated: bool) -> None:
    source, target = map(make, pair.split("-"))
    position = lived(source)
    if migrated:
        before = open_database(target)
        before.close()
    else:
        Path(target.server.data).mkdir(exist_ok=True)
    _, findings = copy(source.database.url, target.database.url, lambda *_: None)
    assert findings == []
    assert gap_at(target, position) == pb.GAP_OTHER_DATABASE
    assert gap_at(source, position) == pb.GAP_UNSPECIFIED


def test_what_pg_restore_made_begins_again(make: Make, postgres: Postgres, tmp_path: Path) -> None:
    source, target = make("postgres"), make("postgres")
    position = lived(source)
    postgres.client("pg_dump", "--format=custom", f"--file={tmp_path}/dump", source.database.url)
    postgres.client("pg_restore", "--no-owner", f"--dbname={target.database.url}", f"{tmp_path}/dump")
    assert gap_at(target, position) == pb.GAP_OTHER_DATABASE
    renewed = lived_again(target)
    assert gap_at(target, renewed) == pb.GAP_UNSPECIFIED, "once, at the first start"
    assert gap_at(source, position) == pb.GAP_UNSPECIFIED


def lived_again(config: Config) -> pb.Position:
    with closing(open_database(config)) as database:
        return database.read(lambda tx: read_log(tx, pb.Position())).now


def test_programs_that_start_together_begin_one_log(make: Make, postgres: Postgres, tmp_path: Path) -> None:
    source, target = make("postgres"), make("postgres")
    lived(source)
    postgres.client("pg_dump", "--format=custom", f"--file={tmp_path}/dump", source.database.url)
    postgres.client("pg_restore", "--no-owner", f"--dbname={target.database.url}", f"{tmp_path}/dump")
    with ThreadPoolExecutor(4) as programs:
        positions = list(programs.map(lived_again, [target] * 4))
    assert len({position.epoch for position in positions}) == 1


def test_a_standby_that_takes_over_begins_again(tmp_path: Path) -> None:
    """What the old primary had not sent it is lost, and its own changes have the same positions."""
    with running_postgres() as primary, Pair(primary) as pair:
        config = Config(database=Database(url=f"{pair.url}?target_session_attrs=read-write", pool_min=1))
        config = config.with_settings("server", data=str(tmp_path))
        early = lived(config)
        lost: list[pb.Position] = []
        pair.fail_over(losing=lambda: lost.append(lived(config, "bob")))
        assert early.at < lost[0].at
        now = lived(config, "cat")
        assert now.at >= lost[0].at, "it is no position beyond the end"
        assert now.epoch != early.epoch == lost[0].epoch
        assert [gap_at(config, each) for each in (early, *lost)] == [pb.GAP_OTHER_DATABASE] * 2
        assert gap_at(config, now) == pb.GAP_UNSPECIFIED


def test_what_was_recovered_from_a_backup_begins_again(tmp_path: Path) -> None:
    with running_postgres() as primary, Pair(primary) as pair:
        live, recovered = (
            Config(database=Database(url=pair.url_of(server), pool_min=1)).with_settings("server", data=str(tmp_path))
            for server in (primary, pair.standby)
        )
        position = lived(live)
        eventually(pair.replayed)
        pair.standby.recover()
        assert gap_at(recovered, position) == pb.GAP_OTHER_DATABASE
        assert gap_at(live, position) == pb.GAP_UNSPECIFIED


def test_a_reader_in_the_database_goes_on_where_a_standby_takes_over(tmp_path: Path) -> None:
    with running_postgres() as primary, Pair(primary) as pair:
        config = Config(database=Database(url=f"{pair.url}?target_session_attrs=read-write", pool_min=1))
        config = config.with_settings("server", data=str(tmp_path))
        lived(config)
        with closing(open_database(config)) as database:
            readers = Readers(database)
            claim = reader_pb2.ClaimRequest(name="one", holder="a", seconds=60)
            advance = reader_pb2.AdvanceRequest(name="one", holder="a", position=readers.Claim(claim).position)
            before = lived(config, "bob")
            pair.fail_over(losing=lambda: [])
            advance.position.CopyFrom(before)  # read on the server before
            with pytest.raises(ChatError, match="another process reads on"):
                readers.Advance(advance)
            kept = readers.Claim(claim).position
            log = database.read(lambda tx: read_log(tx, kept))
            assert not log.gap
            assert len(log.complete) > 0, "what happened since is still to be read"
            advance.position.CopyFrom(log.now)
            readers.Advance(advance)
            assert readers.Claim(claim).position == log.now
