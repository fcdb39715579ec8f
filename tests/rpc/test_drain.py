"""How a server ends: what runs is finished, what comes is refused, and a second signal ends it immediately."""

import os
import resource
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gochat.api.logic.v1 import logic_pb2
from tests.conftest import SQLITE, Own
from tests.harness import PASSWORD, locked
from tests.health import NOT_SERVING, SERVING
from tests.processes import begin, children, frozen
from tests.waiting import eventually, in_flight, started

LONG_GRACE = {"GOCHAT_SERVER_GRACE": "60"}


@pytest.mark.parametrize("mode", SQLITE)
def test_queued_sign_ins_are_answered_and_new_calls_refused(own: Own, mode: str) -> None:
    app = own(mode, env=LONG_GRACE)
    person, logic = app.person(password=PASSWORD), app.processes[0]
    request = logic_pb2.AuthRequest(username=person.username, password=PASSWORD)
    before = started(logic, "Authenticate")
    running = [app.logic.Authenticate.future(request, timeout=60) for _ in range(30)]
    eventually(lambda: started(logic, "Authenticate") == before + 30)
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
        stopped = pool.submit(logic.stop)
        eventually(refuses)
        assert refuses()
        assert codes[-1] is grpc.StatusCode.UNAVAILABLE
        # What grpc's core has taken in but not handed over when it stops, it cancels.
        assert codes[0] in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        assert all(call.result().access_token for call in running)
        assert stopped.result() == 0


@pytest.mark.parametrize("mode", SQLITE)
def test_health_watchers_see_not_serving_and_do_not_delay_the_stop(own: Own, mode: str) -> None:
    app = own(mode, env=LONG_GRACE)
    watch = health_pb2_grpc.HealthStub(app.channel).Watch
    watches = [watch(health_pb2.HealthCheckRequest(service=name)) for name in ("", "gochat.api.logic.v1.LogicService")]
    assert [next(watched).status for watched in watches] == [SERVING] * 2
    assert app.processes[0].stop() == 0
    assert [[answer.status for answer in watched] for watched in watches] == [[NOT_SERVING]] * 2
    assert {watched.code() for watched in watches} == {grpc.StatusCode.OK}, "the grace was not used up"


def test_a_half_without_the_other_is_not_serving_until_it_is_back(own: Own) -> None:
    app = own("sqlite-split")
    logic, repo = app.processes
    watched = health_pb2_grpc.HealthStub(app.channel).Watch(health_pb2.HealthCheckRequest())
    assert next(watched).status == SERVING
    with frozen(repo.pid):
        assert next(watched).status == NOT_SERVING
        assert app.run("health", "--address", logic.address, check=False).stdout == "NOT_SERVING\n"
    assert next(watched).status == SERVING


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("mode", SQLITE)
def test_a_second_signal_ends_the_server_immediately(own: Own, mode: str, number: signal.Signals) -> None:
    app = own(mode, env=LONG_GRACE)
    person, friend = app.person(password=PASSWORD), app.create_user()
    person.send(friend)
    with locked(app):
        running = person.begin_send(friend)
        in_flight(app.processes[0])
        os.kill(app.processes[0].pid, signal.SIGTERM)
        eventually(lambda: "draining" in app.logs())
        assert not running.done()
        assert app.processes[0].stop(number) == 128 + number
        assert running.code() is grpc.StatusCode.UNAVAILABLE


def test_a_signal_ends_a_logic_half_that_waits_for_its_repo(tmp_path: Path) -> None:
    env = {"GOCHAT_REPO_ADDRESS": "127.0.0.1:1"}
    with begin("serve", "--data", tmp_path, "--listen", "127.0.0.1:0", env=env) as process:
        assert process.stderr is not None
        assert any("waiting for the repo" in line for line in process.stderr)
        process.terminate()
        assert process.wait(timeout=30) == 0


def test_the_server_raises_its_limit_of_open_files(own: Own) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard - 1, hard))
    try:
        app = own()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    pid = app.processes[0].pid
    serving = [pid, *children(pid)][-1]  # of the one file, what it has unpacked
    assert resource.prlimit(serving, resource.RLIMIT_NOFILE) == (hard, hard)
