"""gochat top: the table says what was called, how fast, and what failed; where nobody answers it says so."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from gochat.commands.top import quantile, table
from tests.conftest import Own
from tests.harness import PASSWORD, Deployment, Person
from tests.processes import environment, gochat
from tests.waiting import status_of


def top(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return gochat("top", *arguments, env=env)


@contextmanager
def busy(person: Person) -> Iterator[None]:
    """Meanwhile somebody asks for profiles, every other time of nobody."""
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.01):
            person.GetUserProfile()
            assert status_of(lambda: person.GetUserProfile(user_id="u404")) == "NOT_FOUND"

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture(scope="module")
def halves(own_of_module: Own) -> Deployment:
    return own_of_module("sqlite-split")


def test_once_prints_one_table(halves: Deployment) -> None:
    logic, repo = (process.metrics_url for process in halves.processes)
    with busy(halves.person(password=PASSWORD)):
        run = top("--once", "--metrics", logic, repo.split("/")[2])
        alone = top("--once", GOCHAT_METRICS_LISTEN=logic.split("/")[2])
    assert (run.returncode, run.stderr, alone.returncode) == (0, "", 0)
    lines = run.stdout.splitlines()
    assert re.fullmatch(
        r"users \d+ \(24 h: \d+, 30 days: \d+\)  messages \d+  conversations \d+ \(groups: \d+\)", lines[0]
    )
    assert re.fullmatch(r"in flight \d+  waiting \d+  CPU [\d.]+ %  memory \d+ MiB  files \d+", lines[1])
    assert re.fullmatch(r"streams 0  events/s 0  lag P99 - ms", lines[2])
    assert lines[4].split("  ")[0] == "RPC"
    row = next(line.split() for line in lines if line.startswith("Logic.GetUserProfile "))
    rate, p50, p95, p99, errors = map(float, row[1:6])
    assert rate > 1
    assert 0 < p50 <= p95 <= p99
    assert abs(errors - rate / 2) <= rate / 4
    assert any(line.startswith("Store.GetProfile ") for line in lines), "of both halves"
    assert alone.stdout.startswith("users - (24 h: -, 30 days: -)  messages -"), "the logic half does not know"
    assert "Store." not in alone.stdout


def test_the_live_table_fits_the_terminal(halves: Deployment) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 6, 60, 0, 0))
    command = [sys.executable, "-m", "gochat", "top", "--metrics", halves.processes[0].metrics_url]
    env = environment(without=("COLUMNS", "LINES"))
    process = subprocess.Popen(command, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    with busy(halves.person(password=PASSWORD)):
        seen = read_until(ours, "", lambda text: text.count("\x1b[H") >= 2)
    process.send_signal(signal.SIGINT)
    seen = read_until(ours, seen, lambda text: text.endswith("\x1b[?25h\x1b[?1049l"))
    assert process.wait(30) == 0
    os.close(ours)
    assert seen.startswith("\x1b[?1049h\x1b[?25l")
    for frame in seen.split("\x1b[H")[1:]:
        lines = frame.partition("\x1b[J")[0].replace("\r", "").split("\n")
        assert len(lines) <= 5
        assert max(len(line.removesuffix("\x1b[K")) for line in lines) <= 60
        assert lines[1].startswith("users ")


def read_until(terminal: int, text: str, enough: Callable[[str], bool]) -> str:
    until = time.monotonic() + 60
    while not enough(text):
        assert time.monotonic() < until, text
        if select.select([terminal], [], [], 1)[0]:
            text += os.read(terminal, 65536).decode()
    return text


@pytest.mark.parametrize(
    ("arguments", "env", "says"),
    [
        (["--metrics", "127.0.0.1:1"], {}, "gochat: http://127.0.0.1:1/metrics: no metrics there"),
        ([], {"GOCHAT_METRICS_LISTEN": "127.0.0.1:1"}, "gochat: http://127.0.0.1:1/metrics: no metrics there"),
        ([], {"GOCHAT_METRICS_LISTEN": ""}, "gochat: metrics.listen: '' does not say where the metrics are"),
        ([], {"GOCHAT_METRICS_LISTEN": "127.0.0.1:0"}, "gochat: metrics.listen: '127.0.0.1:0' does not say where"),
        (["--metrics", "here"], {}, "gochat: --metrics: must be HOST:PORT, not 'here'"),
    ],
)
def test_missing_metrics_are_reported_in_one_line(arguments: list[str], env: dict[str, str], says: str) -> None:
    run = top("--once", *arguments, **env)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith(says)
    assert run.stderr.count("\n") == 1


def test_a_server_without_metrics_is_reported(halves: Deployment) -> None:
    run = top("--once", "--metrics", halves.address)  # speaks HTTP/2
    assert (run.returncode, run.stdout) == (1, "")
    assert f"{halves.address}/metrics: no metrics there" in run.stderr


def test_quantiles_are_interpolated_within_a_bucket() -> None:
    """As histogram_quantile: evenly within a bucket."""
    buckets = [(0.1, 0.0), (0.2, 50.0), (0.4, 100.0), (float("inf"), 100.0)]
    assert [quantile(buckets, q) for q in (0.25, 0.5, 0.75, 1)] == [pytest.approx(s) for s in (0.15, 0.2, 0.3, 0.4)]
    assert quantile([(0.1, 1.0), (float("inf"), 4.0)], 0.9) == 0.1
    assert quantile([(0.1, 0.0), (float("inf"), 0.0)], 0.5) is None
    assert quantile([], 0.5) is None


def test_a_restart_between_two_scrapes_counts_from_zero() -> None:
    labels = frozenset({("grpc_service", "gochat.api.logic.v1.LogicService"), ("grpc_method", "SendMessage")})
    lines = table({("grpc_server_handled_total", labels): 500.0}, {("grpc_server_handled_total", labels): 30.0}, 2.0)
    assert lines[-1].split()[:3] == ["Logic.SendMessage", "15.0", "-"]
