"""Unary calls by HTTP: the same answers, errors and limits as by gRPC."""

import base64
import gzip
import json
import struct
from urllib.parse import quote

import grpc
import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2

from gochat.api.logic.v1 import logic_pb2
from gochat.services import SERVICES, Audience, rpcs
from tests.conftest import Own
from tests.harness import PASSWORD, Deployment, Person, fresh, locked, refused
from tests.waiting import eventually
from tests.web.client import ON, TRAILERS, Web, bearer, enveloped, path, web_of


@pytest.fixture(scope="module")
def ann(server: Deployment) -> Person:
    return server.person("ann", password=PASSWORD)


@pytest.fixture(scope="module")
def talk(server: Deployment, ann: Person) -> str:
    """A conversation with 30 messages."""
    bob = server.person("bob", password=PASSWORD)
    sent = [ann.SendMessage(to_user_id=bob.id, content=f"ünï {number}") for number in range(30)]
    return str(sent[0].message_id.rpartition("-")[0])


@pytest.mark.parametrize("rpc", ["GetUserProfile", "GetConversations", "GetUnreadMessages", "Session.ListSessions"])
def test_json_is_what_grpc_answers(web: Web, ann: Person, talk: str, rpc: str) -> None:  # noqa: ARG001
    by_grpc = getattr(ann, rpc.rpartition(".")[2])()
    answer = web.call(rpc, {}, ann)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json == json_format.MessageToDict(by_grpc)


def test_a_message_sent_and_read(server: Deployment, web: Web, ann: Person) -> None:
    bob = server.person(password=PASSWORD)
    sent = web.call("SendMessage", {"toUserId": bob.id, "content": "hello ☃", "metadata": {"client_msg_id": "1"}}, ann)
    again = web.call("SendMessage", {"toUserId": bob.id, "content": "hello ☃", "metadata": {"client_msg_id": "1"}}, ann)
    assert (sent.status, again.json) == (200, sent.json)
    conversation = sent.json["messageId"].rpartition("-")[0]
    history = web.call("GetMessageHistory", {"conversation_id": conversation}, bob).json
    assert [message["content"] for message in history["messages"]] == ["hello ☃"]
    assert history["messages"][0]["createdAt"] == sent.json["createdAt"]  # int64 as text
    assert type(sent.json["createdAt"]) is str


def test_signing_in_needs_no_token(web: Web, ann: Person) -> None:
    answer = web.call("Authenticate", {"username": ann.username, "password": PASSWORD})
    assert answer.json["accessToken"]
    refusal = web.call("Authenticate", {"username": ann.username, "password": "wrong"})
    assert (refusal.status, refusal.json["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize(
    ("body", "status", "code", "reason"),
    [
        ({"content": ""}, 400, "invalid_argument", "INVALID_FIELD"),
        ({"content": 5}, 400, "invalid_argument", "MALFORMED"),
        ({"content": "x", "to_user_id": "unobody"}, 404, "not_found", "USER_NOT_FOUND"),
        ({"content": "x", "from_user_id": "usomebody", "to_user_id": "u"}, 403, "permission_denied", "NOT_YOU"),
    ],
)
def test_errors_have_their_details(
    web: Web, ann: Person, body: dict[str, object], status: int, code: str, reason: str
) -> None:
    answer = web.call("SendMessage", body, ann, x_request_id="mine")
    error = answer.json
    assert (answer.status, error["code"], answer.headers["content-type"]) == (status, code, "application/json")
    details = {detail["type"]: detail for detail in error["details"]}
    info = details["google.rpc.ErrorInfo"]
    value = base64.b64decode(info["value"] + "==")
    assert error_details_pb2.ErrorInfo.FromString(value).domain == info["debug"]["domain"] == "gochat"
    response = details["gochat.api.common.v1.ErrorResponse"]["debug"]
    assert (response["message"], response["requestId"]) == (error["message"], "mine")
    assert answer.headers["x-request-id"] == "mine"
    assert info["debug"]["reason"] == reason or reason == "NOT_YOU", info
    if status == 400:
        assert details["google.rpc.BadRequest"]["debug"]["fieldViolations"][0]["field"] == "content"


def test_errors_in_the_body(web: Web, ann: Person) -> None:
    answer = web.call("SendMessage", {"content": ""}, ann, x_gochat_error_mode="body")
    assert (answer.status, answer.json["error"]["code"]) == (200, "ERROR_CODE_INVALID_PARAMS")


def test_no_token_and_a_bad_one(web: Web) -> None:
    for headers in ({}, {"authorization": "Bearer x"}, {"authorization": "Basic x"}):
        answer = web.call("GetUserProfile", {}, **headers)
        assert (answer.status, answer.json["code"]) == (401, "unauthenticated")


def test_only_services_for_apps_are_served(web: Web, server: Deployment) -> None:
    headers = {"content-type": "application/json", "authorization": dict(server.service)["authorization"]}
    for service in SERVICES:
        for each in rpcs([service]):
            answer = web.request("POST", each, b"{}", headers | {"connect-timeout-ms": "0"})
            assert (answer.status == 404) == (service.audience in (Audience.SERVICES, Audience.INTERNAL)), each


def test_the_log_names_the_request_and_the_client(server: Deployment, web: Web, ann: Person) -> None:
    web.call("GetUserProfile", {}, ann, x_request_id="find-me", x_forwarded_for="198.51.100.7, 127.0.0.1")
    eventually(lambda: "[find-me] gochat.calls: /gochat.api.logic.v1.LogicService/GetUserProfile OK" in server.logs())
    line = next(line for line in server.logs().splitlines() if "[find-me]" in line)
    assert f"caller {ann.id}, peer 198.51.100.7" in line


def test_metrics_tell_the_transport(server: Deployment, web: Web, ann: Person) -> None:
    def counted(transport: str) -> float:
        labels = {"grpc_method": "GetGroupInfo", "transport": transport}
        return server.processes[0].metrics()("grpc_server_handled_total", **labels)

    before = counted("http"), counted("grpc")
    web.call("GetGroupInfo", {"groupId": "none"}, ann)
    eventually(lambda: (counted("http"), counted("grpc")) == (before[0] + 1, before[1]))


def test_protobuf_and_gzip(web: Web, ann: Person, talk: str) -> None:
    asked = logic_pb2.GetMessageHistoryRequest(conversation_id=talk, limit=30)
    headers = {"content-type": "application/proto", "content-encoding": "gzip", "accept-encoding": "br, gzip;q=0.5"}
    answer = web.request(
        "POST", path("GetMessageHistory"), gzip.compress(asked.SerializeToString()), headers | bearer(ann)
    )
    assert (answer.headers["content-encoding"], answer.headers["content-type"]) == ("gzip", "application/proto")
    history = logic_pb2.GetMessageHistoryResponse.FromString(gzip.decompress(answer.body))
    assert len(history.messages) == 30
    for refused_by, encoding in (("q=0", "gzip;q=0"), ("nothing", "identity")):
        plain = web.call("GetMessageHistory", {"conversation_id": talk}, ann, accept_encoding=encoding)
        assert "content-encoding" not in plain.headers, refused_by


def test_get_of_an_rpc_without_side_effects(web: Web, ann: Person, talk: str) -> None:
    message = json.dumps({"conversationId": talk, "limit": 1})
    packed = base64.urlsafe_b64encode(gzip.compress(message.encode())).decode().rstrip("=")
    for query in (
        f"connect=v1&encoding=json&message={quote(message)}",
        f"connect=v1&encoding=json&base64=1&compression=gzip&message={packed}",
    ):
        answer = web.request("GET", f"{path('GetMessageHistory')}?{query}", headers=bearer(ann))
        assert (answer.status, len(answer.json["messages"])) == (200, 1)
        assert answer.headers["cache-control"] == "no-store"
    by_post_only = web.request("GET", f"{path('SendMessage')}?encoding=json&message={{}}", headers=bearer(ann))
    assert (by_post_only.status, by_post_only.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("query", ["", "encoding=json", "encoding=json&message=%ff&base64=1", "encoding=xml&message=1"])
def test_a_bad_get(web: Web, ann: Person, query: str) -> None:
    assert web.request("GET", f"{path('GetUserProfile')}?{query}", headers=bearer(ann)).status in (400, 415)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"content-type": "text/xml"}, 415, None),
        ({"content-type": "application/connect+json"}, 415, None),
        ({"connect-protocol-version": "2"}, 400, "invalid_argument"),
        ({"connect-timeout-ms": "soon"}, 400, "invalid_argument"),
        ({"connect-timeout-ms": "12345678901"}, 400, "invalid_argument"),
        ({"content-encoding": "br"}, 501, "unimplemented"),
        ({"content-encoding": "gzip"}, 400, "invalid_argument"),
    ],
)
def test_a_call_that_is_not_read(web: Web, ann: Person, headers: dict[str, str], status: int, code: str | None) -> None:
    answer = web.request(
        "POST", path("GetUserProfile"), b"{}", {"content-type": "application/json"} | headers | bearer(ann)
    )
    assert answer.status == status
    assert code is None or answer.json["code"] == code


def test_charset_and_case_of_the_content_type(web: Web, ann: Person) -> None:
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    assert web.request("POST", path("GetUserProfile"), b"{}", headers | bearer(ann)).status == 200


def test_unknown_paths(web: Web) -> None:
    answer = web.call("NoSuchCall", {})
    assert (answer.status, answer.json["code"]) == (404, "unimplemented")
    assert web.request("GET", "/no/such/file").status == 404
    assert web.request("DELETE", path("GetUserProfile")).status == 405
    assert web.request("PUT", "/").status == 405


def test_a_deadline_is_kept(server: Deployment, web: Web, ann: Person, talk: str) -> None:
    with locked(server):
        answer = web.call("SendMessage", {"conversationId": talk, "content": "x"}, ann, connect_timeout_ms="300")
        assert (answer.status, answer.json["code"]) == (504, "deadline_exceeded")


def trailers(body: bytes) -> tuple[list[bytes], dict[str, str]]:
    """The messages of a body of gRPC-Web, and its trailers."""
    messages: list[bytes] = []
    while body:
        flags, size = struct.unpack_from(">BI", body)
        message, body = body[5 : 5 + size], body[5 + size :]
        if flags & TRAILERS:
            assert not body
            lines = (line.partition(": ") for line in message.decode().split("\r\n") if line)
            return messages, {name: value for name, _, value in lines}
        messages.append(message)
    raise AssertionError("no trailers")


@pytest.mark.parametrize("text", [False, True])
def test_grpc_web(web: Web, ann: Person, text: bool) -> None:
    def call(request: logic_pb2.SendMessageRequest | logic_pb2.GetUserProfileRequest, rpc: str) -> bytes:
        body = enveloped(request.SerializeToString())
        kind = "application/grpc-web-text+proto" if text else "application/grpc-web+proto"
        answer = web.request(
            "POST", path(rpc), base64.b64encode(body) if text else body, {"content-type": kind} | bearer(ann)
        )
        assert (answer.status, answer.headers["content-type"]) == (200, kind)
        if not text:
            return answer.body
        return b"".join(base64.b64decode(part + b"==") for part in answer.body.replace(b"=", b"= ").split())

    (message,), ended = trailers(call(logic_pb2.GetUserProfileRequest(), "GetUserProfile"))
    assert logic_pb2.GetUserProfileResponse.FromString(message).profile.user_id == ann.id
    assert ended["grpc-status"] == "0"
    assert ended["x-request-id"]
    messages, ended = trailers(call(logic_pb2.SendMessageRequest(), "SendMessage"))
    assert (messages, ended["grpc-status"]) == ([], str(grpc.StatusCode.INVALID_ARGUMENT.value[0]))
    assert base64.b64decode(ended["grpc-status-details-bin"] + "==")


@pytest.fixture
def limited(own: Own) -> Deployment:
    return own(env=ON | {"GOCHAT_LIMITS_CALLS_PER_SECOND": "0.2"})


def test_the_limits_of_a_user_hold_over_both_transports(limited: Deployment) -> None:
    web, person = web_of(limited), limited.person(password=PASSWORD)
    person.GetUserProfile()  # takes the only one in five seconds
    answer = web.call("GetUserProfile", {}, person)
    assert (answer.status, answer.json["code"]) == (429, "resource_exhausted")
    assert "google.rpc.RetryInfo" in [detail["type"] for detail in answer.json["details"]]
    with refused("RESOURCE_EXHAUSTED", reason="CALLS_LIMITED"):
        person.GetUserProfile()


def test_the_audit_log_names_the_client(server: Deployment, web: Web) -> None:
    name = fresh()
    server.create_user(name)
    web.call("Authenticate", {"username": name, "password": PASSWORD}, x_forwarded_for="198.51.100.9")
    assert server.events(action="session.begin")[-1].peer == "198.51.100.9"
