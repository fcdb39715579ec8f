"""Reads from a streaming replica: never older than what was acknowledged, and on the primary whatever becomes of it."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from threading import Barrier, Event
from time import monotonic, sleep

import psycopg2
import pytest

from gochat.config import Config, Database
from gochat.context import SERVICE, Call, entered
from gochat.storage.connecting import CALL_LIMITS
from gochat.storage.database import T, Tx
from gochat.storage.engine import open_database
from gochat.storage.postgres import PostgresDatabase
from gochat.storage.replica import Shared
from tests.pgbouncer import running_pgbouncer
from tests.postgres import Pair, Postgres, running_postgres
from tests.processes import refused_start
from tests.waiting import eventually

AT_PRIMARY, AT_REPLICA = False, True


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with running_postgres() as primary, Pair(primary) as made:
        yield made


@contextmanager
def opened(pair: Pair, replica: Postgres | None = None, **settings: int) -> Iterator[PostgresDatabase]:
    urls = {"url": pair.url_of(pair.primary), "replica_url": pair.url_of(replica or pair.standby)}
    config = Config(database=Database(**urls, pool_min=1, **{"max_lag": 1, **settings}))
    with closing(open_database(config)) as database:
        assert isinstance(database, PostgresDatabase)
        yield database


@pytest.fixture
def database(pair: Pair) -> Iterator[PostgresDatabase]:
    with opened(pair) as made:
        eventually(lambda: where(made) is AT_REPLICA)
        yield made


def where(database: PostgresDatabase, seconds: float = 10) -> bool:
    """Where a read is made."""
    return read(database, lambda tx: bool(tx.fetch_all("SELECT pg_is_in_recovery()")[0][0]), seconds)


def read(database: PostgresDatabase, work: Callable[[Tx], T], seconds: float = 10) -> T:
    with entered(Call(SERVICE, "-", monotonic() + seconds, SERVICE)):
        return database.read(work, replica=True)


def note(database: PostgresDatabase, name: str, value: object) -> None:
    text = "INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    database.write(lambda tx: tx.sql(text, name, str(value)), one_statement=True)


def noted(database: PostgresDatabase, name: str) -> str:
    return str(read(database, lambda tx: tx.fetch_all("SELECT value FROM secrets WHERE name = ?", name)[0][0]))


def test_a_read_has_all_that_was_acknowledged_before_it(pair: Pair, database: PostgresDatabase) -> None:
    """By this process and by another one, under load."""
    with opened(pair) as other, ThreadPoolExecutor(8) as pool:

        def work(number: int) -> None:
            for value in range(40):
                note(other if number % 2 else database, f"test{number}", value)
                assert noted(database, f"test{number}") == str(value)

        list(pool.map(work, range(8)))
    counted = database.statistics()
    assert counted["replica_reads"] > 0, counted


@contextmanager
def delayed(pair: Pair, delay: str) -> Iterator[None]:
    pair.standby.ask(f"ALTER SYSTEM SET recovery_min_apply_delay = '{delay}'")
    pair.standby.ask("SELECT pg_reload_conf()")
    eventually(lambda: pair.standby.ask("SHOW recovery_min_apply_delay") == delay)
    try:
        yield
    finally:
        pair.standby.ask("ALTER SYSTEM RESET recovery_min_apply_delay")
        pair.standby.ask("SELECT pg_reload_conf()")


@contextmanager
def paused(pair: Pair) -> Iterator[None]:
    pair.standby.ask("SELECT pg_wal_replay_pause()")
    eventually(lambda: pair.standby.ask("SELECT pg_get_wal_replay_pause_state()") == "paused")
    try:
        yield
    finally:
        pair.standby.ask("SELECT pg_wal_replay_resume()")


def test_one_that_is_delayed_is_not_waited_for(pair: Pair, database: PostgresDatabase) -> None:
    with delayed(pair, "5s"):
        began = monotonic()
        for value in range(20):
            note(database, "delayed", value)
            assert noted(database, "delayed") == str(value)
        assert monotonic() - began < 2
    eventually(lambda: where(database) is AT_REPLICA)


def test_one_that_is_too_far_behind_is_left_alone_until_it_has_caught_up(
    pair: Pair, database: PostgresDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with paused(pair):
        note(database, "paused", 1)
        eventually(lambda: "the replica is more than 1 s behind: reads are made on the primary" in caplog.text)
        assert where(database) is AT_PRIMARY
        eventually(lambda: database.statistics()["replica_lag"] >= 2)
        assert database.statistics()["replica_lag_bytes"] > 0
    eventually(lambda: where(database) is AT_REPLICA)
    assert caplog.text.count("behind: reads are made") == 1, "it is said once"
    eventually(lambda: database.statistics()["replica_lag_bytes"] == 0)


def goes_on_without(database: PostgresDatabase) -> None:
    """Reads are answered, from the first on, within a call of usual length."""
    for value in range(5):
        note(database, "without", value)
        assert noted(database, "without") == str(value)
    assert where(database) is AT_PRIMARY


def test_one_that_dies_is_done_without_until_it_is_back(pair: Pair, database: PostgresDatabase) -> None:
    pair.standby.stop("immediate")
    goes_on_without(database)
    pair.standby.start()
    eventually(lambda: where(database) is AT_REPLICA)


def test_reads_that_it_leaves_without_an_answer_are_made_on_the_primary(pair: Pair, database: PostgresDatabase) -> None:
    with ThreadPoolExecutor(4) as pool:
        there = Barrier(5)

        def work(tx: Tx) -> bool:
            is_replica = bool(tx.fetch_all("SELECT pg_is_in_recovery()")[0][0])
            if is_replica:
                there.wait(10)
                there.wait(10)
                tx.fetch_all("SELECT 1")
            return is_replica

        reads = [pool.submit(read, database, work) for _ in range(4)]
        there.wait(10)
        with pair.standby.frozen():
            there.wait(10)
            assert [each.result() for each in reads] == [AT_PRIMARY] * 4
            goes_on_without(database)
    eventually(lambda: where(database) is AT_REPLICA)


def test_a_read_that_conflicts_with_recovery_is_made_on_the_primary(pair: Pair, database: PostgresDatabase) -> None:
    pair.standby.ask("ALTER SYSTEM SET max_standby_streaming_delay = 0")
    pair.standby.ask("SELECT pg_reload_conf()")
    eventually(lambda: pair.standby.ask("SHOW max_standby_streaming_delay") == "0")
    reading, cleaned = Event(), Event()

    def work(tx: Tx) -> bool:
        is_replica = bool(tx.fetch_all("SELECT pg_is_in_recovery(), count(*) FROM secrets")[0][0])
        if is_replica:
            reading.set()
            cleaned.wait(10)
            tx.fetch_all("SELECT count(*) FROM secrets")
        return is_replica

    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(read, database, work)
        reading.wait(10)
        for value in range(3):
            note(database, "conflict", value)
        pair.primary.ask("VACUUM secrets", pair.name)
        eventually(pair.replayed)
        cleaned.set()
        assert found.result() is AT_PRIMARY
    eventually(lambda: where(database) is AT_REPLICA)


def test_one_that_is_behind_in_its_schema_is_waited_for() -> None:
    with running_postgres() as primary, Pair(primary) as pair, paused(pair):
        assert pair.standby.ask("SELECT to_regclass('secrets')", pair.name) is None
        with opened(pair) as database:
            assert where(database) is AT_PRIMARY
            pair.standby.ask("SELECT pg_wal_replay_resume()")
            eventually(lambda: where(database) is AT_REPLICA)


def test_one_that_cannot_be_reached_does_not_stop_the_start(pair: Pair) -> None:
    pair.standby.stop()
    with opened(pair) as database:
        goes_on_without(database)
        pair.standby.start()
        eventually(lambda: where(database) is AT_REPLICA)


def test_the_primary_may_be_behind_a_pooler_of_transactions(pair: Pair) -> None:
    with running_pgbouncer(pair.primary) as pooler:
        urls = {"url": pooler.prepared(pair.url_of(pair.primary)), "replica_url": pair.url_of(pair.standby)}
        with closing(open_database(Config(database=Database(**urls, pool_min=1)))) as database:
            assert isinstance(database, PostgresDatabase)
            assert database.pooled
            eventually(lambda: where(database) is AT_REPLICA)
            for value in range(20):
                note(database, "pooled", value)
                assert noted(database, "pooled") == str(value)
            limit = read(database, lambda tx: tx.fetch_all("SHOW statement_timeout")[0][0])
            assert limit == CALL_LIMITS["statement_timeout"]


def test_a_server_of_another_cluster_is_refused() -> None:
    with running_postgres() as one, running_postgres() as other:
        urls = one.create_database(), other.create_database()
        refused = refused_start(GOCHAT_DATABASE_URL=urls[0], GOCHAT_DATABASE_REPLICA_URL=urls[1])
        assert "database.replica_url: is of another cluster than database.url (system identifier" in refused


def test_one_that_is_promoted_is_read_from_no_more(caplog: pytest.LogCaptureFixture) -> None:
    with running_postgres() as primary, Pair(primary) as pair, opened(pair) as database:
        eventually(lambda: where(database) is AT_REPLICA)
        pair.standby.promote()
        goes_on_without(database)
        eventually(lambda: "the replica is no standby" in caplog.text)
        assert where(database) is AT_PRIMARY


def test_of_several_servers_one_is_read_from_that_is_a_standby() -> None:
    """Both are named for both uses, before and after they change places."""
    with running_postgres() as primary, Pair(primary) as pair:
        config = Config(database=Database(url=pair.url, replica_url=pair.url, pool_min=1))
        with closing(open_database(config)) as database:
            assert isinstance(database, PostgresDatabase)
            eventually(lambda: where(database) is AT_REPLICA)
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda _: where(database), range(20)))  # there are several connections to it
            pair.fail_over()
            eventually(lambda: is_noted(database, 1))
            assert where(database) is AT_PRIMARY
            pair.pair_again()
            eventually(lambda: where(database) is AT_REPLICA)


def test_one_of_an_old_primary_is_not_read_from_by_who_follows_the_new_one() -> None:
    """It has replayed what the new primary never had, so it seems to be as far as that."""
    with running_postgres() as primary, Pair(primary) as pair:
        old = Postgres(primary=primary)
        urls = {"url": pair.url, "replica_url": pair.url_of(old)}
        with closing(open_database(Config(database=Database(**urls, pool_min=1)))) as database:
            assert isinstance(database, PostgresDatabase)
            eventually(lambda: where(database) is AT_REPLICA)

            def lost() -> None:
                for value in range(1000):
                    note(database, "lost", value)
                eventually(lambda: noted(database, "lost") == "999" and where(database) is AT_REPLICA)

            pair.fail_over(losing=lost)
            with suppress(psycopg2.Error):
                eventually(lambda: pair.standby.ask("SELECT pg_is_in_recovery()") is False)
            for value in range(5):
                eventually(lambda value=value: is_noted(database, value))  # type: ignore[misc]
                assert noted(database, "new") == str(value)
                assert where(database) is AT_PRIMARY
        old.remove()


def is_noted(database: PostgresDatabase, value: int) -> bool:
    with suppress(Exception):
        note(database, "new", value)
        return True
    return False


def test_a_shared_answer_is_never_older_than_the_question() -> None:
    asked = 0

    def ask() -> int:
        nonlocal asked
        asked += 1
        begun = asked
        sleep(0.001)
        return begun

    shared = Shared(ask)

    def work(_: int) -> None:
        for _ in range(50):
            before = asked
            assert shared.get(10) > before

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert asked < 200, "400 asked, two at least of each question"


def test_what_asking_raises_is_raised_to_all() -> None:
    def ask() -> int:
        raise NotImplementedError

    shared = Shared(ask)
    for _ in range(2):
        with pytest.raises(NotImplementedError):
            shared.get(10)
