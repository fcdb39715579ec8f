"""The log's own thread: a stderr that is slow, full, closed or missing delays no process; lost lines are reported."""

import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.processes import environment

PIPE_SIZE = 4096  # bytes, the least that Linux makes them

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
    assert 0 < dropped < 1000, "what the pipe and the queue held was written"
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
        log.warning("of call %d", number)
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
