"""What the log says to an operator, and in what form."""

import json
import logging
import re
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gochat.api.logic.v1 import logic_pb2
from gochat.config import Config
from gochat.storage.database import Tx
from gochat.storage.engine import open_database
from gochat.storage.models import EndedSession
from gochat.storage.sqlite import SqliteDatabase
from tests.conftest import SQLITE, Own
from tests.harness import CONTENT, Deployment, locked, refused
from tests.processes import FAST
from tests.waiting import eventually, in_flight

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d\d:\d\d)")
SLOW = 1.0  # seconds that a statement waits for a lock
WRITES = """
import logging, sys
from gochat.config import Log
from gochat.logs import to_stderr
class OperationalError(Exception): pass
to_stderr(Log(format=sys.argv[1]))
try:
    raise OperationalError("no such table: \\x1b[2Jmembers\\nsecret") from ValueError("secret")
except OperationalError:
    logging.getLogger("one").exception("first\\nsecond \\x1b[2J \\x9b \\u2028 é")
"""


@pytest.fixture(scope="module", params=SQLITE)
def app(request: pytest.FixtureRequest, own_of_module: Own) -> Deployment:
    return own_of_module(request.param, env={"GOCHAT_LOG_FORMAT": "json", "GOCHAT_LOG_LEVEL": "debug"})


def records(app: Deployment) -> list[dict[str, Any]]:
    """Every line that is written whole."""
    return [json.loads(line) for line in app.logs().splitlines(keepends=True) if line.endswith("\n")]


def calls(app: Deployment, rpc: str) -> dict[str, dict[str, Any]]:
    """The lines of the calls of an RPC ("LogicService/SendMessage"), by request id; each must be there once."""
    lines = [record for record in records(app) if record.get("method", "").endswith(f".{rpc}")]
    found = {record["request_id"]: record for record in lines}
    assert len(found) == len(lines)
    return found


def test_every_line_is_an_object_with_the_same_first_fields(app: Deployment) -> None:
    app.person().send(app.create_user(), CONTENT)
    eventually(lambda: calls(app, "LogicService/SendMessage"))
    for record in records(app):
        assert list(record)[:5] == ["time", "level", "logger", "message", "request_id"]
        assert RFC_3339.fullmatch(record["time"])
        assert record["level"] in {"DEBUG", "INFO", "WARNING"}  # a slow statement, on a busy machine


def test_a_call_is_one_line(app: Deployment) -> None:
    person = app.person()
    for request_id, metadata in (("asks-1", person.metadata), ("asks-2", ()), ("asks-3", app.service)):
        with refused("UNAUTHENTICATED") if not metadata else refused("NOT_FOUND"):
            request = logic_pb2.GetUserProfileRequest(user_id="nobody")
            app.logic.GetUserProfile(request, metadata=(*metadata, ("x-request-id", request_id)))
    app.logic.GetUserProfile(logic_pb2.GetUserProfileRequest(), metadata=(*person.metadata, ("x-request-id", "asks-4")))
    found = eventually(lambda: len(lines := calls(app, "LogicService/GetUserProfile")) >= 4 and lines)
    shown = [[found[f"asks-{n}"].get(key) for key in ("code", "reason", "caller", "peer")] for n in (1, 2, 3, 4)]
    assert shown == [
        ["NOT_FOUND", "USER_NOT_FOUND", person.id, "127.0.0.1"],
        ["UNAUTHENTICATED", "NO_TOKEN", "-", "127.0.0.1"],
        ["NOT_FOUND", "USER_NOT_FOUND", "service", "127.0.0.1"],
        ["OK", None, person.id, "127.0.0.1"],
    ]
    assert all(0 < record["duration_ms"] < 30_000 and record["level"] == "INFO" for record in found.values())


def test_an_exception_is_one_field(own: Own) -> None:
    app = own(env={"GOCHAT_LOG_FORMAT": "json"})
    person = app.person()
    with closing(sqlite3.connect(app.data / "gochat.db")) as database:
        database.execute("ALTER TABLE members RENAME TO gone")
    with refused("INTERNAL") as refusal:
        person.GetConversations()
    app.stop()
    (failure,) = [record for record in records(app) if record["level"] == "ERROR"]
    assert failure["request_id"] == refusal.request_id
    assert failure["exception"].startswith("  File ")
    assert "OperationalError: no such table: members" in failure["exception"].splitlines()


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_text_breaks_out_of_a_log_line(form: str) -> None:
    run = subprocess.run([sys.executable, "-c", WRITES, form], capture_output=True, check=True)
    written = run.stderr.decode()
    assert "members" in written
    assert "secret" not in written
    assert not re.search(r"[^\n -~\xa0-\u2027\u202a-\U0010ffff]", written)
    first, *traceback = written.splitlines()
    assert "first" in first
    assert "second" in first
    assert (traceback == []) == (form == "json")


def test_lines_of_calls_can_be_left_out(own: Own) -> None:
    app = own(env={"GOCHAT_LOG_CALLS": "false", "GOCHAT_LOG_LEVEL": "debug"})
    app.person()
    app.stop()
    assert "draining" in app.logs()
    assert "gochat.calls" not in app.logs()


def test_a_slow_statement_is_logged_without_its_parameters(own: Own) -> None:
    app = own("postgres", env={"GOCHAT_LOG_FORMAT": "json"})
    person, friend = app.person(), app.create_user()
    person.send(friend)
    with locked(app) as lock:
        request = logic_pb2.SendMessageRequest(to_user_id=friend, content=CONTENT)
        running = app.logic.SendMessage.future(request, metadata=(*person.metadata, ("x-request-id", "slow")))
        in_flight(app.processes[0])
        time.sleep(SLOW)  # so long it takes
        lock.rollback()
    running.result()
    app.stop()
    slow = [record for record in records(app) if "statement" in record and record["request_id"] == "slow"]
    assert len(slow) == 1
    assert f"FROM {'send_unlocked' if FAST else 'send_messages'}(" in slow[0]["statement"]
    assert slow[0]["duration_ms"] > SLOW * 500
    assert slow[0]["level"] == "WARNING"
    assert CONTENT not in app.logs()


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_logging_a_slow_query_keeps_its_result(
    dialect: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = request.getfixturevalue("postgres").create_database() if dialect == "postgres" else ""
    settings = Config().with_settings("server", data=str(tmp_path)).with_settings("database", url=url, pool_min=1)
    with closing(open_database(settings)) as database:
        monkeypatch.setattr(Tx, "slow_after", 0)
        row = {EndedSession.session_id: "s", EndedSession.ended_at: 1}
        for changed in (1, 0):
            insert = EndedSession.insert(row).on_conflict_ignore().as_rowcount()
            assert database.write(lambda tx, insert=insert: tx.run(insert)) == changed


@pytest.mark.parametrize(("slow_after", "lines"), [(0.001, 1), (60, 0)])
def test_the_time_that_sqlite_takes_to_fetch_counts(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    slow_after: float,
    lines: int,
) -> None:
    monkeypatch.setattr(Tx, "slow_after", slow_after)
    count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL\n  SELECT i + 1 FROM n WHERE i < ?) SELECT i FROM n WHERE i > ?"
    with closing(SqliteDatabase(tmp_path / "db")) as database, caplog.at_level(logging.WARNING):
        rows = database.read(lambda tx: tx.fetch_all(count, 300_000, 299_999))
    assert rows == [(300_000,)]
    slow = [record.getMessage() for record in caplog.records]
    assert len(slow) == lines
    assert all("UNION ALL SELECT" in line and "99" not in line.partition("ms: ")[2] for line in slow)
