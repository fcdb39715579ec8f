"""Commands that take long: they say how far they are, and Ctrl-C ends them and leaves nothing that looks whole."""

import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from gochat.config import Config, Database
from gochat.storage.engine import open_database
from tests.commands.copying import PASSING, begin_copy, copied, opened, refused, rows_of
from tests.conftest import Own
from tests.processes import begin, environment, gochat

# gochat whose check begins with a rule that takes some minutes.
SLOW = """
import sys
from gochat import background
from gochat.cli import main
from gochat.repo import check
background.PROGRESS_INTERVAL = 0.2
counting = "WITH RECURSIVE t (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 1000000000) SELECT n FROM t"
check.RULES = (check.Rule("users", "is slow", f"SELECT n FROM ({counting}) AS counted WHERE n < 0"), *check.RULES)
sys.exit(main(sys.argv[1:]))
"""
INTERRUPTED = 130


def interrupted(*arguments: object, step: str = "checking users", **env: str) -> None:
    """Runs a command that takes long, and interrupts it once it has said that it is at this step."""
    command = [sys.executable, "-c", SLOW, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment(env), text=True, **pipes) as program:  # type: ignore[call-overload]
        killer = threading.Timer(60, program.kill)
        killer.start()
        while not re.match(rf"{step}: \d+ s so far; it may be interrupted", line := program.stderr.readline()):
            assert line, "it ended"
        began = time.monotonic()
        program.send_signal(signal.SIGINT)
        out, err = program.communicate()
        killer.cancel()
    assert time.monotonic() - began < 10
    assert (program.returncode, out, PASSING.sub("", err)) == (INTERRUPTED, "", "gochat: interrupted\n")


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres").create_database())
    return f"sqlite:///{tmp_path}/new/gochat.db"


def made(url: str) -> str:
    with closing(open_database(Config(database=Database(url=url, pool_min=1)))):
        return url


def source(tmp_path: Path) -> str:
    """A database of some size, of users alone."""
    url = made(f"sqlite:///{tmp_path}/source.db")
    with opened(url) as cursor:
        names = [f"user{number}" for number in range(20_000)]
        cursor.executemany(
            "INSERT INTO users (user_id, username, username_key, username_shape, nickname, nickname_key, email,"
            " avatar, bio, role, status, password_hash, created_at, updated_at)"
            " VALUES (?, ?, ?, ?, 'n', 'n', '', '', '', 'user', 1, '$argon2id$', 1, 1)",
            [(f"u{name}", name, name, name) for name in names],
        )
        cursor.execute("INSERT INTO user_search (user_search) VALUES ('rebuild')")
    return url


def test_a_check_may_be_interrupted(url: str) -> None:
    made(url)
    interrupted("check", GOCHAT_DATABASE_URL=url)
    assert gochat("check", env={"GOCHAT_DATABASE_URL": url}).stdout.startswith("clean: ")


@pytest.mark.parametrize("folder", ["missing", "existing"])
def test_a_restore_that_is_interrupted_leaves_no_database(own: Own, tmp_path: Path, folder: str) -> None:
    app, file, data = own(), tmp_path / "backup.db", tmp_path / "data"
    app.create_user()
    app.run("backup", str(file))
    if folder == "existing":
        data.mkdir()
        (data / "signing.key").write_text("precious")
    before = set(data.glob("*"))
    interrupted("restore", file, "--data", data)
    assert {path.name for path in set(data.iterdir()) - before} == {"gochat.db.lock"}
    assert "there is no database" in gochat("check", "--data", data).stderr
    gochat("restore", file, "--data", data, check=True)
    assert gochat("check", "--data", data).stdout.startswith("clean: 1 users")


def test_a_backup_that_is_interrupted_leaves_no_file(own: Own, tmp_path: Path) -> None:
    app, folder = own(), tmp_path / "backups"
    folder.mkdir()
    interrupted("backup", folder / "backup.db", "--data", app.data)
    assert not list(folder.iterdir())


def test_a_copy_that_is_interrupted_at_its_end_is_not_complete(tmp_path: Path, url: str) -> None:
    """That is where the search index is made, and the copy checked."""
    whole = source(tmp_path)
    interrupted("copy", "--from", whole, "--to", url)
    assert refused(url, whole) == ("--from: the database holds a copy that is not complete: run that gochat copy again")
    with pytest.raises(AssertionError, match="holds a copy that is not complete"):
        gochat("serve", env={"GOCHAT_DATABASE_URL": url}, check=True)
    copied(whole, url)
    assert rows_of(url) == rows_of(whole)


DELAYS = [number * 0.03 for number in range(10)]  # seconds


def opened_by(program: "subprocess.Popen[str]") -> set[Path]:
    with suppress(FileNotFoundError):  # closed at that moment, or the program has ended
        return {link.readlink() for link in Path(f"/proc/{program.pid}/fd").iterdir()}
    return set()


def after(delay: float, program: "subprocess.Popen[str]", file: Path) -> bool:
    """Interrupts a command so long after it has opened the file; returns whether it came to its end before."""
    while program.poll() is None and file not in opened_by(program):
        pass
    time.sleep(delay)  # a moment like any other
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=60)
    assert program.returncode in (0, INTERRUPTED), err
    assert PASSING.sub("", err) == ("" if program.returncode == 0 else "gochat: interrupted\n")
    return program.returncode == 0


def test_a_restore_may_be_interrupted_at_any_moment(tmp_path: Path) -> None:
    file = Path(source(tmp_path).removeprefix("sqlite:///"))
    for number, delay in enumerate(DELAYS):
        data = tmp_path / f"data{number}"
        program = begin("restore", file, "--data", data, program=sys.executable)
        done = after(delay, program, file)
        assert [path.name for path in data.iterdir() if path.name != "gochat.db.lock"] in (
            [["gochat.db"]] if done else [[], ["gochat.db"]]
        )
        if (data / "gochat.db").exists():
            with closing(sqlite3.connect(data / "gochat.db")) as restored:
                assert restored.execute("SELECT count(*) FROM users").fetchone() == (20_000,)


def test_a_copy_may_be_interrupted_at_any_moment(tmp_path: Path) -> None:
    whole, target = source(tmp_path), tmp_path / "copy.db"
    for number, delay in enumerate(DELAYS):
        done = after(delay, begin_copy(whole, f"sqlite:///{target}"), tmp_path / "source.db")
        if done:
            break
        with closing(sqlite3.connect(target)) as other:
            tables = {name for (name,) in other.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            if "copy_progress" not in tables and "users" in tables:  # not begun, or complete
                assert other.execute("SELECT count(*) FROM users").fetchone() in [(0,), (20_000,)], number
    if not done:
        copied(whole, f"sqlite:///{target}")
    assert rows_of(f"sqlite:///{target}") == rows_of(whole)
