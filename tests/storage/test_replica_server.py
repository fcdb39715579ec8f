"""A server that reads from a replica: what a stream has delivered is in the list that its client then reads."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gochat.api.event.v1.event_pb2 import SubscribeRequest
from tests.conversations import conversation_of
from tests.harness import Deployment
from tests.postgres import Pair, running_postgres
from tests.streams import Listener

READS = "gochat_database_replica_reads_total"


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with running_postgres() as primary, Pair(primary) as made:
        yield made


@pytest.mark.parametrize("split", [False, True], ids=["colocated", "split"])
def test_what_a_stream_has_delivered_is_in_every_list(pair: Pair, tmp_path: Path, split: bool) -> None:
    url, replica_url = pair.url_of(pair.primary), pair.url_of(pair.standby)
    app = Deployment(tmp_path, url=url, split=split, env={"GOCHAT_DATABASE_REPLICA_URL": replica_url})
    try:
        ann, ben = app.person(), app.person()
        conversation_id = conversation_of(ann.send(ben.id, "0"))
        listener = Listener(app.channel, ben.metadata, SubscribeRequest())
        listener.ready()
        for number in range(1, 40):
            content = str(number)
            ann.send(ben.id, content)
            listener.until(lambda it, number=number: len(it.contents) == number)  # type: ignore[misc]
            unread = ben.GetUnreadMessages()
            assert ben.ListMessages(conversation_id=conversation_id).messages[-1].message.content == content
            assert ben.GetMessageHistory(conversation_id=conversation_id).messages[0].content == content
            assert ben.GetConversations().conversations[0].last_message.content == content
            assert unread.total_count == number + 1
        metrics = app.processes[-1].metrics()
        assert metrics(READS, where="replica") > metrics(READS, where="primary")
        assert "gochat_database_replica_lag_bytes" in {sample.name for sample in metrics.samples}
        assert "lists, history and searches are read from the replica" in app.logs()
    finally:
        app.kill()
