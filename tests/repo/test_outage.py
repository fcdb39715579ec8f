"""PostgreSQL goes away and comes back under a running server."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier, Event
from typing import Any

import grpc
import psycopg2
import pytest

from gochat.api.common.v1 import common_pb2
from gochat.api.logic.v1 import logic_pb2
from gochat.storage.database import Tx
from gochat.storage.postgres import PostgresDatabase
from tests.conftest import Own
from tests.conversations import conversation_of, history, seq_of, seqs
from tests.harness import Deployment, fresh, refused
from tests.health import NOT_SERVING, SERVING, health
from tests.postgres import Postgres
from tests.waiting import eventually, in_flight, once_available

SENDERS = 8


@pytest.fixture(scope="module")
def server(own_postgres: Postgres) -> Postgres:
    return own_postgres


@pytest.fixture(scope="module", params=["postgres-colocated", "postgres-split"])
def app(request: pytest.FixtureRequest, own_of_module: Own, server: Postgres) -> Deployment:
    return own_of_module(request.param, url=server.create_database())


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_a_restart_between_two_calls_goes_unnoticed(app: Deployment, server: Postgres, how: str) -> None:
    person, friend = app.person(), app.create_user()
    message_id = person.send(friend, "before").message_id
    for _ in range(2):
        server.stop(how)
        server.start()
        message_id, before = person.send(friend, "after").message_id, message_id
        assert seq_of(message_id) == seq_of(before) + 1


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_without_the_database_calls_are_refused_until_it_is_back(app: Deployment, server: Postgres, how: str) -> None:
    person, friend = app.person(), app.create_user()
    conversation_id = conversation_of(person.send(friend, "before"))
    calls: tuple[Callable[[], Any], ...] = (
        partial(person.send, friend, "lost"),
        partial(person.GetMessageHistory, conversation_id=conversation_id),
        person.GetUserProfile,
        app.person,
    )
    server.stop(how)
    try:
        assert person.ValidateToken(token=person.access_token).valid, "for 4 seconds that needs no database"
        for call in calls * 2:
            with refused("UNAVAILABLE") as refusal:
                call()
            assert refusal.reason in {"UNAVAILABLE", "SESSIONS_UNKNOWN"}
            assert refusal.response.code == common_pb2.ERROR_CODE_INTERNAL_ERROR
    finally:
        server.start()
    for call in calls:
        once_available(call)
    assert [message.content for message in history(person, conversation_id)] == ["before", "lost"]


def until_counted(app: Deployment, more: int, code: str) -> None:
    """Returns once so many more sends have ended with this code."""

    def number() -> float:
        return app.processes[0].metrics()("grpc_server_handled_total", grpc_method="SendMessage", grpc_code=code)

    wanted = number() + more
    eventually(lambda: number() >= wanted)


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_messages_acknowledged_around_an_outage_are_stored_once(app: Deployment, server: Postgres, how: str) -> None:
    owner = app.person()
    senders = [app.create_user() for _ in range(SENDERS)]
    group_id = owner.CreateGroup(name="Storm", member_ids=senders).group_id
    over = Event()

    def talk(sender: str) -> list[str]:
        """The ids of what was acknowledged; what is n-th says so."""
        acknowledged: list[str] = []
        while not over.is_set() or not acknowledged:
            text = f"{sender} {len(acknowledged)}"
            request = logic_pb2.SendMessageRequest(
                from_user_id=sender, conversation_id=group_id, content=text, metadata={"client_msg_id": text}
            )
            send = partial(app.logic.SendMessage, request, metadata=app.service, timeout=30)
            acknowledged.append(once_available(send).message_id)
        return acknowledged

    with ThreadPoolExecutor(SENDERS) as pool:
        talking = [pool.submit(talk, sender) for sender in senders]
        try:
            for _ in range(2):
                until_counted(app, SENDERS * 5, "OK")
                server.stop(how)
                until_counted(app, SENDERS, "Unavailable")
                server.start()
            until_counted(app, SENDERS * 5, "OK")
        finally:
            over.set()
        acknowledged = {sender: future.result() for sender, future in zip(senders, talking, strict=True)}
    stored = once_available(partial(history, owner, group_id))
    assert seqs(stored) == list(range(1, len(stored) + 1))
    for sender, message_ids in acknowledged.items():
        theirs = [message for message in stored if message.from_user_id == sender]
        assert [message.message_id for message in theirs] == message_ids
        assert [message.content for message in theirs] == [f"{sender} {number}" for number in range(len(message_ids))]


def test_a_server_does_not_start_without_its_database(own: Own, server: Postgres) -> None:
    lost = f"postgresql://postgres:{fresh('secret')}@127.0.0.1:{server.port}/nosuchdatabase"
    with pytest.raises(AssertionError, match=r'gochat: database\.url: .*"nosuchdatabase" does not exist') as refusal:
        own(url=lost)
    assert "Traceback" not in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_an_internal_error_says_nothing_of_its_cause(own: Own, server: Postgres) -> None:
    url = server.create_database()
    app = own(url=url)
    person = app.person()
    with psycopg2.connect(url) as connection:
        connection.cursor().execute("ALTER TABLE members RENAME TO gone")
    connection.close()
    with refused("INTERNAL", reason="INTERNAL") as refusal:
        person.GetConversations()
    assert (refusal.message, refusal.fields) == ("internal error", {})
    # The log says what the client is not to know.
    eventually(lambda: 'relation "members" does not exist' in app.logs())


def test_the_victim_of_a_deadlock_is_run_again(server: Postgres) -> None:
    database = PostgresDatabase(server.create_database(), pool_min=2, pool_max=2)
    database.write(lambda tx: tx.sql("CREATE TABLE counters (name TEXT PRIMARY KEY, count INTEGER)"))
    database.write(lambda tx: tx.sql("INSERT INTO counters (name, count) VALUES ('a', 0), ('b', 0)"))
    both_hold_one = Barrier(2)

    def count(tx: Tx, first: str, second: str, once: list[bool]) -> None:
        tx.sql("UPDATE counters SET count = count + 1 WHERE name = ?", first)
        if not once:
            once.append(True)
            both_hold_one.wait(timeout=30)
        tx.sql("UPDATE counters SET count = count + 1 WHERE name = ?", second)

    with ThreadPoolExecutor() as pool:
        orders: tuple[tuple[str, str], ...] = (("a", "b"), ("b", "a"))
        works = [partial(count, first=first, second=second, once=[]) for first, second in orders]
        for written in [pool.submit(database.write, work) for work in works]:
            written.result(timeout=60)
    assert database.read(lambda tx: tx.fetch_all("SELECT count FROM counters")) == [(2,), (2,)]
    database.close()


def test_health_follows_the_database(app: Deployment, server: Postgres) -> None:
    eventually(lambda: health(app) == {SERVING}, 5.0)  # after the test before
    server.stop("immediate")
    try:
        eventually(lambda: health(app) == {NOT_SERVING}, 5.0)
        assert [
            app.run("health", "--address", process.address, check=False).returncode for process in app.processes
        ] == [1] * len(app.processes)
    finally:
        server.start()
    eventually(lambda: health(app) == {SERVING}, 5.0)


def test_a_silent_database_delays_no_call_beyond_its_deadline(app: Deployment, server: Postgres) -> None:
    person, friend = app.person(), app.create_user()
    person.send(friend)
    send = partial(
        app.logic.SendMessage.future,
        logic_pb2.SendMessageRequest(to_user_id=friend, content="x"),
        metadata=person.metadata,
    )
    with server.frozen():
        running = [send(timeout=2) for _ in range(100)]  # more than there are threads
        eventually(lambda: health(app) == {NOT_SERVING}, 5.0)
        assert {call.code() for call in running} == {grpc.StatusCode.DEADLINE_EXCEEDED}
        for _ in range(5):
            with refused("UNAVAILABLE"):
                person.GetUserProfile()
    eventually(lambda: health(app) == {SERVING}, 5.0)
    once_available(partial(person.send, friend, "after"))


def test_a_server_whose_database_is_silent_stops_within_its_grace(own: Own, server: Postgres) -> None:
    app = own(url=server.create_database(), env={"GOCHAT_SERVER_GRACE": "1"})
    request = logic_pb2.GetUserProfileRequest(user_id=app.create_user())
    with server.frozen():
        running = app.logic.GetUserProfile.future(request, metadata=app.service, timeout=60)
        in_flight(app.processes[0], rpc="GetUserProfile")
        started = time.monotonic()
        assert app.stop() == [0]
        assert time.monotonic() - started < 10, "not the half minute that a call may take"
        assert running.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
