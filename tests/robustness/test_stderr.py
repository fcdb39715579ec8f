"""Nobody reads the log, or it cannot be written: the server does not wait for that, and says later what is missing."""

import array
import fcntl
import json
import os
import subprocess
import sys
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
from tests.conftest import Own
from tests.harness import Deployment, Person
from tests.health import SERVING, check
from tests.processes import Metrics, environment, free_address
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
        while made < 24_000:  # more than are queued
            calls = [profile.future(PROFILE, metadata=person.metadata, timeout=30) for _ in range(500)]
            assert all(call.result().profile.user_id for call in calls)
            made += len(calls)

        def dropped() -> float:
            with urlopen(f"http://{listen}/metrics", timeout=30) as answer:
                return Metrics(answer.read().decode())("gochat_log_lines_dropped_total")

        assert 0 < dropped() < 24_000
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


LOGS = """
import fcntl, logging, os, sys, time
from gochat import logs
from gochat.config import Log
logs.MAX_QUEUED = 50
logs.to_stderr(Log(format="json"))
log = logging.getLogger("one")
"""


def logging_process(script: str, **options: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", LOGS + script], **options)


def pipe(size: int = PIPE_SIZE) -> tuple[int, int]:
    ends = os.pipe()
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, size)
    return ends


def test_a_non_blocking_pipe_loses_no_log_line() -> None:
    read, write = pipe()
    os.set_blocking(write, False)
    script = """
for number in range(200):
    logs.MAX_QUEUED = 1000
    log.warning("%d %s", number, "x" * (number * 100))  # more than the pipe holds, in one line
logs.flush(60)
"""
    with logging_process(script, stderr=write) as process:
        os.close(write)
        with open(read, "rb") as stderr:
            lines = [json.loads(line) for line in stderr]
    assert process.returncode == 0
    assert [line["message"] for line in lines] == [f"{number} {'x' * (number * 100)}" for number in range(200)]


def test_an_unread_pipe_delays_neither_logging_nor_the_end() -> None:
    script = """
began = time.monotonic()
for _ in range(1000):
    log.warning("x" * 100)
print(logs.dropped(), time.monotonic() - began, flush=True)
print(time.monotonic(), flush=True)
"""
    read, write = pipe()
    with logging_process(script, stdout=subprocess.PIPE, stderr=write) as process:
        assert process.wait(timeout=30) == 0
        ended = time.monotonic()
        assert process.stdout is not None
        dropped, seconds, over = map(float, process.stdout.read().split())
    assert 800 < dropped < 1000
    assert seconds < 1
    assert ended - over < 3
    os.close(read)
    os.close(write)


def test_a_closed_pipe_ends_no_process() -> None:
    read, write = pipe()
    os.close(read)
    script = """
for number in range(100):
    log.warning("%d", number)
    logs.flush()
print(logs.dropped())
"""
    with logging_process(script, stdout=subprocess.PIPE, stderr=write) as process:
        os.close(write)
        assert process.stdout is not None
        assert process.stdout.read() == b"100\n"
    assert process.returncode == 0


def test_lines_dropped_on_a_full_disk_are_reported_on_a_line_of_their_own(tmp_path: Path) -> None:
    script = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log.warning("before"); logs.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))  # in the middle of the second line
for number in range(10):
    log.warning("%d", number)
    logs.flush()
assert logs.dropped() == 10
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.warning("after"); logs.flush()
"""
    with (tmp_path / "log").open("ab") as stderr, logging_process(script, stderr=stderr) as process:
        pass
    assert process.returncode == 0
    before, torn, *after = (tmp_path / "log").read_text().splitlines()
    assert json.loads(before)["message"] == "before"
    assert len(before) + 1 + len(torn) == 200
    assert [json.loads(line)["message"] for line in after] == [
        "after",
        "log lines dropped: 10",
    ]


def test_without_a_stderr_no_other_file_gets_the_log(tmp_path: Path) -> None:
    script = """
log.warning("to nobody"); logs.flush()
print(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT))
log.warning("to nobody"); logs.flush()
"""
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", LOGS + script, str(tmp_path / "file")]
    assert subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.split() != [b"2"]
    assert (tmp_path / "file").read_bytes() == b""


def test_uncaught_exceptions_are_logged_without_user_content() -> None:
    script = """
import threading, warnings
class Odd:
    def __del__(self): raise ValueError("secret")
def fails(): raise ValueError("secret")
thread = threading.Thread(target=fails); thread.start(); thread.join()
Odd()
warnings.warn("old")
log.warning("%d", "secret")
fails()
"""
    run = subprocess.run([sys.executable, "-c", LOGS + script], capture_output=True, text=True)
    assert run.returncode == 1
    lines = [json.loads(line) for line in run.stderr.splitlines()]
    said = [line for line in lines if line["message"] == "log lines dropped: 1"]
    assert len(said) == 1, "of the one whose argument is no number, as soon as something is written"
    records = [line for line in lines if line not in said]
    assert [(record["level"], record["logger"]) for record in records] == [
        ("CRITICAL", "gochat.logs"),
        ("CRITICAL", "gochat.logs"),
        ("WARNING", "py.warnings"),
        ("CRITICAL", "gochat.logs"),
    ]
    assert records[0]["exception"].endswith("in fails\nValueError")
    assert "secret" not in run.stderr


def test_lines_keep_their_order_and_their_request() -> None:
    script = """
from gochat.context import Call, entered, Caller, NOBODY
logs.MAX_QUEUED = 1000
for number in range(100):
    call = Call(NOBODY, f"r{number}", 0.0)
    logs.call("/a/B", None, 0.0, call)
    with entered(call):
        log.warning("of a call")
"""
    run = subprocess.run([sys.executable, "-c", LOGS + script], capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in run.stderr.splitlines()]
    assert [record["request_id"] for record in records] == [f"r{n}" for n in range(100) for _ in range(2)]
    assert [record["logger"] for record in records] == ["gochat.calls", "one"] * 100


def test_queued_log_lines_take_bounded_memory() -> None:
    script = """
import resource
logs.MAX_QUEUED = 20_000
def fails(room): raise ValueError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for number in range(5000):
    try:
        fails(bytearray(100_000))
    except ValueError:
        log.exception("%s", "x" * 10_000)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, logs.dropped())
"""
    read, write = pipe()
    with logging_process(script, stdout=subprocess.PIPE, stderr=write) as process:
        assert process.stdout is not None
        mebibytes, dropped = map(int, process.stdout.read().split())
    os.close(read)
    os.close(write)
    assert mebibytes < 50
    assert dropped > 3000


def test_grpc_core_logs_nothing() -> None:
    """It writes where it is, also on the threads that serve."""
    script = "import sys, os; from gochat.__main__ import main; sys.argv[1:] = ['version']; main()"
    script += "; print(os.environ['GRPC_VERBOSITY'])"
    for env, level in (({}, "NONE"), ({"GRPC_VERBOSITY": "DEBUG"}, "DEBUG")):
        variables = environment(env, without=["GRPC_VERBOSITY"])
        run = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True, check=True)
        assert run.stdout.splitlines()[-1] == level
