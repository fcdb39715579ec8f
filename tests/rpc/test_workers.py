"""Several workers on one port: who answers, who dies, who takes over, who is refused."""

import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import psycopg2
import pytest

from gochat.api.logic.v1 import logic_pb2, logic_pb2_grpc
from gochat.api.session.v1 import session_pb2, session_pb2_grpc
from gochat.rpc.server import ListenError, reserve_port
from tests.harness import (
    FREE_METRICS_PORT,
    PROGRAM,
    UNLIMITED,
    Deployment,
    Person,
    Process,
    as_service,
    children,
    eventually,
    every_message,
)
from tests.postgres import Postgres

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="/proc tells which worker is which")

TWO = {"GOCHAT_SERVER_WORKERS": "2"}
LISTENING, ESTABLISHED = "0A", "01"
LOCKED = "LOCK TABLE messages IN ACCESS EXCLUSIVE MODE"  # sends wait


@pytest.fixture(scope="module")
def pair(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Two workers that the tests share and leave alive."""
    env = TWO | {"GOCHAT_LOG_LEVEL": "debug"}
    deployment = Deployment(tmp_path_factory.mktemp("pair"), url=postgres.create_database(), env=env)
    yield deployment
    deployment.stop()


@pytest.fixture
def own(postgres: Postgres, tmp_path: Path) -> Iterator[Deployment]:
    """Two workers of the test's own."""
    deployment = Deployment(tmp_path / "own", url=postgres.create_database(), env=TWO)
    yield deployment
    deployment.kill()
    eventually(lambda: not listening(deployment.address))


def sockets_of_port(address: str, state: str) -> set[str]:
    """The inodes of the server's sockets in this state."""
    port, found = f"{int(address.rpartition(':')[2]):04X}", set()
    for file in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(file).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(f":{port}") and fields[3] == state:
                found.add(f"socket:[{fields[9]}]")
    return found


def listening(address: str) -> set[str]:
    return sockets_of_port(address, LISTENING)


def sockets_of(pid: int) -> set[str]:
    found = set()
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found.add(os.readlink(descriptor))
            except FileNotFoundError:
                continue
    except (FileNotFoundError, PermissionError):
        return set()
    return found


def workers(process: Process) -> set[int]:
    """The processes that listen for this parent."""
    there = listening(process.address)
    return {pid for pid in children(process.pid) if sockets_of(pid) & there}


def connect(address: str) -> grpc.Channel:
    """A connection of its own."""
    channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
    grpc.channel_ready_future(channel).result(timeout=30)
    return channel


def connect_to(app: Deployment, worker: int) -> grpc.Channel:
    """A connection that the kernel gave to this worker."""
    while True:
        before = sockets_of(worker)
        channel = connect(app.address)
        if (sockets_of(worker) - before) & sockets_of_port(app.address, ESTABLISHED):
            return channel
        channel.close()


def is_free(address: str) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(address.rpartition(":")[2])))
            probe.listen()
        except OSError:
            return False
        return True


def serve(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """Runs a server that is not to start."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GOCHAT_")}
    command = [PROGRAM, "-m", "gochat", "serve", *arguments]
    return subprocess.run(command, env=clean | FREE_METRICS_PORT | env, capture_output=True, text=True, timeout=60)


@contextmanager
def locked(app: Deployment) -> Iterator[Any]:
    """While this lasts, or until its rollback(), no send is done."""
    with closing(psycopg2.connect(app._env["GOCHAT_DATABASE_URL"])) as connection:
        connection.cursor().execute(LOCKED)
        yield connection


def sending(channel: grpc.Channel, person: Person, to: str) -> Any:
    request = logic_pb2.SendMessageRequest(to_user_id=to, content="running")
    send = logic_pb2_grpc.LogicServiceStub(channel).SendMessage
    return send.future(request, metadata=person.metadata, timeout=30)


def test_both_workers_serve(pair: Deployment) -> None:
    assert re.fullmatch(r"gochat ready on 127\.0\.0\.1:[1-9]\d* \(logic, repo\)", pair.processes[0].ready_line)
    found, person = workers(pair.processes[0]), pair.person()
    assert len(found) == 2
    for worker in found:
        with connect_to(pair, worker) as channel:
            logic = logic_pb2_grpc.LogicServiceStub(channel)
            metadata = (*person.metadata, ("x-request-id", f"asks-{worker}"))
            answer = logic.GetUserProfile(logic_pb2.GetUserProfileRequest(), metadata=metadata, timeout=30)
            assert answer.profile.user_id == person.id
        eventually(lambda worker=worker: f"INFO [asks-{worker}] gochat.calls: /gochat" in pair.logs())


def test_a_session_ended_through_one_worker_stops_working_on_the_other(pair: Deployment) -> None:
    person = pair.person()
    one, other = (connect_to(pair, worker) for worker in workers(pair.processes[0]))
    with one, other:
        profile = logic_pb2_grpc.LogicServiceStub(other).GetUserProfile
        profile(logic_pb2.GetUserProfileRequest(), metadata=person.metadata, timeout=30)
        logout = session_pb2_grpc.SessionServiceStub(one).Logout
        logout(session_pb2.LogoutRequest(), metadata=person.metadata, timeout=30)

        def refused() -> bool:
            try:
                profile(logic_pb2.GetUserProfileRequest(), metadata=person.metadata, timeout=30)
            except grpc.RpcError as error:
                return bool(error.code() is grpc.StatusCode.UNAUTHENTICATED)
            return False

        eventually(refused, seconds=5)


def test_sequences_have_no_gap_with_senders_on_both_workers(pair: Deployment) -> None:
    people = pair.people(8)
    group = people[0].CreateGroup(name="g", member_ids=[person.id for person in people[1:]]).group_id
    found = sorted(workers(pair.processes[0]))
    channels = [connect_to(pair, found[number % 2]) for number in range(8)]

    def send(number: int) -> list[str]:
        logic = logic_pb2_grpc.LogicServiceStub(channels[number])
        request = logic_pb2.SendMessageRequest(conversation_id=group, content=f"of {number}")
        metadata = people[number].metadata
        return [logic.SendMessage(request, metadata=metadata, timeout=30).message_id for _ in range(25)]

    with ThreadPoolExecutor(8) as pool:
        sent = [message_id for ids in pool.map(send, range(8)) for message_id in ids]
    for channel in channels:
        channel.close()
    stored = every_message(people[0].GetMessageHistory, group)
    assert sorted(int(message_id[-12:]) for message_id in sent) == list(range(1, 201))
    assert [message.message_id for message in stored] == sorted(sent, reverse=True)


class Sender(threading.Thread):
    """Sends until told to stop; repeats under its key what failed. statuses: of the failures."""

    def __init__(self, app: Deployment, worker: int, user_id: str, group: str) -> None:
        super().__init__()
        self.channel = connect_to(app, worker)
        self.app, self.user_id, self.group = app, user_id, group
        self.acknowledged: dict[str, str] = {}
        self.statuses: list[grpc.StatusCode] = []
        self.over = threading.Event()

    def run(self) -> None:
        logic = logic_pb2_grpc.LogicServiceStub(self.channel)
        while not self.over.is_set():
            key = f"{self.user_id}:{len(self.acknowledged)}"
            request = logic_pb2.SendMessageRequest(
                from_user_id=self.user_id, conversation_id=self.group, content=key, metadata={"client_msg_id": key}
            )
            try:
                answer = logic.SendMessage(request, metadata=self.app.service, timeout=30, wait_for_ready=True)
            except grpc.RpcError as error:
                self.statuses.append(error.code())
            else:
                self.acknowledged[key] = answer.message_id
        self.channel.close()


def test_a_killed_worker_fails_its_running_calls_alone_and_is_replaced(own: Deployment) -> None:
    users = [own.create_user() for _ in range(8)]
    calls = as_service(own)
    group = calls.logic.CreateGroup(name="g", owner_id=users[0], member_ids=users).group_id
    killed, spared = sorted(workers(own.processes[0]))
    senders = [Sender(own, (killed, spared)[number % 2], user_id, group) for number, user_id in enumerate(users)]
    for sender in senders:
        sender.start()
    eventually(lambda: all(len(sender.acknowledged) > 5 for sender in senders))
    os.kill(killed, signal.SIGKILL)
    (fresh,) = eventually(lambda: workers(own.processes[0]) - {killed, spared})
    counts = [len(sender.acknowledged) for sender in senders]
    eventually(lambda: all(len(s.acknowledged) > count for s, count in zip(senders, counts, strict=True)))
    os.kill(fresh, signal.SIGTERM)  # told to end by itself, it is replaced too, after a longer pause
    assert eventually(lambda: workers(own.processes[0]) - {killed, spared, fresh})
    for sender in senders:
        sender.over.set()
    for sender in senders:
        sender.join()
    assert [sender.statuses for sender in senders[1::2]] == [[]] * 4  # on the worker that lived
    assert {status for sender in senders for status in sender.statuses} == {grpc.StatusCode.UNAVAILABLE}
    # One for each end, and one more if the new connection met the same worker in its last moment.
    assert max(len(sender.statuses) for sender in senders) <= 4
    acknowledged = {key: message_id for sender in senders for key, message_id in sender.acknowledged.items()}
    stored = every_message(as_service(own).logic.GetMessageHistory, group)
    by_key = {message.content: message.message_id for message in stored}
    assert len(by_key) == len(stored), "a message is there twice"
    assert {key: by_key.get(key) for key in acknowledged} == acknowledged
    assert [int(message.message_id[-12:]) for message in stored] == list(range(len(stored), 0, -1))
    log = own.logs()
    assert re.search(rf"worker \d \(process {killed}\) was ended by SIGKILL; worker \d is restarted in 0\.5 s", log)
    assert re.search(rf"worker \d \(process {fresh}\) ended with code 0; worker \d is restarted in 1 s", log)


def test_a_worker_that_hangs_is_replaced(own: Deployment) -> None:
    hung, spared = sorted(workers(own.processes[0]))
    os.kill(hung, signal.SIGSTOP)
    (fresh,) = eventually(lambda: workers(own.processes[0]) - {hung, spared}, seconds=60)
    assert not Path(f"/proc/{hung}").exists()
    assert re.search(rf"worker \d \(process {hung}\) was ended by SIGKILL", own.logs())
    with connect_to(own, fresh) as channel:
        request = logic_pb2.GetUserProfileRequest(user_id=own.create_user())
        logic_pb2_grpc.LogicServiceStub(channel).GetUserProfile(request, metadata=own.service, timeout=30)
    assert spared in workers(own.processes[0])


def test_workers_end_with_a_killed_parent(own: Deployment) -> None:
    (process,) = own.processes
    there = children(process.pid)
    assert len(workers(process)) == 2
    process.kill()
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in there))
    assert is_free(own.address)
    again = Process("serve", "--data", str(own.data), "--listen", own.address, env=own._env, log=own.folder / "again")
    assert again.address == own.address
    assert again.stop() == 0


def test_running_calls_of_all_workers_end_before_the_parent_does(own: Deployment) -> None:
    person, friend = own.person(), own.create_user()
    person.send(friend)
    (process,) = own.processes
    channels = [connect_to(own, worker) for worker in workers(process)]
    with locked(own) as lock, ThreadPoolExecutor() as pool:
        running = [sending(channel, person, friend) for channel in channels for _ in range(3)]
        time.sleep(1)  # they are with the workers
        stopped = pool.submit(process.stop)
        time.sleep(0.5)
        assert not stopped.done()
        lock.rollback()
        assert len({answer.result().message_id for answer in running}) == 6
        assert stopped.result() == 0
    assert own.logs().rstrip().endswith("all workers stopped")
    assert is_free(own.address)


def test_a_second_signal_ends_all_at_once(own: Deployment) -> None:
    person, friend = own.person(), own.create_user()
    person.send(friend)
    (process,) = own.processes
    there = children(process.pid)
    with locked(own):
        running = sending(own.channel, person, friend)
        time.sleep(1)
        os.kill(process.pid, signal.SIGTERM)
        eventually(lambda: "draining" in own.logs())
        assert not running.done()
        assert process.stop() == 128 + signal.SIGTERM
        assert running.code() is grpc.StatusCode.UNAVAILABLE
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in there))


def test_the_port_is_taken(pair: Deployment, postgres: Postgres, tmp_path: Path) -> None:
    for env in (TWO | {"GOCHAT_DATABASE_URL": postgres.create_database()}, {}):
        second = serve("--data", str(tmp_path), "--listen", pair.address, **env)
        assert (second.returncode, second.stdout) == (1, "")
        assert f"gochat: cannot listen on {pair.address}: " in second.stderr
    assert not is_free(pair.address)
    assert len(workers(pair.processes[0])) == 2


def test_a_held_port_is_taken_before_anybody_listens() -> None:
    with reserve_port("127.0.0.1:0") as address:
        assert not is_free(address)
        assert not listening(address)
        with pytest.raises(ListenError), reserve_port(address):
            pass
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            server.bind(("127.0.0.1", int(address.rpartition(":")[2])))
            server.listen()
    assert is_free(address)


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({}, "server.workers: must be 1 on SQLite, "),
        ({"GOCHAT_DATABASE_URL": "postgresql://[::1/none"}, "database.url: is no postgresql:// URL "),
        ({"GOCHAT_SERVER_LISTEN": "0.0.0.0:0"}, "server.listen: other hosts can reach "),
        ({"GOCHAT_SERVER_WORKERS": "0"}, "GOCHAT_SERVER_WORKERS: must be at least 1 "),
    ],
)
def test_what_stops_the_start_is_said_once(tmp_path: Path, env: dict[str, str], told: str) -> None:
    settings = TWO | {"GOCHAT_SERVER_LISTEN": "127.0.0.1:0", "GOCHAT_SERVER_DATA": str(tmp_path)} | env
    refused = serve(**settings)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"gochat: {told}")
    assert refused.stderr.count("\n") == 1


def test_logic_halves_of_a_repo_on_sqlite_may_be_many(tmp_path: Path) -> None:
    app = Deployment(tmp_path / "repo")
    env = UNLIMITED | TWO | {"GOCHAT_REPO_ADDRESS": app.address}
    arguments = ("serve", "--target", "logic", "--data", str(app.data), "--listen", "127.0.0.1:0")
    half = Process(*arguments, env=env, log=tmp_path / "half.log")
    try:
        assert half.ready_line == f"gochat ready on {half.address} (logic)"
        assert len(workers(half)) == 2
        person = app.person()
        with connect(half.address) as channel:
            profile = logic_pb2_grpc.LogicServiceStub(channel).GetUserProfile
            answer = profile(logic_pb2.GetUserProfileRequest(), metadata=person.metadata, timeout=30)
            assert answer.profile.user_id == person.id
        assert half.stop() == 0
    finally:
        half.kill()
        app.kill()
