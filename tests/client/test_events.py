"""events(): each message once, in order, whatever breaks meanwhile."""

import sqlite3
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import repeat
from pathlib import Path

import pytest

from gochat.client import ChatError, events
from tests.client.clients import TIMEOUT, Program, client_of, cutting, program
from tests.conftest import Own
from tests.conversations import conversation_of, group, seq_of, single
from tests.harness import PASSWORD, Deployment, Person, as_service
from tests.processes import free_address, frozen
from tests.waiting import eventually, started

CUTS = 100


@pytest.fixture(scope="module")
def server(own_of_module: Own) -> Deployment:
    return own_of_module()


@contextmanager
def sending(person: Person, *rooms: str, interval: float = 0.005) -> Iterator[dict[str, list[int]]]:
    """Meanwhile they send into these rooms, by turns. Yields the numbers of what is sent, by room."""
    over, sent = threading.Event(), defaultdict[str, list[int]](list)

    def send() -> None:
        while not over.wait(interval):
            for room in rooms:
                sent[room].append(seq_of(person.send(room, "x" * 200)))

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(send)
        try:
            yield sent
        finally:
            over.set()
            running.result(TIMEOUT)


def came(running: Program) -> dict[str, list[int]]:
    found = defaultdict[str, list[int]](list)
    for message in running.messages:
        found[message.conversation_id].append(seq_of(message))
    return found


def test_a_stream_that_is_cut_at_random_bytes(server: Deployment) -> None:
    ann, ben = server.people(2, PASSWORD)
    rooms = group(ann, ben), single(ann, ben)
    with (
        cutting(server.address, seed=3) as between,
        client_of(server, ben, address=between.address) as client,
        program(client) as running,
    ):
        with sending(ann, *rooms) as sent:
            eventually(lambda: between.cuts >= CUTS, seconds=60)
        between.heal()
        running.until(lambda each: came(each) == sent)


def test_a_server_that_is_killed_and_restarted(own: Own) -> None:
    app = own(listen=free_address())
    ann, ben = app.people(2, PASSWORD)
    sent = []
    with client_of(app, ben) as client, program(client) as running:
        room = group(ann, ben)
        for _ in range(2):
            sent += [seq_of(ann.send(room)) for _ in range(30)]
            app.kill()
            app.start()
            ann = app.signed_in(ann.id, ann.username)
            sent.append(seq_of(ann.send(room)))
        running.until(lambda each: each.seqs == sent)
        others = [event.WhichOneof("event") for event in running.events if not event.HasField("message_sent")]
        assert others == ["conversation_updated"], "what came before the last cursor does not come again"


def test_a_server_that_says_nothing_is_left(server: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "SILENCE", 0.02)  # of 25 seconds
    ann, ben = server.people(2, PASSWORD)
    room, (process,) = group(ann, ben), server.processes
    with client_of(server, ben) as client, program(client) as running:
        ann.send(room, "before")
        running.until(lambda each: each.contents == ["before"])
        before, stream = started(process, "Subscribe"), running.iterator._watchdog._call
        assert stream
        with frozen(process.pid):
            eventually(lambda: running.iterator._watchdog._call is not stream)
        ann.send(room, "after")
        running.until(lambda each: each.contents == ["before", "after"])
        assert started(process, "Subscribe") > before


def test_a_call_that_is_answered_ends_the_wait(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "full_jitter", lambda *_: repeat(1000.0))
    app = own(listen=free_address())
    ann = app.person(password=PASSWORD)
    with client_of(app, ann) as client, program(client) as running:
        eventually(lambda: running.iterator.is_connected)
        app.kill()
        eventually(lambda: not running.iterator.is_connected)
        app.start()
        room = app.signed_in(ann.id, ann.username).CreateGroup(name="x").group_id
        client.send("hello", conversation_id=room).result(TIMEOUT)
        running.until(lambda each: each.contents == ["hello"])


def test_what_is_recalled_or_deleted_is_not_unread(server: Deployment, tmp_path: Path) -> None:
    """While one looks, and while one is away."""
    ann, ben = server.people(2, PASSWORD)
    repo, store = as_service(server).repo, tmp_path / "chat.db"

    def recall(*message_ids: str) -> None:
        for message_id in message_ids:
            repo.UpdateMessageStatus(message_id=message_id, status=4, user_id=ann.id)

    def delete(*message_ids: str) -> None:
        for message_id in message_ids:
            repo.DeleteMessage(message_id=message_id, user_id=ann.id)

    def check(unread: int, newest: str) -> None:
        for (state,) in (client.stored_conversations(), client.state()):
            assert (state.info.unread_count, state.info.last_message.content) == (unread, newest)

    with client_of(server, ben, store=store) as client, program(client) as running:
        sent = [ann.send(ben.id, str(number)).message_id for number in range(6)]
        ben.MarkMessageRead(conversation_id=sent[0].rpartition("-")[0], message_id=sent[0])
        running.until(lambda each: [event for event in each.events if event.HasField("read")])
        recall(sent[1], sent[2])
        delete(sent[0], sent[2], sent[3], sent[5])
        running.until(lambda each: sum(event.HasField("message_deleted") for event in each.events) == 4)
        check(1, "4")
    sent = [ann.send(ben.id, str(number)).message_id for number in range(10, 14)]
    recall(sent[0])
    delete(sent[1])
    with client_of(server, ben, store=store) as client, program(client) as running:
        running.until(lambda each: each.contents[-1:] == ["13"])
        ann.send(ben.id, "14")
        running.until(lambda each: each.contents[-1:] == ["14"])
        check(4, "14")


def test_it_begins_when_it_is_called(server: Deployment) -> None:
    ann, ben = server.people(2, PASSWORD)
    ann.send(ben.id, "before")
    with client_of(server, ben) as client:
        iterator = client.events()
        ann.send(ben.id, "after")
        assert next(iterator).message_sent.message.content == "after"


def test_who_leaves_the_loop_goes_on_after_it(server: Deployment) -> None:
    ann, ben = server.people(2, PASSWORD)
    with client_of(server, ben) as client:
        client.events()
        for content in ("one", "two", "three"):
            ann.send(ben.id, content)
        seen = []
        while len(seen) < 3:
            for event in client.events():
                if event.HasField("message_sent"):
                    seen.append(event.message_sent.message.content)
                    break
        assert seen == ["one", "two", "three"]


READ_AND_DIE = """
import os, sys
from gochat.client import Client
address, username, password, store, number = sys.argv[1:]
for event in Client(address, username=username, password=password, store=store).events():
    if event.HasField("message_sent"):
        print(event.message_sent.message.content, flush=True)
        number = int(number) - 1
        if not number:
            os.kill(os.getpid(), 9)
"""


def test_a_program_that_is_killed_goes_on_where_it_was(server: Deployment, tmp_path: Path) -> None:
    ann, ben = server.people(2, PASSWORD)
    room, store = group(ann, ben), tmp_path / "chat.db"
    with client_of(server, ben, store=store) as client:
        client.events()
    printed = []
    for number in range(12):
        ann.send(room, str(number))
    for number in (3, 1, 4):
        arguments = (
            sys.executable,
            "-c",
            READ_AND_DIE,
            server.address,
            ben.username,
            PASSWORD,
            str(store),
            str(number),
        )
        run = subprocess.run(arguments, timeout=60, capture_output=True, text=True)
        assert run.returncode == -9, run.stderr
        printed.append(run.stdout.split())
    assert printed == [["0", "1", "2"], ["2"], ["2", "3", "4", "5"]], "what it was killed over comes again"


def test_a_session_that_is_revoked_elsewhere(server: Deployment) -> None:
    ann = server.person(password=PASSWORD)
    with client_of(server, ann) as client, client_of(server, ann) as phone, program(phone) as running:
        (of_phone,) = [each for each in client.sessions() if each.device_id == phone._device_id]
        client.revoke_session(of_phone.session_id)
        error = running.ended()
        assert error is not None
        assert (error.code, error.reason) == ("UNAUTHENTICATED", "SESSION_ENDED")
        with pytest.raises(ChatError, match="SESSION_ENDED"):
            phone.profile()
        with pytest.raises(ChatError, match="SESSION_ENDED"):
            phone.send("x", to=ann.id).result(TIMEOUT)
        assert client.profile().user_id == ann.id


def test_who_changes_their_own_password_goes_on(server: Deployment) -> None:
    ann, ben = server.people(2, PASSWORD)
    with (
        client_of(server, ben) as client,
        client_of(server, ben) as other,
        program(client) as running,
        program(other) as ended,
    ):
        client.change_password(PASSWORD, "another horse")
        assert ended.ended()
        ann.send(ben.id, "still there?")
        running.until(lambda each: each.contents == ["still there?"])
        assert client.profile().user_id == ben.id
    with client_of(server, ben, password="another horse") as again:
        again.sign_in()


def test_more_streams_than_a_user_has(server: Deployment) -> None:
    ann = server.person(password=PASSWORD)
    with client_of(server, ann) as client, program(client) as running:
        others = [client_of(server, ann) for _ in range(10)]
        programs = [Program(each) for each in others]
        for each in programs:
            each.start()
        error = running.ended()
        assert error is not None
        assert (error.code, error.reason) == ("CANCELLED", "STREAM_REPLACED")
        for other in others:
            other.close()


def test_typing_and_presence(server: Deployment) -> None:
    ann, ben = server.people(2, PASSWORD)
    room = conversation_of(ann.send(ben.id))
    with (
        client_of(server, ann) as anns,
        client_of(server, ben) as bens,
        program(bens, typing=True, presence=[ann.id]) as running,
    ):
        running.until(lambda each: [e.presence.online for e in each.events if e.HasField("presence")] == [False])
        anns.events()
        with program(anns):
            running.until(lambda each: [e.presence.online for e in each.events if e.HasField("presence")][-1])
            anns.set_typing(room)
            running.until(lambda each: [e.typing.user_id for e in each.events if e.HasField("typing")] == [ann.id])


def test_a_service_gets_everything_or_acts_for_a_user(server: Deployment) -> None:
    ann, ben = server.people(2, PASSWORD)
    token = server.token("service")
    service = {"token_provider": lambda: token, "username": "", "password": ""}
    with client_of(server, ann, **service) as everything, program(everything) as running:
        eventually(lambda: everything._store.get("cursor"))
        with client_of(server, ann, user_id=ann.id, **service) as acting:
            sent = acting.send("for ann", to=ben.id).result(TIMEOUT)
            acting.recall(sent)
        with client_of(server, ben) as client, pytest.raises(ChatError, match="PERMISSION_DENIED NOT_THE_SENDER"):
            client.recall(sent)
        assert everything.user_id == ""
        running.until(lambda each: [m.from_user_id for m in each.messages] == [ann.id])
        running.until(lambda each: [e.message_updated.message.status for e in each.events][-1:] == [4])


def test_after_a_long_absence_each_message_comes_once(own: Own, tmp_path: Path) -> None:
    """TOO_OLD: of the log nothing is left. Meanwhile there are new conversations too."""
    app = own(listen=free_address())
    ann, ben, cem = app.people(3, PASSWORD)
    old, quiet, store = group(ann, ben), group(ann, ben), tmp_path / "chat.db"
    ann.send(old, "history")
    with client_of(app, ben, store=store) as client, program(client) as running:
        ann.send(old, "one")
        ann.send(quiet, "one")
        running.until(lambda each: each.contents == ["one", "one"])
    for number in range(250):
        ann.send(old, str(number))
    new = group(ann, cem, name="new")
    ann.send(new, "before he came")
    ann.AddGroupMember(group_id=new, user_ids=[ben.id])
    ann.send(new, "after he came")
    cem.send(ben.id, "hello")
    app.stop()
    with closing(sqlite3.connect(app.data / "gochat.db")) as database, database:
        database.execute("DELETE FROM changes WHERE position < (SELECT MAX(position) FROM changes)")
    app.start()
    ann = app.signed_in(ann.id, ann.username)
    with client_of(app, ben, store=store) as client, program(client) as running:
        ann.send(quiet, "two")
        running.until(lambda each: {"two", "hello", "after he came", "249"} <= {*each.contents})
        of = {
            room: [message.content for message in running.messages if message.conversation_id == room]
            for room in (old, quiet, new)
        }
        assert of[old] == [str(number) for number in range(250)]
        assert of[quiet] == ["two"]
        assert of[new][-1] == "after he came"
        assert len(set(running.contents)) == len(running.contents)
        shown = {event.conversation_id for event in running.events if event.HasField("conversation_updated")}
        assert {old, quiet, new} <= shown
        assert client.stored_messages(old, limit=1)[0].message.content == "249"


def test_another_database_each_message_comes_once(own: Own, tmp_path: Path) -> None:
    """OTHER_DATABASE: a backup is restored, in which messages that came are missing. New ones have their ids."""
    app = own(listen=free_address())
    ann, ben = app.people(2, PASSWORD)
    room, quiet, store = group(ann, ben), group(ann, ben), tmp_path / "chat.db"
    with client_of(app, ben, store=store) as client, program(client) as running:
        for number in range(3):
            ann.send(room, f"kept {number}")
        ann.send(quiet, "kept")
        running.until(lambda each: len(each.contents) == 4)
        app.run("backup", str(tmp_path / "backup"))
        for number in range(4):
            ann.send(room, f"lost {number}")
        lost = group(ann, ben)
        ann.send(lost, "lost group")
        running.until(lambda each: len(each.contents) == 9)
    app.stop()
    for file in app.data.glob("gochat.db*"):
        file.unlink()
    app.run("restore", str(tmp_path / "backup"))
    app.start()
    ann = app.signed_in(ann.id, ann.username)
    for number in range(3):
        ann.send(room, f"new {number}")
    with client_of(app, ben, store=store) as client, program(client) as running:
        running.until(lambda each: each.contents == ["new 0", "new 1", "new 2"])
        ann.send(quiet, "live")
        running.until(lambda each: each.contents == ["new 0", "new 1", "new 2", "live"])
        stored = [detail.message.content for detail in client.stored_messages(room)]
        assert stored == ["new 2", "new 1", "new 0", "kept 2", "kept 1", "kept 0"]
        assert {state.info.conversation_id for state in client.stored_conversations()} == {room, quiet}
