"""The server processes that are measured: GoChat's, and the bare echo server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gochat.config import MAX_ACCESS_TTL, Config, ConfigError, Server

HIGH_LIMIT = "1000000"  # a rate limit that is checked and never reached
STOP_TIMEOUT = 20.0  # seconds
TICKS = os.sysconf("SC_CLK_TCK")  # a second, in which /proc counts processor time
_PAGE = os.sysconf("SC_PAGE_SIZE")  # bytes


@dataclass(frozen=True)
class Running:
    """A process that is ready, and its workers."""

    name: str
    address: str
    process: "subprocess.Popen[str]"
    log: Path

    def cpu(self) -> float:
        """Seconds of processor time, user and system. Raises ConfigError if the process has ended."""
        return sum(int(fields[11]) + int(fields[12]) for fields in self._stats().values()) / TICKS

    def memory(self) -> float:
        """Resident memory in MiB."""
        return sum(int(fields[21]) for fields in self._stats().values()) * _PAGE / 2**20

    def threads(self) -> int:
        return sum(int(fields[17]) for fields in self._stats().values())

    def _stats(self) -> dict[int, list[str]]:
        """Process id -> the fields of /proc/PID/stat after the name, of the process and its children."""
        if self.process.poll() is not None:
            raise ConfigError(_why_ended(self.name, self.log))
        running = {}
        for file in Path("/proc").glob("[0-9]*/stat"):
            with suppress(FileNotFoundError, ProcessLookupError):
                # The name in parentheses may hold anything, so fields are counted after it.
                running[int(file.parent.name)] = file.read_text().rpartition(")")[2].split()
        ours = self.process.pid
        return {pid: fields for pid, fields in running.items() if pid == ours or int(fields[1]) == ours}


@dataclass(frozen=True)
class Deployment:
    """One GoChat: one process, or its two halves."""

    logic: Running
    repo: Running

    @property
    def processes(self) -> list[Running]:
        return [self.logic] if self.logic is self.repo else [self.logic, self.repo]

    def cpu(self) -> float:
        """Seconds of processor time, of all processes together."""
        return sum(process.cpu() for process in self.processes)

    def threads(self) -> int:
        """Of all processes together."""
        return sum(process.threads() for process in self.processes)

    def memory(self) -> list[float]:
        """Resident memory of each process in MiB."""
        return [process.memory() for process in self.processes]


@contextmanager
def gochat(settings: Config, target: str, folder: Path) -> Iterator[Deployment]:
    """Runs GoChat. target: all or split. folder: for the logs. Raises ConfigError."""
    with ExitStack() as started:
        if target == "all":
            server = started.enter_context(_serve(settings, "all", folder))
            yield Deployment(server, server)
        else:
            repo = started.enter_context(_serve(settings, "repo", folder))
            logic = started.enter_context(_serve(settings, "logic", folder, GOCHAT_REPO_ADDRESS=repo.address))
            yield Deployment(logic, repo)


@contextmanager
def echo(folder: Path) -> Iterator[Running]:
    """Runs a bare grpcio server with default settings and as many threads as GoChat."""
    command = [sys.executable, "-m", "gochat.rpc.load", str(Server().threads)]
    with _started("echo", command, {}, folder) as running:
        yield running


@contextmanager
def _serve(settings: Config, target: str, folder: Path, **env: str) -> Iterator[Running]:
    no_settings = folder / "gochat.toml"  # so that the one in the current folder is not read
    no_settings.touch()
    env |= {
        "GOCHAT_SERVER_WORKERS": str(settings.server.workers),
        "GOCHAT_LIMITS_CALLS_PER_SECOND": HIGH_LIMIT,
        "GOCHAT_LIMITS_SENDS_PER_SECOND": HIGH_LIMIT,
        "GOCHAT_METRICS_LISTEN": "",
        "GOCHAT_HTTP_LISTEN": "",
        "GOCHAT_AUTH_ACCESS_TTL": str(MAX_ACCESS_TTL),
    }
    if settings.database.url:
        env["GOCHAT_DATABASE_URL"] = settings.database.url
    options = ["--config", str(no_settings), "--data", settings.server.data, "--listen", "127.0.0.1:0"]
    with _started(target, [sys.executable, "-m", "gochat", "serve", "--target", target, *options], env, folder) as one:
        yield one


@contextmanager
def _started(name: str, command: list[str], env: dict[str, str], folder: Path) -> Iterator[Running]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("GOCHAT_", "GRPC_"))}
    log = folder / f"{name}.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(  # noqa: S603 - it runs this program
            command,
            env=clean | env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            process_group=0,  # Ctrl-C goes to this process, which then stops it
        )
    with process:  # closes the pipes and waits
        try:
            assert process.stdout is not None
            ready = process.stdout.readline().split()
            if "ready" not in ready:
                process.wait(STOP_TIMEOUT)
                raise ConfigError(_why_ended(name, log))
            yield Running(name, ready[3], process, log)
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()


def _why_ended(name: str, log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() or ["its log is empty"]
    return f"the server ({name}) ended: {lines[-1].removeprefix('gochat: ')}"
