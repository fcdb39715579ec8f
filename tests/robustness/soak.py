"""Soak: mixed load for a long time, with clients that come and go. Does the server give back what it takes?

Each sign-in takes about 1 KiB for its verified token, until 10,000 are remembered; a short soak shows that as a slope.

python -m tests.robustness.soak --minutes 60
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from gochat.api.logic.v1 import logic_pb2
from tests.harness import PASSWORD
from tests.robustness.__main__ import Robustness, robustness
from tests.robustness.cluster import MODES
from tests.robustness.people import Person

MAX_GROWTH = 1.0  # MiB of resident memory per 100,000 calls
WARM_UP = 0.25  # of the time: caches fill, pools open
USUAL = {"GOCHAT_AUTH_ACCESS_TTL": "900"}  # for so long an ended session is remembered
TURNOVER_INTERVAL = 5.0  # seconds after which some clients go and others come


@dataclass(frozen=True)
class Sample:
    """Of all server processes together. calls: so far. resident: MiB."""

    calls: int
    resident: float
    files: int
    threads: int


def sample(run: Robustness) -> Sample:
    counts, pids = run.ledger.counts, [node.pid for node in run.cluster.nodes]
    status = [
        dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
        for pid in pids
    ]
    return Sample(
        counts["acknowledged"] + counts["in doubt"],
        sum(int(each["VmRSS"].split()[0]) for each in status) / 1024,
        sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids),
        sum(int(each["Threads"]) for each in status),
    )


def slope(samples: Sequence[Sample]) -> float:
    """MiB per 100,000 calls, by least squares, of the peaks of each tenth: glibc gives some 20 MiB back at times, and
    takes them again."""
    tenth = max(1, len(samples) // 10)
    parts = [samples[start : start + tenth] for start in range(0, len(samples), tenth)]
    samples = [max(part, key=lambda each: each.resident) for part in parts]
    mean_x = sum(each.calls for each in samples) / len(samples)
    mean_y = sum(each.resident for each in samples) / len(samples)
    above = sum((each.calls - mean_x) * (each.resident - mean_y) for each in samples)
    return above / sum((each.calls - mean_x) ** 2 for each in samples) * 100_000


def verdict(samples: Sequence[Sample]) -> list[str]:
    """What speaks against the server; samples: after the warm-up. Threads are shown and not judged: the pool makes
    another when all are busy, up to [server] threads."""
    third = max(1, len(samples) // 3)
    first, last = samples[:third], samples[-third:]
    wrong = [
        f"memory grows by {growth:.2f} MiB per 100,000 calls" for growth in [slope(samples)] if growth > MAX_GROWTH
    ]
    before, after = (median(each.files for each in part) for part in (first, last))
    if after > before:
        wrong.append(f"open files grow from {before} to {after}")
    return wrong


def come_and_go(run: Robustness, who: Sequence[Person]) -> None:
    """They close their connections, and sign in on new ones."""
    for person in who:
        person.stubs.close()
        person.stubs = run.cluster.stubs()
        request = logic_pb2.AuthRequest(username=person.username, password=PASSWORD, device_id="phone")
        person.token = person.stubs.logic.Authenticate(request).access_token


def soaked(run: Robustness, minutes: float, seed: int) -> list[Sample]:
    samples, dice, until = [], random.Random(seed), time.monotonic() + minutes * 60
    while time.monotonic() < until:
        with run.load():
            time.sleep(TURNOVER_INTERVAL)  # of load, which is what a soak is
        run.devices.settle()  # an hour of it is more than is held against the ledger
        come_and_go(run, dice.sample(run.people, len(run.people) // 2))
        samples.append(sample(run))
        if len(samples) % max(1, round(60 / TURNOVER_INTERVAL)) == 0:
            print(f"{time.strftime('%X')} {samples[-1]}", flush=True)
    return samples


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.robustness.soak", description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--mode", choices=MODES, default="sqlite")
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="gochat-soak-") as folder,
        robustness(given.mode, "kill", given.seed, Path(folder), given.clients, USUAL) as run,
    ):
        samples = soaked(run, given.minutes, given.seed)
        wrong = [f"{code} {act}" for _, act, code in run.ledger.failures]
        come_and_go(run, run.people)  # or the tokens of some have expired
        wrong += run.check(pushes=False)
    warm = samples[int(len(samples) * WARM_UP) :]
    wrong += verdict(warm)
    calls, growth = samples[-1].calls, warm[-1].resident - warm[0].resident
    print(f"{given.mode}, {given.minutes:g} minutes, {calls:,} calls, {calls / given.minutes / 60:.0f} a second")
    print(f"resident: {samples[0].resident:.1f} MiB at first, {warm[0].resident:.1f} warm, {growth:+.1f} until the end")
    print(f"slope after the warm-up: {slope(warm):+.2f} MiB per 100,000 calls (at most {MAX_GROWTH:g})")
    print(f"files: {warm[0].files} to {warm[-1].files}; threads: {warm[0].threads} to {warm[-1].threads}")
    print("\n".join(f"wrong: {problem}" for problem in wrong) or "well")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
