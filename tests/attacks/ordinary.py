"""An ordinary client, and what a server holds while it serves."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gochat.api.logic.v1 import logic_pb2, logic_pb2_grpc
from tests.conversations import conversation_of
from tests.harness import PASSWORD, Deployment, new_connection
from tests.health import SERVING
from tests.processes import children

CALL_TIMEOUT, HEALTH_TIMEOUT = 5.0, 1.0  # seconds that it waits at most


class Ordinary:
    """Somebody who makes every kind of call, again and again, on one connection."""

    def __init__(self, app: Deployment) -> None:
        self._app, self.person, self._friend = app, app.person(password=PASSWORD), app.create_user()
        self._conversation = conversation_of(self.person.send(self._friend))

    def round(self) -> None:
        """Each call once. Raises AssertionError, which says what went wrong with which."""
        self._calls(self._app.channel)

    def comes_again(self) -> None:
        """Each call once, on a new connection."""
        with new_connection(self._app.address) as channel:
            self._calls(channel)

    def _calls(self, channel: grpc.Channel) -> None:
        logic, health, pb = logic_pb2_grpc.LogicServiceStub(channel), health_pb2_grpc.HealthStub(channel), logic_pb2
        # Of one device, which has one session: too many of them would end the one that makes these calls.
        sign_in = pb.AuthRequest(username=self.person.username, password=PASSWORD, device_id="beside")
        sent = self._call(logic.SendMessage, pb.SendMessageRequest(to_user_id=self._friend, content="hello"))
        history = pb.GetMessageHistoryRequest(conversation_id=self._conversation)
        read = pb.MarkMessageReadRequest(conversation_id=self._conversation, message_id=sent.message_id)
        assert self._call(logic.GetMessageHistory, history).messages
        self._call(logic.MarkMessageRead, read)
        assert self._call(logic.GetUserProfile, pb.GetUserProfileRequest()).profile.user_id == self.person.id
        assert self._call(logic.SearchUsers, pb.SearchUsersRequest(query=self.person.username)).users
        assert self._call(logic.Authenticate, sign_in, None).access_token
        assert self._call(health.Check, health_pb2.HealthCheckRequest(), None, HEALTH_TIMEOUT).status == SERVING

    def _call(self, call: Any, request: Any, metadata: Any = (), timeout: float = CALL_TIMEOUT) -> Any:
        try:
            return call(request, metadata=self.person.metadata if metadata == () else metadata, timeout=timeout)
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            answer = f"{error.code()}: {error.details()}"
        raise AssertionError(f"an ordinary {type(request).__name__} was answered {answer}")


@dataclass(frozen=True)
class Footprint:
    """Of all processes of a GoChat. memory: resident, bytes."""

    threads: int
    descriptors: int
    memory: int


def footprint(app: Deployment) -> Footprint:
    pids = [pid for process in app.processes for pid in (process.pid, *children(process.pid))]
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    threads, descriptors = (sum(len(os.listdir(f"/proc/{pid}/{of}")) for pid in pids) for of in ("task", "fd"))
    return Footprint(threads, descriptors, pages * os.sysconf("SC_PAGE_SIZE"))
