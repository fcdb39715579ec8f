"""Who uses a PostgreSQL database: servers together, or a command alone; and what a process that died leaves behind."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager

import psycopg2
import pytest

from gochat.config import Config
from gochat.context import SERVICE, Call, Lane, entered
from gochat.errors import ChatError
from gochat.storage import leases
from gochat.storage.database import DatabaseInUseError
from gochat.storage.engine import open_database
from gochat.storage.leases import IN_USE_LOCK
from gochat.storage.postgres import PostgresDatabase
from tests.commands.copying import begin_copy, copied
from tests.conftest import Own
from tests.harness import PASSWORD
from tests.postgres import Postgres

BY_SERVER = r"the database is in use by another gochat process \(\d+ on .+\)"
BY_COMMAND = r"the database is in use by gochat copy or gochat key rotate \(\d+ on .+\)"
NOTE = "INSERT INTO secrets (name, value) VALUES (?, 'x')"


@pytest.fixture
def url(postgres: Postgres) -> str:
    made = postgres.create_database()
    server(made).close()
    return made


def server(url: str) -> PostgresDatabase:
    database = open_database(Config().with_settings("database", url=url, pool_min=1, pool_max=4))
    assert isinstance(database, PostgresDatabase)
    return database


@contextmanager
def alone(url: str, show: Callable[[str], None] = lambda _: None) -> Iterator[PostgresDatabase]:
    with closing(PostgresDatabase(url, 1, 1, exclusive=True)) as database:
        database.claim(show)
        yield database


def probed(database: PostgresDatabase) -> int:
    with entered(Call(SERVICE, "-", time.monotonic() + 5, SERVICE, lane=Lane.CONTROL)):
        return database.probe()


def die(database: PostgresDatabase) -> None:
    """It says nothing more, as if it had been killed or frozen."""
    database._lease._loops.close()


def rows(url: str) -> list[tuple[int]]:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT alone FROM processes ORDER BY alone")
        return list(cursor.fetchall())


def test_servers_share_a_database_and_a_command_is_refused_soon(url: str) -> None:
    with closing(server(url)), closing(server(url)):
        began = time.monotonic()
        with pytest.raises(DatabaseInUseError, match=BY_SERVER), alone(url):
            pass
        assert time.monotonic() - began < leases.RENEWED_WITHIN + 1
        assert rows(url) == [(0,), (0,)]
    with alone(url):
        assert rows(url) == [(1,)]
        for start in (lambda: server(url).close(), lambda: alone(url).__enter__()):
            with pytest.raises(DatabaseInUseError):
                start()
    assert rows(url) == []


def test_of_many_that_want_it_alone_one_has_it(url: str) -> None:
    with ExitStack() as winners, ThreadPoolExecutor(6) as threads:

        def compete(_: int) -> bool:
            try:
                winners.enter_context(alone(url))
            except DatabaseInUseError:
                return False
            return True

        assert sorted(threads.map(compete, range(6))) == [False] * 5 + [True]


def test_a_process_that_died_is_waited_for_and_then_forgotten(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LEASE", 6.0)
    lines: list[str] = []
    dead = server(url)
    die(dead)
    began = time.monotonic()
    with alone(url, lines.append):
        assert 4 < time.monotonic() - began < 8
        assert rows(url) == [(1,)]
    (line,) = lines
    assert line.startswith("waiting 6 s at most for a process that has the database and seems dead (")
    dead.close()


def test_who_could_not_renew_writes_nothing_until_it_can(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(server(url)) as database:
        die(database)
        monkeypatch.setattr(leases, "LEASE", 1.0)
        probed(database)
        database.write(lambda tx: tx.sql(NOTE, "before"))
        time.sleep(1.1)  # that is what is tested: its time is over
        with pytest.raises(ChatError, match="may be in use by gochat copy"):
            database.write(lambda tx: tx.sql(NOTE, "late"))
        assert database.read(lambda tx: tx.fetch_all("SELECT 1")) == [(1,)]
        with alone(url):
            with pytest.raises(ChatError, match=BY_COMMAND):
                probed(database)
            with pytest.raises(ChatError, match="may be in use by gochat copy"):
                database.write(lambda tx: tx.sql(NOTE, "meanwhile"))
        assert abs(probed(database) - time.time() * 1000) < 60_000
        database.write(lambda tx: tx.sql(NOTE, "after"))
        names = database.read(lambda tx: tx.fetch_all("SELECT name FROM secrets WHERE value = 'x' ORDER BY name"))
        assert names == [("after",), ("before",)]


def test_a_row_of_the_future_is_one_of_a_clock_that_was_set_back(url: str) -> None:
    with closing(psycopg2.connect(url)) as connection, connection:
        connection.cursor().execute("INSERT INTO processes VALUES ('a', 'of before', 1, 4102444800000)")
    server(url).close()


def test_a_process_of_an_older_version_has_a_lock_instead(url: str) -> None:
    """Each of its connections."""
    with closing(psycopg2.connect(url)) as older:
        older.cursor().execute(f"SELECT pg_advisory_lock_shared({IN_USE_LOCK})")
        server(url).close()
        with pytest.raises(DatabaseInUseError, match=r"another gochat process \(of an older version\)"), alone(url):
            pass
    with closing(psycopg2.connect(url)) as older:
        older.cursor().execute(f"SELECT pg_advisory_lock({IN_USE_LOCK})")
        with pytest.raises(DatabaseInUseError, match=r"gochat copy .* \(of an older version\)"):
            server(url)


def test_a_database_that_is_not_gochats_stays_as_it_is(postgres: Postgres) -> None:
    url = postgres.create_database()
    with alone(url) as database:
        assert database.read(lambda tx: tx.fetch_all("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")) == [
            (0,)
        ]


def test_copy_waits_for_a_server_that_was_killed(own: Own, postgres: Postgres) -> None:
    source, target = postgres.create_database(), postgres.create_database()
    app = own(url=source)
    app.people(1, PASSWORD)
    running = begin_copy(source, target)
    assert "in use by another gochat process" in running.communicate(timeout=60)[1]
    app.kill()
    began = time.monotonic()
    out, err = begin_copy(source, target).communicate(timeout=60)
    assert "copied" in out
    assert "--from" not in err
    assert "seems dead" in err
    assert time.monotonic() - began < leases.LEASE + 10
    copied(target, postgres.create_database())  # which was ended as it should be
