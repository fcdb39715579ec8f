"""What runs in the background survives whatever happens to it, says so, and goes on when the cause is gone."""

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from gochat import background
from gochat.background import periodic
from gochat.config import ConfigError
from gochat.errors import unavailable
from tests.conftest import Own
from tests.harness import Deployment
from tests.waiting import eventually, polled


class Work:
    """Raises errors in turn, then nothing any more. runs: when they began, on the clock of time.monotonic()."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.runs: list[float] = []

    def __call__(self) -> None:
        self.runs.append(time.monotonic())
        if self._errors:
            raise self._errors.pop(0)


def reports(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "gochat.background"]


@pytest.mark.parametrize("error", [unavailable("gone"), ConfigError("bad"), ValueError("odd"), MemoryError()])
def test_any_exception_is_survived_and_reported_once(caplog: pytest.LogCaptureFixture, error: Exception) -> None:
    work, before = Work(*[error] * 3), background.failures()
    with caplog.at_level(logging.INFO), periodic("sweep", work, 0.01):
        eventually(lambda: len(work.runs) > 5)
    said = f": {error}" if isinstance(error, ConfigError) or str(error) == "gone" else ""
    assert reports(caplog) == [
        ("ERROR", f"sweep: failed{said}"),
        ("WARNING", "sweep: works again after 3 failures"),
    ]
    assert bool(caplog.records[0].exc_info) == (not said), "what nobody expected has a traceback"
    assert background.failures() - before == 3


def test_work_that_goes_on_failing_is_reported_now_and_then(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "REPORT_INTERVAL", 0.2)
    work = Work(*[ConfigError("bad")] * 1000)
    with periodic("sweep", work, 0.01):
        eventually(lambda: len(reports(caplog)) == 3)
    first, *more = [message for _, message in reports(caplog)]
    assert first == "sweep: failed: bad"
    numbers = [int(message.removeprefix("sweep: failed ").removesuffix(" more times: bad")) for message in more]
    assert all(1 < number <= 20 for number in numbers)


def test_an_error_that_cannot_be_reported_is_survived_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(background.log, "error", fails)
    work = Work(ValueError("odd"))
    with periodic("sweep", work, 0.01):
        eventually(lambda: len(work.runs) > 2)


def test_a_failure_is_retried_sooner_and_a_long_run_waits_longer() -> None:
    work = Work(ConfigError("bad"), ConfigError("bad"))
    with periodic("sweep", work, lambda _: 60.0, retry=0.01):
        eventually(lambda: len(work.runs) == 3)
        assert not polled(lambda: len(work.runs) > 3, seconds=0.1)
    took: list[float] = []

    def interval(seconds: float) -> float:
        took.append(seconds)
        return 0.01

    with periodic("sweep", lambda: time.sleep(0.05), interval):
        eventually(lambda: len(took) == 2)
    assert all(0.05 <= seconds < 1 for seconds in took)


def test_the_end_waits_for_running_work_but_not_forever() -> None:
    stuck, began = threading.Event(), time.monotonic()
    with periodic("idle", lambda: None, 60.0), periodic("stuck", stuck.wait, 60.0):  # type: ignore[arg-type]
        pass
    assert background.JOIN_TIMEOUT <= time.monotonic() - began < 2 * background.JOIN_TIMEOUT + 1
    assert "idle" not in [thread.name for thread in threading.enumerate()]
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "stuck")
    stuck.set()


def failed(app: Deployment) -> list[str]:
    return [line for line in app.logs().splitlines() if " gochat.background: " in line]


def test_tables_may_be_gone_for_a_moment(own: Own) -> None:
    app = own("postgres")
    person = app.person()
    with closing(psycopg2.connect(app.url)) as database:
        database.autocommit = True
        execute = database.cursor().execute
        execute("ALTER TABLE ended_sessions RENAME TO elsewhere")
        eventually(lambda: failed(app))
        execute("ALTER TABLE elsewhere RENAME TO ended_sessions")
    eventually(lambda: "works again after" in failed(app)[-1])
    person.GetUserProfile()
    assert app.run("health", "--address", app.address).stdout == "SERVING\n"
    assert app.processes[0].metrics()("gochat_background_failures_total") > 0
    assert [line.partition("background: ")[2].split(" after")[0] for line in failed(app)] == [
        "ended sessions: failed",
        "ended sessions: works again",
    ]


def write(content: bytes, file: Path) -> None:
    file.write_bytes(content)


@pytest.mark.parametrize(
    "spoil",
    [
        partial(write, b"\xff\xfe" + b"k" * 40),
        partial(write, b"k" * 64 + " ²\n".encode()),
        partial(write, b"k" * 64 + b" " + b"9" * 5000),
        lambda file: file.chmod(0o644),
        lambda file: file.rename(file.with_name("gone")),
    ],
    ids=["not UTF-8", "not a digit", "not a time", "mode", "missing"],
)
def test_a_key_file_may_be_unfit_for_a_moment(own: Own, spoil: Callable[[Path], None]) -> None:
    app = own()
    person, file = app.person(), app.data / "signing.key"
    good = file.read_bytes()
    spoil(file)
    eventually(lambda: failed(app))
    person.GetUserProfile()
    file.touch(mode=0o600)
    file.chmod(0o600)
    if file.read_bytes() != good:
        file.write_bytes(good)
    eventually(lambda: "signing keys: works again" in failed(app)[-1])
    person.GetUserProfile()
    assert len(failed(app)) == 2


def test_a_new_key_that_was_refused_is_taken_when_its_mode_is_right(own: Own, tmp_path: Path) -> None:
    app = own()
    person, file = app.person(), app.data / "signing.key"
    new = tmp_path / "new"
    new.write_bytes(os.urandom(32).hex().encode() + b" %d\n" % time.time() + file.read_bytes())
    new.chmod(0o644)
    new.replace(file)
    eventually(lambda: failed(app))
    file.chmod(0o600)
    eventually(lambda: app.run("user", "list", "--address", app.address, check=False).returncode == 0)
    person.GetUserProfile()
