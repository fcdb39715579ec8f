"""What the operator's own system is asked before a message is stored, and what its answers do."""

import json
from typing import Any

import pytest

from tests.conftest import Own
from tests.conversations import group, history
from tests.harness import Deployment, Person, refused
from tests.processes import refused_start
from tests.webhooks.receiver import Answer, Received, Receiver, is_signed, receiving

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def answer(**fields: Any) -> Answer:
    return 200, {}, json.dumps(fields).encode()


BROKEN: tuple[Any, ...] = (
    *(500, (200, {}, b"no JSON"), answer(action="dance"), (302, {"location": "/"}), (200, {}, b" " * 2**20)),
    *(answer(action="change", **given) for given in ({}, {"content": ""}, {"content": 5}, {"content": "\ud800"})),
    answer(action="refuse", reason={"a": 1}),
)


def strict(received: Received) -> Answer:
    """Refuses what has "spam", changes what has "darn", is silent about what has "late", broken about "broken"."""
    content = received.body["data"]["request"].get("content", "")
    if "spam" in content:
        return answer(action="refuse", reason="no spam here")
    if "darn" in content:
        return answer(action="change", content=content.replace("darn", "****"))
    if "endless" in content:
        return answer(action="change", content="x" * (16 * 1024 + 1))
    if "broken" in content:
        return BROKEN[int(content[-1])]
    return answer(action="allow")


class Asked:
    def __init__(self, app: Deployment, receiver: Receiver) -> None:
        self.app, self.receiver = app, receiver
        self.ann = app.person()
        self.room = group(self.ann)

    @property
    def contents(self) -> list[str]:
        return [each.content for each in history(self.ann, self.room)]


@pytest.fixture(scope="module", params=["sqlite-colocated", "postgres-split"])
def asked(request: pytest.FixtureRequest, own_of_module: Own) -> Any:
    with receiving(strict) as receiver:
        env = {"GOCHAT_WEBHOOKS_BEFORE_SEND": receiver.url, "GOCHAT_WEBHOOKS_BEFORE_SEND_SECRET": SECRET}
        yield Asked(own_of_module(request.param, env=env), receiver)


def test_a_question_is_signed_and_has_the_request(asked: Asked) -> None:
    asked.ann.send(asked.room, "hello", metadata={"k": "v"})
    received, _ = asked.receiver.got[-1]
    assert is_signed(received, SECRET)
    assert received.body["type"] == "before_send"
    assert received.body["data"] == {
        "userId": asked.ann.id,
        "rpc": "SendMessage",
        "request": {"conversationId": asked.room, "content": "hello", "metadata": {"k": "v"}},
    }
    assert asked.contents[-1] == "hello"


def test_what_is_refused_is_not_stored_and_says_why(asked: Asked) -> None:
    before = asked.contents
    with refused("PERMISSION_DENIED", reason="SEND_REFUSED") as refusal:
        asked.ann.send(asked.room, "spam")
    assert refusal.message == "no spam here"
    assert asked.contents == before


def test_other_words_are_stored_in_place_of_these(asked: Asked) -> None:
    asked.ann.send(asked.room, "oh darn")
    assert asked.contents[-1] == "oh ****"


def test_a_repetition_is_known_by_the_words_of_its_sender(asked: Asked) -> None:
    """Whatever is made of them the next time."""
    key = {"client_msg_id": "k1"}
    first = asked.ann.send(asked.room, "darn it all", metadata=key)
    before = asked.contents
    assert before[-1] == "**** it all"
    again = asked.ann.SendMessages(
        messages=[{"conversation_id": asked.room, "content": "darn it all", "metadata": key}]
    )
    assert [each.message_id for each in again.results] == [first.message_id]
    behave, asked.receiver.behave = asked.receiver.behave, lambda _: 500  # so that the words stay as they are
    try:
        assert asked.ann.send(asked.room, "darn it all", metadata=key).message_id == first.message_id
        with refused("ALREADY_EXISTS"):
            asked.ann.send(asked.room, "**** it all", metadata=key)
    finally:
        asked.receiver.behave = behave
    assert asked.contents == before


def test_other_words_that_break_the_form_are_refused(asked: Asked) -> None:
    before = asked.contents
    with refused("INVALID_ARGUMENT", "content"):
        asked.ann.send(asked.room, "endless")
    assert asked.contents == before


@pytest.mark.parametrize("letter", ["x", "长", "😀", "\x01"])
def test_the_longest_messages_are_changed_too(asked: Asked, letter: str) -> None:
    """However JSON spells them: a control character is six bytes."""
    rest = letter * ((16 * 1024 - len("darn")) // len(letter.encode()))
    asked.ann.send(asked.room, f"darn{rest}")
    assert asked.contents[-1] == f"****{rest}"


def test_edits_and_bulk_are_asked_about_too(asked: Asked) -> None:
    said = asked.ann.send(asked.room, "well")
    with refused("PERMISSION_DENIED", reason="SEND_REFUSED"):
        asked.ann.EditMessage(message_id=said.message_id, content="spam")
    asked.ann.EditMessage(message_id=said.message_id, content="darn it")
    assert asked.contents[-1] == "**** it"
    messages = [{"conversation_id": asked.room, "content": content} for content in ("a", "spam", "darn")]
    results = asked.ann.SendMessages(messages=messages).results
    assert [result.error.details["reason"] if result.HasField("error") else "" for result in results] == [
        "",
        "SEND_REFUSED",
        "",
    ]
    assert asked.contents[-2:] == ["a", "****"]


def test_a_service_that_acts_as_a_user_is_asked_about_and_a_service_is_not(asked: Asked) -> None:
    with refused("PERMISSION_DENIED", reason="SEND_REFUSED"):
        asked.app.acting(asked.ann).send(asked.room, "spam")
    service = Person(asked.app, "", "", "", "")
    service.metadata = asked.app.service
    count = len(asked.receiver.got)
    service.send(asked.room, "spam", from_user_id=asked.ann.id)
    assert (asked.contents[-1], len(asked.receiver.got)) == ("spam", count)


def test_messages_of_a_user_stay_in_order(asked: Asked) -> None:
    sends = [asked.ann.begin_send(asked.room) for _ in range(20)]
    seqs = [int(send.result().message_id.rpartition("-")[2]) for send in sends]
    assert seqs == sorted(seqs)


@pytest.mark.parametrize("content", [f"broken {number}" for number in range(len(BROKEN))])
def test_without_an_answer_messages_are_stored_where_it_fails_open(asked: Asked, content: str) -> None:
    asked.ann.send(asked.room, content)
    assert asked.contents[-1] == content


def test_without_an_answer_messages_are_refused_where_it_fails_closed(own: Own) -> None:
    with receiving(strict) as receiver:
        env = {
            "GOCHAT_WEBHOOKS_BEFORE_SEND": receiver.url,
            "GOCHAT_WEBHOOKS_BEFORE_SEND_SECRET": SECRET,
            "GOCHAT_WEBHOOKS_BEFORE_SEND_FAILURE": "closed",
        }
        app = own(env=env)
        ann = app.person()
        room = group(ann)
        ann.send(room, "hello")
        with refused("UNAVAILABLE", reason="NOT_ASKED"):
            ann.send(room, "broken 0")
    with refused("UNAVAILABLE", reason="NOT_ASKED"):
        ann.send(room, "nobody is there")
    assert [each.content for each in history(ann, room)] == ["hello"]


def test_settings_that_do_not_go_together_stop_the_start(tmp_path: Any) -> None:
    for env, said in (
        ({"GOCHAT_WEBHOOKS_BEFORE_SEND": "https://example.com/"}, "go together"),
        ({"GOCHAT_WEBHOOKS_BEFORE_SEND_SECRET": SECRET}, "go together"),
        ({"GOCHAT_WEBHOOKS_BEFORE_SEND": "ftp://a/", "GOCHAT_WEBHOOKS_BEFORE_SEND_SECRET": SECRET}, "before_send"),
        (
            {"GOCHAT_WEBHOOKS_BEFORE_SEND": "https://a/", "GOCHAT_WEBHOOKS_BEFORE_SEND_SECRET": "whsec_short"},
            "before_send_secret",
        ),
        ({"GOCHAT_WEBHOOKS_ALLOW": "10.0.0.0/33"}, "webhooks.allow"),
    ):
        assert said in refused_start("--data", tmp_path, **env)
