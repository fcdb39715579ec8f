"""The metrics say what the client counted: by RPC and code, in every mode, by several workers, after kills."""

import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import psycopg2

from gochat.api.logic.v1 import logic_pb2, logic_pb2_grpc
from gochat.domain import cursors
from gochat.internal.change.v1.change_pb2 import Position
from gochat.monitoring.exporter import CODE
from gochat.monitoring.shared import SharedMetrics
from gochat.serving.metrics import LATENCIES, WIDTH, RpcMetrics, close_out, read
from tests.conftest import Own
from tests.conversations import conversation_of, group
from tests.harness import CONTENT, Deployment, Person, locked
from tests.processes import FAST, refused_start
from tests.rpc.workers import TWO, connect_to, workers
from tests.streams import listening
from tests.waiting import eventually, idle, in_flight, with_the_writer

LOGIC = "gochat.api.logic.v1.LogicService"
HANDLED, SECONDS = "grpc_server_handled_total", "grpc_server_handling_seconds"


def outcome(call: Any, request: Any, metadata: Any) -> tuple[str, int, int]:
    """(grpc_code, bytes there, bytes back) of a call, as its client sees it."""
    try:
        response = call(request, metadata=metadata, timeout=30)
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        return CODE[error.code().value[0]], request.ByteSize(), 0
    return "OK", request.ByteSize(), response.ByteSize()


def test_calls_bytes_and_errors_are_those_that_the_client_counted(own: Own, mode: str) -> None:
    app = own(mode)
    person, friend = app.people(2)
    conversation = conversation_of(person.send(friend.id))
    signed_in, nobody = person.metadata, ()
    in_body = (*signed_in, ("x-gochat-error-mode", "body"))
    calls = [
        ("GetUserProfile", logic_pb2.GetUserProfileRequest(), signed_in, 7, ""),
        ("GetUserProfile", logic_pb2.GetUserProfileRequest(user_id="u404"), signed_in, 3, "NOT_FOUND"),
        ("GetUserProfile", logic_pb2.GetUserProfileRequest(), nobody, 2, "UNAUTHORIZED"),
        ("GetUserProfile", logic_pb2.GetUserProfileRequest(user_id="u404"), in_body, 4, "NOT_FOUND"),
        ("SendMessage", logic_pb2.SendMessageRequest(to_user_id=friend.id, content=CONTENT), signed_in, 5, ""),
        ("SendMessage", logic_pb2.SendMessageRequest(to_user_id=friend.id), in_body, 2, "INVALID_PARAMS"),
        ("SendMessage", logic_pb2.SendMessageRequest(to_user_id=friend.id), signed_in, 1, "INVALID_PARAMS"),
        ("GetMessageHistory", logic_pb2.GetMessageHistoryRequest(conversation_id=conversation), signed_in, 2, ""),
        ("Authenticate", logic_pb2.AuthRequest(username=person.username, password="wrong"), nobody, 1, "UNAUTHORIZED"),
    ]
    before = idle(app.processes[0])
    counted: Counter[tuple[str, ...]] = Counter()
    for rpc, request, metadata, times, error in calls:
        for _ in range(times):
            code, there, back = outcome(getattr(app.logic, rpc), request, metadata)
            counted += Counter(
                {(rpc, "started"): 1, (rpc, "code", code): 1, (rpc, "there"): there, (rpc, "back"): back}
            )
            if error:
                counted[rpc, "error", f"ERROR_CODE_{error}"] += 1
    after = idle(app.processes[0])

    def more(name: str, **labels: str) -> float:
        return after(name, grpc_service=LOGIC, **labels) - before(name, grpc_service=LOGIC, **labels)

    for rpc in {call[0] for call in calls}:
        assert more("grpc_server_started_total", grpc_method=rpc) == counted[rpc, "started"]
        assert more(f"{SECONDS}_count", grpc_method=rpc) == counted[rpc, "started"]
        assert more(f"{SECONDS}_bucket", grpc_method=rpc, le="+Inf") == counted[rpc, "started"]
        assert 0 < more(f"{SECONDS}_sum", grpc_method=rpc) < 30 * counted[rpc, "started"]
        assert more("grpc_server_msg_received_bytes_total", grpc_method=rpc) == counted[rpc, "there"]
        assert more("grpc_server_msg_sent_bytes_total", grpc_method=rpc) == counted[rpc, "back"]
        for code in CODE.values():
            assert more(HANDLED, grpc_method=rpc, grpc_code=code) == counted[rpc, "code", code], (rpc, code)
        for error in ("NOT_FOUND", "UNAUTHORIZED", "INVALID_PARAMS", "PERMISSION_DENIED", "INTERNAL_ERROR"):
            code = f"ERROR_CODE_{error}"
            assert more("gochat_errors_total", grpc_method=rpc, code=code) == counted[rpc, "error", code], (rpc, code)
    assert sum(counted[rpc, "started"] for rpc in {call[0] for call in calls}) == more("grpc_server_started_total")
    assert after("gochat_messages_received_total") - before("gochat_messages_received_total") == 2 * 6
    assert after("grpc_server_in_flight", grpc_service=LOGIC) == 0
    for process in app.processes:
        scrape = process.metrics()
        assert scrape("process_cpu_seconds_total") > 0
        assert scrape("process_resident_memory_bytes") > 2**24
        assert scrape("process_open_fds") > 3


def test_a_call_is_counted_by_the_process_that_answered_it(app: Deployment) -> None:
    services = {sample.labels.get("grpc_service", LOGIC) for sample in app.processes[0].metrics().samples}
    assert any(".repo." in service for service in services) != app.split
    if app.split:
        repo = app.processes[1].metrics()
        assert not [sample for sample in repo.samples if ".logic." in sample.labels.get("grpc_service", "")]
        assert repo(HANDLED, grpc_method="ListEndedSessions", grpc_code="OK") > 0, "the logic half asks each second"


def test_rate_limits_are_counted(own: Own, mode: str) -> None:
    app = own(mode, env={"GOCHAT_LIMITS_CALLS_PER_SECOND": "0.1"})
    person = app.person()
    request = logic_pb2.GetUserProfileRequest()
    codes = Counter(outcome(app.logic.GetUserProfile, request, person.metadata)[0] for _ in range(4))
    assert codes == {"OK": 1, "ResourceExhausted": 3}
    scrape = idle(app.processes[0])
    assert scrape(HANDLED, grpc_method="GetUserProfile", grpc_code="ResourceExhausted") == 3
    assert scrape("gochat_errors_total", grpc_method="GetUserProfile", code="ERROR_CODE_RATE_LIMIT") == 3


def test_users_conversations_and_messages_are_counted(own: Own, mode: str) -> None:
    app = own(mode)
    people = app.people(4)
    app.create_user()  # was never seen
    app.run("user", "disable", people[3].username, "--address", app.repo_address)
    for number in range(3):
        people[0].send(people[1].id, f"m{number}")
    group = people[0].CreateGroup(name="g", member_ids=[people[1].id, people[2].id]).group_id
    dissolved = people[2].CreateGroup(name="h").group_id
    people[2].LeaveGroup(group_id=dissolved)
    people[0].send(group, "hello")
    people[2].Logout()
    app.stop()
    app.start()  # it counts right away
    process = app.processes[-1]
    eventually(lambda: process.metrics()("gochat_database_counted_timestamp_seconds") > 0)
    scrape = process.metrics()
    assert abs(scrape("gochat_database_counted_timestamp_seconds") - time.time()) < 60
    expected = {
        ("gochat_users", "status", "active"): 4,
        ("gochat_users", "status", "disabled"): 1,
        ("gochat_users", "status", "deleted"): 0,
        ("gochat_active_users", "window", "day"): 4,
        ("gochat_active_users", "window", "month"): 4,
        ("gochat_conversations", "type", "single"): 1,
        ("gochat_conversations", "type", "group"): 1,
        ("gochat_conversations_created_total", "type", "single"): 1,
        ("gochat_conversations_created_total", "type", "group"): 2,
        ("gochat_active_conversations", "type", "single"): 1,
        ("gochat_active_conversations", "type", "group"): 1,
    }
    assert {key: scrape(key[0], **{key[1]: key[2]}) for key in expected} == expected
    assert (scrape("gochat_messages_sent_total"), scrape("gochat_group_members")) == (4, 3)
    if app.split:
        assert not [sample for sample in app.processes[0].metrics().samples if sample.name.startswith("gochat_users")]


def test_waiting_writes_and_commits_of_sqlite_are_counted(own: Own) -> None:
    app = own()
    person, friend = app.person(), app.create_user()
    conversation, process = conversation_of(person.send(friend, "first")), app.processes[0]
    before = process.metrics()
    with locked(app) as lock:
        first = person.begin_send(conversation)
        with_the_writer(process, 1, waiting=0)
        others = [person.begin_send(conversation) for _ in range(9)]
        with_the_writer(process, 10, waiting=9)
        busy = 0 if FAST else 10  # of grpcio's calls each has a thread
        assert process.metrics()("gochat_pool_busy_threads", pool="call") == busy
        lock.rollback()
        assert len({answer.result().message_id for answer in (first, *others)}) == 10
    in_flight(process, 0)  # an answer is counted as sent a moment after it arrives
    after = process.metrics()
    # Those that waited were one commit, perhaps with writes of the server's own, one of which may have been the first.
    assert after("gochat_database_commit_size_sum") - before("gochat_database_commit_size_sum") >= 10
    assert after("gochat_database_commit_size_count") - before("gochat_database_commit_size_count") >= 2
    bucket = "gochat_database_commit_size_bucket"
    assert after(bucket, le="8.0") == after(bucket, le="+Inf") - 1
    eventually(lambda: process.metrics()("gochat_database_waiting_writes") == 0)


def test_calls_that_wait_for_a_thread_are_counted(own: Own) -> None:
    app = own("postgres", env={"GOCHAT_SERVER_THREADS": "2"})
    person, friend = app.person(), app.create_user()
    conversation = conversation_of(person.send(friend, "first"))
    with closing(psycopg2.connect(app.url)) as database:
        database.cursor().execute("SELECT 1 FROM conversations FOR UPDATE")
        running = [person.begin_send(conversation) for _ in range(7)]
        eventually(lambda: app.processes[0].metrics()("gochat_pool_waiting_calls", pool="call") == 5)
        scrape = app.processes[0].metrics()
        assert scrape("gochat_pool_busy_threads", pool="call") == scrape("gochat_pool_threads", pool="call") == 2
        database.rollback()
        assert len({answer.result().message_id for answer in running}) == 7


def test_cancelled_and_expired_calls_are_counted(own: Own) -> None:
    app = own()
    person, friend = app.person(), app.create_user()
    conversation = conversation_of(person.send(friend, "first"))
    with locked(app) as lock:
        patient, hasty = person.begin_send(conversation), person.begin_send(conversation, timeout=2)
        in_flight(app.processes[0], 2)
        patient.cancel()
        assert hasty.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        lock.rollback()
    scrape = idle(app.processes[0])
    codes = {code: scrape(HANDLED, grpc_method="SendMessage", grpc_code=code) for code in CODE.values()}
    assert {code: number for code, number in codes.items() if number} == {"OK": 1, "Canceled": 1, "DeadlineExceeded": 1}


def test_metrics_of_workers_are_added_up(own: Own) -> None:
    app = own("postgres", env=TWO)
    process, person = app.processes[0], app.person()
    friend = app.create_user()
    both = sorted(workers(process))
    profile = logic_pb2.GetUserProfileRequest()
    for worker, times in zip(both, (3, 5), strict=True):
        with connect_to(app, worker) as channel:
            stub = logic_pb2_grpc.LogicServiceStub(channel)
            for _ in range(times):
                stub.GetUserProfile(profile, metadata=person.metadata, timeout=30)
    assert process.metrics()(HANDLED, grpc_method="GetUserProfile", grpc_code="OK") == 8
    per_worker = [s for s in process.metrics().samples if s.name == "process_resident_memory_bytes"]
    assert [sample.labels for sample in per_worker] == [{"worker": "1"}, {"worker": "2"}]
    assert process.metrics()("gochat_pool_threads", pool="call") == 2 * 64
    assert process.metrics()("gochat_database_connections_max") == 2 * 100

    person.send(friend, "first")
    with connect_to(app, both[0]) as channel, locked(app) as lock:
        running = person.begin_send(friend, channel)
        in_flight(process)
        eventually(lambda: process.metrics()("gochat_database_connections_used") == 1)
        os.kill(both[0], signal.SIGKILL)
        assert running.code() is grpc.StatusCode.UNAVAILABLE
        idle(process)
        # Not at every moment: the other worker looks once a second for what has changed.
        eventually(lambda: process.metrics()("gochat_database_connections_used") == 0)
        lock.rollback()
    eventually(lambda: len(workers(process)) == 2)
    scrape = process.metrics()
    assert scrape(HANDLED, grpc_method="GetUserProfile", grpc_code="OK") == 8, "what a dead worker counted stays"
    assert scrape(HANDLED, grpc_method="SendMessage", grpc_code="Unavailable") == 1
    eventually(lambda: process.metrics()("gochat_users", status="active") >= 2, seconds=60)
    assert process.metrics()("gochat_users", status="active") == 2, "one worker counts"
    assert app.stop() == [0]


def test_a_taken_metrics_port_stops_the_start(own: Own, tmp_path: Path) -> None:
    app = own()
    app.person()
    taken = app.processes[0].metrics_url.split("/")[2]
    for env in ({}, TWO | {"GOCHAT_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}):
        settings = env | {"GOCHAT_METRICS_LISTEN": taken}
        said = refused_start("--data", tmp_path / "other", "--listen", "127.0.0.1:0", **settings)
        assert f"gochat: cannot listen on {taken}: is the port of metrics.listen taken" in said
    assert app.processes[0].metrics()("grpc_server_started_total") > 0


def test_servers_on_one_host_need_no_settings(own: Own) -> None:
    apps = [own(env={"GOCHAT_METRICS_LISTEN": "127.0.0.1:9464"}) for _ in range(2)]
    urls = {app.processes[0].metrics_url for app in apps}
    assert len(urls) == 2
    assert [app.stop() for app in apps] == [[0], [0]]


def test_metrics_may_be_off(own: Own) -> None:
    app = own(env={"GOCHAT_METRICS_LISTEN": ""})
    app.person()
    assert app.stop() == [0]
    assert "/metrics" not in app.logs()


def test_concurrent_calls_are_all_counted(own: Own) -> None:
    app = own()
    people = app.people(4)

    def many(person: Person) -> None:
        for _ in range(100):
            person.GetUserProfile()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(many, people))
    path = {"grpc_service": "gochat.api.logic.v1.LogicService", "grpc_method": "GetUserProfile"}
    metrics = idle(app.processes[0])
    assert metrics("grpc_server_started_total", **path) == metrics("grpc_server_handled_total", **path) == 400
    assert metrics("grpc_server_handling_seconds_count", **path) == 400


def test_latencies_fall_into_the_bucket_that_ends_with_them() -> None:
    numbers = memoryview(bytearray(8 * WIDTH)).cast("q")
    counts = RpcMetrics(numbers, "")
    for seconds in (0.05, 0.0500001, 31.0):
        counts.call_ended(0, 0, seconds, 0, 0, 0)
    latencies = read(numbers.tolist()).latencies
    at = LATENCIES.index(0.05)
    assert (latencies[at], latencies[at + 1], latencies[-1], sum(latencies)) == (1, 1, 1, 3)


def test_calls_left_open_by_a_dead_process_count_as_unavailable() -> None:
    metrics = SharedMetrics.for_worker(["/a/A", "/a/B"])
    counts = metrics.claim({}).of("/a/B")
    for _ in range(3):
        counts.call_started()
    counts.call_ended(0, 0, 0.1, 0, 0, 0)
    metrics.put({"connections_used": 2, "users_active": 3, "log_lines_dropped": 4})
    assert metrics.pid == os.getpid()
    metrics.close_out()
    assert (metrics.named()["connections_used"], metrics.named()["users_active"]) == (0, 3)
    assert metrics.named()["log_lines_dropped"] == 4, "the process in its place counts on from there"
    reading = read(metrics.rpcs()[WIDTH:])
    assert (metrics.pid, reading.in_flight, reading.handled[0], reading.handled[14]) == (0, 0, 1, 2)
    numbers = memoryview(bytearray(8 * WIDTH)).cast("q")
    close_out(numbers)
    assert not any(numbers)


def test_streams_are_counted(own: Own) -> None:
    app = own()
    ann, ben = app.people(2)
    room = group(ann, ben)
    process = app.processes[0]
    with listening(app, ann.metadata) as first, listening(app, ann.metadata):
        for number in range(3):
            ben.send(room, str(number))
        first.until(lambda each: len(each.contents) == 3)
        eventually(lambda: process.metrics()("gochat_events_delivered_total") >= 6)
        metrics = process.metrics()
        assert metrics("gochat_streams_open") == 2
        lags = metrics("gochat_event_delivery_lag_seconds_count")
        assert 2 <= lags <= metrics("gochat_events_delivered_total"), "one for each frame"
        assert metrics("gochat_event_delivery_lag_seconds_sum") < lags
        named = {"grpc_method": "Subscribe", "grpc_type": "server_stream"}
        assert (metrics("grpc_server_started_total", **named), metrics("grpc_server_in_flight", **named)) == (2, 0)
        assert metrics(f"{SECONDS}_count", **named) == metrics(HANDLED, grpc_code="OK", **named) == 2
    with listening(app, ann.metadata, cursor=first.cursor):
        assert process.metrics()("gochat_streams_resumed_total") == 1
    of_another = cursors.encode(Position(epoch="0" * 12, at=1))
    with listening(app, ann.metadata, cursor=of_another) as listener:
        assert listener.until(lambda each: each.resync).resync == "OTHER_DATABASE"
        assert process.metrics()("gochat_stream_resyncs_total", reason="other_database") == 1
    eventually(lambda: process.metrics()("gochat_streams_open") == 0)
