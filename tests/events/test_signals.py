"""Processes wake each other: an event reaches a stream of another process although nothing polls."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import grpc
import pytest

from gochat.api.event.v1.event_pb2 import SetTypingRequest
from gochat.api.event.v1.event_pb2_grpc import EventServiceStub
from tests.conftest import Own
from tests.conversations import conversation_of
from tests.harness import Deployment, Person
from tests.postgres import Postgres
from tests.processes import Process
from tests.redis import Redis, running_redis
from tests.rpc.workers import TWO, connect_to, workers
from tests.streams import Listener, listening
from tests.waiting import eventually, once_available

NEVER = {"GOCHAT_EVENTS_POLL": "60"}
"""Longer than any test waits: what comes, comes by a signal."""


def hears(listener: Listener, content: str) -> None:
    listener.until(lambda each: content in each.contents)


@contextmanager
def two_workers(app: Deployment) -> Iterator[tuple[grpc.Channel, grpc.Channel]]:
    one, other = (connect_to(app, worker) for worker in sorted(workers(app.processes[0])))
    with one, other:
        yield one, other


def send_by(channel: grpc.Channel, sender: Person, to: str) -> None:
    sender.begin_send(to, channel).result()


def test_a_commit_wakes_the_streams_of_its_process_or_of_the_other_half(own: Own, mode: str) -> None:
    app = own(mode, env=NEVER)
    ann, ben = app.people(2)
    with listening(app, ben.metadata) as listener:
        for number in range(3):
            ann.send(ben.id, f"{number}")
            hears(listener, f"{number}")


def test_a_commit_wakes_the_streams_of_another_worker(own: Own) -> None:
    app = own("postgres", env=NEVER | TWO)
    ann, ben = app.people(2)
    with two_workers(app) as (one, other):
        for here, there in ((one, other), (other, one)):
            with listening(app, ben.metadata, channel=there) as listener:
                send_by(here, ann, ben.id)
                hears(listener, "running")


def test_without_notify_the_streams_of_another_worker_poll(own: Own) -> None:
    app = own("postgres", env=TWO | {"GOCHAT_EVENTS_NOTIFY": "false"})
    ann, ben = app.people(2)
    with two_workers(app) as (one, other), listening(app, ben.metadata, channel=other) as listener:
        send_by(one, ann, ben.id)
        hears(listener, "running")


def test_hosts_of_the_logic_half_hear_of_commits_and_of_each_other(own: Own, tmp_path: Path) -> None:
    app = own("sqlite-split", env=NEVER)
    arguments = ("serve", "--target", "logic", "--data", str(app.data), "--listen", "127.0.0.1:0")
    env = app.env | {"GOCHAT_REPO_ADDRESS": app.repo_address}
    ann, ben = app.people(2)
    with (
        Process(*arguments, env=env, log=tmp_path / "second.log") as second,
        listening(app, ben.metadata, address=second.address, typing=True) as listener,
    ):
        room = conversation_of(ann.send(ben.id, "hello"))
        hears(listener, "hello")
        EventServiceStub(app.channel).SetTyping(
            SetTypingRequest(conversation_id=room, typing=True), metadata=ann.metadata, timeout=30
        )
        listener.until(lambda each: [typing.user_id for typing in each.of_kind("typing")] == [ann.id])


def test_several_hosts_of_the_repo_half_hear_each_other(own: Own, tmp_path: Path) -> None:
    """One commits; a stream is on a host of the logic half that watches the other one."""
    app = own("postgres-split", env=NEVER)
    second_repo = ("serve", "--target", "repo", "--data", str(app.data), "--listen", "127.0.0.1:0")
    second_logic = ("serve", "--target", "logic", "--data", str(app.data), "--listen", "127.0.0.1:0")
    ann, ben = app.people(2)
    with Process(*second_repo, env=app.env, log=tmp_path / "repo2.log") as repo:
        env = app.env | {"GOCHAT_REPO_ADDRESS": repo.address}
        with (
            Process(*second_logic, env=env, log=tmp_path / "logic2.log") as logic,
            listening(app, ben.metadata, address=logic.address) as listener,
        ):
            ann.send(ben.id, "hello")
            hears(listener, "hello")


def test_a_repo_half_that_comes_back_wakes_streams_again(own: Own) -> None:
    app = own("sqlite-split", env=NEVER)
    ann, ben = app.people(2)
    with listening(app, ben.metadata) as listener:
        ann.send(ben.id, "before")
        hears(listener, "before")
        app.processes[-1].kill()
        app.restart_repo()
        for content in ("after", "woken again"):
            once_available(lambda content=content: ann.send(ben.id, content))
            hears(listener, content)


def test_a_postgres_that_comes_back_wakes_streams_again(own: Own, own_postgres: Postgres) -> None:
    app = own("postgres", url=own_postgres.create_database(), env=NEVER | TWO)
    ann, ben = app.people(2)
    with two_workers(app) as (one, other), listening(app, ben.metadata, channel=other) as listener:
        own_postgres.stop("immediate")
        eventually(own_postgres.starts)
        for number in (1, 2):
            once_available(lambda: send_by(one, ann, ben.id))
            listener.until(lambda each, number=number: len(each.contents) >= number)


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with running_redis() as server:
        yield server


def test_processes_wake_each_other_by_a_broker(own: Own, redis: Redis) -> None:
    """Also after it was away, and meanwhile events come nevertheless."""
    app = own("postgres", env=TWO | {"GOCHAT_EVENTS_BROKER": redis.url, "GOCHAT_EVENTS_POLL": "3"})
    ann, ben = app.people(2)
    with two_workers(app) as (one, other), listening(app, ben.metadata, channel=other) as listener:

        def sends_and_hears(number: int) -> None:
            send_by(one, ann, ben.id)
            listener.until(lambda each: len(each.contents) == number)

        sends_and_hears(1)
        assert redis.channels() == [f"gochat.signals.{redis.number}"]
        redis.stop()
        sends_and_hears(2)
        redis.start()
        eventually(redis.channels)
        sends_and_hears(3)
    assert app.logs().count("publishing to the broker: failed:") <= 2, "once for each worker"


def test_a_frozen_broker_holds_up_nothing(own: Own, redis: Redis) -> None:
    app = own("postgres", env=TWO | {"GOCHAT_EVENTS_BROKER": redis.url})
    ann, ben = app.people(2)
    with two_workers(app) as (one, other), listening(app, ben.metadata, channel=other) as listener, redis.frozen():
        for number in (1, 2, 3):
            send_by(one, ann, ben.id)
            listener.until(lambda each, number=number: len(each.contents) == number)
        assert app.stop() == [0]


def test_what_others_write_into_the_channels_is_passed_over(own: Own, redis: Redis, own_postgres: Postgres) -> None:
    app = own("postgres", url=own_postgres.create_database(), env=NEVER | TWO | {"GOCHAT_EVENTS_BROKER": redis.url})
    ann, ben = app.people(2)
    with two_workers(app) as (one, other), listening(app, ben.metadata, channel=other) as listener:
        eventually(redis.channels)
        subprocess.run([*redis.client, "publish", f"gochat.signals.{redis.number}", "garbage"], check=True)
        send_by(one, ann, ben.id)
        hears(listener, "running")


def test_a_server_with_streams_stops_in_time_while_its_database_hangs(own: Own, own_postgres: Postgres) -> None:
    app = own("postgres", url=own_postgres.create_database(), env={"GOCHAT_SERVER_GRACE": "3"})
    people = app.people(3)
    with ExitStack() as streams:
        listeners = [streams.enter_context(listening(app, each.metadata)) for each in people]
        with own_postgres.frozen():
            begun = people[0].begin_send(people[1].id)
            with suppress(AssertionError):
                listeners[1].until(lambda each: each.contents, seconds=1)  # what reads the log waits for it by now
            assert app.processes[0].stop() == 0, "not by force"
            assert [each.goodbye for each in listeners] == ["RECONNECT"] * 3
        begun.cancel()
