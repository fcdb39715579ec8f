"""The command line, as an operator types it."""

import sqlite3
from importlib.metadata import version
from pathlib import Path

import jwt
import pytest

from gochat.api.logic.v1 import logic_pb2
from gochat.storage.migrate import migrations
from tests.conftest import Own
from tests.harness import Deployment, as_service, fresh, refused
from tests.processes import gochat


def test_version_prints_that_of_the_package() -> None:
    assert gochat("version").stdout == f"gochat {version('gochat')}\n"


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["serve"],
        ["token"],
        ["user"],
        ["user", "create"],
        ["user", "list"],
        ["user", "disable"],
        ["migrate"],
        ["check"],
        ["backup"],
        ["restore"],
        ["copy"],
        ["health"],
        ["import"],
        ["top"],
        ["metrics"],
        ["proto"],
    ],
)
def test_every_command_explains_itself(command: list[str]) -> None:
    run = gochat(*command, "--help")
    assert run.returncode == 0
    assert run.stdout.startswith("usage: gochat")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["serve", "--target", "some"], "invalid choice"),
        (["token"], "--role"),
        (["token", "--role", "user"], "invalid choice"),
        (["token", "--role", "admin", "--ttl", "soon"], "'soon' is not a duration"),
        (["dance"], "invalid choice"),
    ],
)
def test_a_wrong_argument_is_explained(arguments: list[str], says: str) -> None:
    run = gochat(*arguments)
    assert run.returncode == 2
    assert says in run.stderr


def test_a_wrong_setting_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text("[server]\nthreds = 4\n")
    run = gochat("serve", "--config", str(file))
    assert (run.returncode, run.stdout) == (1, "")
    assert "server.threds: no such setting" in run.stderr
    assert "Traceback" not in run.stderr


def test_tokens_carry_role_and_time(app: Deployment) -> None:
    claims = jwt.decode(
        app.run("token", "--role", "admin", "--ttl", "7d").stdout.strip(), options={"verify_signature": False}
    )
    assert (claims["role"], claims["exp"] - claims["iat"]) == ("admin", 7 * 86400)


def test_users_are_created_listed_and_disabled(app: Deployment) -> None:
    there = ("--address", app.repo_address)
    name = fresh("Ops")
    created = app.run("user", "create", name, "--nickname", "O", "--password-stdin", *there, stdin="sesame\n")
    user_id = created.stdout.strip()
    user = as_service(app).repo.GetUser(user_id=user_id).user
    assert (user.username, user.nickname, user.status) == (name, "O", 1)
    sign_in = logic_pb2.AuthRequest(username=name, password="sesame")
    app.logic.Authenticate(sign_in)
    assert f"{user_id}\t{name}\tactive\tuser\n" in app.run("user", "list", *there).stdout
    app.run("user", "disable", name.lower(), *there)
    assert f"{user_id}\t{name}\tdisabled\tuser\n" in app.run("user", "list", *there).stdout
    with refused("UNAUTHENTICATED"):
        app.logic.Authenticate(sign_in)


def test_user_commands_fail_with_a_reason(app: Deployment) -> None:
    there = ("--address", app.repo_address)
    taken = app.run("user", "create", "a b", "--password-stdin", *there, stdin="x\n", check=False)
    assert (taken.returncode, taken.stderr) == (1, "gochat: username must not contain spaces or control characters\n")
    unknown = app.run("user", "disable", fresh(), *there, check=False)
    assert (unknown.returncode, unknown.stderr) == (1, "gochat: user not found\n")
    nobody = app.run("user", "list", "--address", "127.0.0.1:1", check=False)
    assert (nobody.returncode, nobody.stderr) == (1, "gochat: 127.0.0.1:1: nobody answers there\n")
    if app.split:
        wrong = app.run("user", "list", "--address", app.address, check=False)
        assert (wrong.returncode, wrong.stdout) == (1, "")
        assert "is it the other half?" in wrong.stderr
    no_terminal = app.run("user", "create", fresh(), *there, stdin="", check=False)
    assert "--password-stdin" in no_terminal.stderr


def test_a_command_with_another_key_is_refused_with_the_reason(app: Deployment, tmp_path: Path) -> None:
    other = gochat("user", "list", "--address", app.repo_address, "--data", str(tmp_path / "other"))
    assert (other.returncode, other.stdout) == (1, "")
    assert "signing.key is missing" in other.stderr
    assert not (tmp_path / "other").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "signing.key").touch(mode=0o600)
    (tmp_path / "other" / "signing.key").write_text("k" * 64)
    refused_ = gochat("user", "list", "--address", app.repo_address, "--data", str(tmp_path / "other"))
    assert refused_.returncode == 1
    assert "need the same signing key" in refused_.stderr


def test_health_follows_the_server(own: Own) -> None:
    app = own()
    there = ("health", "--address", app.address)
    assert app.run(*there).stdout == "SERVING\n"
    app.stop()
    assert app.run(*there, check=False).returncode == 1


def test_list_pages_through_every_user(own: Own) -> None:
    app = own()
    names = {f"user{number:03d}" for number in range(101)}
    user = as_service(app).user
    assert all(result.user_id for name in names for result in user.UpsertUsers(users=[{"username": name}]).results)
    listed = app.run("user", "list", "--address", app.address).stdout.splitlines()
    assert [line.split("\t")[1] for line in listed] == sorted(names)


def test_migrate_needs_the_database_for_itself(own: Own, tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    (tmp_path / "data").mkdir()
    assert gochat("migrate", "--data", data).stdout == "the database has this program's schema\n"
    with sqlite3.connect(tmp_path / "data" / "gochat.db") as connection:
        versions = [row[0] for row in connection.execute("SELECT version FROM schema_migrations ORDER BY version")]
        assert versions == [migration.version for migration in migrations("sqlite")]
    own(folder=tmp_path)
    run = gochat("migrate", "--data", data)
    assert run.returncode == 1
    assert "in use by another gochat process" in run.stderr
