"""`gochat user`: roles in the list, deletion, and prompts on a terminal."""

import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gochat.api.logic.v1 import logic_pb2
from tests.conftest import DIAGONAL
from tests.harness import PASSWORD, Deployment, as_service, fresh, refused
from tests.processes import PROGRAM, environment
from tests.waiting import polled

CTRL_C, CTRL_D = b"\x03", b"\x04"


def listed(app: Deployment, user_id: str) -> list[str]:
    """The columns after the id."""
    lines = [line.split("\t") for line in app.run("user", "list").stdout.splitlines()]
    (columns,) = [columns[1:] for columns in lines if columns[0] == user_id]
    return columns


def test_the_list_has_roles_and_status(app: Deployment) -> None:
    plain, admin = app.person(password=PASSWORD), app.person(admin=True)
    assert listed(app, plain.id) == [plain.username, "active", "user"]
    assert listed(app, admin.id) == [admin.username, "active", "admin"]
    app.run("user", "disable", admin.username)
    assert listed(app, admin.id) == [admin.username, "disabled", "admin"]


def test_a_user_is_deleted_for_good(app: Deployment) -> None:
    person = app.person(password=PASSWORD)
    done = app.run("user", "delete", person.username.upper(), "--yes")
    assert (done.stdout, done.stderr) == (f"{person.username} is deleted: sessions end within 5 seconds\n", "")
    assert as_service(app).repo.GetUser(user_id=person.id).user.status == 3
    assert listed(app, person.id)[1:] == ["deleted", "user"]
    with refused("UNAUTHENTICATED"):
        app.logic.Authenticate(logic_pb2.AuthRequest(username=person.username, password=PASSWORD))
    assert [event.detail for event in app.events(user_id=person.id, action="user.status")] == ["deleted"]


def test_deletion_asks_or_takes_a_yes(app: Deployment) -> None:
    person = app.person(password=PASSWORD)
    for stdin in ("", f"{person.username}\n"):
        run = app.run("user", "delete", person.username, stdin=stdin, check=False)
        assert (run.returncode, run.stdout) == (1, "")
        assert "use --yes" in run.stderr
    unknown = app.run("user", "delete", fresh(), "--yes", check=False)
    assert (unknown.returncode, unknown.stderr) == (1, "gochat: user not found\n")
    assert listed(app, person.id)[1] == "active"


class Terminal:
    """A command on a terminal of its own, as somebody who types sees it."""

    def __init__(self, process: "subprocess.Popen[bytes]", screen: int) -> None:
        self.process, self._screen, self.shown = process, screen, ""

    def wait_for(self, text: str) -> None:
        until = time.monotonic() + 60
        while text not in self.shown:
            assert time.monotonic() < until, self.shown
            self.shown += os.read(self._screen, 4096).decode()

    def type(self, keys: bytes) -> None:
        """Once the command reads: a signal that comes before that is lost to Python until the end of a line."""
        reading = Path(f"/proc/{self.process.pid}/wchan")
        polled(lambda: "tty" in reading.read_text() or "wait_woken" in reading.read_text(), seconds=20)
        os.write(self._screen, keys)

    def end(self) -> int:
        """Returns the exit code."""
        while True:
            try:
                if not (more := os.read(self._screen, 4096)):
                    break
            except OSError:  # Linux reports the end of the other side as an error
                break
            self.shown += more.decode()
        return self.process.wait(60)


@contextmanager
def terminal(app: Deployment, *arguments: str) -> Iterator[Terminal]:
    screen, command = pty.openpty()
    process = subprocess.Popen(
        [PROGRAM, "-m", "gochat", *arguments, "--data", str(app.data)],
        env=environment(),
        stdin=command,
        stdout=command,
        stderr=command,
        start_new_session=True,
        # Makes it the controlling terminal, from which Ctrl-C comes, and getpass reads.
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
    )
    os.close(command)
    try:
        yield Terminal(process, screen)
    finally:
        process.kill()
        process.wait()
        os.close(screen)


@pytest.mark.skipif(sys.platform != "linux", reason="opening a terminal makes it the controlling one")
@pytest.mark.parametrize("mode", ["sqlite-colocated"], indirect=True, scope="session")  # the server has nothing to do
@pytest.mark.parametrize(("key", "code"), [(CTRL_C, 130), (CTRL_D, 1)], ids=["Ctrl-C", "Ctrl-D"])
@pytest.mark.parametrize("act", ["create", "password", "delete"])
def test_the_end_of_typing_is_one_sentence(app: Deployment, act: str, key: bytes, code: int) -> None:
    name = fresh() if act == "create" else app.person(password=PASSWORD).username
    with terminal(app, "user", act, name) as typed:
        typed.wait_for("to go on: " if act == "delete" else "Password: ")
        typed.type(key)
        assert typed.end() == code
    assert "Traceback" not in typed.shown
    assert typed.shown.splitlines()[-1] == "gochat: nothing was typed, and nothing is done"


@DIAGONAL
def test_the_name_is_typed_before_a_deletion(app: Deployment) -> None:
    person = app.person(password=PASSWORD)
    for words, code in (("somebody else", 1), (person.username, 0)):
        with terminal(app, "user", "delete", person.username) as typed:
            typed.wait_for("to go on: ")
            typed.type(words.encode() + b"\n")
            assert typed.end() == code, typed.shown
    assert listed(app, person.id)[1] == "deleted"


@DIAGONAL
def test_a_password_is_typed_twice(app: Deployment) -> None:
    name = fresh()
    with terminal(app, "user", "create", name) as typed:
        for prompt in ("Password: ", "Again: "):
            typed.wait_for(prompt)
            typed.type(PASSWORD.encode() + b"\n")
        assert typed.end() == 0, typed.shown
    assert PASSWORD not in typed.shown
    assert app.signed_in("", name, PASSWORD).GetUserProfile()


def test_acts_on_a_user(app: Deployment) -> None:
    person, new = app.person(password=PASSWORD), fresh("renamed")
    external_id = fresh("id-")
    for arguments, said in (
        (("external-id", person.username, external_id), f"{person.username} has the external id {external_id}"),
        (("role", f"external:{external_id}", "admin"), f"{person.username} has the role admin: sessions end"),
        (("email", person.username, "new@example.com"), f"{person.username} has the email address new@example.com"),
        (("rename", person.username, new), f"{new} is the username now"),
        (("clear", new, "email", "avatar"), f"{new} has no email, avatar any more"),
    ):
        assert app.run("user", *arguments).stdout.startswith(said)
    shown = dict(line.split("\t") for line in app.run("user", "show", new).stdout.splitlines())
    assert shown | {"nickname": ""} == {
        **{"user id": person.id, "external id": external_id, "username": new, "nickname": "", "email": "-"},
        **{"role": "admin", "status": "active", "password": "yes"},
    }
    app.run("user", "external-id", new)
    unknown = app.run("user", "show", f"external:{external_id}", check=False)
    assert (unknown.returncode, unknown.stderr) == (1, "gochat: user not found\n")
    app.create_user(f"external:{external_id}")  # a username that somebody chose, to be taken for another
    assert app.run("user", "role", f"external:{external_id}", "admin", check=False).returncode == 1


LINES = """
{"external_id": "%(id)s-1", "username": "%(name)s", "nickname": "Ann", "email": "a@example.com"}
{"external_id": "%(id)s-2", "password": "correct horse"}

{"external_id": 42%(number)s}
{"external_id": "%(id)s-3", "username": "%(name)s"}
nonsense
["a list"]
{"external_id": "%(id)s-4", "age": 5}
{"external_id": "%(id)s-5", "nickname": null}
{"nickname": "whose?"}
"""


def test_users_are_imported_and_imported_again(app: Deployment) -> None:
    file = app.folder / "users.jsonl"
    number = fresh("").replace("x", "")
    file.write_text(LINES % {"id": fresh("id"), "name": fresh("ann"), "number": number})
    done = app.run("user", "import", str(file), check=False)
    *refused_ones, said = done.stdout.splitlines()
    assert (done.returncode, said) == (1, "3 created, 0 updated, 0 unchanged, 6 refused")
    assert [line.partition(": refused: ")[0].rpartition(":")[2] for line in refused_ones] == [*"678", "9", "10", "11"]
    again = app.run("user", "import", str(file), check=False)
    assert again.stdout.splitlines()[-1] == "0 created, 0 updated, 3 unchanged, 6 refused"


def test_users_are_imported_from_a_table(app: Deployment) -> None:
    file, prefix = app.folder / "users.csv", fresh("id")
    file.write_bytes(
        b"\xef\xbb\xbfexternal_id,nickname,bio\r\n"
        + f'{prefix}-1,"Müller, Ann",\r\n{prefix}-2,"two\nlines",\r\n{prefix}-3,Bob,"a\nb"\r\n'.encode()
    )
    done = app.run("user", "import", str(file), check=False)
    assert done.stdout.splitlines()[-1] == "2 created, 0 updated, 0 unchanged, 1 refused"
    file.write_text("external_id,age\nx,5\n")
    assert "there is no field age" in app.run("user", "import", str(file), check=False).stdout
    file.write_text(f"external_id\n{prefix}-1\n")
    whole = app.run("user", "import", str(file))
    assert (whole.returncode, whole.stdout) == (0, "0 created, 0 updated, 1 unchanged, 0 refused\n")
    missing = app.run("user", "import", "no.csv", check=False)
    assert (missing.returncode, missing.stderr) == (1, "gochat: no.csv: No such file or directory\n")
