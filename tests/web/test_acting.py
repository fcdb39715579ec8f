"""A service that acts for users by HTTP: JSON as curl sends it, gRPC-Web, streams, pages of other origins."""

from typing import Any

import pytest

from gochat.api.event.v1 import event_pb2
from gochat.api.logic.v1 import logic_pb2
from gochat.headers import ACT_AS
from tests.harness import Deployment, Person, as_service, fresh
from tests.web.client import Web, enveloped, path
from tests.web.test_calls import trailers


@pytest.fixture
def ann(server: Deployment) -> Person:
    return server.person("ann")


def as_user(server: Deployment, name: str) -> dict[str, str]:
    return {"authorization": dict(server.service)["authorization"], ACT_AS: name}


def test_a_call_in_json(web: Web, server: Deployment, ann: Person) -> None:
    external_id = fresh("id-ü-")
    as_service(server).user.SetExternalId(user_id=ann.id, external_id=external_id)
    for name in (ann.id, f"external:{external_id.replace('ü', '%C3%BC')}"):
        answer = web.call("GetUserProfile", {}, **as_user(server, name))
        assert answer.json["profile"]["userId"] == ann.id, answer.json
    raw = as_user(server, f"external:{external_id}")
    refused = web.request("POST", path("GetUserProfile"), b"{}", {"content-type": "application/json"} | latin(raw))
    assert (refused.status, refused.json["code"]) == (400, "invalid_argument")
    unknown = web.call("GetUserProfile", {}, **as_user(server, "nobody"))
    assert (unknown.status, unknown.json["code"]) == (404, "not_found")


def latin(headers: dict[str, str]) -> dict[str, Any]:
    """As bytes of UTF-8, which http.client sends as they are."""
    return {name: value.encode() for name, value in headers.items()}


def test_only_a_service_and_only_once(web: Web, server: Deployment, ann: Person) -> None:
    answer = web.call("GetUserProfile", {}, ann, x_gochat_act_as=ann.id)
    assert (answer.status, answer.json["code"]) == (403, "permission_denied")
    headers = [*as_user(server, ann.id).items(), (ACT_AS, ann.id), ("content-type", "application/json")]
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    with web.connect() as socket:
        socket.sendall(
            f"POST {path('GetUserProfile')} HTTP/1.1\r\nhost: x\r\n{lines}content-length: 2\r\n\r\n{{}}".encode()
        )
        assert socket.recv(65536).startswith(b"HTTP/1.1 400")


def test_user_service_in_json(web: Web, server: Deployment, ann: Person) -> None:
    token = {"authorization": dict(server.service)["authorization"]}
    users = [{"externalId": fresh("id-"), "nickname": "Max"}, {"userId": "nobody"}]
    results = web.call("User.UpsertUsers", {"users": users}, **token).json["results"]
    assert [each["outcome"] for each in results] == ["OUTCOME_CREATED", "OUTCOME_REFUSED"]
    assert results[1]["error"]["details"]["reason"] == "USER_NOT_FOUND"
    shown = web.call("User.GetUsers", {"ids": [f"external:{users[0]['externalId']}"]}, **token).json["users"]
    assert [each["user"]["nickname"] for each in shown] == ["Max"]
    assert web.call("User.GetUsers", {"ids": [ann.id]}, ann).status == 403


def test_grpc_web(web: Web, server: Deployment, ann: Person) -> None:
    kind = {"content-type": "application/grpc-web+proto"}
    body = enveloped(logic_pb2.GetUserProfileRequest().SerializeToString())
    answer = web.request("POST", path("GetUserProfile"), body, kind | as_user(server, ann.id))
    (message,), ended = trailers(answer.body)
    assert logic_pb2.GetUserProfileResponse.FromString(message).profile.user_id == ann.id
    assert ended["grpc-status"] == "0"


@pytest.mark.parametrize("kind", ["application/connect+json", "application/grpc-web+proto"])
def test_a_stream(web: Web, server: Deployment, ann: Person, kind: str) -> None:
    bob = server.person("bob")
    body = b"{}" if "json" in kind else event_pb2.SubscribeRequest().SerializeToString()
    with web.stream("Event.Subscribe", body, content_type=kind, **as_user(server, ann.id)) as stream:
        stream.next()
        bob.send(ann.id, "to ann")
        while b"to ann" not in stream.next()[1]:
            pass
        as_service(server).user.DisableUser(user_id=ann.id)
        flags, data = 0, b""
        while not flags & 0x82:  # the last envelope
            flags, data = stream.next()
        assert data
