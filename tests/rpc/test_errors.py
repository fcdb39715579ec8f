"""The error convention: two styles, one content; request ids; nothing internal in what a caller is answered."""

import random
import re
import sqlite3
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from gochat.api.common.v1 import common_pb2
from gochat.api.logic.v1 import logic_pb2
from gochat.domain.access import RULES, Access
from gochat.services import rpcs
from tests.conftest import SQLITE, Own
from tests.harness import Deployment, Person, as_service, fresh, refused
from tests.waiting import eventually, status_of

BODY, STATUS = ("x-gochat-error-mode", "body"), ("x-gochat-error-mode", "status")
GARBAGE = (b"\xff" * 10, b"\x0a\x05ab", b"\x0a\x02\xff\xfe", b"\x0b", b"\x00")
UNKNOWN_USER, UNKNOWN_GROUP = "u00000000000000000000000000", "g00000000000000000000000000"
RPCS = rpcs()
ANYONE = {path for path, rule in RULES.items() if rule.access is Access.ANYONE}
SEND = "/gochat.api.logic.v1.LogicService/SendMessage"


def raw(app: Deployment, path: str, data: bytes, *metadata: tuple[str, str]) -> Any:
    """Calls with the bytes as they are; returns the response, of a stream the first one."""
    if RPCS[path].server_streaming:
        stream = app.channel_of(path).unary_stream(path)(data, metadata=metadata, timeout=30)
        answer = next(stream)
        stream.cancel()
    else:
        answer = app.channel_of(path).unary_unary(path)(data, metadata=metadata, timeout=30)
    return GetMessageClass(RPCS[path].output_type).FromString(answer)


def profile(app: Deployment, *metadata: tuple[str, str], user_id: str = "") -> tuple[Any, grpc.Call]:
    """GetUserProfile with the call that shows its metadata."""
    request = logic_pb2.GetUserProfileRequest(user_id=user_id)
    answer: tuple[Any, grpc.Call] = app.logic.GetUserProfile.with_call(request, metadata=metadata, timeout=30)
    return answer


@pytest.fixture(scope="module")
def person(app: Deployment) -> Person:
    return app.person()


def test_a_status_error_has_code_reason_and_field(person: Person) -> None:
    with refused("INVALID_ARGUMENT", "content", "INVALID_FIELD") as refusal:
        person.SendMessage(conversation_id=UNKNOWN_GROUP)
    assert refusal.message == "content must not be empty"
    assert refusal.response.code == common_pb2.ERROR_CODE_INVALID_PARAMS
    assert dict(refusal.response.details) == {"reason": "INVALID_FIELD", "content": "must not be empty"}


def test_a_body_error_says_the_same(app: Deployment, person: Person) -> None:
    answer, _ = profile(app, *person.metadata, BODY, user_id=UNKNOWN_USER)
    with refused("NOT_FOUND", "user_id", "USER_NOT_FOUND") as refusal:
        profile(app, *person.metadata, user_id=UNKNOWN_USER)
    assert not answer.HasField("profile")
    assert answer.error.code == refusal.response.code == common_pb2.ERROR_CODE_NOT_FOUND
    assert (answer.error.message, answer.error.details) == (refusal.message, refusal.response.details)
    unauthorized, _ = profile(app, BODY)
    assert unauthorized.error.code == common_pb2.ERROR_CODE_UNAUTHORIZED
    assert unauthorized.error.details["reason"] == "NO_TOKEN"
    malformed = raw(app, SEND, GARBAGE[0], *person.metadata, BODY)
    assert malformed.error.code == common_pb2.ERROR_CODE_INVALID_PARAMS
    assert malformed.error.details["reason"] == "MALFORMED"
    success, _ = profile(app, *person.metadata, BODY)
    assert not success.HasField("error")


@pytest.mark.parametrize("rpc", RPCS.values(), ids=RPCS)
def test_every_rpc_refuses_in_both_styles(app: Deployment, rpc: MethodDescriptor) -> None:
    path = next(path for path, known in RPCS.items() if known is rpc)
    status, reason, code = (
        ("INVALID_ARGUMENT", "MALFORMED", common_pb2.ERROR_CODE_INVALID_PARAMS)
        if path in ANYONE
        else ("UNAUTHENTICATED", "NO_TOKEN", common_pb2.ERROR_CODE_UNAUTHORIZED)
    )
    with refused(status, reason=reason):
        raw(app, path, GARBAGE[0])
    if "error" in rpc.output_type.fields_by_name:
        error = raw(app, path, GARBAGE[0], BODY).error
        assert (error.code, error.details["reason"]) == (code, reason)
    else:
        with refused(status, reason=reason):
            raw(app, path, GARBAGE[0], BODY)
    with refused("INVALID_ARGUMENT", "request", "MALFORMED"):
        raw(app, path, GARBAGE[0], *app.service)


def test_the_server_may_be_set_to_answer_in_the_body(own: Own, mode: str) -> None:
    app = own(mode, env={"GOCHAT_SERVER_ERROR_MODE": "body"})
    person = app.person()
    assert person.send(UNKNOWN_GROUP).error.code == common_pb2.ERROR_CODE_NOT_FOUND
    assert person.SendMessage().error.details["content"] == "must not be empty"
    assert app.logic.GetUserProfile(logic_pb2.GetUserProfileRequest()).error.details["reason"] == "NO_TOKEN"
    taken = as_service(app).repo.CreateUser(username=person.username, password="x").error
    assert (taken.code, taken.details["reason"]) == (common_pb2.ERROR_CODE_DUPLICATE_OPERATION, "USERNAME_TAKEN")
    with refused("NOT_FOUND", "user_id"):
        profile(app, *person.metadata, STATUS, user_id=UNKNOWN_USER)


def test_commands_report_errors_in_either_error_mode(own: Own, mode: str) -> None:
    app = own(mode, env={"GOCHAT_SERVER_ERROR_MODE": "body"})
    arguments = ("user", "create", fresh(), "--password-stdin", "--address", app.repo_address)
    assert app.run(*arguments, stdin="secret\n").stdout.startswith("u")
    again = app.run(*arguments, stdin="secret\n", check=False)
    assert (again.returncode, again.stdout) == (1, "")
    assert "the username is taken" in again.stderr


@pytest.mark.parametrize(
    ("metadata", "kept"),
    [
        ((("x-request-id", "order-7/retry 2"),), True),
        ((("x-request-id", "r" * 128),), True),
        ((("x-request-id", "r" * 129),), False),
        ((("x-request-id", ""),), False),
        ((), False),
    ],
)
def test_a_request_id_returns_in_the_trailing_metadata(
    app: Deployment, person: Person, metadata: tuple[tuple[str, str], ...], kept: bool
) -> None:
    request_ids = []
    for error_mode, user_id in ((STATUS, ""), (BODY, UNKNOWN_USER)):
        _, call = profile(app, *person.metadata, *metadata, error_mode, user_id=user_id)
        assert "x-request-id" not in dict(call.initial_metadata() or ())
        request_ids.append(dict(call.trailing_metadata() or ())["x-request-id"])
    for token in (person.metadata, ()):
        with refused("NOT_FOUND" if token else "UNAUTHENTICATED") as refusal:
            profile(app, *token, *metadata, user_id=UNKNOWN_USER)
        request_ids.append(refusal.request_id)
    if kept:
        assert request_ids == [metadata[0][1]] * 4
    else:
        assert len(set(request_ids)) == 4
        assert all(re.fullmatch(r"[0-9a-f]{32}", str(request_id)) for request_id in request_ids)


def test_a_failed_call_has_no_initial_metadata(app: Deployment, person: Person) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        profile(app, *person.metadata, user_id=UNKNOWN_USER)
    assert isinstance(raised.value, grpc.Call)
    assert "x-request-id" not in dict(raised.value.initial_metadata() or ())


def test_a_request_id_is_in_the_log_of_both_halves(own: Own, mode: str) -> None:
    app = own(mode, env={"GOCHAT_LOG_LEVEL": "debug"})
    person, request_id = app.person(), fresh("request")
    secret = fresh("secret")
    request = logic_pb2.SendMessageRequest(to_user_id=app.create_user(password=secret), content=secret)
    app.logic.SendMessage(request, metadata=(*person.metadata, ("x-request-id", request_id)))
    paths = SEND, "/gochat.internal.store.v1.StoreService/StoreMessage"
    for process, path in zip(app.processes, paths, strict=False):
        eventually(
            lambda process=process, path=path: [
                line
                for line in process.log.read_text().splitlines()
                if f"[{request_id}]" in line and f"{path} OK" in line
            ]
        )
    for hidden in (secret, person.access_token, person.refresh_token):
        assert hidden not in app.logs(), "what users write and what lets them in stays out of the log"


@pytest.mark.parametrize("data", GARBAGE)
def test_garbage_is_refused_and_the_next_call_served(app: Deployment, person: Person, data: bytes) -> None:
    with refused("INVALID_ARGUMENT", "request", "MALFORMED") as refusal:
        raw(app, SEND, data, *person.metadata)
    assert refusal.message == "request is not a SendMessageRequest"
    profile(app, *person.metadata)


def test_random_bytes_never_make_an_internal_error(app: Deployment) -> None:
    chance = random.Random(7)
    harmless = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNAUTHENTICATED", "PERMISSION_DENIED", "ALREADY_EXISTS"}
    harmless |= {"ABORTED"}  # of who follows the log without a lease
    for path in RPCS:
        for _ in range(20):
            # Tags of the fields 1 to 6, as text or number, with lengths that mostly fit.
            fields = (
                bytes([number << 3 | 2, size := chance.randrange(6), *chance.choices(b"gus-01\0\xff%?'", k=size)])
                if chance.random() < 0.8
                else bytes([number << 3, chance.randrange(256), chance.randrange(128)])
                for number in range(1, chance.randrange(2, 8))
            )
            data = b"".join(fields)
            status = status_of(lambda path=path, data=data: raw(app, path, data, *app.service))
            assert status in harmless, f"{path}: {data!r} was answered {status}"


def refusals(person: Person, friend: Person) -> dict[str, tuple[str, str, str, Callable[[], Any]]]:
    """What the repo half refuses -> status, field, message and the call."""
    group_id = person.CreateGroup(name="Two", member_ids=[friend.id], max_members=2).group_id
    person.send(group_id, "first", metadata={"client_msg_id": "1"})
    other_message = person.send(friend.id).message_id
    return {
        "CONVERSATION_NOT_FOUND": (
            "NOT_FOUND",
            "conversation_id",
            "conversation not found",
            lambda: person.send(UNKNOWN_GROUP),
        ),
        "USER_NOT_FOUND": ("NOT_FOUND", "to_user_id", "user not found", lambda: person.send(UNKNOWN_USER)),
        "MESSAGE_NOT_FOUND": (
            "NOT_FOUND",
            "message_id",
            "message not found",
            lambda: person.MarkMessageRead(conversation_id=group_id, message_id="m"),
        ),
        "INVALID_FIELD": (
            "INVALID_ARGUMENT",
            "before_message_id",
            "before_message_id must be the id of a message of this conversation",
            lambda: person.GetMessageHistory(conversation_id=group_id, before_message_id=other_message),
        ),
        "ALREADY_A_MEMBER": (
            "ALREADY_EXISTS",
            "user_id",
            "the user is a member of the group",
            lambda: friend.JoinGroup(group_id=group_id),
        ),
        "CLIENT_MSG_ID_REUSED": (
            "ALREADY_EXISTS",
            "metadata",
            "this client_msg_id was used for a message with other content",
            lambda: person.send(group_id, "second", metadata={"client_msg_id": "1"}),
        ),
        "NOT_A_MANAGER": (
            "PERMISSION_DENIED",
            "",
            "only the owner and the admins of a group may do this",
            lambda: friend.UpdateGroup(group_id=group_id, name="Mine"),
        ),
    }


def test_errors_of_the_repo_half_are_passed_on_unchanged(app: Deployment) -> None:
    for reason, (status, field, message, call) in refusals(*app.people(2)).items():
        with refused(status, field, reason) as refusal:
            call()
        assert refusal.message == message
        assert list(refusal.fields or {}) == ([field] if field else [])
    with refused("NOT_FOUND", "user_ids"):  # the repo calls them participant_ids
        app.person().CreateConversation(type="single", user_ids=[UNKNOWN_USER])


@pytest.mark.parametrize("mode", SQLITE)
def test_an_internal_error_says_nothing_of_its_cause(own: Own, mode: str) -> None:
    app = own(mode)
    person = app.person()
    database = sqlite3.connect(app.data / "gochat.db")
    database.execute("ALTER TABLE members RENAME TO gone")
    database.close()
    with refused("INTERNAL", reason="INTERNAL") as refusal:
        person.GetConversations()
    assert (refusal.message, refusal.fields) == ("internal error", {})
    assert dict(refusal.response.details) == {"reason": "INTERNAL"}
    answer = app.logic.GetConversations(logic_pb2.GetConversationsRequest(), metadata=(*person.metadata, BODY))
    assert answer.error.code == common_pb2.ERROR_CODE_INTERNAL_ERROR
    assert answer.error.message == "internal error"
    # The log says what the client is not to know.
    eventually(lambda: f"[{refusal.request_id}] gochat" in app.logs())
    cause = next(line for line in app.logs().splitlines() if f"[{refusal.request_id}] gochat" in line)
    assert f"{'CallTogether' if app.split else 'GetConversations'} failed" in cause  # the repo half's, or the only one
    eventually(lambda: "no such table: members" in app.logs())
    profile(app, *person.metadata)
