"""Logic and repo as two processes: what each does without the other."""

import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from select import select

import grpc
import pytest

from gochat.api.common.v1 import common_pb2
from gochat.api.logic.v1 import logic_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.internal.store.v1 import store_pb2
from tests.conftest import Own
from tests.conversations import contents, conversation_of
from tests.harness import Deployment, as_service, refused
from tests.processes import Process, begin, free_address, frozen, refused_start
from tests.waiting import eventually, once_available

BODY = ("x-gochat-error-mode", "body")
KEY = {"client_msg_id": "1"}


@pytest.fixture
def app(own: Own) -> Deployment:
    return own("sqlite-split")


def test_without_the_repo_calls_are_refused_not_left_hanging(app: Deployment) -> None:
    person, friend = app.person(), app.create_user()
    app.processes[-1].kill()
    for call in (person.GetConversations, lambda: person.send(friend), lambda: person.send(friend, metadata=KEY)):
        with refused("UNAVAILABLE") as refusal:
            call()
        assert refusal.message == "the service behind this one cannot be reached"
        assert refusal.response.code == common_pb2.ERROR_CODE_INTERNAL_ERROR
    request = logic_pb2.GetConversationsRequest()
    answer = app.logic.GetConversations(request, metadata=(*person.metadata, BODY), timeout=30)
    assert answer.error.code == common_pb2.ERROR_CODE_INTERNAL_ERROR
    assert person.ValidateToken(token=person.access_token).valid, "what needs no repo still works"


def test_a_deadline_crosses_the_seam(own: Own) -> None:
    app = own("sqlite-split", env={"GOCHAT_SERVER_THREADS": "2"})
    person = app.person()
    send = partial(app.logic.SendMessage.future, logic_pb2.SendMessageRequest(to_user_id=person.id, content="x"))
    read = partial(app.logic.GetConversations.future, logic_pb2.GetConversationsRequest())
    with frozen(app.processes[-1].pid):  # the repo
        hanging = [call(metadata=person.metadata, timeout=1) for call in (read, send) for _ in range(8)]
        assert {call.code() for call in hanging} == {grpc.StatusCode.DEADLINE_EXCEEDED}
        request = logic_pb2.ValidateTokenRequest(token=person.access_token)
        # The threads of logic do not wait for the repo any longer than the clients did.
        assert app.logic.ValidateToken(request, metadata=person.metadata, timeout=15).valid
    person.GetConversations()
    person.send(app.create_user())


def test_logic_reconnects_to_a_restarted_repo(app: Deployment) -> None:
    person, friend = app.person(), app.create_user()
    first = person.send(friend, "first", metadata=KEY)
    for _ in range(2):
        app.processes[-1].kill()
        with refused("UNAVAILABLE"):
            person.send(friend, "second")
        app.restart_repo()
        assert once_available(lambda: person.send(friend, "first", metadata=KEY)) == first
    conversation_id = conversation_of(first)
    assert contents(person, conversation_id) == ["first"]


def test_an_idempotent_send_survives_a_restart_of_the_repo(app: Deployment) -> None:
    person, friend = app.person(), app.create_user()
    acknowledged = []

    def talk() -> None:
        for number in map(str, range(200)):
            send = partial(person.send, friend, number, metadata={"client_msg_id": number})
            acknowledged.append(once_available(send).message_id)

    with ThreadPoolExecutor() as pool:
        talking = pool.submit(talk)
        for enough in (20, 100):
            eventually(lambda enough=enough: len(acknowledged) >= enough or talking.done())
            app.processes[-1].kill()
            app.restart_repo()
        talking.result()
    conversation_id = conversation_of(acknowledged[0])
    messages = person.GetMessageHistory(conversation_id=conversation_id, limit=200).messages
    assert [message.message_id for message in reversed(messages)] == acknowledged
    assert [message.content for message in reversed(messages)] == [str(number) for number in range(200)]


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A logic half that waits for its repo, and the address where it does."""
    address, log = free_address(), tmp_path / "logic.log"
    with log.open("w") as stderr:
        arguments = ("serve", "--data", tmp_path / "data", "--listen", "127.0.0.1:0")
        process = begin(*arguments, env={"GOCHAT_REPO_ADDRESS": address}, stderr=stderr)
    try:
        eventually(lambda: f"waiting for the repo at {address}" in log.read_text())
        yield process, address
    finally:
        process.kill()
        process.communicate()


def test_logic_waits_for_the_repo_before_it_is_ready(
    waiting: tuple["subprocess.Popen[str]", str], tmp_path: Path
) -> None:
    logic, address = waiting
    assert select([logic.stdout], [], [], 0)[0] == []
    arguments = ("serve", "--target", "repo", "--data", str(tmp_path / "data"), "--listen", address)
    with Process(*arguments, log=tmp_path / "repo.log") as repo:
        assert repo.ready_line == f"gochat ready on {address} (repo)"
        assert select([logic.stdout], [], [], 60)[0]
        assert logic.stdout is not None
        assert re.fullmatch(r"gochat ready on 127\.0\.0\.1:\d+ \(logic\)\n", logic.stdout.readline())


def test_logic_that_waits_stops_on_sigterm(waiting: tuple["subprocess.Popen[str]", str]) -> None:
    process, _ = waiting
    process.terminate()
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")


@pytest.mark.parametrize("error_mode", ["status", "body"])
def test_halves_with_different_keys_do_not_start(own: Own, tmp_path: Path, error_mode: str) -> None:
    repo = own("sqlite-split", env={"GOCHAT_SERVER_ERROR_MODE": error_mode}).repo_address
    said = refused_start("--data", tmp_path / "other", "--listen", "127.0.0.1:0", GOCHAT_REPO_ADDRESS=repo)
    assert f"auth.secret: the repo at {repo} signs with another key" in said


def test_halves_share_a_secret_from_the_environment(own: Own) -> None:
    app = own("sqlite-split", env={"GOCHAT_AUTH_SECRET": "s" * 32})
    assert not (app.data / "signing.key").exists()
    app.person().GetConversations()


@pytest.mark.parametrize(("target", "address"), [("logic", ""), ("all", "127.0.0.1:1")])
def test_target_and_repo_address_go_together(tmp_path: Path, target: str, address: str) -> None:
    said = refused_start("--data", tmp_path, "--target", target, GOCHAT_REPO_ADDRESS=address)
    assert "repo.address" in said


def test_the_repo_takes_services_and_admins_only(app: Deployment) -> None:
    person, admin = app.person(), app.person(admin=True)
    for call, request in (
        (app.repo.GetUser, repo_pb2.GetUserRequest(user_id=person.id)),
        (app.store.GetProfile, store_pb2.GetProfileRequest(user_id=person.id)),
    ):
        with refused("PERMISSION_DENIED", reason="NOT_A_SERVICE"):
            call(request, metadata=person.metadata)
        with refused("UNAUTHENTICATED", reason="NO_TOKEN"):
            call(request)
        call(request, metadata=admin.metadata)
    assert as_service(app).repo.GetUser(user_id=person.id).user.user_id == person.id
