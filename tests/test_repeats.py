"""Errors that repeat are logged once and then counted."""

import logging
import re
from pathlib import Path

import grpc
import pytest

from gochat.logs import repeats
from gochat.logs.lines import RecordEntry, record_entry
from tests.harness import Deployment, as_service
from tests.postgres import running_postgres


def entry(message: str, level: int = logging.ERROR, at: float = 0.0) -> RecordEntry:
    return record_entry(logging.LogRecord("x", level, "", 0, message, (), None))._replace(at=at)


def test_the_first_is_logged_and_the_rest_counted() -> None:
    seen = repeats.Repeats()
    assert [seen.is_repeat(entry("a")) for _ in range(4)] == [False, True, True, True]
    assert not seen.is_repeat(entry("b"))
    assert not seen.is_repeat(entry("a", logging.WARNING))
    assert list(seen.due(repeats.REPORT_INTERVAL - 1)) == []
    (line,) = seen.due(repeats.REPORT_INTERVAL)
    assert (line.message, line.level, line.fields) == ("a (3 more times)", "ERROR", {"repeated": 3})
    assert seen.is_repeat(entry("a"))
    (line,) = seen.due(0, all_of_them=True)
    assert line.message == "a (1 more times)"


def test_what_has_stopped_is_logged_in_full_when_it_comes_back() -> None:
    seen = repeats.Repeats()
    assert not seen.is_repeat(entry("a"))
    assert list(seen.due(repeats.REPORT_INTERVAL)) == []
    assert not seen.is_repeat(entry("a"))


def test_information_is_never_counted_and_memory_is_bounded() -> None:
    seen = repeats.Repeats()
    assert not any(seen.is_repeat(entry("a", logging.INFO)) for _ in range(3))
    assert not any(seen.is_repeat(entry(f"{number}")) for number in range(repeats.MAX_KNOWN + 10))
    assert len(seen._known) == repeats.MAX_KNOWN


@pytest.mark.parametrize("split", [False, True])
def test_a_database_that_is_away_fills_no_log(tmp_path: Path, *, split: bool) -> None:
    with running_postgres() as postgres:
        app = Deployment(tmp_path, url=postgres.create_database(), split=split)
        person = app.person()
        postgres.stop("immediate")
        for _ in range(20):
            with pytest.raises(grpc.RpcError):
                as_service(app).repo.GetUser(user_id=person.id)
        app.stop()
        postgres.start()
    failures = re.findall(r"ERROR \[\S+\] gochat\.storage\.\w+: (the database failed .*)", app.logs())
    assert len(failures) < 12
    assert any(re.search(r"\(\d+ more times\)$", line) for line in failures), failures
