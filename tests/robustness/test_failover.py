"""PostgreSQL with a hot standby that takes over, and a server that becomes a standby: NOT_SERVING and UNAVAILABLE
within 5 s, and back by itself once there is a server that takes writes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from gochat.api.event.v1.event_pb2 import SubscribeRequest
from tests.conversations import conversation_of, group, history
from tests.harness import Deployment, Person, refused
from tests.health import NOT_SERVING, SERVING, health
from tests.postgres import Pair, running_postgres
from tests.processes import gochat
from tests.streams import Listener
from tests.waiting import eventually, once_available
from tests.webhooks.conftest import Hooked
from tests.webhooks.receiver import LOOPBACK, Received, receiving

WITHIN = 5.0  # seconds
PASSING_OVER = 10.0  # seconds: each attempt first waits for the host that hangs
SPLIT = pytest.mark.parametrize("split", [False, True], ids=["colocated", "split"])


@pytest.fixture
def pair() -> Iterator[Pair]:
    with running_postgres() as primary, Pair(primary) as made:
        yield made


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
def test_streams_read_their_state_again_where_something_may_be_lost(pair: Pair, tmp_path: Path, split: bool) -> None:
    with talking(tmp_path, pair.url, split) as (app, _):
        ann, ben = app.person(), app.person()
        ann.send(ben.id, "before")
        opened = Listener(app.channel, ben.metadata, SubscribeRequest())
        opened.ready()

        def lose() -> None:
            ann.send(ben.id, "lost")
            opened.until(lambda it: it.contents == ["lost"])

        pair.fail_over(losing=lose)
        beyond = opened.cursor
        for number in range(20):  # changes of now have the positions of what is lost
            once_available(lambda number=number: ann.send(ben.id, str(number)))  # type: ignore[misc]
        opened.until(lambda it: it.resync == "OTHER_DATABASE")
        later = Listener(app.channel, ben.metadata, SubscribeRequest(cursor=beyond))
        later.until(lambda it: it.resync == "OTHER_DATABASE")
        ann.send(ben.id, "after")
        for listener in (opened, later):
            listener.until(lambda it: it.contents[-1:] == ["after"])
        resumed = Listener(app.channel, ben.metadata, SubscribeRequest(cursor=later.cursor))
        assert resumed.ready().resumed


def test_webhooks_go_on_where_they_were(pair: Pair, tmp_path: Path) -> None:
    hooked = Hooked(Deployment(tmp_path, url=pair.url, env=LOOPBACK))
    failed_over = Event()

    def behave(received: Received) -> int:
        if received.content == "1":  # under way while the standby takes over
            failed_over.wait(8)
        return 204

    try:
        ann = hooked.app.person()
        room = group(ann)
        with receiving(behave) as receiver:
            hooked.add(receiver.url, room)
            for number in range(3):
                ann.send(room, str(number))
            eventually(lambda: "1" in receiver.contents)
            pair.fail_over()
            failed_over.set()
            for number in range(3, 6):
                once_available(lambda number=number: ann.send(room, str(number)))  # type: ignore[misc]
            eventually(lambda: "5" in receiver.contents, 60)
        once = {each.id: each.content for each in receiver.taken}
        assert list(once.values()) == [str(number) for number in range(6)]
        assert "goes on from now" not in hooked.app.logs()
    finally:
        hooked.app.kill()


@SPLIT
def test_a_primary_that_hangs_is_passed_over(pair: Pair, tmp_path: Path, split: bool) -> None:
    with talking(tmp_path, pair.url, split) as (app, go_on):
        eventually(pair.replayed)
        with pair.primary.frozen():
            eventually(lambda: health(app) == {NOT_SERVING}, WITHIN)
            pair.standby.promote()
            eventually(lambda: health(app) == {SERVING}, PASSING_OVER)
            go_on()
        messages = "SELECT count(*) FROM messages"
        written = pair.primary.ask(messages, pair.name)  # it is back, and takes writes
        for _ in range(2):
            person = app.person()
            for _ in range(10):
                person.send(app.create_user(), "to the new primary")
            app.kill()
            app.start()  # it has to find out by itself
        assert pair.primary.ask(messages, pair.name) == written
        assert pair.standby.ask(messages, pair.name) == written + 21
        assert f"and is not written to: stop 127.0.0.1:{pair.primary.port}" in app.logs()


@SPLIT
def test_a_server_that_becomes_a_standby(tmp_path: Path, split: bool) -> None:
    with running_postgres() as server, talking(tmp_path, server.create_database(), split) as (app, go_on):
        server.demote()
        must_notice(app)
        assert app.run("check").stdout.startswith("clean: 2 users"), "what is read is answered"
        server.promote()
        eventually(lambda: health(app) == {SERVING}, WITHIN)
        go_on()


def test_the_log_says_whether_a_failover_may_lose_commits(pair: Pair, tmp_path: Path) -> None:
    warning = "after a failover the last commits may be missing"
    with talking(tmp_path / "asynchronous", pair.url, split=False) as (app, _):
        assert app.logs().count(warning) == 1
    pair.synchronous()
    with talking(tmp_path / "synchronous", pair.url, split=False) as (app, _):
        assert warning not in app.logs()
    with talking(tmp_path / "one", pair.url_of(pair.primary), split=False) as (app, _):
        assert warning not in app.logs()


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
