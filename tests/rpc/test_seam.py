"""Logic and repo as two processes: what each does without the other."""

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from select import select
from typing import Any

import grpc
import pytest

from gochat.api.common.v1 import common_pb2
from gochat.api.logic.v1 import logic_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.internal.store.v1 import store_pb2
from tests.harness import FREE_METRICS_PORT, PROGRAM, Deployment, Process, as_service, eventually, frozen, refused

BODY = ("x-gochat-error-mode", "body")
KEY = {"client_msg_id": "1"}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path / "app", split=True)
    yield deployment
    deployment.kill()


def serve(target: str, data: Path, listen: str = "127.0.0.1:0", **env: str) -> Process:
    arguments = ("serve", "--target", target, "--data", str(data), "--listen", listen)
    return Process(*arguments, env=env, log=data.parent / f"{target}.log")


def refused_start(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GOCHAT_")}
    stopped = subprocess.run(
        [PROGRAM, "-m", "gochat", "serve", *arguments],
        env=clean | FREE_METRICS_PORT | env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (stopped.returncode, stopped.stdout) == (1, "")
    assert "Traceback" not in stopped.stderr
    return stopped


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def kill_repo(app: Deployment) -> None:
    app.processes.pop().kill()


def restart_repo(app: Deployment) -> None:
    app.processes.append(serve("repo", app.data, app.repo_address))


def again_and_again(call: Any) -> Any:
    """Calls until it is not UNAVAILABLE."""
    for _ in range(100):
        try:
            return call()
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            assert error.code() is grpc.StatusCode.UNAVAILABLE, error.code()
            time.sleep(0.1)
    raise AssertionError("it stayed UNAVAILABLE")


def test_without_the_repo_calls_are_refused_not_left_hanging(app: Deployment) -> None:
    person, friend = app.person(), app.create_user()
    kill_repo(app)
    for call in (person.GetConversations, lambda: person.send(friend), lambda: person.send(friend, metadata=KEY)):
        with refused("UNAVAILABLE") as refusal:
            call()
        assert refusal.message == "the service behind this one cannot be reached"
        assert refusal.response.code == common_pb2.ERROR_CODE_INTERNAL_ERROR
    request = logic_pb2.GetConversationsRequest()
    answer = app.logic.GetConversations(request, metadata=(*person.metadata, BODY), timeout=30)
    assert answer.error.code == common_pb2.ERROR_CODE_INTERNAL_ERROR
    assert person.ValidateToken(token=person.access_token).valid, "what needs no repo still works"


def test_a_deadline_crosses_the_seam(tmp_path: Path) -> None:
    app = Deployment(tmp_path, split=True, env={"GOCHAT_SERVER_THREADS": "2"})
    try:
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
    finally:
        app.kill()


def test_a_repo_that_comes_back_is_found_again(app: Deployment) -> None:
    person, friend = app.person(), app.create_user()
    first = person.send(friend, "first", metadata=KEY)
    for _ in range(2):
        kill_repo(app)
        with refused("UNAVAILABLE"):
            person.send(friend, "second")
        restart_repo(app)
        assert again_and_again(lambda: person.send(friend, "first", metadata=KEY)) == first
    conversation_id = first.message_id.rpartition("-")[0]
    messages = person.GetMessageHistory(conversation_id=conversation_id).messages
    assert [message.content for message in messages] == ["first"]


def test_a_keyed_send_survives_a_repo_that_is_restarted_under_it(app: Deployment) -> None:
    person, friend = app.person(), app.create_user()
    acknowledged = []

    def talk() -> None:
        for number in map(str, range(200)):
            send = partial(person.send, friend, number, metadata={"client_msg_id": number})
            acknowledged.append(again_and_again(send).message_id)

    with ThreadPoolExecutor() as pool:
        talking = pool.submit(talk)
        for enough in (20, 100):
            eventually(lambda enough=enough: len(acknowledged) >= enough or talking.done())
            kill_repo(app)
            restart_repo(app)
        talking.result()
    conversation_id = acknowledged[0].rpartition("-")[0]
    messages = person.GetMessageHistory(conversation_id=conversation_id, limit=200).messages
    assert [message.message_id for message in reversed(messages)] == acknowledged
    assert [message.content for message in reversed(messages)] == [str(number) for number in range(200)]


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A logic half that waits for its repo, and the address where it does."""
    address, log = free_address(), tmp_path / "logic.log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [PROGRAM, "-m", "gochat", "serve", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0"],
            env=os.environ | FREE_METRICS_PORT | {"GOCHAT_REPO_ADDRESS": address},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
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
    repo = serve("repo", tmp_path / "data", address)
    try:
        assert repo.ready_line == f"gochat ready on {address} (repo)"
        assert select([logic.stdout], [], [], 60)[0]
        assert logic.stdout is not None
        assert re.fullmatch(r"gochat ready on 127\.0\.0\.1:\d+ \(logic\)\n", logic.stdout.readline())
    finally:
        repo.kill()


def test_logic_that_waits_stops_when_told_to(waiting: tuple["subprocess.Popen[str]", str]) -> None:
    process, _ = waiting
    process.terminate()
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")


def test_halves_with_different_keys_do_not_start(app: Deployment, tmp_path: Path) -> None:
    stopped = refused_start(
        "--data", str(tmp_path / "other"), "--listen", "127.0.0.1:0", GOCHAT_REPO_ADDRESS=app.repo_address
    )
    assert f"auth.secret: the repo at {app.repo_address} signs with another key" in stopped.stderr


def test_halves_with_different_keys_do_not_start_in_body_mode(tmp_path: Path) -> None:
    repo = serve("repo", tmp_path / "data", GOCHAT_SERVER_ERROR_MODE="body")
    try:
        arguments = ("--data", str(tmp_path / "other"), "--listen", "127.0.0.1:0")
        assert "auth.secret" in refused_start(*arguments, GOCHAT_REPO_ADDRESS=repo.address).stderr
    finally:
        repo.kill()


def test_halves_share_a_secret_from_the_environment(tmp_path: Path) -> None:
    app = Deployment(tmp_path, split=True, env={"GOCHAT_AUTH_SECRET": "s" * 32})
    try:
        assert not (app.data / "signing.key").exists()
        app.person().GetConversations()
    finally:
        app.kill()


@pytest.mark.parametrize(("target", "address"), [("logic", ""), ("all", "127.0.0.1:1")])
def test_target_and_repo_address_go_together(tmp_path: Path, target: str, address: str) -> None:
    stopped = refused_start("--data", str(tmp_path), "--target", target, GOCHAT_REPO_ADDRESS=address)
    assert "repo.address" in stopped.stderr


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
