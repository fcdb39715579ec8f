"""Behind PgBouncer in transaction mode, with the settings of the operator's guide: 20 connections of PostgreSQL."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg2
import pytest

from gochat.config import Config, ConfigError
from gochat.context import SERVICE, Call, entered
from gochat.errors import ChatError
from gochat.storage.engine import open_database, snapshot
from gochat.storage.postgres import PostgresDatabase
from tests.commands.copying import copied, refused
from tests.conftest import Own
from tests.conversations import conversation_of, history, seqs
from tests.harness import PASSWORD, Deployment, fresh, new_connection
from tests.health import NOT_SERVING, SERVING, health
from tests.life import lived
from tests.pgbouncer import PgBouncer, running_pgbouncer
from tests.postgres import Postgres
from tests.processes import gochat, refused_start
from tests.streams import listening, received
from tests.waiting import eventually, once_available, polled

POOL = 20
FOUR = {"GOCHAT_SERVER_WORKERS": "4", "GOCHAT_SERVER_THREADS": "32"}
STATES = {
    "settings": "SELECT name FROM pg_settings WHERE source = 'session'",
    "locks": "SELECT locktype FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    "listening": "SELECT pg_listening_channels()",
    "prepared": "SELECT name FROM pg_prepared_statements",
    "cursors": "SELECT name FROM pg_cursors WHERE is_holdable",
    "temporary": "SELECT relname FROM pg_class WHERE relpersistence = 't' AND relnamespace = pg_my_temp_schema()",
}
"""What a session may have that others would find."""
KEPT_BY_THE_POOLER = {"application_name", "client_encoding", "DateStyle", "TimeZone", "standard_conforming_strings"}
"""It sets these again for each client."""


@pytest.fixture(scope="module")
def pooler(own_postgres: Postgres) -> Iterator[PgBouncer]:
    with running_pgbouncer(own_postgres) as running:
        yield running


@pytest.fixture
def direct(own_postgres: Postgres) -> str:
    """The URL of a new database, without the pooler."""
    return own_postgres.create_database()


@pytest.fixture
def url(direct: str, pooler: PgBouncer) -> str:
    return pooler.prepared(direct)


def execute(url: str, *statements: str) -> list[tuple[object, ...]]:
    """The rows of the last one."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


def config(url: str, pool_max: int = 4) -> Config:
    return Config().with_settings("database", url=url, pool_min=1, pool_max=pool_max)


def opened(url: str, pool_max: int = 4) -> PostgresDatabase:
    database = open_database(config(url, pool_max))
    assert isinstance(database, PostgresDatabase)
    return database


def in_a_call(seconds: float, work: Callable[[], object]) -> object:
    with entered(Call(SERVICE, "r", time.monotonic() + seconds)):
        return work()


def statements(text: str) -> list[str]:
    return re.findall(r"^ALTER ROLE .*;$", text, re.MULTILINE)


# The settings


@pytest.mark.parametrize("ignored", [{}, {"ignore_startup_parameters": "options"}], ids=["refused", "ignored"])
def test_the_start_prints_what_the_role_must_have(own_postgres: Postgres, ignored: dict[str, str]) -> None:
    direct, role = own_postgres.create_database(), fresh("Role")
    execute(direct, f'CREATE ROLE "{role}" LOGIN', f'GRANT CREATE ON SCHEMA public TO "{role}"')
    with running_pgbouncer(own_postgres, **ignored) as pooler:
        url = pooler.through(direct).replace("//postgres@", f"//{role}@")
        said = refused_start(GOCHAT_DATABASE_URL=url)
        assert said.startswith("gochat: database.url: goes through a pooler, which passes no settings on: ")
        name = direct.rpartition("/")[2]
        assert f'ALTER ROLE "{role}" IN DATABASE "{name}" SET statement_timeout = \'30s\';' in said
        execute(direct, *statements(said))
        assert refused_start(GOCHAT_DATABASE_URL=url) == said, "the pooler has connections from before"
        pooler.console("RECONNECT")
        opened(url).close()
        with snapshot(config(url)) as tx:
            assert tx.fetch_all("SHOW statement_timeout") == [("0",)], "no call: without limits"


def test_the_schema_with_the_tables_must_be_the_first(direct: str, url: str, pooler: PgBouncer) -> None:
    name = direct.rpartition("/")[2]
    opened(url).close()
    execute(direct, "CREATE SCHEMA other", f"ALTER DATABASE {name} SET search_path = other, public")
    pooler.console("RECONNECT")
    with pytest.raises(ConfigError) as error:
        opened(url)
    assert statements(str(error.value)) == [f'ALTER ROLE "postgres" IN DATABASE "{name}" SET search_path = "public";']
    execute(direct, *statements(str(error.value)))
    pooler.console("RECONNECT")
    with closing(opened(url)) as database:
        assert database.read(lambda tx: tx.fetch_all("SELECT current_schema()::text")) == [("public",)]


def test_options_of_the_url_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="goes through a pooler, which passes no options on: take them out"):
        opened(f"{url}?options=-csearch_path%3Dchat")


# Serving


def use(app: Deployment) -> None:
    """Four workers' clients at once, in more calls than the pool has connections, and with streams."""
    life = lived(app)
    people = app.people(12)
    group = people[0].CreateGroup(name="Crowd", member_ids=[person.id for person in people[1:]]).group_id
    with ExitStack() as open_ones, ThreadPoolExecutor(64) as threads:
        channels = [open_ones.enter_context(new_connection(app.address)) for _ in range(16)]
        streams = [open_ones.enter_context(listening(app, person.metadata)) for person in people]
        sends = [people[number % 12].begin_send(group, channels[number % 16]) for number in range(240)]
        reads = [threads.submit(person.GetConversations) for person in people * 5]
        answers = {send.result().message_id for send in sends}
        assert len(answers) == 240
        assert all(read.result().conversations for read in reads)
        for stream in streams:
            stream.until(received(240))
            assert {sent.message.message_id for sent in stream.of_kind("message_sent")} == answers
    assert sorted(seqs(history(people[0], group))) == list(range(1, 241))
    life.ann.send(life.talk, "and on")


def test_four_workers_do_everything_with_twenty_connections(own: Own, url: str, pooler: PgBouncer) -> None:
    app = own(url=url, env=FOUR | {"GOCHAT_DATABASE_POOL_MIN": "6"})
    use(app)
    assert app.run("check").stdout.startswith("clean: ")
    of_it = [pool for pool in pooler.console("SHOW POOLS") if pool["database"] == url.rpartition("/")[2]]
    assert sum(pool["cl_active"] for pool in of_it) > POOL
    assert 0 < sum(pool["sv_active"] + pool["sv_idle"] + pool["sv_used"] for pool in of_it) <= POOL
    assert "passes no NOTIFY on" in app.logs()
    assert "ERROR" not in app.logs()

    # A foreign client that takes all connections finds none of them changed.
    with ExitStack() as open_ones:
        seen = set()
        for _ in range(POOL - 4):  # the servers go on meanwhile
            cursor = open_ones.enter_context(closing(psycopg2.connect(url))).cursor()
            for what, statement in STATES.items():
                cursor.execute(statement)
                found = {name for (name,) in cursor.fetchall()} - KEPT_BY_THE_POOLER
                assert not found, f"{what}: {found}"
            cursor.execute("SELECT pg_backend_pid()")
            seen.add(cursor.fetchone()[0])
        assert len(seen) == POOL - 4
    assert app.stop() == [0]
    assert execute(url, "SELECT * FROM processes") == []


def test_where_all_fit_into_the_pool_the_polls_do_not_wait(own: Own, direct: str, url: str) -> None:
    app = own(url=url, env=FOUR | {"GOCHAT_DATABASE_POOL_MIN": "3", "GOCHAT_DATABASE_POOL_MAX": "3"})
    people = app.people(24)
    group = people[0].CreateGroup(name="Crowd", member_ids=[person.id for person in people[1:]]).group_id
    with ExitStack() as open_ones:
        channels = [open_ones.enter_context(new_connection(app.address)) for _ in range(16)]
        with closing(psycopg2.connect(direct)) as other:
            other.cursor().execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
            sends = [person.begin_send(group, channels[number % 16]) for number, person in enumerate(people * 2)]
            assert not polled(lambda: health(app) != {SERVING}, seconds=6)
            other.rollback()
        assert len({send.result().message_id for send in sends}) == 48


def test_the_pooler_dies_freezes_and_pauses(own: Own, own_postgres: Postgres) -> None:
    with running_pgbouncer(own_postgres) as pooler:
        app = own("postgres", url=pooler.prepared(own_postgres.create_database()), env=FOUR)
        ann, ben = app.people(2)
        talk = conversation_of(ann.send(ben.id, "1"))
        sent = 1

        def goes_on() -> None:
            nonlocal sent
            eventually(lambda: health(app) == {SERVING})
            once_available(lambda: ann.send(talk, "on"))
            sent = len(history(ann, talk))

        pooler.kill()
        eventually(lambda: health(app) == {NOT_SERVING})
        pooler.start()
        goes_on()
        with pooler.frozen():
            eventually(lambda: health(app) == {NOT_SERVING})
        goes_on()
        paused = threading.Thread(target=pooler.console, args=("PAUSE",))
        paused.start()
        eventually(lambda: health(app) == {NOT_SERVING})
        pooler.console("RESUME")
        paused.join()
        goes_on()
        assert sent >= 4
        assert "Traceback" not in app.logs()


def test_calls_wait_where_the_pooler_has_no_connection_to_give(own_postgres: Postgres) -> None:
    """By its own limits it refuses what it has no room for; that is no fault of a call either."""
    few = {"default_pool_size": 2, "max_client_conn": 6, "query_wait_timeout": 1}
    with running_pgbouncer(own_postgres, **few) as pooler:
        url = pooler.prepared(own_postgres.create_database())
        with closing(opened(url, 50)) as database, ThreadPoolExecutor(20) as threads:

            def slow(seconds: float) -> object:
                statement = f"SELECT pg_sleep({seconds})"
                return in_a_call(20, lambda: database.read(lambda tx: len(tx.fetch_all(statement))))

            assert list(threads.map(slow, [0.1] * 40)) == [1] * 40
            long = [threads.submit(slow, 2.5) for _ in range(2)]
            time.sleep(0.3)  # until both are there, which hold the pool for longer than a call may wait in it
            short = [threads.submit(slow, 0) for _ in range(4)]
            assert [one.exception(timeout=30) for one in long] == [None, None]
            for one in short:
                error = one.exception(timeout=30)
                assert error is None or (isinstance(error, ChatError) and error.reason == "UNAVAILABLE"), error
            assert slow(0) == 1
        assert "query_wait_timeout" in pooler.log()
        assert "max_client_conn" in pooler.log()


def test_a_statement_past_its_deadline_ends_on_the_server_too(direct: str, url: str) -> None:
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(25)%' AND pid <> pg_backend_pid()"
    with closing(opened(url)) as database:
        with pytest.raises(ChatError, match=r"not available|deadline"):
            in_a_call(1, lambda: database.read(lambda tx: tx.fetch_all("SELECT pg_sleep(25)"), one_statement=True))
        eventually(lambda: execute(direct, f"{asleep} AND state = 'active'") == [(0,)], 5)
        assert in_a_call(5, lambda: database.read(lambda tx: tx.fetch_all("SELECT 1"))) == [(1,)]


# Commands


def test_commands_work_and_see_who_has_the_database(
    own: Own, own_postgres: Postgres, pooler: PgBouncer, direct: str, url: str, tmp_path: Path
) -> None:
    assert gochat("migrate", env={"GOCHAT_DATABASE_URL": url}).stdout == "the database has this program's schema\n"
    app = own(url=url, env=FOUR)
    life = lived(app)
    elsewhere = f"sqlite:///{tmp_path}/copy.db"
    for of_it in (url, direct):
        assert "in use by another gochat process" in refused(of_it, elsewhere)
    app.stop()
    copied(url, elsewhere)
    back = pooler.prepared(own_postgres.create_database())
    copied(elsewhere, back)
    assert gochat("check", env={"GOCHAT_DATABASE_URL": back}).stdout.startswith("clean: ")
    again = own(url=back, folder=app.folder)
    person = again.signed_in(life.ann.id, life.ann.username, PASSWORD)
    assert person.GetConversations().conversations
