"""A TCP proxy, for what networks do to connections: a test's kind of Connection cuts them, or loses what they carry."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class Connection:
    """One that goes through a proxy: it passes on what either side sends, on a thread for each. is_lost: not even an
    end gets through any more."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.is_cut = self.is_lost = False

    def start(self) -> None:
        for source, take in ((self.client, self.from_client), (self.server, self.from_server)):
            threading.Thread(target=self._run, args=(source, take), daemon=True).start()

    def _run(self, source: socket.socket, take: Callable[[bytes], None]) -> None:
        with suppress(OSError):
            while not self.is_cut and (data := source.recv(65536)):
                if not self.is_lost:
                    take(data)
        if not self.is_lost:
            self.cut()

    def from_client(self, data: bytes) -> None:
        self.server.sendall(data)

    def from_server(self, data: bytes) -> None:
        self.client.sendall(data)

    def cut(self) -> None:
        self.is_cut = True
        for each in (self.client, self.server):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


Kind = Callable[[socket.socket, socket.socket], Connection]


class Proxy:
    """connections: all that there were, in their order."""

    def __init__(self, to: tuple[str, int], kind: Kind = Connection) -> None:
        self._to, self._kind = to, kind
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.address = f"127.0.0.1:{self.port}"
        self.connections: list[Connection] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                connection = self._kind(client, socket.create_connection(self._to))
                self.connections.append(connection)
                connection.start()

    def lose(self) -> None:
        """From now on nothing gets through on the connections that there are, and nobody hears of that."""
        for connection in self.connections:
            connection.is_lost = True

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # or the thread that accepts would accept once more
        self._listener.close()
        for connection in self.connections:
            connection.cut()


@contextmanager
def proxy(address: str, kind: Kind = Connection) -> Iterator[Proxy]:
    """address: HOST:PORT of what is behind it."""
    host, _, port = address.rpartition(":")
    made = Proxy((host, int(port)), kind)
    try:
        yield made
    finally:
        made.close()
