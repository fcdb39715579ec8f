"""The lanes to a database: what the server asks for itself is answered whatever its users do."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from threading import Event

import grpc
import psycopg2
import pytest

from gochat.api.logic.v1 import logic_pb2
from gochat.app import repo_handlers
from gochat.config import Config, Messages
from gochat.context import SERVICE, Call, Lane, entered
from gochat.domain import ids
from gochat.domain.revocation import Revocations
from gochat.errors import ChatError
from gochat.events.relay import Relay
from gochat.internal.account.v1.account_pb2_grpc import AccountServiceStub
from gochat.lifecycle import SessionWatch
from gochat.repo import statistics
from gochat.repo.inboxes import Inboxes
from gochat.rpc.local import LocalChannel
from gochat.services import REPO, served_by
from gochat.serving.binding import bind
from gochat.storage.database import Database
from gochat.storage.sqlite import READERS
from tests.conftest import Own
from tests.health import SERVING, health
from tests.processes import FAST
from tests.repo.test_endings import end_new
from tests.waiting import eventually, polled, status_of

POOL, THREADS = 2, 4
SMALL = {
    "GOCHAT_DATABASE_POOL_MIN": "1",
    "GOCHAT_DATABASE_POOL_MAX": str(POOL),
    "GOCHAT_SERVER_THREADS": str(THREADS),
}


@contextmanager
def all_reading(database: Database, number: int) -> Iterator[None]:
    """Every connection of the pool is in use."""
    reading, over = [Event() for _ in range(number)], Event()
    with ThreadPoolExecutor(number) as pool:
        for one in reading:
            pool.submit(database.read, lambda _, one=one: (one.set(), over.wait(60)))
        try:
            assert all(one.wait(10) for one in reading)
            yield
        finally:
            over.set()


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, database=replace(config.database, pool_max=POOL))


def test_the_servers_own_queries_wait_for_no_reader(config: Config, database: Database) -> None:
    revocations = Revocations(config.auth.access_ttl)
    channel = LocalChannel(bind(served_by(REPO), repo_handlers(database, Relay(), Messages(), Inboxes(database))))
    watch = SessionWatch(AccountServiceStub(channel), revocations)
    watch.poll()
    database.write(lambda tx: end_new(tx, "s"))
    with all_reading(database, POOL if config.database.is_postgres else READERS):
        with entered(Call(SERVICE, "-", time.monotonic() + 0.1)), pytest.raises(ChatError, match="in use"):
            database.read(lambda _: None)
        watch.poll()
        with entered(Call(SERVICE, "-", time.monotonic() + 1, lane=Lane.CONTROL)):
            assert statistics.count(database)["users_active"] == 0
            database.read(lambda _: watch.poll())  # while one counts, another is asked
    assert revocations.has("s")


@pytest.mark.skipif(not FAST, reason="with grpcio's server the call that asks waits for a thread as well")
@pytest.mark.parametrize("mode", ["postgres-colocated", "postgres-split"])
def test_with_every_connection_and_thread_waiting_ended_sessions_are_noticed(own: Own, mode: str) -> None:
    app = own(mode, env=SMALL)
    busy, leaving = app.people(2)
    edit = logic_pb2.UpdateUserProfileRequest(user_id=busy.id, bio="x")
    outside = psycopg2.connect(app.url)
    outside.cursor().execute("SELECT 1 FROM users FOR UPDATE")
    calls = [
        app.logic.UpdateUserProfile.future(edit, metadata=app.service, timeout=25)  # a user has a share of the threads
        for _ in range(2 * THREADS + POOL)
    ]
    for process in app.processes:
        eventually(lambda process=process: process.metrics()("gochat_pool_busy_threads", pool="call") == THREADS)

    with psycopg2.connect(app.url) as other:
        session = "SELECT session_id, %s FROM sessions WHERE user_id = %s"
        other.cursor().execute(
            f"INSERT INTO ended_sessions (session_id, ended_at) {session}", (ids.now_ms(), leaving.id)
        )
    other.close()

    def is_out() -> bool:
        assert health(app) == {SERVING}
        status = status_of(lambda: leaving.ValidateToken(token=leaving.access_token))
        assert status in ("OK", "UNAUTHENTICATED")
        return status == "UNAUTHENTICATED"

    eventually(is_out, 5)
    # For longer than health takes to say that nothing answers.
    assert polled(lambda: health(app), lambda found: found != {SERVING}, seconds=5) == {SERVING}
    assert not [call.code() for call in calls if call.done()]
    outside.close()
    assert {call.code() for call in calls} == {grpc.StatusCode.OK}
