"""Connections to PostgreSQL that a network drops without a word, and a server that has none to spare."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import urlsplit

import peewee
import psycopg2
import pytest

from gochat.context import SERVICE, Call, entered
from gochat.errors import ChatError
from gochat.storage import pool
from gochat.storage.database import Tx
from gochat.storage.postgres import SPARE, PostgresDatabase
from tests.harness import fresh
from tests.postgres import Postgres
from tests.proxy import Proxy
from tests.waiting import eventually


class Firewall(Proxy):
    """Stands between GoChat and PostgreSQL."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        super().__init__((str(parts.hostname), int(parts.port or 0)))
        self.url = url.replace(f":{parts.port}/", f":{self.port}/")

    @property
    def opened(self) -> int:
        return len(self.connections)


@pytest.fixture(scope="module")
def postgres(direct_postgres: Postgres) -> Postgres:
    """Its connections are counted."""
    return direct_postgres


@pytest.fixture
def firewall(postgres: Postgres) -> Iterator[Firewall]:
    made = Firewall(postgres.create_database())
    yield made
    made.close()


def in_a_call(seconds: float, work: Callable[[], object]) -> object:
    with entered(Call(SERVICE, "r", time.monotonic() + seconds)):
        return work()


def reads(database: PostgresDatabase, number: int, seconds: float = 5) -> list[object]:
    """So many at the same time, so that each takes a connection of its own."""
    together = threading.Barrier(number, timeout=20)

    def read(tx: Tx) -> object:
        together.wait()
        return tx.fetch_all("SELECT 1")

    def one(_: int) -> object:
        return in_a_call(seconds, lambda: database.read(read, one_statement=True))

    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(one, range(number)))


def test_idle_connections_that_were_dropped_are_replaced_before_a_call_comes(firewall: Firewall) -> None:
    with closing(PostgresDatabase(firewall.url, 4, 8)) as database:
        before = firewall.opened
        firewall.lose()
        eventually(lambda: firewall.opened >= before + 5, 20)  # the pool's four, and one for control
        assert reads(database, 4) == [[(1,)]] * 4


def test_a_call_that_comes_first_waits_for_one_check_and_not_for_its_deadline(
    firewall: Firewall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "CHECK_INTERVAL", 3600.0)
    monkeypatch.setattr(pool, "STALE_AFTER", 0.0)
    with closing(PostgresDatabase(firewall.url, 4, 8)) as database:
        firewall.lose()
        assert in_a_call(20, lambda: database.read(lambda tx: tx.fetch_all("SELECT 1"))) == [(1,)]
        assert len(database._pool._idle) == 1, "what was dropped with it is not tried"


def test_a_connection_that_is_dropped_while_a_call_uses_it_ends_the_call_at_its_deadline(firewall: Firewall) -> None:
    def read(tx: Tx) -> object:
        firewall.lose()
        return tx.fetch_all("SELECT 1")

    with closing(PostgresDatabase(firewall.url, 2, 4)) as database:
        with pytest.raises(ChatError, match=r"deadline passed|not available"):
            in_a_call(1.0, lambda: database.read(read))
        assert in_a_call(20, lambda: database.read(lambda tx: tx.fetch_all("SELECT 1"))) == [(1,)]


def test_an_old_connection_is_replaced_while_it_is_idle(firewall: Firewall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MAX_AGE", 0.5)
    with closing(PostgresDatabase(firewall.url, 2, 4)) as database:
        before = firewall.opened
        eventually(lambda: firewall.opened >= before + 3, 20)
        assert reads(database, 2) == [[(1,)]] * 2


def test_a_connection_that_came_after_the_deadline_is_for_the_next_call() -> None:
    """As past a host that hangs: it would be cut as overdue, and each one after it."""

    def connect() -> peewee.Database:
        time.sleep(0.2)
        return peewee.SqliteDatabase(":memory:")

    connections = pool.Pool(pool.Driver(connect, lambda _: True), min_size=0, max_size=1)

    def use() -> object:
        with connections.connection() as taken:
            return taken

    with pytest.raises(ChatError, match="deadline passed"):
        in_a_call(0.1, use)
    assert in_a_call(0.1, use)


def limited_role(url: str, connections: int) -> str:
    """The URL of a role that may have so many connections."""
    role = fresh("role")
    with closing(psycopg2.connect(url)) as owner:
        owner.autocommit = True
        owner.cursor().execute(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT {connections}")
        owner.cursor().execute(f"GRANT CREATE ON SCHEMA public TO {role}")
    return url.replace("//postgres@", f"//{role}@")


def held(database: PostgresDatabase, number: int, over: threading.Event) -> list[threading.Thread]:
    """So many connections in use until it is over."""
    started = [threading.Event() for _ in range(number)]

    def hold(one: threading.Event) -> None:
        in_a_call(60, lambda: database.read(lambda _: (one.set(), over.wait(60)), one_statement=True))

    threads = [threading.Thread(target=hold, args=(one,)) for one in started]
    for thread in threads:
        thread.start()
    assert all(one.wait(20) for one in started)
    return threads


def test_a_call_waits_for_a_connection_where_the_server_gives_no_more(postgres: Postgres) -> None:
    url = limited_role(postgres.create_database(), 3)
    over = threading.Event()
    with closing(PostgresDatabase(url, 1, 10)) as database:  # one of the three is for control
        threads = held(database, 2, over)
        with pytest.raises(ChatError, match="every connection is in use"):
            in_a_call(1.0, lambda: database.read(lambda tx: tx.fetch_all("SELECT 1")))
        with ThreadPoolExecutor(4) as more:
            waiting = [
                more.submit(in_a_call, 30, lambda: database.read(lambda tx: tx.fetch_all("SELECT 1"))) for _ in range(4)
            ]
            time.sleep(0.3)
            over.set()
            assert [one.result() for one in waiting] == [[(1,)]] * 4
        for thread in threads:
            thread.join()


def test_the_last_connections_of_the_server_are_left_to_others(postgres: Postgres) -> None:
    url = postgres.create_database()
    over = threading.Event()
    with closing(PostgresDatabase(url, 1, 1000)) as database, closing(psycopg2.connect(url)) as other:
        other.autocommit = True
        cursor = other.cursor()
        cursor.execute(
            "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
        )
        most = cursor.fetchone()[0]
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        free = most - cursor.fetchone()[0]
        fill = [psycopg2.connect(url) for _ in range(free - SPARE)]
        try:
            threads = held(database, 1, over)
            with pytest.raises(ChatError, match="every connection is in use"):
                in_a_call(1.0, lambda: database.read(lambda tx: tx.fetch_all("SELECT 1")))
            psycopg2.connect(url).close()
        finally:
            over.set()
            for thread in threads:
                thread.join()
            for one in fill:
                one.close()
