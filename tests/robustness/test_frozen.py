"""A PostgreSQL server that neither answers nor dies (SIGSTOP: a host that swaps, a disk that hangs)."""

from functools import partial

from grpc import StatusCode

from gochat.api.logic.v1 import logic_pb2
from tests.conftest import Own
from tests.conversations import conversation_of, history
from tests.postgres import Postgres
from tests.waiting import once_available

DEADLINE_EXCEEDED, UNAVAILABLE = StatusCode.DEADLINE_EXCEEDED, StatusCode.UNAVAILABLE
TIMEOUT = 1.0  # seconds


def test_calls_end_at_their_deadline_and_nothing_is_lost(own: Own, own_postgres: Postgres) -> None:
    threads = 8
    app = own(url=own_postgres.create_database(), env={"GOCHAT_SERVER_THREADS": str(threads)})
    person, friend = app.person(), app.create_user()
    conversation_id = conversation_of(person.send(friend, "before"))
    words = [str(number) for number in range(2 * threads)]
    requests = [
        logic_pb2.SendMessageRequest(to_user_id=friend, content=word, metadata={"client_msg_id": word})
        for word in words
    ]
    with own_postgres.frozen():
        send = app.logic.SendMessage.future
        sends = [send(request, metadata=person.metadata, timeout=TIMEOUT) for request in requests]
        assert {sent.code() for sent in sends} <= {DEADLINE_EXCEEDED, UNAVAILABLE}
    for request in requests:
        once_available(partial(app.logic.SendMessage, request, metadata=person.metadata, timeout=30))
    found = history(person, conversation_id)
    assert sorted(message.content for message in found) == sorted(["before", *words])
