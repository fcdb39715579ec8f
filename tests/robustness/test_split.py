"""Two Logic and two Repo processes on PostgreSQL, on hosts of their own where that is permitted: any one may die."""

import time
from collections.abc import Iterator

import pytest

from gochat.api.logic.v1 import logic_pb2
from tests.harness import bearer
from tests.robustness.__main__ import Robustness, robustness
from tests.robustness.cluster import HOSTS
from tests.robustness.faults import FAULTS
from tests.waiting import status_of

NEWS_TIMEOUT = 0.5  # seconds in which all clients notice that a process is gone


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robustness]:
    with robustness("split", "kill", 1, tmp_path_factory.mktemp("split"), clients=6) as run:
        yield run


@pytest.mark.parametrize("number", range(len(HOSTS)), ids=HOSTS)
def test_any_process_may_die_and_come_back(run: Robustness, number: int) -> None:
    """One after the other: what came back must serve when its twin dies, and nothing else is restarted."""
    with run.load():
        run.until_acknowledged(100)
        run.cluster.nodes[number].kill()
        dead_since = time.monotonic()
        time.sleep(NEWS_TIMEOUT)  # until then calls may fail
        run.until_acknowledged(100)
    assert {code for _, _, code in run.ledger.failures} <= {"UNAVAILABLE"}
    late = [failure for failure in run.ledger.failures if failure[0] > dead_since + NEWS_TIMEOUT]
    assert late == [], "only calls in flight fail"
    run.ledger.failures.clear()
    with run.load():
        run.until_acknowledged(100)
    assert run.ledger.failures == [], "without it the others do"
    run.cluster.start()
    assert run.check() == []


@pytest.mark.parametrize("fault", ["database", "cut"])
def test_acknowledged_acts_survive_the_fault(run: Robustness, fault: str) -> None:
    if missing := FAULTS[fault].needs():
        pytest.skip(f"it needs {missing}")
    run.fault = FAULTS[fault]
    assert run.round() == []


def test_a_repo_host_that_vanishes_is_avoided(run: Robustness) -> None:
    seam = run.cluster.seam
    if seam is None:
        pytest.skip("it needs root, for network namespaces")
    stubs, service = run.cluster.stubs(), bearer(run.cluster.service)
    request = logic_pb2.GetUserProfileRequest(user_id=run.ledger.clients[0])

    def answered() -> bool:
        return status_of(lambda: stubs.logic.GetUserProfile(request, metadata=service, timeout=2)) == "OK"

    for name in ("r1", "r2"):  # the second time those who lost the first must have found it again
        seam.cut_seam(name)
        in_a_row, until = 0, time.monotonic() + 60
        while in_a_row < 20:  # of two hosts that take turns
            in_a_row = in_a_row + 1 if answered() else 0
            assert time.monotonic() < until, "every other call still waits for it"
        seam.mend_seam(name)
        run.cluster.settle()
    stubs.close()
