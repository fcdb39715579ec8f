"""Streams over a network that breaks: cut at any byte, read slowly or not at all, on one of many devices."""

import random
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import grpc

from gochat.api.event.v1.event_pb2 import SubscribeRequest, SubscribeResponse
from gochat.api.event.v1.event_pb2_grpc import EventServiceStub
from tests.conftest import Own
from tests.conversations import group, seq_of
from tests.harness import Deployment, as_service, new_connection
from tests.processes import memory
from tests.proxy import Connection, proxy
from tests.streams import Listener, listening, scaled
from tests.waiting import polled

CUTS = scaled(60, 200)  # connections that break
MAX_BEHIND = 2000  # messages; a client that is too far behind gets a Resync
EVENTS = scaled(2000, 50_000)
STALLED = scaled(0, 300)  # seconds


class Cut(Connection):
    """Passes on what the server sends, up to a random number of bytes; then both sides are reset."""

    def __init__(self, client: socket.socket, server: socket.socket, dice: random.Random) -> None:
        super().__init__(client, server)
        self._left = dice.randint(1, 20_000)

    def from_server(self, data: bytes) -> None:
        super().from_server(data[: self._left])
        self._left -= len(data)
        if self._left <= 0:
            self.cut()


def test_a_stream_that_is_cut_at_random_bytes_loses_nothing(app: Deployment) -> None:
    ann, ben = app.people(2)
    room = group(ann, ben)
    over = threading.Event()
    sent = list[int]()

    def send() -> None:
        while not over.is_set():
            if len(sent) - len(came) < MAX_BEHIND:
                sent.append(seq_of(ann.send(room, "x" * 400)))
            else:
                over.wait(0.01)

    came = dict[int, None]()
    cursor = ""
    with proxy(app.address, partial(Cut, dice=random.Random(1))) as between, ThreadPoolExecutor(1) as pool:
        with listening(app, ben.metadata) as first:
            cursor = first.cursor
        sending = pool.submit(send)
        try:
            while sum(each.is_cut for each in between.connections) < CUTS:
                with grpc.insecure_channel(
                    between.address, [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
                ) as channel:
                    listener = Listener(channel, ben.metadata, SubscribeRequest(cursor=cursor), timeout=30)
                    listener.until(lambda each: each.error, seconds=60)  # by the cut, or by its deadline
                    assert not listener.resync
                    came |= {seq_of(each.message): None for each in listener.of_kind("message_sent")}
                    cursor = listener.cursor
        finally:
            over.set()
        sending.result()
    with listening(app, ben.metadata, cursor=cursor) as last:
        last.until(lambda each: {*came, *(seq_of(m.message) for m in each.of_kind("message_sent"))} >= {*sent})
        came |= {seq_of(each.message): None for each in last.of_kind("message_sent")}
    assert list(came) == sent


def test_a_client_that_does_not_read_costs_nobody_anything(own: Own) -> None:
    """It stalls, and takes nothing more, while there are more events than fit into any queue."""
    app = own()
    (process,) = app.processes
    ann, ben, cem = app.people(3)
    room = group(ann, ben, cem)
    with new_connection(app.address) as channel, listening(app, cem.metadata) as other:
        stalled = EventServiceStub(channel).Subscribe(SubscribeRequest(), metadata=ben.metadata)
        cursor = next(stalled).cursor
        service, size = as_service(app), memory(process.pid)
        for sent in range(0, EVENTS, 100):
            requests = [{"conversation_id": room, "from_user_id": ann.id, "content": "y" * 4000}] * 100
            assert all(each.message_id for each in service.message.SendMessages(messages=requests).results)
            other.until(lambda each, newest=sent + 100: _seqs(each.responses[-1])[-1:] == [newest])
        assert memory(process.pid) - size < 30 * 1024, "KiB, for 8 MB of events and more"
        assert process.metrics()("gochat_stream_queues_dropped_total") == 1
        assert not polled(lambda: other.error, seconds=STALLED)
        seqs = list[int]()
        with suppress(grpc.RpcError):  # one that takes nothing for 30 s is cut off
            for response in stalled:
                seqs += _seqs(response)
                cursor = response.cursor or cursor
                if len(seqs) == EVENTS:
                    stalled.cancel()
        if len(seqs) < EVENTS:
            with listening(app, ben.metadata, cursor=cursor) as again:
                again.until(lambda each: _seqs(each.responses[-1])[-1:] == [EVENTS], seconds=120)
                assert not again.resync
                seqs += [seq for response in again.responses for seq in _seqs(response)]
        assert seqs == list(range(1, EVENTS + 1))


def _seqs(response: SubscribeResponse) -> list[int]:
    return [seq_of(each.message_sent.message) for each in response.batch.events if each.HasField("message_sent")]
