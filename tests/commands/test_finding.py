"""Commands find the running server by its data folder alone, from any folder."""

import json
import os
import re
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from gochat.services import LOGIC, REPO
from tests.attacks.certificates import Authority
from tests.commands.program import gochat, sentence
from tests.conftest import Own
from tests.harness import PASSWORD, UNLIMITED, Deployment, fresh
from tests.postgres import Postgres
from tests.processes import Process

LINES = (
    '{"room": "r", "at": 1, "sender": "ann", "content": "hi"}\n'
    '{"dialogue": "1", "sender": "ann", "receiver": "ben", "content": "hi"}\n'
)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


@pytest.fixture
def run(app: Deployment, elsewhere: Path) -> Callable[..., str]:
    """Runs a command in another folder, which must succeed; returns what it prints."""

    def of(*arguments: str, stdin: str = "") -> str:
        done = gochat(*arguments, "--data", str(app.data), cwd=elsewhere, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return of


def test_every_command_that_calls_the_server_finds_it(
    app: Deployment, run: Callable[..., str], elsewhere: Path
) -> None:
    name = fresh()
    user_id = run("user", "create", name, "--password-stdin", stdin=PASSWORD + "\n").strip()
    assert f"{user_id}\t{name}\t" in run("user", "list")
    for act in ("disable", "enable"):
        assert name in run("user", act, name)
    assert name in run("user", "password", name, "--password-stdin", stdin=PASSWORD + "\n")
    assert app.signed_in(user_id, name).GetUserProfile()
    assert f"user.create {user_id}" in run("audit", "--limit", "1000")
    assert run("health") == "SERVING\n"
    assert "calls/s" in run("top", "--once")
    (elsewhere / "log.jsonl").write_text(LINES)
    assert run("import", "log.jsonl").startswith("imported 2 lines")
    assert [path.name for path in elsewhere.iterdir()] == ["log.jsonl"]


def test_key_rotate_finds_both_halves_and_waits_for_them(app: Deployment, run: Callable[..., str]) -> None:
    key_id = run("key", "rotate").strip()
    assert app.logs().count(f"tokens are signed with key {key_id}") == len(app.processes)
    assert app.run("token", "--role", "service").stdout
    assert f"key.rotate {key_id}" in run("audit")


def test_the_start_says_in_one_line_what_serves(app: Deployment) -> None:
    for process in app.processes:
        (line,) = [line for line in process.log.read_text().splitlines() if f"gochat {version('gochat')} (" in line]
        assert f"listens on {process.address} without TLS" in line
        assert process.metrics_url in line
        repo_half = app.split and process is app.processes[0]
        postgres = "GOCHAT_DATABASE_URL" in app.env
        where = f"repo half at {app.repo_address}" if repo_half else f"SQLite {app.data.absolute()}/gochat.db"
        assert (where in line) or (postgres and re.search(r"PostgreSQL 127\.0\.0\.1:\d+/\w+", line))


def test_the_start_names_the_command_that_makes_the_first_user(own: Own, mode: str, elsewhere: Path) -> None:
    app = own(mode)
    (command,) = re.findall(r"this makes the first: gochat (user create NAME .*)", app.logs())
    done = gochat(*command.split(), "--password-stdin", cwd=elsewhere, stdin="x\n")
    assert (done.returncode, done.stderr) == (0, "")
    app.stop()
    app.start()
    assert app.logs().count("this makes the first") == 1


def test_what_a_server_leaves_goes_when_it_stops(own: Own, mode: str) -> None:
    app = own(mode)
    left = [app.data / f"server.{half}" for half in (LOGIC, REPO)]
    addresses = [json.loads(file.read_text())["address"] for file in left]
    assert addresses == [app.address, app.repo_address]
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in left)
    app.stop()
    assert not any(file.exists() for file in left)


def test_a_server_that_was_killed_is_not_taken_for_running(own: Own, mode: str, elsewhere: Path) -> None:
    app = own(mode)
    address = app.repo_address
    app.kill()
    listed = gochat("user", "list", "--data", str(app.data), cwd=elsewhere)
    assert sentence(listed) == f"{address}: nobody answers there"
    rotated = app.run("key", "rotate", check=False)
    assert rotated.returncode == 0
    assert rotated.stderr == "" or "seems dead" in rotated.stderr
    app.start()
    assert app.events(action="key.rotate")[-1].target_id == rotated.stdout.strip()


def test_a_rotation_at_a_wrong_address_changes_nothing(own: Own, mode: str) -> None:
    app = own(mode)
    before = (app.data / "signing.key").read_bytes()
    wrong = app.run("key", "rotate", "--address", "127.0.0.1:1", check=False)
    assert sentence(wrong) == "127.0.0.1:1: nobody answers there"
    for half in (LOGIC, REPO):
        (app.data / f"server.{half}").unlink()
    lost = app.run("key", "rotate", check=False)
    assert "--address" in sentence(lost)
    assert (app.data / "signing.key").read_bytes() == before


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"address": 1, "tls": 2, "metrics": 3}', "\0" * 99])
def test_a_file_that_no_server_has_left_is_passed_over(own: Own, content: str) -> None:
    app = own()
    for half in (LOGIC, REPO):
        (app.data / f"server.{half}").write_text(content)
    listen = {"GOCHAT_SERVER_LISTEN": app.address}
    found = gochat("health", "--data", str(app.data), env=listen)
    assert (found.returncode, found.stdout, found.stderr) == (0, "SERVING\n", "")


def test_a_server_on_all_addresses_is_found_on_loopback(tmp_path: Path, elsewhere: Path) -> None:
    data = tmp_path / "data"
    arguments = ("serve", "--data", str(data), "--insecure", "--listen")
    for listen in ("0.0.0.0:0", "[::]:0"):
        process = Process(*arguments, listen, log=tmp_path / "log")
        found = gochat("health", "--data", str(data), cwd=elsewhere)
        process.stop()
        assert (found.stdout, found.stderr) == ("SERVING\n", "")


@pytest.mark.parametrize("with_clients", [False, True])
def test_an_encrypted_server_is_found_and_trusted(tmp_path: Path, elsewhere: Path, *, with_clients: bool) -> None:
    """Its certificate has another name than the loopback address, and its files are named as seen from its folder."""
    authority = Authority(tmp_path, "ours")
    pair = authority.issue()
    env = {"GOCHAT_TLS_CERT": os.path.relpath(pair.cert), "GOCHAT_TLS_KEY": os.path.relpath(pair.key)}
    if with_clients:
        env |= {"GOCHAT_TLS_CLIENT_CA": str(authority.cert)}
    data = tmp_path / "data"
    process = Process(
        "serve", "--data", str(data), "--listen", "127.0.0.1:0", env=UNLIMITED | env, log=tmp_path / "log"
    )
    created = gochat("user", "create", "ann", "--password-stdin", "--data", str(data), cwd=elsewhere, stdin="x\n")
    process.stop()
    assert (created.returncode, created.stderr) == (0, "")
    assert "with TLS" in process.log.read_text()


@pytest.fixture
def workers(postgres: Postgres, tmp_path: Path) -> Iterator[Process]:
    env = {"GOCHAT_DATABASE_URL": postgres.create_database(), "GOCHAT_SERVER_WORKERS": "2"}
    process = Process(
        "serve", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0", env=env, log=tmp_path / "log"
    )
    yield process
    process.kill()


def test_workers_are_found_and_announced_once(workers: Process, tmp_path: Path, elsewhere: Path) -> None:
    text = workers.log.read_text()
    assert text.count(f"listens on {workers.address}") == text.count("this makes the first") == 1
    data = str(tmp_path / "data")
    assert gochat("user", "list", "--data", data, cwd=elsewhere).returncode == 0
    assert gochat("top", "--once", "--data", data, cwd=elsewhere).returncode == 0
    workers.stop()
    assert not list((tmp_path / "data").glob("server.*"))


def test_settings_alone_need_no_folder_that_can_be_written(postgres: Postgres, tmp_path: Path) -> None:
    """With a secret and PostgreSQL the server runs without a data folder; it only is not found by it."""
    (tmp_path / "file").write_text("")
    env = {"GOCHAT_DATABASE_URL": postgres.create_database(), "GOCHAT_AUTH_SECRET": "s" * 32}
    process = Process(
        "serve", "--data", str(tmp_path / "file" / "data"), "--listen", "127.0.0.1:0", env=env, log=tmp_path / "log"
    )
    assert process.stop() == 0
    assert "only by --address" in process.log.read_text()
