"""Clients of a test: how one is made for a person, and a program that reads its events and writes down what came."""

import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from gochat.api.event.v1.event_pb2 import Event
from gochat.client import ChatError, Client
from tests.conversations import seq_of
from tests.harness import PASSWORD, Deployment, Person
from tests.proxy import Connection, Proxy

FAST = (0.01, 0.1)
"""Seconds to reconnect within: a test breaks connections by the hundred."""
MAX_BYTES = 6_000  # of a connection before it is cut
TIMEOUT = 30.0  # seconds within which what is expected must come


def client_of(app: Deployment, person: Person, **options: Any) -> Client:
    """Of this person, signed in on a device of its own. options: as of Client."""
    given = {"username": person.username, "password": PASSWORD, "backoff": FAST, "address": app.address} | options
    return Client(given.pop("address"), **given)


class Program(threading.Thread):
    """Reads the events of a client. error: with which they ended."""

    def __init__(self, client: Client, **options: Any) -> None:
        super().__init__(daemon=True)
        self.iterator = client.events(**options)
        self.events: list[Event] = []
        self.error: ChatError | None = None
        self.is_over = False
        self._came = threading.Condition()

    def run(self) -> None:
        try:
            for event in self.iterator:
                with self._came:
                    self.events.append(event)
                    self._came.notify_all()
        except ChatError as error:
            self.error = error
        with self._came:
            self.is_over = True
            self._came.notify_all()

    @property
    def messages(self) -> list[Any]:
        return [event.message_sent.message for event in list(self.events) if event.HasField("message_sent")]

    @property
    def contents(self) -> list[str]:
        return [message.content for message in self.messages]

    @property
    def seqs(self) -> list[int]:
        return [seq_of(message) for message in self.messages]

    def until(self, *holds: Callable[[Self], object], seconds: float = TIMEOUT) -> Self:
        with self._came:
            assert self._came.wait_for(lambda: all(each(self) for each in holds), seconds), (
                f"{self.contents[-5:]} {self.error}"
            )
        return self

    def ended(self) -> ChatError | None:
        self.until(lambda each: each.is_over)
        return self.error


@contextmanager
def program(client: Client, **options: Any) -> Iterator[Program]:
    running = Program(client, **options)
    running.start()
    try:
        yield running
    finally:
        running.iterator.close()
        running.join(TIMEOUT)


class Cut(Connection):
    """Is cut after so many bytes, of both directions together."""

    def __init__(self, client: socket.socket, server: socket.socket, left: int) -> None:
        super().__init__(client, server)
        self._left, self._taking = left, threading.Lock()

    def from_client(self, data: bytes) -> None:
        self._take(self.server, data)

    def from_server(self, data: bytes) -> None:
        self._take(self.client, data)

    def _take(self, target: socket.socket, data: bytes) -> None:
        with self._taking:
            passed, self._left = data[: max(0, self._left)], self._left - len(data)
            target.sendall(passed)
            if self._left <= 0:
                self.cut()


class Network:
    """A proxy that cuts every connection after a random number of bytes, until heal()."""

    def __init__(self, address: str, seed: int) -> None:
        self._dice, self._is_healed = random.Random(seed), False
        host, _, port = address.rpartition(":")
        self._proxy = Proxy((host, int(port)), self._connection)
        self.address = self._proxy.address

    def _connection(self, client: socket.socket, server: socket.socket) -> Connection:
        return Connection(client, server) if self._is_healed else Cut(client, server, self._dice.randint(1, MAX_BYTES))

    @property
    def cuts(self) -> int:
        return sum(each.is_cut for each in self._proxy.connections)

    def heal(self) -> None:
        self._is_healed = True
        for each in self._proxy.connections:
            each.cut()

    def close(self) -> None:
        self._proxy.close()


@contextmanager
def cutting(address: str, seed: int) -> Iterator[Network]:
    network = Network(address, seed)
    try:
        yield network
    finally:
        network.close()
