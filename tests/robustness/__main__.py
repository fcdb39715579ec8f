"""The crash ledger: clients act at random while something breaks, and after each round everything is read back and
held against what they were answered.

    python -m tests.robustness --mode sqlite --fault kill --rounds 200
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.robustness.check import Checker
from tests.robustness.clients import Client
from tests.robustness.cluster import MODES, Cluster, cluster
from tests.robustness.faults import FAULTS, moving_clocks, small_disk
from tests.robustness.hosts import Hosts, hosts
from tests.robustness.ledger import Ledger
from tests.robustness.push_checker import PushChecker
from tests.robustness.streams import Devices
from tests.waiting import eventually

LISTENERS = 3  # people with devices who do not act, and whom others add to groups and remove
WORKERS = {"GOCHAT_SERVER_WORKERS": "2"}  # on PostgreSQL; in split mode there are two hosts of each half


class Robustness:
    """A cluster, its clients and the ledger, for rounds of one fault. outcome: acts by what became of them."""

    def __init__(self, made: Cluster, fault: str, seed: int, clients: int = 10) -> None:
        self.cluster, self.fault = made, FAULTS[fault]
        self.dice = random.Random(seed)
        self.ledger = Ledger()
        everybody = made.people(self.ledger, clients, LISTENERS, 8 - LISTENERS)
        self.people = everybody[:clients]
        self._seed, self._rounds = seed, 0
        self.devices = Devices(everybody, made.stubs(), made.logic_addresses, made.service)
        self.pushes = PushChecker(self.ledger, self.devices, made.stubs(), made.service)
        self.checker = Checker(self.ledger, made.stubs(), made.service, self.people, self.pushes)

    def round(self) -> list[str]:
        """What is wrong after it."""
        with self.load():  # strikes at a random moment, for a random time
            time.sleep(self.dice.uniform(0.2, 0.8))
            with self.fault.strike(self.cluster, self.dice):
                time.sleep(self.dice.uniform(0, self.fault.outage))
            time.sleep(self.dice.uniform(0.2, 0.4))
        problems = self.check(pushes=not self.fault.resyncs)
        if self.fault.resyncs:
            problems += [f"push: {device.name} has not caught up" for device in self.devices.late()]
            self.devices.settle()
        return problems

    def until_acknowledged(self, more: int) -> None:
        """Returns once so many more acts are acknowledged."""
        wanted = self.ledger.counts["acknowledged"] + more
        eventually(lambda: self.ledger.counts["acknowledged"] >= wanted)

    @contextmanager
    def load(self) -> Iterator[None]:
        self._rounds += 1
        self.devices.restless.set()
        clients = [
            Client(
                self.ledger,
                person,
                self.cluster.service,
                f"{self._seed} {self._rounds} {number}",
                self.fault.may_fail,
            )
            for number, person in enumerate(self.people)
        ]
        for client in clients:
            client.start()
        try:
            yield
        finally:
            for client in clients:
                client.over.set()
            for client in clients:
                client.join()
            self.devices.restless.clear()

    def check(self, *, pushes: bool = True) -> list[str]:
        """As Checker.check()."""
        self.cluster.settle()
        by_command = self.cluster.run("check", check=False)
        said = by_command.stdout + by_command.stderr
        return self.checker.check(pushes=pushes) + ([f"gochat check: {said}"] if by_command.returncode else [])

    def summary(self) -> str:
        counts, pushed = self.ledger.counts, self.devices.counts
        return (
            f"{self._rounds} rounds; {counts['acknowledged']:,} acts acknowledged; {counts['in doubt']:,} attempts in"
            f" doubt, of which {counts['in doubt, found']:,} messages, groups and names were found to have happened;"
            f" {pushed['events']:,} events, of which {pushed['repeats']:,} repeats; {pushed['streams']:,} streams,"
            f" {pushed['dropped streams']:,} dropped by devices, {pushed['older cursors']:,} from an older cursor;"
            f" {counts['unread compared']:,} unread counts compared"
        )


@contextmanager
def robustness(
    mode: str, fault: str, seed: int, folder: Path, clients: int = 10, settings: dict[str, str] | None = None
) -> Iterator[Robustness]:
    with ExitStack() as resources:
        env = (moving_clocks(folder) if fault == "clock" else {}) | (settings or {})
        if fault == "full":
            resources.enter_context(small_disk(folder))
        if mode == "hosts":
            made: Cluster = resources.enter_context(hosts(folder, env))
        else:
            made = resources.enter_context(cluster(mode, folder, env, with_standby=fault == "failover"))
        run = Robustness(made, fault, seed, clients)
        resources.callback(run.devices.stop)
        yield run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.robustness", description=__doc__.split("\n\n")[0])
    parser.add_argument("--mode", choices=(*MODES, "hosts"), default="sqlite")
    parser.add_argument("--fault", choices=FAULTS, default="kill")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    given = parser.parse_args()
    fault = FAULTS[given.fault]
    if given.mode not in fault.modes:
        parser.error(f"--fault {given.fault} goes with --mode {', '.join(fault.modes)}")
    if missing := fault.needs():
        parser.error(f"--fault {given.fault} needs {missing}")
    wrong, settings = 0, WORKERS if given.mode in ("postgres", "pgbouncer") else {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended
    print(f"{given.mode}, {given.fault}, seed {given.seed}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="gochat-robustness-") as folder,
        robustness(given.mode, given.fault, given.seed, Path(folder), settings=settings) as run,
    ):
        for number in range(1, given.rounds + 1):
            problems = run.round()
            wrong += len(problems)
            for problem in problems:
                print(f"round {number}: {problem}", flush=True)
            if problems and isinstance(run.cluster, Hosts):
                print(f"round {number}: {', '.join(run.cluster.struck)}", flush=True)
            if number % 10 == 0 or number == given.rounds:
                print(f"{time.strftime('%X')} {run.summary()}; {wrong} wrong", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
