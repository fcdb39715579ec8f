"""PostgreSQL with a hot standby that takes over, and a server that becomes a standby: NOT_SERVING and UNAVAILABLE
within 5 s, and back by itself once there is a server that takes writes."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.conversations import conversation_of, history
from tests.harness import Deployment, Person, refused
from tests.health import NOT_SERVING, SERVING, health
from tests.postgres import Postgres, running_postgres
from tests.processes import gochat
from tests.waiting import eventually, once_available

WITHIN = 5.0  # seconds
PASSING_OVER = 10.0  # seconds: each attempt first waits for the host that hangs
SPLIT = pytest.mark.parametrize("split", [False, True], ids=["colocated", "split"])


class Pair:
    """A primary and its hot standby, with a database. url: names both, in this order or the other."""

    def __init__(self, primary: Postgres) -> None:
        self.primary, self.standby = primary, Postgres(primary=primary)
        self.name = primary.create_database().rpartition("/")[2]
        self.url = self.url_of(primary, self.standby)
        eventually(self.replayed)

    def url_of(self, *servers: Postgres) -> str:
        hosts = ",".join(f"{server.host}:{server.port}" for server in servers)
        return f"postgresql://postgres@{hosts}/{self.name}?target_session_attrs=read-write"

    def replayed(self) -> bool:
        """Has the standby all that the primary has committed?"""
        try:
            written = self._ask(self.primary, "SELECT pg_current_wal_lsn()::text")
            return bool(self._ask(self.standby, f"SELECT pg_last_wal_replay_lsn() >= '{written}'"))
        except psycopg2.OperationalError:  # the database has not come to the standby
            return False

    def _ask(self, server: Postgres, question: str) -> Any:
        with closing(psycopg2.connect(f"postgresql://postgres@{server.host}:{server.port}/{self.name}")) as connection:
            cursor = connection.cursor()
            cursor.execute(question)
            return cursor.fetchall()[0][0]


@pytest.fixture
def pair() -> Iterator[Pair]:
    with running_postgres() as primary:
        made = Pair(primary)
        yield made
        made.standby.remove()


@contextmanager
def talking(folder: Path, url: str, split: bool) -> Iterator[tuple[Deployment, Callable[[], None]]]:
    """A GoChat with a conversation, and a function that goes on with that."""
    app = Deployment(folder, url=url, split=split)
    try:
        person, friend = app.person(), app.create_user()
        conversation = conversation_of(person.send(friend, "before"))
        yield app, lambda: goes_on(person, friend, conversation)
        assert "Traceback" not in app.logs()
    finally:
        app.kill()


def goes_on(person: Person, friend: str, conversation: str) -> None:
    once_available(lambda: person.send(friend, "after"))
    assert [message.content for message in history(person, conversation)] == ["before", "after"]


def must_notice(app: Deployment) -> None:
    eventually(lambda: health(app) == {NOT_SERVING}, WITHIN)
    with refused("UNAVAILABLE"):
        app.create_user()


@SPLIT
@pytest.mark.parametrize("first", ["primary", "standby"])
def test_a_standby_that_is_promoted_takes_over(pair: Pair, tmp_path: Path, split: bool, first: str) -> None:
    order = (pair.primary, pair.standby) if first == "primary" else (pair.standby, pair.primary)
    with talking(tmp_path, pair.url_of(*order), split) as (app, go_on):
        eventually(pair.replayed)
        pair.primary.stop("immediate")
        must_notice(app)
        pair.standby.promote()
        eventually(lambda: health(app) == {SERVING}, WITHIN)
        go_on()


@SPLIT
def test_a_primary_that_hangs_is_passed_over(pair: Pair, tmp_path: Path, split: bool) -> None:
    with talking(tmp_path, pair.url, split) as (app, go_on):
        eventually(pair.replayed)
        with pair.primary.frozen():
            eventually(lambda: health(app) == {NOT_SERVING}, WITHIN)
            pair.standby.promote()
            eventually(lambda: health(app) == {SERVING}, PASSING_OVER)
            go_on()


@SPLIT
def test_a_server_that_becomes_a_standby(tmp_path: Path, split: bool) -> None:
    with running_postgres() as server, talking(tmp_path, server.create_database(), split) as (app, go_on):
        server.demote()
        must_notice(app)
        assert app.run("check").stdout.startswith("clean: 2 users"), "what is read is answered"
        server.promote()
        eventually(lambda: health(app) == {SERVING}, WITHIN)
        go_on()


def test_commands_understand_urls_of_several_hosts(pair: Pair, tmp_path: Path) -> None:
    env = {"GOCHAT_DATABASE_URL": pair.url}
    primary, standby = (f"127.0.0.1:{server.port}" for server in (pair.primary, pair.standby))
    with talking(tmp_path / "app", pair.url, split=False) as (app, _):
        assert f"; PostgreSQL {primary},{standby}/{pair.name}; " in app.logs()
        assert gochat("check", env=env).stdout.startswith("clean: 2 users")
        app.stop()
    moved = f"sqlite:///{tmp_path}/moved.db"
    copied = gochat("copy", "--from", pair.url, "--to", moved)
    assert (copied.returncode, copied.stderr) == (0, ""), copied.stderr
    eventually(pair.replayed)
    alone = f"postgresql://postgres@{standby}/{pair.name}"
    assert (
        "it is a standby, or read-only: name the server that takes writes"
        in gochat("migrate", env={"GOCHAT_DATABASE_URL": alone}).stderr
    )
    pair.primary.stop()
    for run in (gochat("migrate", env=env), gochat("copy", "--from", pair.url, "--to", f"{moved}2")):
        assert run.returncode == 1
        assert f'port {pair.primary.port} failed: Connection refused; connection to server at "127.0.0.1"' in run.stderr
        assert run.stderr.endswith(f"port {pair.standby.port} failed: session is read-only\n")
