"""The ledger on nine hosts, short: nginx, two Logic, two Repo, PgBouncer, PostgreSQL, its replica, Redis."""

from pathlib import Path

import pytest

from tests.robustness.__main__ import robustness
from tests.robustness.faults import FAULTS

SEED, ROUNDS = 1, 2


def test_acknowledged_acts_survive_whatever_happens_to_a_host(tmp_path: Path) -> None:
    if missing := FAULTS["any"].needs():
        pytest.skip(f"it needs {missing}")
    with robustness("hosts", "any", SEED, tmp_path, clients=6) as run:
        for _ in range(ROUNDS):
            assert run.round() == []
        assert run.ledger.counts["acknowledged"] > 10, run.summary()
