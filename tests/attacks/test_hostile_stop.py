"""Whatever clients do, SIGTERM ends the server in time."""

import subprocess
import time
from contextlib import ExitStack

import pytest

from tests.attacks.hostile import ATTACKS, KINDS, Attack, Target, advance, connected
from tests.conftest import Own
from tests.harness import Deployment
from tests.processes import FAST

GRACE, CLOSING_TIMEOUT = 1, 5  # seconds: of running calls, and of what comes after them


def begin(app: Deployment, attacks: dict[str, Attack], stack: ExitStack) -> None:
    target = Target(app)
    withstood = [attack for attack in attacks.values() if FAST or not attack.fast_only]
    for attack, steps in [(attack, list(attack.steps(target))) for attack in withstood]:
        peers = stack.enter_context(connected(app, attack))
        for step in steps:
            advance(peers, attack, step, seconds=0.5)


def obeys(app: Deployment) -> None:
    """Its first process ends, with code 0, in the time that SIGTERM leaves it."""
    sent = time.monotonic()
    try:
        code = app.processes[0].stop(timeout=GRACE + CLOSING_TIMEOUT)
    except subprocess.TimeoutExpired:
        code = None
    assert code == 0, f"after {time.monotonic() - sent:.1f} s; None: it goes on"


@pytest.mark.parametrize("kind", KINDS)
def test_sigterm_ends_the_server_in_time_under_attack(own: Own, kind: str) -> None:
    app = own(env={"GOCHAT_SERVER_GRACE": str(GRACE)})
    with ExitStack() as stack:
        begin(app, KINDS[kind], stack)
        obeys(app)


@pytest.mark.parametrize("mode", ["postgres-colocated", "sqlite-split", "postgres-split"])
def test_sigterm_ends_the_server_in_time_under_all_attacks(own: Own, mode: str) -> None:
    app = own(mode, env={"GOCHAT_SERVER_GRACE": str(GRACE)})
    with ExitStack() as stack:
        begin(app, ATTACKS, stack)
        obeys(app)
