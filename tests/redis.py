"""A Redis server of the tests' own."""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from tests.processes import frozen, missing
from tests.waiting import eventually


@contextmanager
def running_redis() -> Iterator["Redis"]:
    """Where there is no redis-server, this is a skip that says so, and under CI a failure."""
    program = shutil.which("redis-server")
    if not program:
        missing("no redis-server on the PATH")
    server = Redis(str(program))
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.folder)


class Redis:
    """number: of the database whose channel is used."""

    number = 3

    def __init__(self, program: str) -> None:
        self._program, self.folder = program, tempfile.mkdtemp(prefix="gochat-redis-")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.client = ("redis-cli", "-p", str(self.port))
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/{self.number}"

    def start(self) -> None:
        arguments = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder)
        self._process = subprocess.Popen([self._program, *arguments], stdout=subprocess.DEVNULL)
        eventually(lambda: self._ask("ping") == ["PONG"])

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def frozen(self) -> AbstractContextManager[None]:
        return frozen(self._process.pid)

    def channels(self) -> list[str]:
        """That somebody listens to."""
        return self._ask("pubsub", "channels", "gochat.*")

    def keys(self) -> list[str]:
        return self._ask("-n", str(self.number), "keys", "*")

    def expires(self, key: str) -> bool:
        """Or it is gone already."""
        return self._ask("-n", str(self.number), "pttl", key) != ["-1"]

    def _ask(self, *words: str) -> list[str]:
        run = subprocess.run([*self.client, *words], capture_output=True, text=True)
        return run.stdout.split()
