"""Streams go on from their cursors wherever they come back to: a server that was killed, another worker or host."""

from contextlib import ExitStack
from pathlib import Path

from gochat.events.feeding import CHUNK
from tests.conftest import Own
from tests.conversations import group, seqs
from tests.events.test_signals import send_by, two_workers
from tests.harness import Deployment, Person
from tests.processes import Process
from tests.rpc.workers import TWO
from tests.streams import listening, received
from tests.waiting import next_millisecond

SECRET = {"GOCHAT_AUTH_SECRET": "x" * 32}
DEAF = {"GOCHAT_EVENTS_NOTIFY": "false", "GOCHAT_EVENTS_POLL": "60"}
"""Settings of a process that does not come to know in time what another one commits."""


def test_a_stream_goes_on_after_kill_9(own: Own, mode: str) -> None:
    """Killed while it delivers, or before: as soon as the send is answered. What starts again remembers nothing."""
    app = own(mode)
    ann, ben = app.people(2)
    room = group(ann, ben)
    contents: list[str] = []
    cursor = ""
    for number in range(4):
        with listening(app, ben.metadata, cursor=cursor) as listener:
            ann.send(room, f"delivered {number}")
            listener.until(lambda each, number=number: f"delivered {number}" in each.contents)
            ann.send(room, f"committed {number}")
            app.kill()
            listener.ended()
        contents += listener.contents
        cursor = listener.cursor
        app.start()
        ann, ben = (Person(app, each.id, each.username, each.access_token, "") for each in (ann, ben))
    with listening(app, ben.metadata, cursor=cursor) as listener:
        ann.send(room, "last")
        contents += listener.until(lambda each: "last" in each.contents).contents
    assert contents == [*(f"{what} {number}" for number in range(4) for what in ("delivered", "committed")), "last"]


def test_what_was_committed_and_not_delivered_when_it_was_killed_comes_after_that(own: Own) -> None:
    """Two hosts on one database: one commits, the other has the stream and has not read that when it is killed."""
    commits = own("postgres", env=SECRET)
    delivers = own(url=commits.url, env=SECRET | DEAF)
    ann, ben = commits.people(2)
    room = group(ann, ben)
    with listening(delivers, ben.metadata) as listener:
        Person(delivers, ann.id, ann.username, ann.access_token, "").send(room, "by itself")
        listener.until(received(1))
        for number in range(3):
            ann.send(room, f"{number}")
        delivers.kill()
        listener.ended()
        assert listener.contents == ["by itself"]
    delivers.start()
    with listening(delivers, ben.metadata, cursor=listener.cursor) as after:
        after.until(received(3))
        assert after.contents == ["0", "1", "2"]


def test_a_client_that_is_always_cut_off_gets_on_with_its_backlog(own: Own, mode: str) -> None:
    app = own(mode)
    ann, ben = app.people(2)
    room = group(ann, ben)
    with listening(app, ben.metadata) as listener:
        cursor = listener.until(lambda each: each.responses).cursor
    for number in range(3 * CHUNK):
        ann.send(room, f"{number}")
    contents = list[str]()
    for _ in range(3):
        with listening(app, ben.metadata, cursor=cursor) as listener:
            batch = next(each for each in listener.until(received(1)).responses if each.HasField("batch"))
            contents += [event.message_sent.message.content for event in batch.batch.events]
            cursor = batch.cursor
    assert contents == [f"{number}" for number in range(3 * CHUNK)]


def test_a_stream_goes_on_at_another_worker(own: Own) -> None:
    app = own("postgres", env=TWO)
    ann, ben = app.people(2)
    cursor, numbers = "", list[int]()
    with two_workers(app) as workers:
        for number in range(6):
            here, there = workers[number % 2], workers[1 - number % 2]
            with listening(app, ben.metadata, channel=here, cursor=cursor) as listener:
                assert listener.ready().resumed == bool(number)
                send_by(there, ann, ben.id)
                listener.until(received(2 if number else 1))
                numbers += seqs(each.message for each in listener.of_kind("message_sent"))
                cursor = listener.cursor
            send_by(here, ann, ben.id)
    assert numbers == list(range(1, 12))


def test_a_stream_goes_on_at_another_host(own: Own, tmp_path: Path) -> None:
    """Each of two hosts of the logic half has a host of the repo half of its own."""
    app = own("postgres-split")
    arguments = ("serve", "--data", str(app.data), "--listen", "127.0.0.1:0", "--target")
    ann, ben = app.people(2)
    room, cursor, contents = group(ann, ben), "", list[str]()
    with ExitStack() as started:

        def start(half: str, repo_address: str = "") -> str:
            env = app.env | ({"GOCHAT_REPO_ADDRESS": repo_address} if repo_address else {})
            log = tmp_path / f"another-{half}.log"
            return started.enter_context(Process(*arguments, half, env=env, log=log)).address

        hosts = app.address, start("logic", start("repo"))
        for number in range(6):
            with listening(app, ben.metadata, address=hosts[number % 2], cursor=cursor) as listener:
                assert listener.ready().resumed == bool(number)
                ann.send(room, f"live {number}")
                contents += listener.until(lambda each, live=f"live {number}": live in each.contents).contents
                cursor = listener.cursor
            ann.send(room, f"between {number}")
    assert contents == [f"{what} {number}" for number in range(6) for what in ("live", "between")][:-1]


def test_what_was_edited_after_one_had_left_is_not_shown(app: Deployment) -> None:
    ann, ben = app.people(2)
    room = group(ann, ben)
    with listening(app, ben.metadata) as listener:
        cursor = listener.cursor
    edited = ann.send(room, "before").message_id
    ann.send(room, "as it was")
    ann.RemoveGroupMember(group_id=room, user_id=ben.id)
    next_millisecond()
    ann.EditMessage(message_id=edited, content="after")
    with listening(app, ben.metadata, cursor=cursor) as listener:
        listener.until(lambda each: "member_left" in each.kinds)
        assert listener.contents == ["as it was"]
