"""Commands that root runs on another user's data folder."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pwd import getpwnam

import pytest

from tests.commands.other_user import NAME
from tests.commands.program import OTHER_USER, gochat, sentence
from tests.processes import PROGRAM, Process, environment

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a command on another user's folder"),
    pytest.mark.skipif(sys.executable != PROGRAM, reason="the other user's program is this one's modules"),
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of another user's, below folders that they can reach."""
    folder = tmp_path / "theirs" / "data"
    folder.mkdir(parents=True)
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    account = getpwnam(NAME)
    for one in (folder.parent, folder):
        os.chown(one, account.pw_uid, account.pw_gid)
    folder.chmod(0o700)
    return folder


@contextmanager
def serving(data: Path, tmp_path: Path, env: dict[str, str] | None = None) -> Iterator["subprocess.Popen[str]"]:
    """The other user's server on their folder."""
    log = tmp_path / "server.log"
    Process.logs.add(log)
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", OTHER_USER, "serve", "--data", str(data), "--listen", "127.0.0.1:0"],
            env=environment(env),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        assert process.stdout
        assert process.stdout.readline().startswith("gochat ready on"), log.read_text()
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def server(data: Path, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    with serving(data, tmp_path) as process:
        yield process


def strangers(folder: Path) -> list[str]:
    """The files in it that belong to another user than the folder."""
    owner = folder.stat().st_uid, folder.stat().st_gid
    return [path.name for path in folder.rglob("*") if (path.stat().st_uid, path.stat().st_gid) != owner]


def done(*arguments: str) -> str:
    run = gochat(*arguments)
    others = [line for line in run.stderr.splitlines() if not line.startswith("applied migration ")]
    assert (run.returncode, others) == (0, [])
    return run.stdout


def ended(server: "subprocess.Popen[str]", number: signal.Signals) -> None:
    server.send_signal(number)
    server.wait(60)


def test_a_key_that_root_made_is_taken_by_the_owners_server(server: "subprocess.Popen[str]", data: Path) -> None:
    done("key", "rotate", "--drop-old", "--data", str(data))
    done("user", "list", "--data", str(data))
    ended(server, signal.SIGTERM)
    done("key", "rotate", "--data", str(data))
    assert strangers(data) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_root_runs_beside_or_after_the_server_leaves_its_owner_everything(
    server: "subprocess.Popen[str]", data: Path, tmp_path: Path, number: signal.Signals
) -> None:
    for when in ("running", "stopped"):
        done("check", "--data", str(data))
        done("token", "--role", "admin", "--data", str(data))
        done("backup", str(tmp_path / f"{when}.db"), "--data", str(data))
        done("backup", str(data / f"{when}.db"), "--data", str(data))
        assert (tmp_path / f"{when}.db").stat().st_uid == data.stat().st_uid
        ended(server, number)
    done("key", "rotate", "--data", str(data))
    done("migrate", "--data", str(data))
    assert strangers(data) == []


def test_what_root_restores_copies_or_migrates_belongs_to_the_owner(data: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    done("migrate", "--data", str(source))
    done("backup", str(tmp_path / "backup.db"), "--data", str(source))
    for folder in ("migrated", "restored", "copied"):
        (data / folder).mkdir()
        os.chown(data / folder, data.stat().st_uid, data.stat().st_gid)
    done("migrate", "--data", str(data / "migrated"))
    done("restore", str(tmp_path / "backup.db"), "--data", str(data / "restored"))
    done("restore", str(tmp_path / "backup.db"), "--data", str(data / "new" / "folder"))
    done("copy", "--from", f"sqlite:///{source}/gochat.db", "--to", f"sqlite:///{data}/copied/gochat.db")
    assert strangers(data) == []


def test_a_server_that_root_starts_leaves_the_folder_to_its_owner(data: Path, tmp_path: Path) -> None:
    process = Process("serve", "--data", str(data), "--listen", "127.0.0.1:0", log=tmp_path / "log")
    assert strangers(data) == []
    process.kill()
    assert strangers(data) == []


def test_a_key_that_the_server_cannot_read_is_reported(data: Path, tmp_path: Path) -> None:
    """As where the folder lies on another host, which has root's files as nobody's. The database is elsewhere."""
    keys = data / "keys"
    keys.mkdir()
    os.chown(keys, data.stat().st_uid, data.stat().st_gid)
    env = {"GOCHAT_DATABASE_URL": f"sqlite:///{data}/gochat.db"}
    with serving(keys, tmp_path, env):
        os.chown(keys, 0, 0)
        run = gochat("key", "rotate", "--data", str(keys), env=env)
        assert run.returncode == 1
        assert len(run.stdout.split()) == 1, "the id of the key that is made"
        assert "has not taken it" in run.stderr
        assert str(keys / "signing.key") in run.stderr
        assert "Traceback" not in run.stderr


def test_a_folder_that_the_user_may_not_read_is_named(data: Path, tmp_path: Path) -> None:
    """By the other user, on root's folder."""
    own = tmp_path / "roots"
    own.mkdir(mode=0o700)
    done("migrate", "--data", str(own))
    for command in (
        ("serve",),
        ("token", "--role", "admin"),
        ("user", "list"),
        ("key", "rotate"),
        ("check",),
        ("migrate",),
        ("backup", str(data / "x")),
    ):
        run = gochat(*command, "--data", str(own), module=OTHER_USER)
        assert "Permission denied" in sentence(run), command
        assert str(own) in run.stderr
