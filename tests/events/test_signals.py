"""Processes wake each other: an event reaches a stream of another process although nothing polls."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Own
from tests.events.streams import content, set_typing, subscribe
from tests.harness import Deployment
from tests.postgres import Postgres
from tests.processes import Process
from tests.rpc.workers import TWO, connect_to, workers
from tests.waiting import eventually, once_available

NEVER = {"GOCHAT_EVENTS_POLL": "60"}
"""Longer than any test waits: what comes, comes by a signal."""


@pytest.fixture(params=["sqlite", "postgres", "sqlite-split", "postgres-split"])
def app(request: pytest.FixtureRequest, own: Own) -> Deployment:
    return own(request.param, env=NEVER)


def test_a_commit_wakes_the_streams_of_its_process_or_of_the_other_half(app: Deployment) -> None:
    alice, bob = app.people(2)
    with subscribe(bob) as stream:
        for number in range(3):
            alice.send(bob.id, f"{number}")
            stream.until("message_sent", content(f"{number}"))


def test_a_commit_wakes_the_streams_of_another_worker(own: Own) -> None:
    app = own("postgres", env=NEVER | TWO)
    alice, bob = app.people(2)
    one, other = (connect_to(app, worker) for worker in sorted(workers(app.processes[0])))
    with one, other:
        for here, there in ((one, other), (other, one)):
            with subscribe(bob, there) as stream:
                alice.begin_send(bob.id, here).result()
                stream.until("message_sent")


def test_without_notify_the_streams_of_another_worker_poll(own: Own) -> None:
    app = own("postgres", env=TWO | {"GOCHAT_EVENTS_NOTIFY": "false"})
    alice, bob = app.people(2)
    one, other = (connect_to(app, worker) for worker in sorted(workers(app.processes[0])))
    with one, other, subscribe(bob, other) as stream:
        alice.begin_send(bob.id, one).result()
        stream.until("message_sent")


@pytest.fixture
def hosts(own: Own, tmp_path: Path) -> Iterator[tuple[Deployment, Process]]:
    """A GoChat in two halves, and another host of the logic half with the same repo."""
    app = own("sqlite-split", env=NEVER)
    env = app.env | {"GOCHAT_REPO_ADDRESS": app.repo_address}
    arguments = ("serve", "--target", "logic", "--data", str(app.data), "--listen", "127.0.0.1:0")
    with Process(*arguments, env=env, log=tmp_path / "second.log") as second:
        yield app, second


def test_hosts_of_the_logic_half_hear_of_commits_and_of_each_other(hosts: tuple[Deployment, Process]) -> None:
    app, second = hosts
    alice, bob = app.people(2)
    channel = app._open_channel(second.address)
    with channel, subscribe(bob, channel, typing=True) as stream:
        conversation_id = alice.send(bob.id).message_id.rpartition("-")[0]
        stream.until("message_sent")
        set_typing(alice, conversation_id)
        assert stream.until("typing").typing.user_id == alice.id


def test_a_repo_half_that_comes_back_wakes_streams_again(own: Own) -> None:
    app = own("sqlite-split", env=NEVER)
    alice, bob = app.people(2)
    with subscribe(bob) as stream:
        alice.send(bob.id, "before")
        stream.until("message_sent", content("before"))
        app.processes[-1].kill()
        app.restart_repo()
        once_available(lambda: alice.send(bob.id, "after"))
        stream.until("message_sent", content("after"))
        alice.send(bob.id, "woken again")
        stream.until("message_sent", content("woken again"))


def test_a_postgres_that_comes_back_wakes_streams_again(own: Own, own_postgres: Postgres) -> None:
    app = own("postgres", url=own_postgres.create_database(), env=NEVER | TWO)
    alice, bob = app.people(2)
    one, other = (connect_to(app, worker) for worker in sorted(workers(app.processes[0])))
    with one, other, subscribe(bob, other) as stream:
        own_postgres.stop("immediate")
        eventually(own_postgres.starts)
        once_available(lambda: alice.begin_send(bob.id, one).result())
        stream.until("message_sent", seconds=30)
        alice.begin_send(bob.id, one).result()
        stream.until("message_sent")
