"""Processes of `gochat`: how a test starts one, with which environment, and what can be seen of it from outside."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from time import sleep
from typing import Any, ClassVar, NoReturn, Self
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.zygote import Forked, may_fork

PROGRAM = os.environ.get("GOCHAT_TEST_BINARY", sys.executable)
"""Runs `-m gochat`: Python, or dist/gochat."""

FAST = os.environ.get("GOCHAT_SERVER_FAST") != "0"
"""Do the servers of this run have the serving loop? The whole suite passes without it too (tests say what does not)."""

UNDER_WAY = re.compile(r".*: \d+ s so far; it may be interrupted, and then begins again\n")
"""What a command says every 5 s of work that takes long, as on a busy machine all does."""

Settings = Mapping[str, str]
"""Environment variables: GOCHAT_<SECTION>_<KEY>, and others."""


def missing(what: str) -> NoReturn:
    """Something that tests need is not here: under CI that is a failure, elsewhere a skip that says so."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"must be there under CI: {what}")
    pytest.skip(what)


def environment(settings: Settings | None = None, *, without: Collection[str] = ()) -> dict[str, str]:
    """The environment variables of a gochat process: those of the tests without any setting of GoChat, then these.

    Its metrics are on a free port, for servers side by side, and it does not listen for HTTP unless these settings say
    so. GOCHAT_SERVER_FAST is the one setting of the tests that
    reaches every process. without: variables that it does not have.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in without and (name == "GOCHAT_SERVER_FAST" or not name.startswith("GOCHAT_"))
    }
    return inherited | {"GOCHAT_METRICS_LISTEN": "127.0.0.1:0", "GOCHAT_HTTP_LISTEN": ""} | dict(settings or {})


def begin(
    *arguments: object, env: Settings | None = None, program: str = PROGRAM, **options: Any
) -> "subprocess.Popen[str]":
    """Starts a gochat command. env: as of environment(). program: sys.executable, for a test that sends a signal to the
    process or looks for its children, which the one file would not be. options: of Popen."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return _popen([program, "-m", "gochat", *map(str, arguments)], environment(env), **(pipes | options))


def _popen(command: list[str], variables: Settings, **options: Any) -> "subprocess.Popen[str]":
    """Forks the process where that makes no difference, else executes it."""
    is_plain = command[0] == sys.executable and options.keys() <= {"stdin", "stdout", "stderr", "cwd"}
    popen = Forked if is_plain and may_fork(variables) else subprocess.Popen
    return popen(command, env=variables, text=True, **options)


def gochat(
    *arguments: object,
    env: Settings | None = None,
    program: str = PROGRAM,
    stdin: str | None = None,
    check: bool = False,
    timeout: float = 120,
    **options: Any,
) -> "subprocess.CompletedProcess[str]":
    """Runs a gochat command to its end; what it says is without the lines UNDER_WAY. env, program, options: as of
    begin(). check: it must succeed."""
    if stdin is not None:
        options["stdin"] = subprocess.PIPE
    with begin(*arguments, env=env, program=program, **options) as process:
        try:
            out, err = process.communicate(stdin, timeout)
        except BaseException:
            process.kill()
            raise
    assert not check or process.returncode == 0, f"{' '.join(map(str, arguments))}: {process.returncode}\n{err}"
    return subprocess.CompletedProcess(process.args, process.returncode, out, err and UNDER_WAY.sub("", err))


def refused_start(*arguments: object, **env: str) -> str:
    """Runs a server that must not start; returns what it says."""
    run = gochat("serve", *arguments, env=env)
    assert (run.returncode, run.stdout) == (1, ""), run
    assert "Traceback" not in run.stderr, run.stderr
    return run.stderr


class Process:
    """One `gochat` process that has said that it is ready; as a context manager it is killed at the end of the block.

    logs: of all that there were.
    """

    logs: ClassVar[set[Path]] = set()

    def __init__(self, *arguments: str, env: Settings | None = None, log: Path, within: tuple[str, ...] = ()) -> None:
        """within: words before the command, that become it in the end, such as `ip netns exec NAME`."""
        self.log = log
        Process.logs.add(log)
        with log.open("ab") as stderr:
            command = [*within, PROGRAM, "-m", "gochat", *arguments]
            self._popen = _popen(command, environment(env), stdout=subprocess.PIPE, stderr=stderr)
        assert self._popen.stdout is not None
        self.ready_line = self._popen.stdout.readline().rstrip("\n")
        if not self.ready_line.startswith("gochat ready on "):
            self.kill()
            raise AssertionError(f"gochat did not get ready:\n{log.read_text()}")
        self.address = self.ready_line.split()[3]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def metrics_url(self) -> str:
        return str(re.findall(r"http://[\w.\[\]:]+/metrics", self.log.read_text())[-1])

    @cached_property
    def web_url(self) -> str:
        """Of the line after the ready line, which there is with [http] listen."""
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline().rstrip("\n")
        assert line.startswith("gochat web on "), line
        return line.removeprefix("gochat web on ")

    def metrics(self) -> "Metrics":
        with urlopen(self.metrics_url, timeout=30) as answer:
            text = answer.read().decode()
        with (self.log.parent / "metrics").open("a") as scrapes:
            scrapes.write(text)
        return Metrics(text)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = 60) -> int:
        """Returns the exit code. Raises subprocess.TimeoutExpired."""
        self._popen.send_signal(number)
        return self._end(timeout)

    def kill(self) -> int:
        """SIGKILL; returns the exit code."""
        self._popen.kill()
        return self._end()

    def _end(self, timeout: float = 60) -> int:
        code = self._popen.wait(timeout)
        assert self._popen.stdout is not None
        self._popen.stdout.close()
        return code


class Metrics:
    """What one scrape returned, as Prometheus's own parser reads it."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def samples(self) -> list[Sample]:
        return self._parsed(self._text)

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name with these labels."""
        lines = [line for line in self._text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        found = self._parsed("\n".join(lines) + "\n")
        return sum(sample.value for sample in found if labels.items() <= sample.labels.items())

    @staticmethod
    def _parsed(text: str) -> list[Sample]:
        return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def _state(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name: state, parent, ...; none of a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def children(pid: int) -> list[int]:
    return [int(each.name) for each in Path("/proc").glob("[0-9]*") if _state(int(each.name))[1:2] == [str(pid)]]


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """The process and its children are there, take connections, and answer nothing."""

    def stop(each: int) -> None:
        os.kill(each, signal.SIGSTOP)
        while _state(each)[:1] not in ([], ["T"], ["Z"]):
            sleep(0.001)

    stop(pid)  # first, and at a standstill: it makes no more children
    family = [pid, *children(pid)]
    for child in family[1:]:
        with suppress(ProcessLookupError):
            stop(child)
    try:
        yield
    finally:
        for each in family:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGCONT)


def memory(pid: int, key: str = "VmRSS") -> int:
    """KiB: resident now, or with VmHWM at most."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(rf"^{key}:\s+(\d+)", status, re.MULTILINE)[0])


def free_address() -> str:
    """Of a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
