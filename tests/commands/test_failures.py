"""One sentence, never a traceback, for what goes wrong in an operator's first hour."""

import os
import random
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from tests.commands.program import gochat, sentence
from tests.harness import fresh
from tests.postgres import Postgres

ON_A_DATABASE = (
    ("serve", "--listen", "127.0.0.1:0"),
    ("migrate",),
    ("check",),
    ("key", "rotate"),
    ("backup", "FILE"),
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of a server that has run."""
    data = tmp_path_factory.mktemp("sound") / "data"
    data.mkdir()
    assert gochat("migrate", "--data", str(data)).returncode == 0
    key = data / "signing.key"
    key.touch(mode=0o600)
    key.write_text("k" * 64)
    return data


def no_header(file: Path) -> None:
    with file.open("r+b") as database:
        database.write(b"\xff" * 4096)


def noise(file: Path) -> None:
    """From the second page on."""
    size = file.stat().st_size
    with file.open("r+b") as database:
        database.seek(4096)
        database.write(random.Random(1).randbytes(size - 4096))


def text(file: Path) -> None:
    file.write_text("this is no database\n" * 1000)


def of_another_program(file: Path) -> None:
    file.unlink()
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE notes (text TEXT)")


def with_its_own_migrations(file: Path) -> None:
    file.unlink()
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE schema_migrations (version TEXT)")


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    "harm",
    [no_header, noise, text, of_another_program, with_its_own_migrations, a_folder],
    ids=lambda harm: harm.__name__,
)
@pytest.mark.parametrize("command", ON_A_DATABASE, ids=lambda command: command[0])
def test_a_damaged_or_foreign_file_is_one_sentence(
    sound: Path, tmp_path: Path, command: tuple[str, ...], harm: object
) -> None:
    data = tmp_path / "data"
    subprocess.run(["cp", "-a", sound, data], check=True)
    file = data / "gochat.db"
    assert callable(harm)
    harm(file)
    before = file.read_bytes() if file.is_file() else b""
    words = [str(tmp_path / "copy.db") if word == "FILE" else word for word in command]
    run = gochat(*words, "--data", str(data))
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    if command[0] == "check" and not run.stderr:
        assert run.stdout, "findings, a line each"
    else:
        (said,) = [line for line in run.stderr.splitlines() if line.startswith("gochat: ")]
        assert str(file) in said or "[" not in said
        assert "gochat.db" in said
    assert not (tmp_path / "copy.db").exists()
    if harm is of_another_program:
        assert (file.read_bytes() == before) is True, "another program's file is left as it is"


@pytest.mark.parametrize("command", [*ON_A_DATABASE, ("restore", "FILE")], ids=lambda command: command[0])
def test_what_to_do_about_damage_is_said(sound: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    data = tmp_path / "data"
    subprocess.run(["cp", "-a", sound, data], check=True)
    no_header(data / "gochat.db")
    words = [str(data / "gochat.db") if command[0] == "restore" else str(tmp_path / "c") for _ in command[1:]]
    words = words if command[-1] == "FILE" else list(command[1:])
    run = gochat(command[0], *words, "--data", str(tmp_path / "new" if command[0] == "restore" else data))
    assert run.returncode == 1
    (said,) = [line for line in run.stderr.splitlines() if line.startswith("gochat: ")]
    assert "backup" in said


@pytest.fixture
def read_only(sound: Path, tmp_path: Path) -> Iterator[Path]:
    """A mount that nobody can write, not even root."""
    folder = tmp_path / "data"
    folder.mkdir()
    mounted = subprocess.run(["mount", "--bind", "-o", "ro", sound, folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("command", ON_A_DATABASE, ids=lambda command: command[0])
@pytest.mark.parametrize("sub", ["", "new"])
def test_a_read_only_folder_is_one_sentence(
    read_only: Path, tmp_path: Path, command: tuple[str, ...], sub: str
) -> None:
    words = [str(tmp_path / "copy.db") if word == "FILE" else word for word in command]
    run = gochat(*words, "--data", str(read_only / sub))
    if command[0] in ("check", "backup") and not sub:
        assert run.returncode == 0 or str(read_only) in sentence(run)
    else:
        assert str(read_only) in sentence(run)
    run = gochat("backup", str(read_only / "copy.db"), "--data", str(read_only))
    assert str(read_only) in sentence(run)


@pytest.fixture(scope="module")
def postgres(direct_postgres: Postgres) -> Postgres:
    """It gets roles."""
    return direct_postgres


@pytest.fixture
def stranger(postgres: Postgres) -> str:
    """The URL of a database whose user may connect and no more."""
    url, role = postgres.create_database(), fresh("stranger")
    connection = psycopg2.connect(url)
    connection.autocommit = True
    connection.cursor().execute(f"CREATE ROLE {role} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    connection.close()
    return url.replace("postgres@", f"{role}@")


@pytest.mark.parametrize("migrated", [False, True])
@pytest.mark.parametrize("command", ON_A_DATABASE[:4], ids=lambda command: command[0])
def test_no_rights_on_postgres_is_one_sentence(
    stranger: str, sound: Path, command: tuple[str, ...], *, migrated: bool
) -> None:
    if migrated:
        owners = "postgresql://postgres@" + stranger.partition("@")[2]
        assert gochat("migrate", env={"GOCHAT_DATABASE_URL": owners}).returncode == 0
    run = gochat(*command, "--data", str(sound), env={"GOCHAT_DATABASE_URL": stranger})
    assert run.returncode == 1
    if command == ("check",) and not migrated:
        assert "this is no database of GoChat" in run.stdout
        return
    (said,) = [line for line in run.stderr.splitlines() if line.startswith("gochat: ")]
    assert "Traceback" not in run.stderr
    assert said.startswith("gochat: database.url: ")
    assert re.search("permission denied|may not", said)


@pytest.mark.parametrize("command", ON_A_DATABASE[:4], ids=lambda command: command[0])
def test_postgres_that_does_not_let_one_in_says_why(postgres: Postgres, sound: Path, command: tuple[str, ...]) -> None:
    for url, why in (
        (
            f"postgresql://postgres@{postgres.host}:{postgres.port}/nothing_here",
            'database "nothing_here" does not exist',
        ),
        (f"postgresql://no_one_here@{postgres.host}:{postgres.port}/postgres", 'role "no_one_here" does not exist'),
        ("postgresql://postgres:secret@127.0.0.1:1/postgres", "Connection refused"),
    ):
        run = gochat(*command, "--data", str(sound), env={"GOCHAT_DATABASE_URL": url})
        assert run.returncode == 1
        (said,) = [line for line in run.stderr.splitlines() if line.startswith("gochat: ")]
        assert why in said
        assert "secret" not in run.stderr
        assert "Traceback" not in run.stderr


@pytest.mark.parametrize("command", ON_A_DATABASE[:4], ids=lambda command: command[0])
def test_another_programs_migrations_on_postgres_are_left_alone(
    postgres: Postgres, sound: Path, command: tuple[str, ...]
) -> None:
    url = postgres.create_database()
    with closing(psycopg2.connect(url)) as connection:
        connection.cursor().execute("CREATE TABLE schema_migrations (version TEXT)")
        connection.commit()
    run = gochat(*command, "--data", str(sound), env={"GOCHAT_DATABASE_URL": url})
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert "another program" in run.stderr or "no database of GoChat" in run.stdout


def test_token_and_migrate_make_no_folder(tmp_path: Path) -> None:
    for command in (("token", "--role", "service"), ("migrate",)):
        assert "data" in sentence(gochat(*command, cwd=tmp_path))
        assert list(tmp_path.iterdir()) == []
    run = gochat("migrate", env={"GOCHAT_DATABASE_URL": f"sqlite:///{tmp_path}/new/gochat.db"})
    assert str(tmp_path / "new") in sentence(run)
    assert list(tmp_path.iterdir()) == []
