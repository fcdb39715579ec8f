"""`gochat bench`, small: that it measures, on databases that hold together, and leaves nothing behind."""

import json
import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from operator import not_
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from gochat.bench.requests import RPCS
from gochat.bench.seed import PASSWORD, nickname, username
from gochat.rpc.load import percentile
from tests.conftest import Own
from tests.conversations import conversation_of
from tests.postgres import Postgres
from tests.processes import begin, children, gochat
from tests.waiting import polled

TINY = ("--users", "60", "--conversations", "40", "--messages", "1003", "--members", "10")
QUICK = ("--duration", "0.1", "--concurrency", "3")


def bench(*arguments: str, temporary: Path, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """temporary: where temporary files go; nothing may stay there."""
    run = gochat("bench", *arguments, env={"TMPDIR": str(temporary)}, timeout=200)
    assert list(temporary.iterdir()) == []
    assert run.returncode == 0 or not check, run.stderr
    return run


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def test_every_rpc_is_measured_without_errors(temporary: Path) -> None:
    whole = json.loads(bench(*TINY, *QUICK, "--json", temporary=temporary).stdout)
    assert [row["rpc"] for row in whole["rpcs"]] == list(RPCS)
    for row in (whole["echo"], *whole["rpcs"]):
        assert (row["errors"], row["calls"] > 0) == ({}, True), row
        assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
    assert whole["machine"]["database"].startswith("SQLite 3")
    assert whole["machine"]["cores"] >= 1
    assert (whole["options"]["users"], whole["options"]["concurrency"]) == (60, 3)
    (memory,) = whole["memory"]
    assert (memory["process"], memory["idle_mib"] > 1, memory["end_mib"] > 1) == ("all", True, True)


def test_the_table_shows_both_halves_of_a_split_server(temporary: Path) -> None:
    run = bench(*TINY, *QUICK, "--target", "split", "--rpc", "SendMessage", "GetConversations", temporary=temporary)
    first, second, _, *lines = run.stdout.splitlines()
    assert "SQLite 3" in first
    assert second.startswith("two processes, logic and repo; 60 users, 40 conversations, 1,003 messages")
    rows = [line.split() for line in lines[:4]]
    assert [(row[0], row[-1]) for row in rows[1:]] == [("echo", "0"), ("SendMessage", "0"), ("GetConversations", "0")]
    assert [row[5] for row in rows[1:]] == ["-", "100", "200"]
    assert [line.split(":")[0] for line in lines[-2:]] == ["Memory of logic", "Memory of repo"]
    assert run.stderr.startswith("seeded: ")


def test_growth_compares_a_small_and_a_large_database(temporary: Path) -> None:
    run = bench("--growth", "--scale", "0.001", "--duration", "0.1", "--json", temporary=temporary)
    whole = json.loads(run.stdout)
    sizes = {row["dimension"]: (row["small"], row["large"]) for row in whole["growth"]}
    assert sizes == {
        "messages": (1000, 1000),
        "users": (100, 100),
        "conversations": (10, 10),
        "groups": (20, 20),
        "members": (10, 99),
        "unread": (10, 100),
    }
    for row in whole["growth"]:
        assert row["factor"] == pytest.approx(row["p50_large_ms"] / row["p50_small_ms"], abs=0.05), row


def test_postgres_keeps_what_was_seeded_and_refuses_what_was_not(postgres: Postgres, temporary: Path) -> None:
    url = postgres.create_database()
    there = ("--database", url, *QUICK, "--rpc", "SendMessage", "MarkMessageRead")
    first = bench(*there, *TINY, "--workers", "2", "--json", temporary=temporary)
    whole = json.loads(first.stdout)
    assert [row["errors"] for row in whole["rpcs"]] == [{}, {}]
    assert whole["memory"][0]["idle_mib"] > 2 * 40  # of the workers together
    assert first.stderr.startswith("seeded: ")
    again = bench(*there, *TINY, "--seed-only", temporary=temporary)
    assert (again.stdout, again.stderr) == ("", "")
    other = bench(*there, temporary=temporary, check=False)
    assert (other.returncode, other.stdout) == (1, "")
    assert "is of gochat bench with another size" in other.stderr
    used = postgres.create_database()
    with closing(psycopg2.connect(used)) as connection:
        connection.cursor().execute("CREATE TABLE precious (x INTEGER)")
        connection.commit()
    refused = bench("--database", used, temporary=temporary, check=False)
    assert refused.returncode == 1
    name = used.rpartition("/")[2]
    assert refused.stderr == (
        f"gochat: the database {name} is not empty, and not of gochat bench, which makes a database of its own\n"
    )


def test_growth_on_postgres_drops_its_databases(postgres: Postgres, temporary: Path) -> None:
    url = postgres.create_database()
    arguments = ("--database", url, "--scale", "0.001", "--duration", "0.1", "--rpc", "JoinGroup", "GetUser")
    lines = bench("--growth", *arguments, temporary=temporary).stdout.splitlines()
    assert "PostgreSQL" in lines[0]
    assert lines[4].split()[:5] == ["users", "100", "->", "100", "GetUser"]
    assert lines[5].split()[:5] == ["members", "10", "->", "99", "JoinGroup"]
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database")
        assert {name for (name,) in cursor} & {
            f"{url.rpartition('/')[2]}_{size}" for size in ("small", "large")
        } == set()


def test_a_seeded_database_is_consistent(own: Own, temporary: Path) -> None:
    app = own()
    app.stop()
    (app.data / "gochat.db").unlink()
    bench(*TINY, "--seed-only", "--data", str(app.data), temporary=temporary)
    database = sqlite3.connect(app.data / "gochat.db")
    database.row_factory = sqlite3.Row

    def rows(sql: str) -> list[dict[str, Any]]:
        return [dict(row) for row in database.execute(sql)]

    assert rows("PRAGMA foreign_key_check") == []
    assert rows("SELECT COUNT(*) AS n FROM users") == [{"n": 60}]
    assert rows("SELECT COUNT(*) AS n FROM messages") == [{"n": 1003}]
    assert rows("SELECT type, COUNT(*) AS n FROM conversations GROUP BY type ORDER BY 1") == [
        {"type": "group", "n": 10},
        {"type": "single", "n": 30},
    ]
    for what in (
        "SELECT * FROM conversations c WHERE member_count <> (SELECT COUNT(*) FROM members m"
        " WHERE m.conversation_id = c.conversation_id) OR member_count > max_members",
        "SELECT * FROM conversations c JOIN (SELECT conversation_id, COUNT(*) AS n, MIN(seq) AS first,"
        " MAX(seq) AS last, MAX(created_at) AS at FROM messages GROUP BY 1) m USING (conversation_id)"
        " WHERE n <> last_seq OR first <> 1 OR last <> last_seq OR updated_at <> at",
        "SELECT * FROM messages l LEFT JOIN members m ON m.conversation_id = l.conversation_id"
        " AND m.user_id = l.from_user_id WHERE m.user_id IS NULL OR l.seq > m.read_seq OR l.created_at < m.joined_at",
        "SELECT * FROM conversations WHERE type = 'group' AND owner_id NOT IN (SELECT user_id FROM members m"
        " WHERE m.conversation_id = conversations.conversation_id AND role = 'owner')",
        "SELECT * FROM messages l JOIN conversations USING (conversation_id) WHERE type = 'single' AND NOT EXISTS"
        " (SELECT 1 FROM members m WHERE m.conversation_id = l.conversation_id AND m.user_id = l.to_user_id"
        " AND l.to_user_id <> l.from_user_id)",
    ):
        assert rows(what) == [], what
    user_ids = {row["username"]: row["user_id"] for row in rows("SELECT username, user_id FROM users")}
    conversation_ids = {row["conversation_id"] for row in rows("SELECT conversation_id FROM conversations")}
    unread = {
        row["username"]: row["unread"]
        for row in rows(
            "SELECT username, SUM(conversations.last_seq - read_seq) AS unread FROM users JOIN members USING (user_id)"
            " JOIN conversations USING (conversation_id) GROUP BY username"
        )
    }
    database.close()
    app.start()
    for number in (0, 3, 10):
        answer = app.signed_in(user_ids[username(number)], username(number), PASSWORD).GetUnreadMessages()
        assert answer.total_count == sum(info.unread_count for info in answer.conversations)
        assert answer.total_count == unread[username(number)]
    assert unread[username(0)] > 0 == unread[username(10)]
    # The conversation of two users is where the server itself looks for it.
    first = app.signed_in(user_ids[username(0)], username(0), PASSWORD)
    sent = first.SendMessage(to_user_id=user_ids[username(10)], content="x")
    assert conversation_of(sent) in conversation_ids


def test_nicknames_are_found_in_all_scripts() -> None:
    assert {nickname(number) for number in range(100)} >= {"王小明", "Carol Baker"}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--database", "mysql://x/y"], 1, "--database: must be sqlite or postgresql://"),
        (["--database", "postgresql://127.0.0.1:1/x"], 1, "the database is not available"),
        (["--seed-only"], 1, "--seed-only: goes with --data"),
        (
            ["--members", "20", "--users", "20", "--conversations", "40"],
            1,
            "--members: must be from 2 to 11 with 20 users",
        ),
        (["--conversations", "200", "--users", "20"], 1, "--conversations: 20 users have 100 at most, not 200"),
        (["--rpc", "GetUser"], 1, "--rpc: GetUser goes with --growth"),
        (["--scale", "2"], 2, "is not a number from 0.001 to 1"),
    ],
)
def test_wrong_arguments_are_reported_in_one_line(arguments: list[str], code: int, says: str, temporary: Path) -> None:
    run = bench(*arguments, temporary=temporary, check=False)
    assert (run.returncode, run.stdout) == (code, "")
    assert says in run.stderr
    assert code == 2 or len(run.stderr.splitlines()) == 1


def test_a_foreign_database_is_not_touched(temporary: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "gochat.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE precious (x)")
    connection.close()
    run = bench("--data", str(tmp_path / "data"), temporary=temporary, check=False)
    assert run.returncode == 1
    assert f"{file} is not empty, and not of gochat bench" in run.stderr
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("precious",)]
    connection.close()


def test_ctrl_c_ends_the_benchmark_and_all_its_processes(temporary: Path) -> None:
    running = begin(
        *("bench", *TINY, "--duration", "60", "--target", "split"),
        env={"TMPDIR": str(temporary)},
        # In a background job the shell has SIGINT ignored, and what was ignored stays so.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    wanted = 3 + len(os.sched_getaffinity(0))  # two halves, the echo, the clients
    started = polled(lambda: children(running.pid), lambda found: len(found) >= wanted, 30)
    assert len(started) >= wanted
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)
    assert (running.returncode, out) == (130, "")
    assert err.startswith("seeded: ")
    assert len(err.splitlines()) == 1
    # multiprocessing has a process of its own, which ends when it sees that we did
    assert not polled(lambda: [pid for pid in started if Path(f"/proc/{pid}").exists()], not_, 5)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (50, 50), (95, 95), (99, 99), (100, 100)])
def test_percentiles_are_those_of_the_nearest_rank(percent: float, expected: float) -> None:
    assert percentile([number * 1_000_000 for number in range(100, 0, -1)], percent) == expected
    assert percentile([], percent) == 0
    assert percentile([7_000_000], percent) == 7
