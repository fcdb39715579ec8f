"""Several workers on one port: who answers, who dies, who takes over, who is refused."""

import os
import re
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import grpc
import pytest

from gochat.api.logic.v1 import logic_pb2, logic_pb2_grpc
from gochat.api.session.v1 import session_pb2, session_pb2_grpc
from gochat.listening import ListenError, reserve_port
from tests.conftest import Own
from tests.conversations import history, seqs
from tests.harness import UNLIMITED, Deployment, as_service, locked, new_connection
from tests.postgres import Postgres
from tests.processes import Process, children, refused_start
from tests.rpc.workers import TWO, connect_to, is_free, listening, workers
from tests.waiting import eventually, in_flight, status_of

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="//proc says which worker is which")


@pytest.fixture(scope="module")
def pair(own_of_module: Own) -> Deployment:
    """Two workers that the tests share and leave alive."""
    return own_of_module("postgres", env=TWO | {"GOCHAT_LOG_LEVEL": "debug"})


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

        read = partial(profile, logic_pb2.GetUserProfileRequest(), metadata=person.metadata, timeout=30)
        eventually(lambda: status_of(read) == "UNAUTHENTICATED", seconds=5)


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
    stored = history(people[0], group)
    assert sorted(seqs(sent)) == list(range(1, 201))
    assert [message.message_id for message in stored] == sorted(sent)


class Sender(threading.Thread):
    """Sends until it is stopped; repeats under its key what failed. statuses: of the failures."""

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


def test_a_killed_worker_fails_its_running_calls_alone_and_is_replaced(own: Own) -> None:
    app = own("postgres", env=TWO)
    users = [app.create_user() for _ in range(8)]
    calls = as_service(app)
    group = calls.logic.CreateGroup(name="g", owner_id=users[0], member_ids=users).group_id
    killed, spared = sorted(workers(app.processes[0]))
    senders = [Sender(app, (killed, spared)[number % 2], user_id, group) for number, user_id in enumerate(users)]
    for sender in senders:
        sender.start()
    eventually(lambda: all(len(sender.acknowledged) > 5 for sender in senders))
    os.kill(killed, signal.SIGKILL)
    (fresh,) = eventually(lambda: workers(app.processes[0]) - {killed, spared})
    counts = [len(sender.acknowledged) for sender in senders]
    eventually(lambda: all(len(s.acknowledged) > count for s, count in zip(senders, counts, strict=True)))
    os.kill(fresh, signal.SIGTERM)  # ended by itself, it is replaced too, after a longer pause
    assert eventually(lambda: workers(app.processes[0]) - {killed, spared, fresh})
    for sender in senders:
        sender.over.set()
    for sender in senders:
        sender.join()
    assert [sender.statuses for sender in senders[1::2]] == [[]] * 4  # on the worker that lived
    assert {status for sender in senders for status in sender.statuses} == {grpc.StatusCode.UNAVAILABLE}
    # One for each end, and one more if the new connection met the same worker in its last moment.
    assert max(len(sender.statuses) for sender in senders) <= 4
    acknowledged = {key: message_id for sender in senders for key, message_id in sender.acknowledged.items()}
    stored = history(as_service(app).logic, group)
    by_key = {message.content: message.message_id for message in stored}
    assert len(by_key) == len(stored), "a message is there twice"
    assert {key: by_key.get(key) for key in acknowledged} == acknowledged
    assert seqs(stored) == list(range(1, len(stored) + 1))
    # A worker that ran for STABLE_AFTER, as on a slow machine, is restarted without a pause.
    first, second = "(0|0.5) s", "(0|0.5|1) s"
    log = app.logs()
    assert re.search(rf"worker \d \(process {killed}\) was ended by SIGKILL; worker \d is restarted in {first}", log)
    assert re.search(rf"worker \d \(process {fresh}\) ended with code 0; worker \d is restarted in {second}", log)


def test_a_worker_that_hangs_is_replaced(own: Own) -> None:
    app = own("postgres", env=TWO)
    hung, spared = sorted(workers(app.processes[0]))
    os.kill(hung, signal.SIGSTOP)
    (fresh,) = eventually(lambda: workers(app.processes[0]) - {hung, spared}, seconds=60)
    assert not Path(f"/proc/{hung}").exists()
    assert re.search(rf"worker \d \(process {hung}\) was ended by SIGKILL", app.logs())
    with connect_to(app, fresh) as channel:
        request = logic_pb2.GetUserProfileRequest(user_id=app.create_user())
        logic_pb2_grpc.LogicServiceStub(channel).GetUserProfile(request, metadata=app.service, timeout=30)
    assert spared in workers(app.processes[0])


def test_workers_end_with_a_killed_parent(own: Own) -> None:
    app = own("postgres", env=TWO)
    (process,) = app.processes
    there = children(process.pid)
    assert len(workers(process)) == 2
    process.kill()
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in there))
    assert is_free(app.address)
    arguments = ("serve", "--data", str(app.data), "--listen", app.address)
    with Process(*arguments, env=app.env, log=app.folder / "again.log") as again:
        assert again.address == app.address
        assert again.stop() == 0


def test_running_calls_of_all_workers_end_before_the_parent_does(own: Own) -> None:
    app = own("postgres", env=TWO)
    person, friend = app.person(), app.create_user()
    person.send(friend)
    (process,) = app.processes
    channels = [connect_to(app, worker) for worker in workers(process)]
    with locked(app) as lock, ThreadPoolExecutor() as pool:
        running = [person.begin_send(friend, channel) for channel in channels for _ in range(3)]
        in_flight(process, 6)
        stopped = pool.submit(process.stop)
        eventually(lambda: "draining" in app.logs())
        assert not stopped.done()
        lock.rollback()
        assert len({answer.result().message_id for answer in running}) == 6
        assert stopped.result() == 0
    assert app.logs().rstrip().endswith("all workers stopped")
    assert is_free(app.address)


def test_a_second_signal_ends_all_workers_immediately(own: Own) -> None:
    app = own("postgres", env=TWO)
    person, friend = app.person(), app.create_user()
    person.send(friend)
    (process,) = app.processes
    there = children(process.pid)
    with locked(app):
        running = person.begin_send(friend)
        in_flight(process)
        os.kill(process.pid, signal.SIGTERM)
        eventually(lambda: "draining" in app.logs())
        assert not running.done()
        assert process.stop() == 128 + signal.SIGTERM
        assert running.code() is grpc.StatusCode.UNAVAILABLE
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in there))


def test_a_taken_port_stops_the_start(pair: Deployment, postgres: Postgres, tmp_path: Path) -> None:
    for env in (TWO | {"GOCHAT_DATABASE_URL": postgres.create_database()}, {}):
        said = refused_start("--data", tmp_path, "--listen", pair.address, **env)
        assert f"gochat: cannot listen on {pair.address}: " in said
    assert not is_free(pair.address)
    assert len(workers(pair.processes[0])) == 2


def test_a_reserved_port_is_taken_before_anyone_listens() -> None:
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
    ("env", "says"),
    [
        ({}, "server.workers: must be 1 on SQLite, "),
        ({"GOCHAT_DATABASE_URL": "postgresql://[::1/none"}, "database.url: is no postgresql:// URL "),
        ({"GOCHAT_SERVER_LISTEN": "0.0.0.0:0"}, "server.listen: other hosts can reach "),
        ({"GOCHAT_SERVER_WORKERS": "0"}, "GOCHAT_SERVER_WORKERS: must be at least 1 "),
    ],
)
def test_what_stops_the_start_is_reported_once(tmp_path: Path, env: dict[str, str], says: str) -> None:
    settings = TWO | {"GOCHAT_SERVER_LISTEN": "127.0.0.1:0", "GOCHAT_SERVER_DATA": str(tmp_path)} | env
    said = refused_start(**settings)
    assert said.startswith(f"gochat: {says}")
    assert said.count("\n") == 1


def test_logic_halves_of_a_repo_on_sqlite_may_be_many(own: Own, tmp_path: Path) -> None:
    app = own()
    env = UNLIMITED | TWO | {"GOCHAT_REPO_ADDRESS": app.address}
    arguments = ("serve", "--target", "logic", "--data", str(app.data), "--listen", "127.0.0.1:0")
    with Process(*arguments, env=env, log=tmp_path / "half.log") as half:
        assert half.ready_line == f"gochat ready on {half.address} (logic)"
        assert len(workers(half)) == 2
        person = app.person()
        with new_connection(half.address) as channel:
            profile = logic_pb2_grpc.LogicServiceStub(channel).GetUserProfile
            answer = profile(logic_pb2.GetUserProfileRequest(), metadata=person.metadata, timeout=30)
            assert answer.profile.user_id == person.id
        assert half.stop() == 0
