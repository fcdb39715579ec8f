"""Streams over a network that breaks: cut at any byte, read slowly or not at all, on one of many devices."""

import random
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import grpc

from gochat.api.event.v1 import event_pb2, event_pb2_grpc
from tests.conftest import Own
from tests.conversations import group, seq_of
from tests.harness import Deployment, as_service, new_connection
from tests.processes import memory
from tests.streams import Listener, listening

CUTS = 60  # connections that break


class CuttingProxy:
    """Passes on what the server sends, up to a random number of bytes; then both sides are reset."""

    def __init__(self, address: str, dice: random.Random) -> None:
        host, _, port = address.rpartition(":")
        self._to, self._dice = (host, int(port)), dice
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._to)
                threading.Thread(target=self._up, args=(client, server), daemon=True).start()
                threading.Thread(target=self._down, args=(server, client), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        left = self._dice.randint(1, 20_000)
        with suppress(OSError):
            while left and (data := server.recv(min(left, 4096))):
                client.sendall(data)
                left -= len(data)
        self.cuts += 1
        for each in (client, server):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def close(self) -> None:
        self._listener.close()


@contextmanager
def cutting(address: str) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(address, random.Random(1))
    try:
        yield proxy
    finally:
        proxy.close()


def test_a_stream_that_is_cut_at_random_bytes_loses_nothing(app: Deployment) -> None:
    ann, ben = app.people(2)
    room = group(ann, ben)
    over = threading.Event()
    sent = list[int]()

    def send() -> None:
        while not over.is_set():
            sent.append(seq_of(ann.send(room, "x" * 400)))

    came = dict[int, None]()
    cursor = ""
    with cutting(app.address) as proxy, ThreadPoolExecutor(1) as pool:
        with listening(app, ben.metadata) as first:
            cursor = first.cursor
        sending = pool.submit(send)
        try:
            while proxy.cuts < CUTS:
                with grpc.insecure_channel(
                    proxy.address, [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
                ) as channel:
                    listener = Listener(channel, ben.metadata, event_pb2.SubscribeRequest(cursor=cursor), timeout=30)
                    listener.ended()
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
    app = own(env={"GOCHAT_LIMITS_STREAMS_PER_CONNECTION": "100"})
    (process,) = app.processes
    ann, ben, cem = app.people(3)
    room = group(ann, ben, cem)
    with new_connection(app.address) as channel, listening(app, cem.metadata) as other:
        stalled = event_pb2_grpc.EventServiceStub(channel).Subscribe(
            event_pb2.SubscribeRequest(), metadata=ben.metadata
        )
        cursor = next(stalled).cursor
        service, content = as_service(app), "y" * 4000
        before = memory(process.pid)
        for _ in range(20):
            requests = [{"conversation_id": room, "from_user_id": ann.id, "content": content}] * 100
            assert all(each.message_id for each in service.message.SendMessages(messages=requests).results)
        other.until(lambda each: len(each.contents) == 2000)
        assert memory(process.pid) - before < 30 * 2**20, "of 8 MB of messages, twice"
        seqs = list[int]()
        for response in stalled:  # it reads again, or was cut off after 30 s
            seqs += [seq_of(e.message_sent.message) for e in response.batch.events if e.HasField("message_sent")]
            cursor = response.cursor or cursor
            if len(seqs) == 2000:
                break
        assert seqs == list(range(1, 2001))
        stalled.cancel()
