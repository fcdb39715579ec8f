"""The server as an operator and a load balancer see it: health, reflection, output, start, stop, deadlines."""

import os
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from gochat.api.logic.v1 import logic_pb2
from gochat.services import LOGIC, REPO, SERVICES, served_by
from tests.harness import FREE_METRICS_PORT, PASSWORD, PROGRAM, Deployment, Process

SERVING = health_pb2.HealthCheckResponse.SERVING


@pytest.fixture(params=[False, True], ids=["colocated", "split"])
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    """A GoChat on SQLite of the test's own."""
    deployment = Deployment(tmp_path / "own", split=request.param)
    yield deployment
    deployment.kill()


def serve(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """Runs a server that is not to start."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GOCHAT_")}
    return subprocess.run(
        [PROGRAM, "-m", "gochat", "serve", *arguments],
        env=clean | FREE_METRICS_PORT | env,
        capture_output=True,
        text=True,
        timeout=60,
    )


def services(deployment: Deployment) -> Iterator[tuple[grpc.Channel, str]]:
    """Every service with a channel to where it is served."""
    for service in SERVICES:
        yield deployment.channel_to(service.half), service.descriptor.full_name


def check(channel: grpc.Channel, service: str) -> int:
    request = health_pb2.HealthCheckRequest(service=service)
    return int(health_pb2_grpc.HealthStub(channel).Check(request, timeout=30).status)


def test_health_is_told_without_a_token(app: Deployment) -> None:
    for channel, service in services(app):
        assert check(channel, "") == SERVING
        assert check(channel, service) == SERVING
    with pytest.raises(grpc.RpcError) as raised:
        check(app.channel, "gochat.api.logic.v1.NoService")
    assert isinstance(raised.value, grpc.Call)
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


def test_each_half_serves_its_own_services_alone(app: Deployment) -> None:
    if app.split:
        for channel, service in (
            *((app.channel, service) for service in served_by(REPO)),
            *((app.repo_channel, service) for service in served_by(LOGIC)),
        ):
            with pytest.raises(grpc.RpcError) as raised:
                check(channel, service.descriptor.full_name)
            assert isinstance(raised.value, grpc.Call)
            assert raised.value.code() is grpc.StatusCode.NOT_FOUND


def test_reflection_lists_all_services_on_loopback(app: Deployment) -> None:
    for channel, service in services(app):
        reflected = ProtoReflectionDescriptorDatabase(channel)
        assert {service, "grpc.health.v1.Health"} <= set(reflected.get_services())
        file = reflected.FindFileContainingSymbol(service)
        assert service.rpartition(".")[2] in [found.name for found in file.service]


def test_reflection_is_off_where_others_can_reach_it(tmp_path: Path) -> None:
    arguments = ("serve", "--data", str(tmp_path), "--listen", "0.0.0.0:0", "--insecure")
    process = Process(*arguments, log=tmp_path / "log")
    try:
        assert re.fullmatch(r"gochat ready on 0\.0\.0\.0:\d+ \(logic, repo\)", process.ready_line)
        with grpc.insecure_channel(process.address.replace("0.0.0.0", "127.0.0.1")) as channel:
            assert check(channel, "") == SERVING
            with pytest.raises(grpc.RpcError):
                ProtoReflectionDescriptorDatabase(channel).get_services()
    finally:
        process.kill()


def test_the_ready_line_says_where_and_what(app: Deployment) -> None:
    halves = ["logic", "repo"] if app.split else ["logic, repo"]
    for process, half in zip(app.processes, halves, strict=True):
        assert re.fullmatch(rf"gochat ready on 127\.0\.0\.1:[1-9]\d* \({half}\)", process.ready_line)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stdout_has_the_ready_line_alone_and_stderr_the_log(tmp_path: Path, number: signal.Signals) -> None:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GOCHAT_")}
    process = subprocess.Popen(
        [PROGRAM, "-m", "gochat", "serve", "--data", str(tmp_path), "--listen", "127.0.0.1:0"],
        env=clean | FREE_METRICS_PORT | {"GOCHAT_LOG_LEVEL": "debug"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    ready = process.stdout.readline()
    with grpc.insecure_channel(ready.split()[3]) as channel, pytest.raises(grpc.RpcError):
        channel.unary_unary("/gochat.api.logic.v1.LogicService/SendMessage")(b"\xff", timeout=30)
    process.send_signal(number)
    out, log = process.communicate(timeout=60)
    assert (process.returncode, ready[:16], out) == (0, "gochat ready on ", "")
    assert all(
        re.match(r"\d{4}-\d\d-\d\d [\d:,]+ (DEBUG|INFO|WARNING) \[\S+\] gochat\.", line) for line in log.splitlines()
    )
    assert re.search(r"gochat\.calls: /\S+/SendMessage UNAUTHENTICATED .*: NO_TOKEN$", log, re.MULTILINE)
    assert log.rstrip().endswith("stopped")


def test_an_idle_server_stops_when_told_to(own: Deployment) -> None:
    assert own.stop() == [0] * len(own.processes)


def test_running_calls_end_before_the_server_does(own: Deployment) -> None:
    person, friend = own.person(), own.create_user()
    conversation_id = person.send(friend, "first").message_id.rpartition("-")[0]
    database = sqlite3.connect(own.data / "gochat.db", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")  # nobody else writes now
    send = own.logic.SendMessage.future
    request = logic_pb2.SendMessageRequest(conversation_id=conversation_id, content="running")
    running = [send(request, metadata=person.metadata, timeout=30) for _ in range(10)]
    time.sleep(1)  # they are with the server
    with ThreadPoolExecutor() as pool:
        stopped = pool.submit(own.processes[0].stop)
        time.sleep(0.5)
        assert not stopped.done()
        late = send(request, metadata=person.metadata, timeout=30)
        assert late.code() is grpc.StatusCode.UNAVAILABLE
        database.execute("ROLLBACK")
        assert len({answer.result().message_id for answer in running}) == 10
        assert stopped.result() == 0
    assert database.execute("SELECT COUNT(*) FROM messages WHERE content = 'running'").fetchone() == (10,)
    database.close()


def test_calls_that_outlast_the_grace_are_cut_off(tmp_path: Path) -> None:
    app = Deployment(tmp_path, env={"GOCHAT_SERVER_GRACE": "0.5"})
    person, friend = app.person(), app.create_user()
    database = sqlite3.connect(app.data / "gochat.db", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    request = logic_pb2.SendMessageRequest(to_user_id=friend, content="running")
    running = app.logic.SendMessage.future(request, metadata=person.metadata, timeout=30)
    time.sleep(1)
    with ThreadPoolExecutor() as pool:
        stopped = pool.submit(app.processes[0].stop)
        assert running.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        database.execute("ROLLBACK")
        assert stopped.result() == 0
    database.close()


def test_one_server_at_a_time_has_a_data_folder(own: Deployment) -> None:
    second = serve("--data", str(own.data), "--listen", "127.0.0.1:0")
    assert (second.returncode, second.stdout) == (1, "")
    assert "gochat.db is in use by another gochat process" in second.stderr
    assert "Traceback" not in second.stderr
    own.person()
    own.kill()
    own.start()  # a server that was killed leaves nothing behind that keeps the next from starting
    own.person()


def test_one_server_at_a_time_has_a_port(own: Deployment, tmp_path: Path) -> None:
    second = serve("--data", str(tmp_path / "other"), "--listen", own.address)
    assert (second.returncode, second.stdout) == (1, "")
    assert f"cannot listen on {own.address}" in second.stderr
    assert "Traceback" not in second.stderr
    own.person()


def test_an_address_that_is_none_stops_the_start(tmp_path: Path) -> None:
    for address in ("here", "127.0.0.1", ":50051", "127.0.0.1:http", "127.0.0.1:65536"):
        refused = serve("--data", str(tmp_path), "--listen", address)
        assert refused.returncode == 1
        assert "server.listen: must be HOST:PORT" in refused.stderr


def test_a_deadline_that_is_too_short_is_told(app: Deployment) -> None:
    person = app.person()
    slow = logic_pb2.AuthRequest(username=person.username, password=PASSWORD)  # hashing takes its time by design
    for timeout in (0.001, -1):
        with pytest.raises(grpc.RpcError) as raised:
            app.logic.Authenticate(slow, timeout=timeout)
        assert isinstance(raised.value, grpc.Call)
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    person.GetUserProfile()


def test_a_call_needs_no_deadline(app: Deployment) -> None:
    person = app.person()
    request = logic_pb2.GetUserProfileRequest()
    assert app.logic.GetUserProfile(request, metadata=person.metadata).profile.user_id == person.id


def test_a_write_whose_deadline_passed_while_it_waited_is_not_done(own: Deployment) -> None:
    person, friend = own.person(), own.create_user()
    database = sqlite3.connect(own.data / "gochat.db", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    send = own.logic.SendMessage.future
    request = logic_pb2.SendMessageRequest(to_user_id=friend, content="too late")
    waiting = [send(request, metadata=person.metadata, timeout=1) for _ in range(3)]
    assert {answer.code() for answer in waiting} == {grpc.StatusCode.DEADLINE_EXCEEDED}
    database.execute("ROLLBACK")
    database.close()
    conversation_id = person.send(friend, "in time").message_id.rpartition("-")[0]
    messages = person.GetMessageHistory(conversation_id=conversation_id).messages
    assert [message.content for message in messages] == ["in time"]
