"""How a server ends: what runs is finished, what comes is refused, and whoever insists is obeyed."""

import os
import resource
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gochat.api.logic.v1 import logic_pb2
from tests.harness import PASSWORD, PROGRAM, Deployment, Person, children, eventually, frozen

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(params=[False, True], ids=["colocated", "split"])
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    """A GoChat on SQLite of the test's own."""
    deployment = Deployment(tmp_path / "own", split=request.param, env={"GOCHAT_SERVER_GRACE": "60"})
    yield deployment
    deployment.kill()


@contextmanager
def locked(app: Deployment) -> Iterator[sqlite3.Connection]:
    """Until its ROLLBACK nobody else writes."""
    with closing(sqlite3.connect(app.data / "gochat.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield database


def sending(app: Deployment, person: Person, friend: str) -> Any:
    request = logic_pb2.SendMessageRequest(to_user_id=friend, content="running")
    return app.logic.SendMessage.future(request, metadata=person.metadata, timeout=30)


def test_sign_ins_that_wait_for_their_turn_are_answered_and_new_calls_refused(own: Deployment) -> None:
    person = own.person()
    request = logic_pb2.AuthRequest(username=person.username, password=PASSWORD)
    running = [own.logic.Authenticate.future(request, timeout=60) for _ in range(30)]
    time.sleep(0.2)  # they are with the server
    assert not all(call.done() for call in running)
    codes = []

    def refuses() -> bool:
        try:
            person.GetUserProfile()
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            codes.append(error.code())
        return bool(codes)

    with ThreadPoolExecutor() as pool:
        stopped = pool.submit(own.processes[0].stop)
        eventually(refuses)
        assert refuses()
        assert codes[-1] is grpc.StatusCode.UNAVAILABLE
        # What grpc's core has taken in but not handed over when it stops, it cancels.
        assert codes[0] in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        assert all(call.result().access_token for call in running)
        assert stopped.result() == 0


def test_who_watches_health_hears_the_end_and_does_not_put_it_off(own: Deployment) -> None:
    watch = health_pb2_grpc.HealthStub(own.channel).Watch
    watches = [watch(health_pb2.HealthCheckRequest(service=name)) for name in ("", "gochat.api.logic.v1.LogicService")]
    assert [next(told).status for told in watches] == [SERVING] * 2
    assert own.processes[0].stop() == 0
    assert [[answer.status for answer in told] for told in watches] == [[NOT_SERVING]] * 2
    assert {told.code() for told in watches} == {grpc.StatusCode.OK}, "the grace was not used up"


def test_a_half_without_the_other_is_not_serving_until_it_is_back(tmp_path: Path) -> None:
    app = Deployment(tmp_path, split=True)
    logic, repo = app.processes
    told = health_pb2_grpc.HealthStub(app.channel).Watch(health_pb2.HealthCheckRequest())
    assert next(told).status == SERVING
    with frozen(repo.pid):
        assert next(told).status == NOT_SERVING
        assert app.run("health", "--address", logic.address, check=False).stdout == "NOT_SERVING\n"
    assert next(told).status == SERVING
    app.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(own: Deployment, number: signal.Signals) -> None:
    person, friend = own.person(), own.create_user()
    person.send(friend)
    with locked(own):
        running = sending(own, person, friend)
        time.sleep(1)  # it is with the server
        os.kill(own.processes[0].pid, signal.SIGTERM)
        eventually(lambda: "draining" in own.logs())
        assert not running.done()
        assert own.processes[0].stop(number) == 128 + number
        assert running.code() is grpc.StatusCode.UNAVAILABLE


def test_a_signal_while_it_waits_for_the_other_half_ends_it(tmp_path: Path) -> None:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GOCHAT_")}
    command = [PROGRAM, "-m", "gochat", "serve", "--data", str(tmp_path), "--listen", "127.0.0.1:0"]
    env = clean | {"GOCHAT_REPO_ADDRESS": "127.0.0.1:1"}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("waiting for the repo" in line for line in process.stderr)
        process.terminate()
        assert process.wait(timeout=30) == 0


def test_as_many_files_may_be_open_as_the_system_allows(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard - 1, hard))
    try:
        app = Deployment(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    started = app.processes[0].pid
    serving = [started, *children(started)][-1]  # of the one file, what it has unpacked
    assert resource.prlimit(serving, resource.RLIMIT_NOFILE) == (hard, hard)
    app.kill()
