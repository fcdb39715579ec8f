"""Programs of two versions on one database, as while an upgrade goes from host to host. The newer one is this program
with more files in a copy of sql/."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest

from gochat.commands.migrate import PENDING
from gochat.storage import migrate
from tests.conftest import Own
from tests.harness import Deployment
from tests.processes import Settings, environment, gochat, refused_start
from tests.streams import listening

PACKAGE = Path(migrate.__file__).parents[1]
LATEST = len(migrate.migrations("postgres"))
EXPAND = f"{LATEST + 1:04d}_nickname_sources.sql"
WIDER = {EXPAND: "ALTER TABLE users ADD COLUMN nickname_source TEXT NOT NULL DEFAULT '';\n"}
"""A newer version that adds to the schema."""
NARROWER = WIDER | {f"{LATEST + 2:04d}_contract_{LATEST + 1:04d}_less.sql": "DROP INDEX members_by_time;\n"}
"""One after it, which takes something away that the one before it does without, but not this program."""


class Program:
    """Another version, in a folder of its own."""

    def __init__(self, folder: Path, files: Mapping[str, str]) -> None:
        shutil.copytree(PACKAGE, folder / "gochat")  # with what is compiled, which goes by times and sizes
        shutil.copytree(migrate.folder(), folder / "sql")
        for name, text in files.items():
            (folder / "sql" / name).write_text(text)
        routines = folder / "sql" / "routines.postgres.sql"
        routines.write_text(routines.read_text().replace("\nBEGIN\n", "\nBEGIN\n    -- newer\n", 1))
        self.within = ("env", "-C", str(folder))  # python -m looks for the package here first

    def run(self, app: Deployment, *arguments: str) -> tuple[int, str]:
        """Exit code and output of a command with the settings of the app."""
        with self.begin(app.data, app.env, *arguments) as process:
            out, _ = process.communicate(timeout=120)
        return process.returncode, out.strip()

    def begin(self, data: Path, env: Settings, *arguments: str) -> "subprocess.Popen[str]":
        command = [*self.within, sys.executable, "-m", "gochat", *arguments, "--data", str(data)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, env=environment(env), text=True, **pipes)


@pytest.fixture(scope="module")
def wider(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return Program(tmp_path_factory.mktemp("wider"), WIDER)


@pytest.fixture(scope="module")
def narrower(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return Program(tmp_path_factory.mktemp("narrower"), NARROWER)


def check_of_this(app: Deployment) -> tuple[int, str]:
    done = app.run("migrate", "--check", check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


def sent_functions(app: Deployment) -> str:
    with closing(psycopg2.connect(app.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(prosrc, '') FROM pg_proc WHERE prosrc LIKE '%-- newer%'")
        return str(cursor.fetchone()[0] or "")


def talk(one: Deployment, other: Deployment) -> None:
    """People of one are heard by those whose stream is at the other, and the other way."""
    for here, there in ((one, other), (other, one)):
        ann, ben = here.people(2)
        room = ann.CreateGroup(name="both", member_ids=[ben.id]).group_id
        with listening(there, ben.metadata, address=there.address) as listener:
            for content in ("first", "second"):
                ann.send(room, content)
                listener.until(lambda each, content=content: content in each.contents)
        assert ben.GetUnreadMessages().total_count >= 2
        assert ben.GetMessageHistory(conversation_id=room).messages


def test_two_versions_serve_one_database_side_by_side(own: Own, wider: Program) -> None:
    older = own("postgres", env={"GOCHAT_AUTH_SECRET": "s" * 32})
    label = EXPAND.removesuffix(".sql")
    assert wider.run(older, "migrate", "--check") == (PENDING, f"pending: {label}, routines")
    assert check_of_this(older) == (0, "the database has this program's schema")
    assert wider.run(older, "migrate")[0] == 0, "while the older one serves"
    talk(older, older)
    newer = own("postgres", url=older.url, env=older.env, within=wider.within)
    assert check_of_this(older) == (
        0,
        f"the database has schema version {LATEST + 1}, with which this program goes, which knows {LATEST}",
    )
    talk(older, newer)
    older.kill()
    older.start()
    assert "-- newer" in sent_functions(older), "the older one leaves the functions of the newer one"
    talk(older, newer)
    checks = older.run("check", check=False).stdout, wider.run(newer, "check")[1]
    assert all(each.startswith("clean: ") for each in checks), checks
    assert older.run("migrate").stdout
    newer.stop()
    talk(older, older)  # the upgrade is taken back


def test_a_version_that_takes_away_what_a_program_needs_stops_its_start(
    own: Own, wider: Program, narrower: Program
) -> None:
    app = own("postgres")
    contract = f"{LATEST + 2:04d}_contract_{LATEST + 1:04d}_less"
    code, says = narrower.run(app, "migrate", "--check")
    assert (code, says.count("(first stop programs that do not know")) == (PENDING, 1)
    assert f"{contract} (first stop programs that do not know {LATEST + 1:04d})" in says
    app.stop()
    assert narrower.run(app, "migrate")[0] == 0
    reason = (
        f"gochat: the database has schema version {LATEST + 2}, this program knows {LATEST}, and {contract} is for"
        f" programs that know {LATEST + 1}: run a newer one"
    )
    assert check_of_this(app) == (1, reason)
    assert refused_start("--data", str(app.data), GOCHAT_DATABASE_URL=app.url).splitlines()[-1] == reason
    code, says = wider.run(app, "migrate", "--check")
    assert code == 0, f"the version in between goes on: {says}"


@contextmanager
def reading(url: str, table: str) -> Iterator[None]:
    """A transaction that has read a table and goes on, such as a pg_dump."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        yield


def test_calls_do_not_wait_behind_a_migration_that_waits(own: Own, wider: Program) -> None:
    app = own("postgres")
    ann, ben = app.people(2)
    slowest = 0.0
    with reading(app.url, "users"):
        running = wider.begin(app.data, app.env, "migrate")
        until = time.monotonic() + 5
        while time.monotonic() < until:
            began = time.monotonic()
            ann.GetUserProfile(user_id=ben.id)
            ann.send(ben.id)
            slowest = max(slowest, time.monotonic() - began)
        assert running.poll() is None
        assert slowest < migrate.LOCK_TIMEOUT + 1
    with running:
        running.communicate(timeout=60)
    assert running.returncode == 0
    assert wider.run(app, "migrate", "--check")[0] == 0


def test_what_a_check_finds_where_there_is_no_schema_yet(tmp_path: Path) -> None:
    run = gochat("migrate", "--check", "--data", tmp_path)
    assert (run.returncode, run.stderr) == (PENDING, "")
    assert run.stdout.startswith("pending: 0001_schema, 0002_messages, ")
    assert list(tmp_path.iterdir()) == [], "it makes nothing"
    run = gochat("migrate", "--check", "--data", tmp_path / "nowhere")
    assert (run.returncode, run.stdout) == (1, "")
    (tmp_path / "gochat.db").write_bytes(b"")
    assert gochat("migrate", "--check", "--data", tmp_path).returncode == PENDING
    url = "postgresql://nobody@127.0.0.1:1/none"
    run = gochat("migrate", "--check", "--data", tmp_path, env={"GOCHAT_DATABASE_URL": url})
    assert (run.returncode, run.stdout) == (1, "")
    assert len(run.stderr.splitlines()) == 1


def test_a_check_reads_beside_a_running_server_on_sqlite(own: Own) -> None:
    app = own()
    assert check_of_this(app) == (0, "the database has this program's schema")
    assert app.person()
