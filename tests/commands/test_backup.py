"""gochat backup and restore, as an operator types them, beside a server that is at work."""

import resource
import shutil
import signal
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Own
from tests.conversations import contents, history
from tests.harness import PASSWORD, Deployment, as_service
from tests.life import lived
from tests.postgres import Postgres
from tests.processes import begin, gochat
from tests.waiting import eventually


@pytest.fixture
def app(own: Own, tmp_path: Path) -> Deployment:
    return own(folder=tmp_path / "gochat")


class Sender(threading.Thread):
    """Writes into a group until it is stopped. acknowledged: contents, in order."""

    def __init__(self, app: Deployment, group: str, user_id: str) -> None:
        super().__init__()
        self.app, self.group, self.user_id = app, group, user_id
        self.acknowledged: list[str] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.is_set():
            content = f"{self.user_id} {len(self.acknowledged)}"
            where = {"conversation_id": self.group, "from_user_id": self.user_id}
            as_service(self.app).logic.SendMessage(content=content, **where)
            self.acknowledged.append(content)


@pytest.fixture
def busy(app: Deployment) -> Iterator[tuple[str, list[Sender]]]:
    """A group and those who are writing into it."""
    users = [app.create_user() for _ in range(4)]
    group = as_service(app).logic.CreateGroup(name="g", owner_id=users[0], member_ids=users).group_id
    senders = [Sender(app, group, user_id) for user_id in users]
    for sender in senders:
        sender.start()
    eventually(lambda: all(sender.acknowledged for sender in senders))
    yield group, senders
    for sender in senders:
        sender.stopped.set()
        sender.join()


def refusal(*arguments: object, **options: Any) -> str:
    """What a command that fails says, on one line. options: as of gochat()."""
    run = gochat(*arguments, **options)
    assert (run.returncode, run.stdout) == (1, ""), run
    assert run.stderr.startswith("gochat: ")
    assert run.stderr.count("\n") == 1, run.stderr
    return run.stderr


def everything(database: Path) -> dict[str, list[tuple[object, ...]]]:
    """But for the log of changes, of which a restored database begins another, and who reads it at the moment."""
    with sqlite3.connect(database) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'user_%'")
        names = {name for (name,) in tables} - {"changes", "log_readers"}
        rows = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}
    rows["secrets"] = [row for row in rows["secrets"] if row[0] != "epoch"]
    return rows


def test_a_backup_made_while_people_write_has_all_that_was_acknowledged_before(
    own: Own, app: Deployment, busy: tuple[str, list[Sender]], tmp_path: Path
) -> None:
    group, senders = busy
    file = tmp_path / "backup.db"
    before = [list(sender.acknowledged) for sender in senders]
    made = app.run("backup", str(file))
    sent_meanwhile = sum(len(sender.acknowledged) for sender in senders) - sum(map(len, before))
    assert sent_meanwhile > 0
    assert made.stdout.startswith(f"{file}: 4 users, 1 conversations, 4 members, ")
    assert made.stdout.endswith("bytes, checked\n")
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["backup.db"]

    other = own()
    other.stop()
    (other.data / "gochat.db").unlink()
    assert other.run("restore", str(file)).stdout.startswith("restored: 4 users, ")
    other.start()
    stored = {message.content for message in history(as_service(other).logic, group)}
    for acknowledged in before:
        assert set(acknowledged) <= stored


def test_a_restored_database_equals_the_one_backed_up(app: Deployment, tmp_path: Path) -> None:
    life = lived(app)
    file = tmp_path / "backup.db"
    app.run("backup", str(file))
    app.stop()
    there = everything(app.data / "gochat.db")
    assert everything(file) == there
    (app.data / "gochat.db").unlink()
    app.run("restore", str(file))
    assert everything(app.data / "gochat.db") == there
    app.start()
    assert [user.user_id for user in life.cem.SearchUsers(query=life.ann.username).users] == [life.ann.id]
    assert life.ann.send(life.talk, "4").message_id.endswith("004")
    assert app.run("check").stdout.startswith("clean: ")


def test_a_stopped_server_is_backed_up_unchanged(app: Deployment, tmp_path: Path) -> None:
    person = app.person(password=PASSWORD)
    app.kill()  # what it committed last stands in the WAL alone
    files = [app.data / "gochat.db", app.data / "gochat.db-wal"]
    before = [file.read_bytes() for file in files]
    app.run("backup", str(tmp_path / "backup.db"))
    app.run("check")
    assert [file.read_bytes() for file in files] == before, "a reader wrote"
    with sqlite3.connect(tmp_path / "backup.db") as connection:
        assert connection.execute("SELECT user_id FROM users").fetchall() == [(person.id,)]
    app.start()
    person.ListSessions()


def test_a_backup_overwrites_no_file(app: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "backup.db"
    file.write_text("precious")
    assert "backup.db: is there already" in refusal("backup", file, "--data", app.data)
    assert file.read_text() == "precious"
    assert "there is no folder" in refusal("backup", tmp_path / "no" / "b", "--data", app.data)
    assert "there is no database" in refusal("backup", tmp_path / "b", "--data", tmp_path)


def test_a_backup_that_is_killed_leaves_no_file(app: Deployment, tmp_path: Path) -> None:
    lived(app)
    folder = tmp_path / "backups"
    folder.mkdir()
    for number in range(20):
        file = folder / str(number)
        process = begin("backup", file, "--data", app.data, program=sys.executable)
        while process.poll() is None and not any(folder.glob(".gochat-copy-*")):
            pass
        process.kill()
        process.communicate()
        if any(folder.glob(".gochat-copy-*")):
            break
    else:
        pytest.fail("each was done before it could be killed")
    assert not file.exists()
    app.run("backup", str(file))
    assert gochat("restore", str(file), "--data", str(tmp_path / "new")).returncode == 0


def limited() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def test_a_full_disk_leaves_no_partial_file(app: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "backup.db"
    said = refusal("backup", file, "--data", app.data, preexec_fn=limited, program=sys.executable)
    assert "disk" in said
    assert not list(tmp_path.glob("*backup*"))
    app.run("backup", str(file))
    refusal("restore", file, "--data", tmp_path / "new", preexec_fn=limited, program=sys.executable)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["gochat.db.lock"]
    assert gochat("restore", str(file), "--data", str(tmp_path / "new")).returncode == 0


def test_a_restore_overwrites_no_database(app: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "backup.db"
    app.run("backup", str(file))
    person = app.person(password=PASSWORD)
    assert "in use by another gochat process" in refusal("restore", file, "--data", app.data)
    app.kill()
    database, wal = app.data / "gochat.db", app.data / "gochat.db-wal"
    assert f"{database}: is there already" in refusal("restore", file, "--data", app.data)
    assert wal.stat().st_size > 0
    database.rename(tmp_path / "old.db")
    assert f"{wal}: belongs to the database that was {database}" in refusal("restore", file, "--data", app.data)
    wal.rename(tmp_path / "old.db-wal")
    app.run("restore", str(file))
    assert not list(app.data.glob("*-shm"))
    with sqlite3.connect(tmp_path / "old.db") as old, sqlite3.connect(database) as restored:
        count = "SELECT count(*) FROM users WHERE user_id = ?"
        assert old.execute(count, (person.id,)).fetchone() == (1,)
        assert restored.execute(count, (person.id,)).fetchone() == (0,)


def test_only_a_sound_backup_is_restored(app: Deployment, tmp_path: Path) -> None:
    app.run("backup", str(tmp_path / "good"))

    def tried(name: str) -> str:
        return refusal("restore", tmp_path / name, "--data", tmp_path / "new")

    assert "there is no such file" in tried("nothing")
    (tmp_path / "text").write_text("hello" * 1000)
    assert "file is not a database" in tried("text")
    (tmp_path / "empty").touch()
    assert "is no database of GoChat" in tried("empty")
    with sqlite3.connect(tmp_path / "other") as other:
        other.execute("CREATE TABLE notes (text)")
    assert "is no database of GoChat" in tried("other")
    whole = (tmp_path / "good").read_bytes()
    (tmp_path / "half").write_bytes(whole[: len(whole) // 2])
    assert "malformed" in tried("half")
    (tmp_path / "scratched").write_bytes(whole[:20_480] + b"\xff" * 4096 + whole[24_576:])
    assert f"{tmp_path / 'scratched'}: is damaged: database disk image is malformed" in tried("scratched")
    shutil.copy(tmp_path / "good", tmp_path / "newer")
    with sqlite3.connect(tmp_path / "newer") as newer:
        row = "(9999, 'contract_9999_x', '', 0)"
        newer.execute(f"INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES {row}")
    assert "schema version 9999, this program knows" in tried("newer")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["gochat.db.lock"]


def test_a_database_with_findings_is_copied_and_they_are_reported(app: Deployment, tmp_path: Path) -> None:
    user_id = app.create_user()
    app.stop()
    with sqlite3.connect(app.data / "gochat.db") as harmed:
        harmed.execute("UPDATE users SET status = 9")
    for command, data in (("backup", app.data), ("restore", tmp_path / "new")):
        run = gochat(command, str(tmp_path / "b"), "--data", str(data))
        assert run.returncode == 1
        assert run.stdout.splitlines()[1:] == [f"users {user_id}: status is not 1, 2 or 3"]
    assert (tmp_path / "new" / "gochat.db").exists()


def test_postgres_is_backed_up_by_its_own_programs(own: Own, direct_postgres: Postgres, tmp_path: Path) -> None:
    postgres = direct_postgres
    url = postgres.create_database()
    app = own(url=url)
    life = lived(app)
    assert "pg_dump" in app.run("backup", str(tmp_path / "b"), check=False).stderr
    assert "pg_restore" in app.run("restore", str(tmp_path / "b"), check=False).stderr
    copy = postgres.create_database()
    dump = str(tmp_path / "gochat.dump")
    postgres.client("pg_dump", "--format=custom", f"--file={dump}", url)  # while it runs
    before = contents(life.ann, life.group)
    app.stop()
    postgres.client("pg_restore", "--exit-on-error", "--no-owner", f"--dbname={copy}", dump)
    restored = own(url=copy)
    assert restored.run("check").stdout.startswith("clean: ")
    calls = as_service(restored).logic
    assert contents(calls, life.group) == before
    assert calls.SendMessage(conversation_id=life.group, from_user_id=life.ann.id, content="on").message_id


def test_a_missing_or_broken_database_is_reported(tmp_path: Path) -> None:
    assert "there is no database" in refusal("check", "--data", tmp_path)
    (tmp_path / "gochat.db").write_text("hello" * 1000)
    run = gochat("check", "--data", str(tmp_path))
    assert (run.returncode, run.stdout) == (1, "file: file is not a database\n")
