"""A database that takes no writes: NOT_SERVING and UNAVAILABLE within 5 s, and back by itself."""

import os
import re
import resource
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg2
import pytest

from tests.harness import Deployment, fresh, refused
from tests.health import NOT_SERVING, SERVING, health
from tests.postgres import Postgres, running_postgres
from tests.robustness.faults import small_disk
from tests.waiting import eventually, once_available

WITHIN = 5.0  # seconds
SPLIT = pytest.mark.parametrize("split", [False, True], ids=["colocated", "split"])


def execute(url: str, *statements: str) -> None:
    connection = psycopg2.connect(url, options="-c default_transaction_read_only=off")
    connection.autocommit = True
    with closing(connection), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


def as_postgres(url: str) -> str:
    """The same for the server's administrator."""
    return re.sub("//.*@", "//postgres@", url)


@contextmanager
def read_only_by_setting(url: str) -> Iterator[None]:
    """As a managed PostgreSQL does it whose disk is almost full, or that is to be replaced."""
    url = as_postgres(url)
    execute(url, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    try:
        yield
    finally:
        execute(url, "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")


@contextmanager
def read_only_by_rights(url: str) -> Iterator[None]:
    role = url.partition("//")[2].partition("@")[0]
    owner = as_postgres(url)
    execute(owner, f"REVOKE INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public FROM {role}")
    try:
        yield
    finally:
        execute(owner, f"GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")


def must_notice(app: Deployment, trouble: Callable[[], object]) -> None:
    person, friend = app.person(), app.create_user()
    person.send(friend, "before")
    assert health(app) == {SERVING}
    with trouble():  # type: ignore[attr-defined]
        eventually(lambda: health(app) == {NOT_SERVING}, WITHIN)
        with refused("UNAVAILABLE"):
            person.send(friend, "lost")
        assert person.GetUserProfile().profile.user_id == person.id, "what is read is answered"
    eventually(lambda: health(app) == {SERVING}, WITHIN)
    once_available(lambda: person.send(friend, "after"))
    conversation = person.GetConversations().conversations[0].conversation_id
    stored = [message.content for message in person.GetMessageHistory(conversation_id=conversation).messages]
    assert stored == ["after", "before"]
    assert "Traceback" not in app.logs()


@SPLIT
@pytest.mark.parametrize("how", [read_only_by_setting, read_only_by_rights])
def test_postgres_that_is_read_only(
    server: Postgres, tmp_path: Path, split: bool, how: Callable[[str], object]
) -> None:
    url, role = server.create_database(), fresh("role")
    execute(url, f"CREATE ROLE {role} LOGIN")
    Deployment(tmp_path / "first", url=url).kill()  # the tables are the administrator's
    execute(url, f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
    app = Deployment(tmp_path / "app", url=url.replace("//postgres@", f"//{role}@"), split=split)
    try:
        must_notice(app, lambda: how(url.replace("//postgres@", f"//{role}@")))
    finally:
        app.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk takes root")
def test_postgres_on_a_full_disk(tmp_path: Path) -> None:
    disk = Path(tempfile.mkdtemp(prefix="gochat-disk-"))  # pytest's folders are for root alone
    disk.chmod(0o755)
    with small_disk(disk, "300m"), running_postgres() as own:
        app = Deployment(tmp_path / "app", url=own.create_database())
        try:
            person, friend = app.person(), app.create_user()
            with (disk / "filler").open("wb", buffering=0) as file, suppress(OSError):
                while file.write(bytes(65536)):
                    pass
            big = "x" * 16000
            until = time.monotonic() + 30
            failed = False
            while not failed:
                try:
                    person.send(friend, big)
                except Exception:  # noqa: BLE001 - which, is asked below
                    failed = True
                assert time.monotonic() < until, "there was room for everything"
            eventually(lambda: health(app) == {NOT_SERVING}, WITHIN)
            time.sleep(2)
            assert health(app) == {NOT_SERVING}, "it stays so while the disk is full"
            (disk / "filler").unlink()
            with suppress(FileNotFoundError, ProcessLookupError):
                os.kill(own.pid, 0)  # it may have ended itself, when it could not write its log
            eventually(lambda: health(app) == {SERVING}, 10)
            once_available(lambda: person.send(friend, "after"))
        finally:
            app.kill()


@contextmanager
def write_lock(app: Deployment) -> Iterator[None]:
    with closing(sqlite3.connect(app.data / "gochat.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def moved(app: Deployment, suffix: str = "") -> Iterator[None]:
    file = app.data / f"gochat.db{suffix}"
    file.rename(app.data / "away")
    yield
    file.unlink(missing_ok=True)
    (app.data / "away").rename(file)


@contextmanager
def replaced(app: Deployment) -> Iterator[None]:
    with moved(app):
        (app.data / "gochat.db").write_bytes((app.data / "away").read_bytes())
        yield


@contextmanager
def no_growth(app: Deployment) -> Iterator[None]:
    """As on a full disk."""
    pid = app.processes[-1].pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@SPLIT
@pytest.mark.parametrize(
    "how",
    [write_lock, moved, lambda app: moved(app, "-wal"), replaced, no_growth],
    ids=["locked", "moved", "wal moved", "replaced", "full"],
)
def test_sqlite_that_takes_no_writes(tmp_path: Path, split: bool, how: Callable[[Deployment], object]) -> None:
    app = Deployment(tmp_path / "app", split=split)
    try:
        must_notice(app, lambda: how(app))
    finally:
        app.kill()


def test_what_is_sent_to_a_deleted_file_is_not_acknowledged(tmp_path: Path) -> None:
    app = Deployment(tmp_path / "app")
    try:
        person, friend = app.person(), app.create_user()
        for file in app.data.glob("gochat.db*"):
            file.unlink()
        with refused("UNAVAILABLE"):
            person.send(friend, "lost")
        eventually(lambda: "was replaced or deleted: put it back" in app.logs())
    finally:
        app.kill()
