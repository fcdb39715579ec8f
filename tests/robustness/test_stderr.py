"""A server whose log nobody reads does not wait for that, and says later what is missing."""

import array
import fcntl
import json
import os
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import pytest

from gochat.api.logic.v1 import logic_pb2
from gochat.logs import MAX_QUEUED
from tests.conftest import Own
from tests.harness import Deployment, Person
from tests.health import SERVING, check
from tests.processes import Metrics, free_address
from tests.waiting import eventually

GRACE = 2.0  # seconds
CLOSING_TIMEOUT = 5.0  # seconds beyond the grace in which every process has ended
PIPE_SIZE = 4096  # bytes, the least that Linux makes them
FILLING = 200  # calls whose lines are more than that
SETTINGS = {
    "GOCHAT_SERVER_GRACE": str(GRACE),
    "GOCHAT_LOG_SLOW_QUERY_MS": "0",  # on a busy machine some are
}
PROFILE = logic_pb2.GetUserProfileRequest()


class Stderr:
    """The stderr of a server: a pipe that is read when the test says so."""

    def __init__(self, log: Path) -> None:
        """log: where the server's log is to be."""
        os.mkfifo(log)
        self._log = log
        self._pipe = os.open(log, os.O_RDWR)
        fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        self._read = b""
        self._reading = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            self._reading.wait()
            self._read += os.read(self._pipe, 65536)

    @property
    def unread(self) -> int:
        """Bytes in the pipe."""
        number = array.array("i", [0])
        fcntl.ioctl(self._pipe, termios.FIONREAD, number)
        return number[0]

    def lines(self) -> list[str]:
        """All that was read until now, from when this is called."""
        self._reading.set()
        return self._read.decode().splitlines()

    def close(self) -> None:
        """Leaves a file, in which other tests look for secrets."""
        self._log.unlink()
        self._log.write_bytes(self._read)


@contextmanager
def unread(own: Own, folder: Path, **settings: Any) -> Iterator[tuple[Deployment, Stderr, Person]]:
    """A server whose stderr is full, and somebody who is signed in."""
    folder.mkdir(parents=True)
    stderr = Stderr(folder / "all.log")
    env = SETTINGS | settings.pop("env", {})
    app = own(folder=folder, env=env, **settings)
    try:
        person = app.person()
        for _ in range(FILLING):  # a line of more than 100 bytes each
            person.GetUserProfile()
        eventually(lambda: stderr.unread)
        yield app, stderr, person
    finally:
        app.kill()  # before its stderr is read
        stderr.lines()
        stderr.close()


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("level", ["info", "debug"])
def test_a_server_whose_log_nobody_reads_serves_and_stops(own: Own, tmp_path: Path, form: str, level: str) -> None:
    env = {"GOCHAT_LOG_FORMAT": form, "GOCHAT_LOG_LEVEL": level, "GOCHAT_LOG_SLOW_QUERY_MS": "1"}
    with unread(own, tmp_path / "app", env=env) as (app, _, person):
        friend = app.create_user()
        for number in range(20):
            request = logic_pb2.SendMessageRequest(to_user_id=friend, content=str(number))
            app.logic.SendMessage(request, metadata=person.metadata, timeout=5)
            app.logic.GetUserProfile(PROFILE, metadata=person.metadata, timeout=5)
            with pytest.raises(grpc.RpcError):  # NO_TOKEN
                app.logic.GetUserProfile(PROFILE, timeout=5)
        assert check(app.channel, timeout=5) == SERVING
        began = time.monotonic()
        assert app.stop() == [0]
        assert time.monotonic() - began < GRACE + CLOSING_TIMEOUT


def test_workers_whose_log_nobody_reads_stop(own: Own, tmp_path: Path) -> None:
    env = {"GOCHAT_SERVER_WORKERS": "2", "GOCHAT_LOG_SLOW_QUERY_MS": "1"}
    with unread(own, tmp_path / "app", mode="postgres", env=env) as (app, _, person):
        person.send(app.create_user())
        began = time.monotonic()
        assert app.stop() == [0]
        assert time.monotonic() - began < GRACE + CLOSING_TIMEOUT


def test_dropped_log_lines_are_counted_and_reported_later(own: Own, tmp_path: Path) -> None:
    listen = free_address()
    env = {"GOCHAT_LOG_FORMAT": "json", "GOCHAT_METRICS_LISTEN": listen}
    with unread(own, tmp_path / "app", env=env) as (app, stderr, person):
        profile, made = app.logic.GetUserProfile, FILLING
        while made < MAX_QUEUED + 1000:
            calls = [profile.future(PROFILE, metadata=person.metadata, timeout=30) for _ in range(500)]
            assert all(call.result().profile.user_id for call in calls)
            made += len(calls)

        def dropped() -> float:
            with urlopen(f"http://{listen}/metrics", timeout=30) as answer:
                return Metrics(answer.read().decode())("gochat_log_lines_dropped_total")

        assert 0 < dropped() < MAX_QUEUED
        stderr.lines()
        eventually(lambda: any("dropped" in line for line in stderr.lines()))

        def is_written_again() -> bool:  # what was dropped is said before there is room in the queue
            nonlocal made
            profile(PROFILE, metadata=(*person.metadata, ("x-request-id", "last")))
            made += 1
            return any('"request_id": "last"' in line for line in stderr.lines())

        eventually(is_written_again)
        assert app.stop() == [0]
        records = [json.loads(line) for line in stderr.lines()]
        said = [record for record in records if "dropped" in record]
        assert {record["level"] for record in said} == {"WARNING"}
        assert said[0]["message"] == f"log lines dropped: {said[0]['dropped']}"
        shown = sum(record.get("method", "").endswith("/GetUserProfile") for record in records)
        assert shown + sum(record["dropped"] for record in said) == made
