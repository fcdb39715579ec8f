"""A PostgreSQL server that neither answers nor dies (SIGSTOP: a host that swaps, a disk that hangs)."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from grpc import StatusCode

from gochat.api.logic.v1 import logic_pb2
from tests.harness import Deployment, every_message
from tests.postgres import Postgres, running_postgres
from tests.repo.test_outage import again_and_again

DEADLINE_EXCEEDED, UNAVAILABLE = StatusCode.DEADLINE_EXCEEDED, StatusCode.UNAVAILABLE
PATIENCE = 1.0  # seconds


@pytest.fixture
def server() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


def test_clients_wait_no_longer_than_they_said_and_nothing_is_lost(server: Postgres, tmp_path: Path) -> None:
    threads = 8
    app = Deployment(tmp_path / "app", url=server.create_database(), env={"GOCHAT_SERVER_THREADS": str(threads)})
    try:
        person, friend = app.person(), app.create_user()
        conversation_id = person.send(friend, "before").message_id.rpartition("-")[0]
        words = [str(number) for number in range(2 * threads)]
        requests = [
            logic_pb2.SendMessageRequest(to_user_id=friend, content=word, metadata={"client_msg_id": word})
            for word in words
        ]
        with server.frozen():
            send = app.logic.SendMessage.future
            sends = [send(request, metadata=person.metadata, timeout=PATIENCE) for request in requests]
            assert {sent.code() for sent in sends} <= {DEADLINE_EXCEEDED, UNAVAILABLE}
        for request in requests:
            again_and_again(partial(app.logic.SendMessage, request, metadata=person.metadata, timeout=30))
        found = every_message(person.GetMessageHistory, conversation_id)
        assert sorted(message.content for message in found) == sorted(["before", *words])
    finally:
        app.kill()
