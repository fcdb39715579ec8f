"""A signal ends the process in time, whatever it is doing."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Own
from tests.harness import locked
from tests.rpc.workers import TWO, workers
from tests.waiting import eventually, with_the_writer

GRACE, CLOSING_TIMEOUT = 1.0, 5.0  # seconds: every process ends within their sum
IN_A_DRIVER = """
import hashlib
from gochat import lifecycle, logs
from gochat.config import Log
lifecycle.CLOSING_TIMEOUT = 0.5
logs.to_stderr(Log())
stop = lifecycle.stop_signals(0.5, supervised=False)
print("ready", flush=True)
hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # no handler in Python is called before it returns
"""


def in_a_driver() -> "subprocess.Popen[str]":
    """A process whose main thread is in C code for minutes."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", IN_A_DRIVER], text=True, **pipes)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    spent = cpu_ticks(process.pid)
    eventually(lambda: cpu_ticks(process.pid) > spent + 10)  # only its next line takes so much
    return process


def cpu_ticks(pid: int) -> int:
    """User time, mostly in hundredths of a second."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])


def test_a_signal_is_handled_while_the_main_thread_is_in_c_code() -> None:
    process = in_a_driver()
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=10)
    assert process.returncode == 1
    assert re.search(r"ERROR .*gochat\.lifecycle: ended by force; .* MainThread \(<string>:9\)", log)


def test_a_second_signal_is_handled_there_too() -> None:
    process = in_a_driver()
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode in {128 + signal.SIGINT, 128 + signal.SIGTERM}, "the kernel may turn the two around"


def test_a_server_that_cannot_finish_is_ended(own: Own) -> None:
    app = own(env={"GOCHAT_SERVER_GRACE": str(GRACE)})
    person, friend = app.person(), app.create_user()
    person.send(friend)
    with locked(app):  # for which a transaction waits 5 s, and then the next one
        running = []
        for waiting in range(3):
            running.append(person.begin_send(friend, timeout=60))
            with_the_writer(app.processes[0], waiting + 1, waiting)
        began = time.monotonic()
        assert app.processes[0].stop() == 1
        assert time.monotonic() - began < GRACE + CLOSING_TIMEOUT
    assert not any(call.exception() is None for call in running)
    (line,) = [line for line in app.logs().splitlines() if "ended by force" in line]
    assert re.search(r"threads that still ran: .*writer \(\w+\.py:\d+\)", line)
    app.start()
    assert app.stop() == [0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_cannot_finish_is_ended(own: Own, number: signal.Signals) -> None:
    app = own("postgres", env=TWO | {"GOCHAT_SERVER_GRACE": str(GRACE)})
    (process,) = app.processes
    there = workers(process)
    os.kill(min(there), signal.SIGSTOP)
    began = time.monotonic()
    assert process.stop(number) == 0
    assert time.monotonic() - began < GRACE + CLOSING_TIMEOUT
    assert "1 workers did not end within 4.25 s: ended by force" in app.logs()
    assert not any(Path(f"/proc/{pid}").exists() for pid in there)
