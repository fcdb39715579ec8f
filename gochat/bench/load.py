"""Measures many concurrent calls, of one RPC after the other, in turn with a bare echo server."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gochat.bench.clients import Clients, Person, merged
from gochat.bench.requests import RPCS, echo_scripts, scripts
from gochat.bench.seed import Room
from gochat.bench.servers import Deployment, Running
from gochat.config import ConfigError
from gochat.rpc.load import Sample

CALLERS = 16  # users who call
UNREAD_ROOMS = 20  # conversations of each of them with unread messages
MIN_SLICES = 3
SLICE = 0.5  # seconds that echo and RPC run in turn, so that other load on the machine affects both alike
WARM_UP = 1.0  # seconds


@dataclass(frozen=True)
class LoadSizes:
    """users, conversations, messages: in all. Every tenth conversation is a group of so many members."""

    users: int
    conversations: int
    messages: int
    members: int

    @property
    def callers(self) -> int:
        return max(2, min(CALLERS, self.users // 2, self.conversations // 4))

    def rooms(self) -> list[Room]:
        """Each conversation has one of the callers as a member. A caller's first 20 conversations are unread, or half
        of them if there are less than 40. Raises ConfigError."""
        others = self.users - self.callers
        max_conversations = self.callers * others
        if self.conversations < 8 or self.users < 8:
            raise ConfigError("--users, --conversations: must be at least 8")
        if self.conversations > max_conversations:
            raise ConfigError(
                f"--conversations: {self.users} users have {max_conversations} at most, not {self.conversations}"
            )
        if not 2 <= self.members <= others + 1:
            raise ConfigError(f"--members: must be from 2 to {others + 1} with {self.users} users")
        return [self._room(number) for number in range(self.conversations)]

    def _room(self, number: int) -> Room:
        caller, index = number % self.callers, number // self.callers
        messages = self.messages // self.conversations + (number < self.messages % self.conversations)
        is_group = index % 10 == 1
        others = self.users - self.callers
        members = [self.callers + (index + step) % others for step in range(self.members - 1 if is_group else 1)]
        is_unread = index < min(UNREAD_ROOMS, self.conversations // self.callers // 2)
        return Room("group" if is_group else "single", [caller, *members], messages, messages if is_unread else 0)


@dataclass(frozen=True)
class Row:
    """The results of one RPC. limit: milliseconds that the specification allows. cpu: seconds of the server in all.
    echo_cpu: microseconds of the echo server per call, measured in turn. spent: some calls had no effect any more."""

    name: str
    limit: int
    sample: Sample
    cpu: float
    echo_cpu: float = 0.0
    spent: bool = False

    @property
    def cpu_per_call(self) -> float:
        """Microseconds."""
        return self.cpu * 1e6 / max(1, self.sample.calls)


class Measurement:
    """workers: calls in flight. seconds: of each RPC, and of the echo beside it."""

    def __init__(
        self,
        server: Deployment,
        echo: Running,
        clients: Clients,
        people: Sequence[Person],
        workers: int,
        seconds: float,
    ) -> None:
        self._server, self._echo, self._clients = server, echo, clients
        self._people, self._workers, self._seconds = people, workers, seconds
        self._echoes: list[tuple[Sample, float]] = []
        clients.prepare("echo", echo.address, echo_scripts(workers))
        clients.run("echo", min(WARM_UP, seconds))

    def measure(self, name: str) -> Row:
        """Raises ConfigError, also if the server has ended."""
        rpc = RPCS[name]
        prepared = scripts(rpc, self._people, self._workers)
        self._clients.prepare(name, self._server.logic.address, prepared)
        warm = self._clients.run(name, min(WARM_UP, self._seconds)).calls
        echoes, calls = [], []
        slices = max(MIN_SLICES, round(self._seconds / SLICE))
        for _ in range(slices):
            echoes.append(self._slice("echo", self._echo.cpu, self._seconds / slices))
            calls.append(self._slice(name, self._server.cpu, self._seconds / slices))
        self._echoes += echoes
        sample, cpu = _summed(calls)
        spent = rpc.finite and warm + sample.calls > sum(len(script.calls) for script in prepared)
        return Row(name, rpc.limit, sample, cpu, _row_of_echo(echoes).cpu_per_call, spent)

    def echo(self) -> Row:
        """All results of the echo so far."""
        return _row_of_echo(self._echoes)

    def _slice(self, name: str, cpu: Callable[[], float], seconds: float) -> tuple[Sample, float]:
        before = cpu()
        sample = self._clients.run(name, seconds)
        return sample, cpu() - before


def _summed(slices: Sequence[tuple[Sample, float]]) -> tuple[Sample, float]:
    samples = [sample for sample, _ in slices]
    if not samples:
        return Sample([], Counter(), 0.0), 0.0
    return merged(samples, sum(sample.seconds for sample in samples)), sum(cpu for _, cpu in slices)


def _row_of_echo(slices: Sequence[tuple[Sample, float]]) -> Row:
    return Row("echo", 0, *_summed(slices))
