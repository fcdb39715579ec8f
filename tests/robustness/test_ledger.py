"""The crash ledger, short; and that it sees the harm that it looks for."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gochat.api.logic.v1 import logic_pb2
from tests.harness import bearer
from tests.robustness.__main__ import Robustness, robustness
from tests.robustness.clients import Client
from tests.robustness.faults import FAULTS

SHORT = (
    ("sqlite", "kill", 2),
    ("sqlite", "disk", 1),
    ("sqlite", "full", 1),
    ("sqlite", "clock", 1),
    ("sqlite", "unwritable", 1),
    ("sqlite", "frozen", 1),
    ("postgres", "database", 1),
    ("postgres", "failover", 2),
    ("pgbouncer", "pooler", 2),
    ("pgbouncer", "backend", 1),
)
"""Split mode is in test_split.py, several hosts are in test_hosts.py."""
SEED = 1


@pytest.mark.parametrize(("mode", "fault", "rounds"), SHORT)
def test_acknowledged_acts_survive_the_fault(mode: str, fault: str, rounds: int, tmp_path: Path) -> None:
    if missing := FAULTS[fault].needs():
        pytest.skip(f"it needs {missing}")
    with robustness(mode, fault, SEED, tmp_path, clients=6) as run:
        for _ in range(rounds):
            assert run.round() == []
        assert run.ledger.counts["acknowledged"] > 10, run.summary()


HARMS = {
    "lost": "DELETE FROM messages WHERE conversation_id = ? AND seq = 5",
    "gap": "DELETE FROM messages WHERE conversation_id = ? AND seq = 3",
    "twice": "UPDATE messages SET content = (SELECT content FROM messages m WHERE m.seq = 4 AND m.conversation_id ="
    " messages.conversation_id) WHERE conversation_id = ? AND seq = 5",
    "strange": "UPDATE messages SET content = 'something else' WHERE conversation_id = ? AND seq = 5",
    "recall": "UPDATE messages SET status = 1 WHERE conversation_id = ? AND status = 4",
    "unread": "UPDATE members SET read_seq = read_seq - 1 WHERE conversation_id = ? AND role = 'member'",
    "membership": "DELETE FROM members WHERE conversation_id = ? AND role = 'member'",
    "hidden": "UPDATE members SET hidden_seq = -1 WHERE conversation_id = ?",
}
"""What the check must call it -> how it comes about. Of five messages the first is recalled; the one who did not send
them has hidden the first three and read some of the others."""


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robustness]:
    with robustness("sqlite", "kill", SEED, tmp_path_factory.mktemp("quiet"), clients=2) as run:
        yield run


def group_with_a_past(run: Robustness) -> str:
    one, other = (Client(run.ledger, person, run.cluster.service, "1") for person in run.people)
    request = logic_pb2.CreateGroupRequest(name="Past", member_ids=[other.person.user_id])
    made = one.person.stubs.logic.CreateGroup(request, metadata=bearer(one.person.token))
    everywhere, run.ledger.conversations = run.ledger.conversations, {}
    run.ledger.add_group(made.group_id, one.person.user_id, (other.person.user_id,))
    for act in (one.send, one.recall, one.send_keyed, one.send, other.hide, one.send_keyed, one.send, other.read):
        act()
    run.ledger.conversations |= everywhere
    return str(made.group_id)


@pytest.mark.parametrize("harm", HARMS)
def test_the_check_finds_each_harm(quiet: Robustness, harm: str) -> None:
    group_id = group_with_a_past(quiet)
    assert quiet.check() == []
    with closing(sqlite3.connect(quiet.cluster.data / "gochat.db", timeout=30)) as database:
        assert database.execute(HARMS[harm], (group_id,)).rowcount > 0
        database.commit()
    try:
        found = [problem for problem in quiet.checker.check() if group_id in problem]
        assert [problem for problem in found if problem.startswith(f"{harm}: ")], found
    finally:
        del quiet.ledger.conversations[group_id]
        with closing(sqlite3.connect(quiet.cluster.data / "gochat.db", timeout=30)) as database:
            for table in ("messages", "sends", "members", "conversations"):
                database.execute(f"DELETE FROM {table} WHERE conversation_id = ?", (group_id,))
            blank = (
                "UPDATE changes SET kind = 0, conversation_id = '' WHERE conversation_id = ?"  # its rows have no gap
            )
            database.execute(blank, (group_id,))
            database.commit()
