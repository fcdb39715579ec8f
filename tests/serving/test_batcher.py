"""Calls that are run as a batch: which share one, and what delays no other."""

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import grpc
import psycopg2
import pytest

from gochat.api.logic.v1 import logic_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.context import SERVICE, Call, current
from gochat.errors import ChatError, invalid
from gochat.internal.store.v1 import store_pb2
from gochat.serving.batcher import MAX_BATCH, MAX_WAIT, THREADS, Batcher
from tests.conftest import Own
from tests.conversations import seq_of, seqs
from tests.harness import Deployment, new_connection
from tests.postgres import Postgres
from tests.waiting import eventually

LARGEST = {"content": "é" * 8192, "metadata": {f"k{number}": "x" * 120 for number in range(32)}}


@dataclass(eq=False)
class Asked:
    """As much of a ServerCall as a batcher asks for."""

    request: str
    call: Call
    done: Callable[..., None]
    response: Any = None


class Batches:
    """Calls that go into a batcher, and what becomes of each: its response, its error, or "unbatched"."""

    def __init__(self, run: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
        self.became: dict[str, Any] = {}
        self.batcher = Batcher(lambda calls: run([request for _, request in calls]), self._unbatched)

    def _unbatched(self, call: Any) -> None:
        self.became[call.request] = "unbatched"

    def ask(self, request: str, seconds: float = 30) -> Any:
        def done(error: Exception | None = None) -> None:
            self.became[request] = error or call.response

        call: Any = Asked(request, Call(SERVICE, "r", time.monotonic() + seconds), done)
        self.batcher.execute(call)
        return call

    def done(self, number: int) -> dict[str, Any]:
        eventually(lambda: len(self.became) == number, seconds=10)
        return self.became


def test_calls_that_arrive_during_a_batch_form_the_next() -> None:
    gate, batches = threading.Event(), list[list[str]]()

    def together(requests: Sequence[str]) -> list[str]:
        batches.append(list(requests))
        if requests[0] == "first":
            gate.wait(MAX_WAIT / 2)
        return [request.upper() for request in requests]

    asked = Batches(together)
    asked.ask("first")
    eventually(lambda: bool(batches))
    for number in range(MAX_BATCH + 3):
        asked.ask(f"n{number}")
    gate.set()
    assert asked.done(MAX_BATCH + 4) == {"first": "FIRST"} | {
        f"n{number}": f"N{number}" for number in range(MAX_BATCH + 3)
    }
    assert [len(batch) for batch in batches] == [1, MAX_BATCH, 3]


def test_each_call_of_a_batch_has_its_own_outcome() -> None:
    outcomes = {"ok": "sent", "bad": invalid("content", "must be"), "odd": None}
    asked = Batches(lambda requests: [outcomes[request] for request in requests])
    for request in outcomes:
        asked.ask(request)
    asked.ask("late", seconds=-1)
    became = asked.done(4)
    assert (became["ok"], became["bad"], became["odd"]) == ("sent", outcomes["bad"], "unbatched")
    assert isinstance(became["late"], ChatError)
    assert became["late"].reason == "DEADLINE_EXCEEDED"


def test_a_failed_batch_fails_all_its_calls_and_the_next_goes_on() -> None:
    gate = threading.Event()

    def together(requests: Sequence[str]) -> list[str]:
        if requests == ["gate"]:
            gate.wait(5)
        if "broken" in requests:
            raise OSError("broken")
        return ["sent"] * len(requests)

    asked = Batches(together)
    asked.ask("gate")
    asked.ask("broken")
    asked.ask("with it")
    gate.set()
    became = asked.done(3)
    assert isinstance(became["broken"], OSError)
    asked.ask("next")
    assert asked.done(4)["next"] == "sent"


def test_a_finished_call_is_released_before_the_next() -> None:
    asked = Batches(lambda requests: ["sent"] * len(requests))
    call: Any = Asked("r", Call(SERVICE, "r", time.monotonic() + 30), lambda *_: None)
    kept = weakref.ref(call)
    asked.batcher.execute(call)
    del call
    eventually(lambda: kept() is None, 10)


def test_a_call_that_cannot_be_answered_keeps_no_answer_from_others() -> None:
    asked, gate = Batches(lambda requests: [gate.wait(5) and "sent"] * len(requests)), threading.Event()
    asked.ask("gate")

    def broken(_: Exception | None = None) -> None:
        raise OSError("gone")

    call: Any = Asked("broken", Call(SERVICE, "r", time.monotonic() + 30), broken)
    asked.batcher.execute(call)
    asked.ask("next")
    gate.set()
    assert asked.done(2)["next"] == "sent"


def test_a_batch_has_the_latest_deadline_of_its_calls() -> None:
    gate, until = threading.Event(), list[float]()

    def together(requests: Sequence[str]) -> list[str]:
        if requests == ["gate"]:
            gate.wait(MAX_WAIT / 2)
        else:
            until.append(current().remaining())
        return ["sent"] * len(requests)

    asked = Batches(together)
    asked.ask("gate")
    eventually(lambda: not asked.batcher.waiting)
    for seconds in (3, 20, 5):
        asked.ask(f"{seconds}", seconds)
    gate.set()
    asked.done(4)
    assert max(until) == pytest.approx(20, abs=2)


def test_a_hanging_batch_delays_no_other() -> None:
    gate, hanging = threading.Event(), list[str]()

    def together(requests: Sequence[str]) -> list[str]:
        if requests[0].startswith("hang"):
            hanging.extend(requests)
            gate.wait(30)
        return ["sent"] * len(requests)

    asked = Batches(together)
    for number in range(THREADS - 1):
        asked.ask(f"hang {number}")
        eventually(lambda number=number: len(hanging) == number + 1)
    asked.ask("next")
    assert asked.done(1) == {"next": "sent"}
    asked.ask("hang")
    eventually(lambda: len(hanging) == THREADS)
    asked.ask("last")
    assert asked.done(2)["last"] == "unbatched"
    gate.set()
    assert asked.done(2 + THREADS)["hang"] == "sent"


def test_a_locked_conversation_delays_its_own_senders_alone(own: Own) -> None:
    app = own("postgres")
    ann, ben, cem = app.people(3)
    for other in (ben, cem):
        ann.send(other.id)
    with new_connection(app.address) as channel, closing(psycopg2.connect(app.url)) as lock:
        lock.cursor().execute(
            "SELECT 1 FROM conversations JOIN members USING (conversation_id) WHERE user_id = %s FOR UPDATE", (ben.id,)
        )
        waiting = [ann.begin_send(ben.id, channel) for _ in range(10)]
        for _ in range(20):
            ann.send(cem.id)
        assert not any(one.done() for one in waiting)
        lock.rollback()
        assert sorted(seqs(call.result() for call in waiting)) == list(range(2, 12))


@pytest.fixture(scope="module")
def server(own_of_module: Own) -> Deployment:
    return own_of_module("postgres")


@pytest.mark.parametrize(
    ("size", "locked_member", "is_sent"), [(2, 0, False), (2, 1, False), (10, 9, False), (11, 0, False), (11, 9, True)]
)
def test_a_batch_waits_for_no_locked_member(server: Deployment, size: int, locked_member: int, is_sent: bool) -> None:
    """Of a conversation of this size; the first member sends."""
    ann, cem = server.people(2)
    everyone = [ann.id, *(server.create_user() for _ in range(size - 1))]
    if size == 2:
        where = {"to_user_id": everyone[1]}
        ann.send(everyone[1])
    else:
        where = {"conversation_id": ann.CreateGroup(name="g", member_ids=everyone[1:]).group_id}
    ann.send(cem.id)
    request = store_pb2.StoreMessagesRequest(
        skip_locked=True,
        messages=[
            repo_pb2.CreateMessageRequest(from_user_id=ann.id, content="x", **fields)
            for fields in (where, {"to_user_id": cem.id}, where)
        ],
    )
    with closing(psycopg2.connect(server.url)) as outside:
        outside.cursor().execute("SELECT 1 FROM members WHERE user_id = %s FOR UPDATE", (everyone[locked_member],))
        if locked_member == 0:  # in the other conversation it is to be free
            outside.rollback()
            outside.cursor().execute(
                "SELECT 1 FROM members WHERE user_id = %s AND conversation_id NOT IN"
                " (SELECT conversation_id FROM members WHERE user_id = %s) FOR UPDATE",
                (ann.id, cem.id),
            )
        results = server.store.StoreMessages(request, metadata=server.service, timeout=5).results
        assert [bool(result.message_id) for result in results] == [is_sent, True, is_sent]
        outside.rollback()
    results = server.store.StoreMessages(request, metadata=server.service, timeout=5).results
    assert all(result.message_id for result in results)


def test_content_that_the_database_refuses_fails_alone(own: Own, postgres: Postgres) -> None:
    url = postgres.create_database()
    app = own(url=url)
    ann, ben = app.people(2)
    ann.send(ben.id)
    with closing(psycopg2.connect(url)) as operator, operator, operator.cursor() as cursor:
        cursor.execute("ALTER TABLE messages ADD CHECK (content <> 'refused')")
    texts = ["plain", "plain", "refused", "plain"] * 20
    requests = [logic_pb2.SendMessageRequest(to_user_id=ben.id, content=text) for text in texts]
    calls = [app.logic.SendMessage.future(request, metadata=ann.metadata, timeout=30) for request in requests]
    assert [call.code() is grpc.StatusCode.OK for call in calls] == [text == "plain" for text in texts]
    sent = [seq_of(call.result()) for call, text in zip(calls, texts, strict=True) if text == "plain"]
    assert sorted(sent) == list(range(2, 62))


def test_many_of_the_largest_messages_are_sent_together(own: Own, mode: str) -> None:
    app = own(mode)
    ann, ben = app.people(2)
    requests = [logic_pb2.SendMessageRequest(to_user_id=ben.id, **LARGEST) for _ in range(4 * MAX_BATCH)]
    ann.send(ben.id)
    calls = [app.logic.SendMessage.future(request, metadata=ann.metadata, timeout=30) for request in requests]
    assert sorted(seq_of(call.result()) for call in calls) == list(range(2, 4 * MAX_BATCH + 2))


def test_valid_and_invalid_sends_together_get_the_outcomes_of_each_alone(own: Own, mode: str) -> None:
    app = own(mode)
    ann, ben, cem = app.people(3)
    room = ann.CreateGroup(name="g", member_ids=[ben.id]).group_id

    def send(number: int) -> Any:
        sender, fields = [
            (ann, {"conversation_id": room}),
            (cem, {"conversation_id": room}),
            (ann, {"conversation_id": "nowhere"}),
            (ann, {"to_user_id": ann.id}),
            (ben, {"conversation_id": room, "metadata": {"client_msg_id": f"of {number // 16}"}}),
            (ben, {"conversation_id": room, "from_user_id": ann.id}),
            (cem, {"to_user_id": ben.id}),
            (ann, {"conversation_id": room, "content": ""}),
        ][number % 8]
        request = logic_pb2.SendMessageRequest(**{"content": "hi"} | fields)
        try:
            return app.logic.SendMessage(request, metadata=sender.metadata, timeout=30).message_id
        except grpc.RpcError as error:
            return error.code().name

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(send, range(160)))
    by_kind = [answers[kind::8] for kind in range(8)]
    for kind, code in {1: "PERMISSION_DENIED", 2: "NOT_FOUND", 3: "INVALID_ARGUMENT"}.items():
        assert set(by_kind[kind]) == {code}
    assert set(by_kind[5]) == {"PERMISSION_DENIED"}
    assert set(by_kind[7]) == {"INVALID_ARGUMENT"}
    assert len(set(by_kind[4])) == 10, "two of each key are one message"
    assert sorted(seq_of(one) for one in {*by_kind[0], *by_kind[4]}) == list(range(1, 31))
    assert sorted(seq_of(one) for one in by_kind[6]) == list(range(1, 21))
