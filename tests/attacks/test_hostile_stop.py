"""Whatever clients do, SIGTERM ends the server in time."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.attacks.hostile import ATTACKS, KINDS, PLAIN, Attack, Target, advance, connected
from tests.harness import Deployment

GRACE, BEYOND = 1, 5  # seconds: of running calls, and of what comes after them


@contextmanager
def started(folder: Path, url: str = "", *, split: bool = False) -> Iterator[Deployment]:
    app = Deployment(folder, url=url, split=split, env={"GOCHAT_SERVER_GRACE": str(GRACE)})
    try:
        yield app
    finally:
        app.kill()


def begin(app: Deployment, attacks: dict[str, Attack], stack: ExitStack) -> None:
    target = Target(app)
    withstood = [attack for attack in attacks.values() if not (PLAIN and attack.fast_only)]
    for attack, steps in [(attack, list(attack.steps(target))) for attack in withstood]:
        peers = stack.enter_context(connected(app, attack))
        for step in steps:
            advance(peers, attack, step, seconds=0.5)


def obeys(app: Deployment) -> None:
    """Its first process ends, with code 0, in the time that SIGTERM leaves it."""
    process = app.processes[0]._popen
    sent = time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(timeout=GRACE + BEYOND)
    except subprocess.TimeoutExpired:
        code = None
    assert code == 0, f"after {time.monotonic() - sent:.1f} s; None: it goes on"


@pytest.mark.parametrize("kind", KINDS)
def test_sigterm_is_obeyed_under(tmp_path: Path, kind: str) -> None:
    with started(tmp_path) as app, ExitStack() as stack:
        begin(app, KINDS[kind], stack)
        obeys(app)


@pytest.mark.parametrize("mode", ["postgres-colocated", "sqlite-split", "postgres-split"])
def test_sigterm_is_obeyed_under_all_of_it(mode: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    database, layout = mode.split("-")
    url = request.getfixturevalue("postgres").create_database() if database == "postgres" else ""
    with started(tmp_path, url, split=layout == "split") as app, ExitStack() as stack:
        begin(app, ATTACKS, stack)
        obeys(app)
