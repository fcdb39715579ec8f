"""Users who act, and connections to the servers."""

import base64
import json
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import grpc

from gochat.api.event.v1 import event_pb2_grpc
from gochat.api.logic.v1 import logic_pb2_grpc
from gochat.api.message.v1 import message_pb2_grpc
from gochat.api.repo.v1 import repo_pb2_grpc
from gochat.api.session.v1 import session_pb2_grpc
from tests.robustness.ledger import Send

OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # a connection for each client
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
)


class Stubs:
    """logic, repo: gRPC targets."""

    def __init__(self, logic: str, repo: str) -> None:
        self.channels = [grpc.insecure_channel(target, options=OPTIONS) for target in (logic, repo)]
        self.logic = logic_pb2_grpc.LogicServiceStub(self.channels[0])
        self.message = message_pb2_grpc.MessageServiceStub(self.channels[0])
        self.event = event_pb2_grpc.EventServiceStub(self.channels[0])
        self.session = session_pb2_grpc.SessionServiceStub(self.channels[0])
        self.repo = repo_pb2_grpc.RepoServiceStub(self.channels[1])

    def close(self) -> None:
        for channel in self.channels:
            channel.close()


@dataclass
class Person:
    """A user that acts. pending: keyed sends without an answer, each a request, to be repeated until there is one."""

    user_id: str
    username: str
    token: str
    stubs: Stubs
    pending: list[list[Send]] = field(default_factory=list)
    numbers: Any = field(default_factory=lambda: count(1))

    def word(self) -> str:
        return f"{self.username} says {next(self.numbers)}"


def session_of(access_token: str) -> str:
    """The id of the session that it belongs to."""
    payload = access_token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(payload + "=="))["sid"])
