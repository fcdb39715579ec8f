"""PostgreSQL goes away and comes back under a running server."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import grpc
import psycopg2
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gochat.api.common.v1 import common_pb2
from gochat.api.logic.v1 import logic_pb2
from gochat.services import SERVICES
from gochat.storage.database import Tx
from gochat.storage.postgres import PostgresDatabase
from tests.harness import Deployment, Person, eventually, every_message, fresh, refused
from tests.postgres import Postgres, running_postgres

SENDERS = 8
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A PostgreSQL server that only the tests of this file use, and stop."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def url(server: Postgres) -> str:
    return server.create_database()


@pytest.fixture(scope="module", params=[False, True], ids=["colocated", "split"])
def app(
    request: pytest.FixtureRequest, server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path_factory.mktemp("app"), url=server.create_database(), split=request.param)
    yield deployment
    deployment.kill()


def again_and_again(call: Callable[[], Any]) -> Any:
    """Calls until it is not UNAVAILABLE."""
    for _ in range(200):
        try:
            return call()
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            assert error.code() is grpc.StatusCode.UNAVAILABLE, f"{error.code()} {error.details()}"
            time.sleep(0.1)
    raise AssertionError("it stayed UNAVAILABLE")


def health(app: Deployment) -> set[int]:
    """What the processes say of all their services."""
    return {status for process in app.processes for status in health_of(process.address)}


def health_of(address: str) -> set[int]:
    with grpc.insecure_channel(address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        statuses = set()
        for name in (*(service.descriptor.full_name for service in SERVICES), ""):
            request = health_pb2.HealthCheckRequest(service=name)
            try:
                statuses.add(check(request, timeout=1).status)
            except grpc.RpcError as error:
                assert isinstance(error, grpc.Call)
                assert error.code() is grpc.StatusCode.NOT_FOUND, "a half has half the services"
    return statuses


def history(person: Person, conversation_id: str) -> list[Any]:
    """Oldest first."""
    return every_message(person.GetMessageHistory, conversation_id)[::-1]


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_a_restart_between_two_calls_goes_unnoticed(app: Deployment, server: Postgres, how: str) -> None:
    person, friend = app.person(), app.create_user()
    message_id = person.send(friend, "before").message_id
    for _ in range(2):
        server.stop(how)
        server.start()
        message_id, before = person.send(friend, "after").message_id, message_id
        assert int(message_id[-12:]) == int(before[-12:]) + 1


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_without_the_database_calls_are_refused_until_it_is_back(app: Deployment, server: Postgres, how: str) -> None:
    person, friend = app.person(), app.create_user()
    conversation_id = person.send(friend, "before").message_id.rpartition("-")[0]
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
        again_and_again(call)
    assert [message.content for message in history(person, conversation_id)] == ["before", "lost"]


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_what_was_acknowledged_around_an_outage_is_there_once(app: Deployment, server: Postgres, how: str) -> None:
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
            acknowledged.append(again_and_again(send).message_id)
        return acknowledged

    with ThreadPoolExecutor(SENDERS) as pool:
        talking = [pool.submit(talk, sender) for sender in senders]
        try:
            for _ in range(2):
                time.sleep(0.5)
                server.stop(how)
                time.sleep(0.5)
                server.start()
            time.sleep(0.5)
        finally:
            over.set()
        acknowledged = {sender: future.result() for sender, future in zip(senders, talking, strict=True)}
    stored = again_and_again(partial(history, owner, group_id))
    assert [int(message.message_id[-12:]) for message in stored] == list(range(1, len(stored) + 1))
    for sender, message_ids in acknowledged.items():
        his = [message for message in stored if message.from_user_id == sender]
        assert [message.message_id for message in his] == message_ids
        assert [message.content for message in his] == [f"{sender} {number}" for number in range(len(message_ids))]


def test_a_server_does_not_start_without_its_database(server: Postgres, tmp_path: Path) -> None:
    lost = f"postgresql://postgres:{fresh('secret')}@127.0.0.1:{server.port}/nosuchdatabase"
    with pytest.raises(AssertionError, match="the database is not available") as refusal:
        Deployment(tmp_path, url=lost)
    assert "Traceback" not in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_an_internal_error_says_nothing_of_its_cause(server: Postgres, tmp_path: Path) -> None:
    url = server.create_database()
    app = Deployment(tmp_path, url=url)
    try:
        person = app.person()
        with psycopg2.connect(url) as connection:
            connection.cursor().execute("ALTER TABLE members RENAME TO gone")
        connection.close()
        with refused("INTERNAL", reason="INTERNAL") as refusal:
            person.GetConversations()
        assert (refusal.message, refusal.fields) == ("internal error", {})
        # The log says what the client is not to know.
        eventually(lambda: 'relation "members" does not exist' in app.logs())
    finally:
        app.kill()


def test_the_victim_of_a_deadlock_is_run_again(url: str) -> None:
    database = PostgresDatabase(url, pool_min=2, pool_max=2)
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
    assert health(app) == {SERVING}
    server.stop("immediate")
    try:
        eventually(lambda: health(app) == {NOT_SERVING}, 5.0)
        assert [
            app.run("health", "--address", process.address, check=False).returncode for process in app.processes
        ] == [1] * len(app.processes)
    finally:
        server.start()
    eventually(lambda: health(app) == {SERVING}, 5.0)


def test_a_database_that_is_silent_holds_up_nobody_beyond_his_deadline(app: Deployment, server: Postgres) -> None:
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
    again_and_again(partial(person.send, friend, "after"))


def test_a_server_whose_database_is_silent_stops_within_its_grace(server: Postgres, tmp_path: Path) -> None:
    own = Deployment(tmp_path, url=server.create_database(), env={"GOCHAT_SERVER_GRACE": "1"})
    request = logic_pb2.GetUserProfileRequest(user_id=own.create_user())
    with server.frozen():
        running = own.logic.GetUserProfile.future(request, metadata=own.service, timeout=60)
        time.sleep(0.5)  # it is with the server
        started = time.monotonic()
        assert own.stop() == [0]
        assert time.monotonic() - started < 10, "not the half minute that a call may take"
        assert running.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
