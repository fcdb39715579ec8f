"""The ledger while an upgrade goes from host to host, and is taken back: two Logic and two Repo processes, of which
some are of the version after this one."""

from pathlib import Path

from tests.robustness.__main__ import Robustness, robustness
from tests.robustness.cluster import Node
from tests.storage.test_rolling import WIDER, Program

SEED = 1
ACTS = 60  # acknowledged before and after each step


def change(run: Robustness, node: Node, program: tuple[str, ...], *, kill: bool = False) -> None:
    """Under load, after which everything is read back."""
    with run.load():
        run.until_acknowledged(ACTS)
        assert node.process is not None
        ended = node.process.kill() if kill else node.process.stop()
        assert kill or ended == 0
        node.program = program
        node.start()
        run.until_acknowledged(ACTS)
    assert run.check() == []


def test_nothing_acknowledged_is_lost_by_a_rolling_upgrade_or_its_way_back(tmp_path: Path) -> None:
    newer = Program(tmp_path / "newer", WIDER)
    with robustness("split", "kill", SEED, tmp_path, clients=6) as run:
        logic, _, repo, other_repo = run.cluster.nodes
        with run.load():
            run.until_acknowledged(ACTS)
            with newer.begin(run.cluster.data, repo.env, "migrate") as migrating:
                migrating.communicate(timeout=60)
            assert migrating.returncode == 0
            run.until_acknowledged(ACTS)
        for node in (repo, other_repo, logic):
            change(run, node, newer.within)
        assert run.round() == [], "one of both versions is killed"
        change(run, logic, (), kill=True)
        change(run, repo, (), kill=True)
