"""grpcio's own server in place of the serving loop gives the same answers.

With `GOCHAT_SERVER_FAST=0` in the environment the whole suite runs on it.
"""

from contextlib import suppress
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from gochat.api.event.v1 import event_pb2, event_pb2_grpc
from gochat.api.logic.v1 import logic_pb2
from gochat.rpc.plain import MAX_SUBSCRIBED
from tests.conftest import Own
from tests.conversations import conversation_of
from tests.harness import PASSWORD, Deployment, refused
from tests.health import NOT_SERVING, SERVING, check
from tests.streams import listening
from tests.waiting import eventually, status_of

LOGIC = "gochat.api.logic.v1.LogicService"


@pytest.fixture
def plain(own: Own, mode: str) -> Deployment:
    app = own(mode, env={"GOCHAT_SERVER_FAST": "false"})
    assert [process.metrics()("gochat_server_fast") for process in app.processes] == [0] * len(app.processes)
    return app


def test_messages_are_sent_read_and_searched(plain: Deployment) -> None:
    ann, ben = plain.people(2, PASSWORD)
    sent = ann.send(ben.id, "hello").message_id
    conversation = conversation_of(sent)
    assert [message.content for message in ben.GetMessageHistory(conversation_id=conversation).messages] == ["hello"]
    assert ben.GetUnreadMessages().total_count == 1
    ben.MarkMessageRead(conversation_id=conversation, message_id=sent)
    assert [user.user_id for user in ann.SearchUsers(query=ben.username).users] == [ben.id]
    plain.signed_in(ann.id, ann.username, PASSWORD).Logout()


def test_errors_have_their_details_and_calls_are_counted(plain: Deployment) -> None:
    person = plain.person(password=PASSWORD)
    for _ in range(3):
        with refused("INVALID_ARGUMENT", field="content"):
            person.SendMessage(to_user_id="u1")
    with refused("UNAUTHENTICATED", reason="NO_TOKEN"):
        plain.logic.GetUserProfile(logic_pb2.GetUserProfileRequest())
    in_body = (*person.metadata, ("x-gochat-error-mode", "body"))
    answer = plain.logic.SendMessage(logic_pb2.SendMessageRequest(to_user_id="u1"), metadata=in_body)
    assert answer.error.details["reason"]
    labels = {"grpc_service": LOGIC, "grpc_method": "SendMessage"}

    def counted() -> bool:
        metrics = plain.processes[0].metrics()
        refusals = metrics("grpc_server_handled_total", grpc_code="InvalidArgument", **labels)
        return (metrics("grpc_server_started_total", **labels), refusals) == (4, 3)

    eventually(counted)


def test_health_is_watched_until_the_end(plain: Deployment) -> None:
    health = health_pb2_grpc.HealthStub(plain.channel)
    assert check(plain.channel, LOGIC) == SERVING
    assert status_of(lambda: check(plain.channel, "none")) == "NOT_FOUND"
    unknown = health.Watch(health_pb2.HealthCheckRequest(service="none"))
    assert next(unknown).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    assert unknown.code() is grpc.StatusCode.NOT_FOUND
    watch = health.Watch(health_pb2.HealthCheckRequest())
    assert next(watch).status == SERVING
    assert plain.processes[0].stop() == 0
    assert [answer.status for answer in watch] == [NOT_SERVING]
    assert watch.code() is grpc.StatusCode.OK


def test_reflection_answers(plain: Deployment) -> None:
    reflected = ProtoReflectionDescriptorDatabase(plain.channel)
    assert LOGIC in reflected.get_services()
    assert [found.name for found in reflected.FindFileContainingSymbol(LOGIC).service] == ["LogicService"]


def test_streams_are_served_up_to_a_limit(plain: Deployment) -> None:
    ann, ben = plain.people(2, PASSWORD)
    with listening(plain, ann.metadata) as listener:
        sent = ben.send(ann.id, "hello")
        listener.until(lambda each: each.contents == ["hello"])
        with refused("INVALID_ARGUMENT", "cursor"):
            next(subscribe(plain, ben.metadata, cursor="none"))
        with refused("UNAUTHENTICATED"):
            next(subscribe(plain, ()))
    with listening(plain, ann.metadata, cursor=listener.cursor):
        ben.send(conversation_of(sent.message_id), "again")
    process = plain.processes[0]
    eventually(lambda: process.metrics()("gochat_streams_open") == 0)
    streams = [subscribe(plain, plain.service) for _ in range(MAX_SUBSCRIBED)]
    for stream in streams:
        assert next(stream).HasField("ready")
    assert process.metrics()("gochat_streams_open") == MAX_SUBSCRIBED
    assert status_of(lambda: next(subscribe(plain, ben.metadata))) == "RESOURCE_EXHAUSTED"
    assert ann.GetUserProfile().profile.username == ann.username
    streams.pop().cancel()
    eventually(lambda: status_of(lambda: next(subscribe(plain, ben.metadata))) == "OK")
    assert process.stop() == 0
    for stream in streams:
        assert [each.goodbye.reason for each in read(stream)][-1:] == [event_pb2.Goodbye.REASON_RECONNECT]


def subscribe(app: Deployment, metadata: Any, **request: Any) -> Any:
    stub = event_pb2_grpc.EventServiceStub(app.channel)
    return stub.Subscribe(event_pb2.SubscribeRequest(**request), metadata=metadata, timeout=60)


def read(stream: Any) -> list[event_pb2.SubscribeResponse]:
    """What is left of a stream."""
    responses: list[event_pb2.SubscribeResponse] = []
    with suppress(grpc.RpcError):
        for response in stream:
            responses.append(response)
    return responses
