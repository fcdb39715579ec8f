"""Outgoing messages: each once, in order, whatever breaks meanwhile."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gochat.client import ChatError
from tests.client.clients import TIMEOUT, client_of, cutting
from tests.conftest import Own
from tests.conversations import contents, conversation_of, group, history, single
from tests.harness import PASSWORD, Deployment, fresh
from tests.processes import free_address
from tests.waiting import eventually, polled, started

CUTS = 200


@pytest.fixture(scope="module")
def server(own_of_module: Own) -> Deployment:
    return own_of_module()


def test_200_disconnects_in_the_middle_of_sends(server: Deployment) -> None:
    ann, ben, cem = server.people(3, PASSWORD)
    rooms = [group(ann, ben), group(ann, cem), single(ann, ben)]
    with cutting(server.address, seed=7) as between, client_of(server, ann, address=between.address) as client:
        sent = []
        while between.cuts < CUTS:
            sent += [client.send(f"{len(sent)} {number}", conversation_id=room) for number, room in enumerate(rooms)]
            if len(client.outgoing()) > 30:
                sent[-30].result(TIMEOUT)
        between.heal()
        assert client.flush(TIMEOUT)
        answered = [outgoing.result(0) for outgoing in sent]
    for number, room in enumerate(rooms):
        stored = history(ann, room)
        assert [message.content for message in stored] == [each.request.content for each in sent[number::3]]
        assert [message.message_id for message in stored] == answered[number::3]


def test_a_server_that_is_killed_and_restarted_in_the_middle_of_sends(own: Own) -> None:
    app = own(listen=free_address())
    ann, ben = app.people(2, PASSWORD)
    room = group(ann, ben)
    with client_of(app, ann) as client:
        over = threading.Event()

        def send() -> list[str]:
            asked = []
            while not over.is_set():
                asked.append(f"message {len(asked)}")
                client.send(asked[-1], conversation_id=room)
                polled(lambda: len(client.outgoing()) < 100, seconds=60)
            return asked

        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(send)
            for _ in range(2):
                eventually(lambda: started(app.processes[0], "SendMessages") > 5)
                app.kill()
                app.start()
            eventually(lambda: started(app.processes[0], "SendMessages") > 5)
            over.set()
            asked = sending.result(TIMEOUT)
        assert client.flush(TIMEOUT)
    ann = app.signed_in(ann.id, ann.username)
    assert [message.content for message in history(ann, room)] == asked


QUEUE_AND_DIE = """
import os, sys
from gochat.client import Client
address, username, password, store, room = sys.argv[1:]
client = Client(address, username=username, password=password, store=store)
for number in range(20):
    client.send(f"{number}", conversation_id=room)
os._exit(9)
"""


def test_what_a_program_left_behind_is_sent_by_the_next(server: Deployment, tmp_path: Path) -> None:
    ann, ben = server.people(2, PASSWORD)
    room, store = group(ann, ben), tmp_path / "chat.db"
    arguments = (sys.executable, "-c", QUEUE_AND_DIE, free_address(), ann.username, PASSWORD, str(store), room)
    run = subprocess.run(arguments, timeout=60, capture_output=True, text=True)
    assert run.returncode == 9, run.stderr
    with client_of(server, ann, store=store) as client:
        handles = client.outgoing()
        assert client.send("the last", conversation_id=room).result(TIMEOUT)
        assert client.outgoing() == []
        assert {handle.status for handle in handles} <= {"sent"}
    assert contents(ann, room) == ["the last", *map(str, reversed(range(20)))]


def test_by_user_and_by_conversation_are_one_order(server: Deployment) -> None:
    ann, ben = server.people(2, PASSWORD)
    with client_of(server, ann) as client:
        first = client.send("0", to=ben.id).result(TIMEOUT)
        for number in range(1, 9):
            where = {"to": ben.id} if number % 2 else {"conversation_id": conversation_of(first)}
            client.send(str(number), **where)
    assert contents(ben, conversation_of(first)) == [str(number) for number in reversed(range(9))]


def test_one_that_breaks_a_rule_fails_alone_and_may_be_tried_again(server: Deployment, tmp_path: Path) -> None:
    ann, ben = server.people(2, PASSWORD)
    room, store = group(ben), tmp_path / "chat.db"
    with client_of(server, ann, store=store) as client:
        client.send("before", to=ben.id)
        stranger = client.send("let me in", conversation_id=room, metadata={"color": "red"})
        empty = client.send("", to=ben.id)
        after = client.send("after", to=ben.id)
        assert after.result(TIMEOUT)
        with pytest.raises(ChatError) as refused:
            empty.result(TIMEOUT)
        assert (refused.value.code, refused.value.fields) == ("INVALID_ARGUMENT", {"content": "must not be empty"})
        with pytest.raises(ChatError, match="NOT_A_PARTICIPANT"):
            stranger.result(0)
        assert [each.status for each in (stranger, empty, after)] == ["failed", "failed", "sent"]
        client.discard(empty)
    with client_of(server, ann, store=store) as client:
        (failed,) = client.outgoing()
        assert (failed.status, failed.request.content) == ("failed", "let me in")
        assert failed.error is not None
        assert (failed.error.code, failed.error.reason) == ("PERMISSION_DENIED", "NOT_A_PARTICIPANT")
        ben.AddGroupMember(group_id=room, user_ids=[ann.id])
        assert client.retry(failed).result(TIMEOUT)
        assert client.outgoing() == []
    (message,) = history(ben, room)
    assert (message.content, message.metadata["color"]) == ("let me in", "red")


def test_a_key_of_ones_own_counts_once(server: Deployment) -> None:
    ann, ben = server.people(2, PASSWORD)
    with client_of(server, ann) as client:
        first, again = (client.send("once", to=ben.id, client_msg_id="k").result(TIMEOUT) for _ in range(2))
        assert first == again
        with pytest.raises(ChatError, match="CLIENT_MSG_ID_REUSED"):
            client.send("other", to=ben.id, client_msg_id="k").result(TIMEOUT)


def test_a_rate_limit_delays_and_loses_nothing(own: Own) -> None:
    app = own(env={"GOCHAT_LIMITS_SENDS_PER_SECOND": "5"})
    ann, ben = app.people(2, PASSWORD)
    room = group(ann, ben)
    with client_of(app, ann) as client:
        sent = [client.send(str(number), conversation_id=room) for number in range(40)]
        assert client.flush(TIMEOUT)
        assert {each.status for each in sent} == {"sent"}
    assert [message.content for message in history(ann, room)] == [str(number) for number in range(40)]


def test_a_queue_without_a_server_says_why_and_survives_close(server: Deployment, tmp_path: Path) -> None:
    ann, ben = server.people(2, PASSWORD)
    store = tmp_path / "chat.db"
    client = client_of(server, ann, address=free_address(), store=store)
    waiting = client.send("later", to=ben.id)
    eventually(lambda: waiting.error)
    assert waiting.status == "queued"
    assert waiting.error is not None
    assert waiting.error.code == "UNAVAILABLE"
    assert not client.flush(0.1)
    with pytest.raises(TimeoutError):
        waiting.result(0.1)
    client.close(timeout=0.1)
    with pytest.raises(ChatError, match="CLIENT_CLOSED"):
        waiting.result(0)
    with pytest.raises(ChatError, match="CLIENT_CLOSED"):
        client.send("too late", to=ben.id)
    with client_of(server, ann, store=store) as again:
        assert again.flush(TIMEOUT)
    ((info),) = ben.GetConversations().conversations
    assert info.last_message.content == "later"


def test_a_wrong_password_ends_the_waiting(server: Deployment) -> None:
    ann, ben = server.people(2, PASSWORD)
    with (
        client_of(server, ann, password=fresh("wrong")) as client,
        pytest.raises(ChatError, match="BAD_CREDENTIALS"),
    ):
        client.send("never", to=ben.id).result(TIMEOUT)
