"""`gochat bench --push`, small: that every figure is there, and what raw frames cannot read is read."""

import json
from pathlib import Path

import pytest

from gochat.bench import push
from gochat.bench.streams import SEND, SUBSCRIBE
from gochat.services import rpcs
from tests.bench.test_bench import bench
from tests.postgres import Postgres

SMALL = ("--push", "--scale", "0.002", "--duration", "0.5")


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def test_every_figure_of_push_is_measured(temporary: Path) -> None:
    whole = json.loads(bench(*SMALL, "--json", temporary=temporary).stdout)
    measured, sizes = whole["push"], push.sizes(0.002)
    assert measured["sends_per_second"] > 0
    assert [one["share"] for one in measured["delays"]] == list(push.SHARES)
    for one in measured["delays"]:
        assert 0 < one["p50_ms"] <= one["p99_ms"]
        assert one["deliveries"] % push.ROOM == 0
    assert [one["recipients"] for one in measured["costs"]] == list(sizes.recipients)
    assert all(one["cpu_us"] > 0 and one["deliveries_per_second"] > 0 for one in measured["costs"])
    idle = [(one["streams"], one["per_connection"]) for one in measured["idle"]]
    assert idle == [(10, 1), (20, 1000)]
    assert measured["resumed"]["streams"] == sizes.resuming
    assert 0 < measured["resumed"]["p99_ms"] / 1000 < measured["resumed"]["seconds"] + 1


def test_push_on_postgres_as_workers_in_two_halves(postgres: Postgres, temporary: Path) -> None:
    url = postgres.create_database()
    run = bench(*SMALL, "--database", url, "--workers", "2", "--target", "split", temporary=temporary)
    assert "two processes, logic and repo, as 2 workers; " in run.stdout
    assert "10 streams that come back at once: " in run.stdout


def test_the_paths_are_those_of_rpcs() -> None:
    assert {SUBSCRIBE, SEND} <= set(rpcs())
