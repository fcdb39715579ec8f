"""The server as an operator and a load balancer see it: health, reflection, output, start, stop, deadlines."""

import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from gochat.api.logic.v1 import logic_pb2
from gochat.services import LOGIC, REPO, SERVICES, served_by
from tests.conftest import SQLITE, Own
from tests.conversations import contents, conversation_of
from tests.harness import PASSWORD, Deployment, locked
from tests.health import SERVING, check
from tests.processes import Process, begin, refused_start
from tests.waiting import eventually, in_flight, polled, started, status_of

TIMEOUT = 1.0  # seconds


def services(deployment: Deployment) -> Iterator[tuple[grpc.Channel, str]]:
    """Every service with a channel to where it is served."""
    for service in SERVICES:
        yield deployment.channel_to(service.half), service.descriptor.full_name


def test_health_needs_no_token(app: Deployment) -> None:
    for channel, service in services(app):
        assert check(channel) == SERVING
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
    with Process(*arguments, log=tmp_path / "log") as process:
        assert re.fullmatch(r"gochat ready on 0\.0\.0\.0:\d+ \(logic, repo\)", process.ready_line)
        with grpc.insecure_channel(process.address.replace("0.0.0.0", "127.0.0.1")) as channel:
            assert check(channel) == SERVING
            with pytest.raises(grpc.RpcError):
                ProtoReflectionDescriptorDatabase(channel).get_services()


def test_the_ready_line_says_where_and_what(app: Deployment) -> None:
    halves = ["logic", "repo"] if app.split else ["logic, repo"]
    for process, half in zip(app.processes, halves, strict=True):
        assert re.fullmatch(rf"gochat ready on 127\.0\.0\.1:[1-9]\d* \({half}\)", process.ready_line)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stdout_has_the_ready_line_alone_and_stderr_the_log(tmp_path: Path, number: signal.Signals) -> None:
    arguments = ("serve", "--data", tmp_path, "--listen", "127.0.0.1:0")
    process = begin(*arguments, env={"GOCHAT_LOG_LEVEL": "debug"})
    assert process.stdout is not None
    ready = process.stdout.readline()
    with grpc.insecure_channel(ready.split()[3]) as channel, pytest.raises(grpc.RpcError):
        channel.unary_unary("/gochat.api.logic.v1.LogicService/SendMessage")(b"\xff", timeout=30)
    process.send_signal(number)
    out, log = process.communicate(timeout=60)
    assert (process.returncode, ready[:16], out) == (0, "gochat ready on ", "")
    assert all(
        re.match(r"\d{4}-\d\d-\d\d [\d:,]+[+-]\d\d:\d\d (DEBUG|INFO|WARNING) \[\S+\] gochat\.", line)
        for line in log.splitlines()
    )
    assert re.search(r"gochat\.calls: /\S+/SendMessage UNAUTHENTICATED .*: NO_TOKEN$", log, re.MULTILINE)
    assert log.rstrip().endswith("stopped")


@pytest.mark.parametrize("mode", SQLITE)
def test_an_idle_server_stops_on_sigterm(own: Own, mode: str) -> None:
    app = own(mode)
    assert app.stop() == [0] * len(app.processes)


@pytest.mark.parametrize("mode", SQLITE)
def test_running_calls_end_before_the_server_does(own: Own, mode: str) -> None:
    app = own(mode)
    person, friend = app.person(password=PASSWORD), app.create_user()
    conversation_id = conversation_of(person.send(friend, "first"))
    with locked(app) as lock, ThreadPoolExecutor() as pool:
        running = [person.begin_send(conversation_id) for _ in range(10)]
        in_flight(app.processes[0], 10)
        stopped = pool.submit(app.processes[0].stop)
        eventually(lambda: status_of(person.GetUserProfile) == "UNAVAILABLE")
        assert not stopped.done()
        assert person.begin_send(conversation_id).code() is grpc.StatusCode.UNAVAILABLE
        lock.rollback()
        assert len({answer.result().message_id for answer in running}) == 10
        assert stopped.result() == 0
        assert lock.execute("SELECT COUNT(*) FROM messages WHERE content = 'running'").fetchone() == (10,)


def test_calls_that_outlast_the_grace_are_cut_off(own: Own) -> None:
    app = own(env={"GOCHAT_SERVER_GRACE": "0.5"})
    person, friend = app.person(password=PASSWORD), app.create_user()
    with locked(app) as lock, ThreadPoolExecutor() as pool:
        running = person.begin_send(friend)
        in_flight(app.processes[0])
        stopped = pool.submit(app.processes[0].stop)
        assert running.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        lock.rollback()
        assert stopped.result() == 0


@pytest.mark.parametrize("mode", SQLITE)
def test_one_server_at_a_time_has_a_data_folder(own: Own, mode: str) -> None:
    app = own(mode)
    said = refused_start("--data", app.data, "--listen", "127.0.0.1:0")
    assert "gochat.db is in use by another gochat process" in said
    app.person(password=PASSWORD)
    app.kill()
    app.start()  # a server that was killed leaves nothing behind that keeps the next from starting
    app.person(password=PASSWORD)


@pytest.mark.parametrize("mode", SQLITE)
def test_one_server_at_a_time_has_a_port(own: Own, mode: str, tmp_path: Path) -> None:
    app = own(mode)
    said = refused_start("--data", tmp_path / "other", "--listen", app.address)
    assert f"cannot listen on {app.address}" in said
    app.person(password=PASSWORD)


def test_an_invalid_address_stops_the_start(tmp_path: Path) -> None:
    for address in ("here", "127.0.0.1", ":50051", "127.0.0.1:http", "127.0.0.1:65536"):
        assert "server.listen: must be HOST:PORT" in refused_start("--data", tmp_path, "--listen", address)


def test_a_deadline_that_is_too_short_ends_the_call(app: Deployment) -> None:
    person = app.person(password=PASSWORD)
    slow = logic_pb2.AuthRequest(username=person.username, password=PASSWORD)  # hashing takes its time by design
    for timeout in (0.001, -1):
        with pytest.raises(grpc.RpcError) as raised:
            app.logic.Authenticate(slow, timeout=timeout)
        assert isinstance(raised.value, grpc.Call)
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    person.GetUserProfile()


def test_a_call_needs_no_deadline(app: Deployment) -> None:
    person = app.person(password=PASSWORD)
    request = logic_pb2.GetUserProfileRequest()
    assert app.logic.GetUserProfile(request, metadata=person.metadata).profile.user_id == person.id


@pytest.mark.parametrize("mode", SQLITE)
def test_a_write_whose_deadline_passed_while_it_waited_is_not_done(own: Own, mode: str) -> None:
    app = own(mode)
    person, friend = app.person(password=PASSWORD), app.create_user()
    with locked(app):
        waiting = [person.begin_send(friend, timeout=TIMEOUT) for _ in range(3)]
        assert {answer.code() for answer in waiting} == {grpc.StatusCode.DEADLINE_EXCEEDED}
        eventually(lambda: started(app.processes[0], "SendMessage") == 3)
        over = time.monotonic() + TIMEOUT  # by the server's count too: it took the last of them in before now
        polled(lambda: time.monotonic() > over)
    conversation_id = conversation_of(person.send(friend, "in time"))
    assert contents(person, conversation_id) == ["in time"]
