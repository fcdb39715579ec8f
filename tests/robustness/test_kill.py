"""SIGKILL in the middle of a stream of sends: what was acknowledged is there, once, and in order."""

import random
import threading
import time

import grpc

from gochat.api.logic.v1 import logic_pb2, logic_pb2_grpc
from tests.conftest import Start
from tests.harness import Deployment, as_service, every_message

SENDERS, ROUNDS = 8, 3


class Sender(threading.Thread):
    """Sends until the server is gone; a send whose fate is unknown is repeated under its key in the next round."""

    def __init__(self, app: Deployment, user_id: str, group: str) -> None:
        super().__init__()
        self.app, self.user_id, self.group = app, user_id, group
        self.acknowledged: dict[str, str] = {}  # client_msg_id -> message_id
        self.pending: list[str] = []
        self.number = 0

    def run(self) -> None:
        channel = grpc.insecure_channel(self.app.address)
        stub = logic_pb2_grpc.LogicServiceStub(channel)
        try:
            while True:
                key = self.pending[0] if self.pending else self._next()
                request = logic_pb2.SendMessageRequest(
                    from_user_id=self.user_id, conversation_id=self.group, content=key, metadata={"client_msg_id": key}
                )
                answer = stub.SendMessage(request, metadata=self.app.service, timeout=10)
                self.acknowledged[key] = answer.message_id
                self.pending.clear()
        except grpc.RpcError:
            return
        finally:
            channel.close()

    def _next(self) -> str:
        self.number += 1
        self.pending.append(f"{self.user_id}:{self.number}")
        return self.pending[0]

    def again(self) -> "Sender":
        sender = Sender(self.app, self.user_id, self.group)
        sender.acknowledged, sender.pending, sender.number = self.acknowledged, self.pending, self.number
        return sender


def test_nothing_acknowledged_is_lost_or_doubled(start: Start) -> None:
    app = start()
    users = [app.create_user() for _ in range(SENDERS)]
    calls = as_service(app)
    group = calls.logic.CreateGroup(name="g", owner_id=users[0], member_ids=users).group_id
    senders = [Sender(app, user_id, group) for user_id in users]
    for _ in range(ROUNDS):
        senders = [sender.again() for sender in senders]
        for sender in senders:
            sender.start()
        time.sleep(random.uniform(0.3, 0.8))
        app.kill()
        for sender in senders:
            sender.join()
        app.start()
    stored = every_message(as_service(app).logic.GetMessageHistory, group)
    acknowledged = {key: message_id for sender in senders for key, message_id in sender.acknowledged.items()}
    assert len(acknowledged) > SENDERS * ROUNDS
    by_key = {message.content: message.message_id for message in stored}
    assert len(by_key) == len(stored), "a message is there twice"
    assert {key: by_key.get(key) for key in acknowledged} == acknowledged
    assert [int(message.message_id[-12:]) for message in stored] == list(range(len(stored), 0, -1))
    in_doubt = {key for sender in senders for key in sender.pending}
    assert set(by_key) - set(acknowledged) <= in_doubt
