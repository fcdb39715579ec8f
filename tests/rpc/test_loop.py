"""The serving loop's own timers and limits; what hostile clients do with them is in tests/attacks."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from gochat.api.event.v1.event_pb2 import SubscribeRequest, SubscribeResponse
from gochat.api.logic.v1 import logic_pb2, logic_pb2_grpc
from gochat.config import Limits
from gochat.context import Caller, Lane
from gochat.domain.access import RULES
from gochat.domain.revocation import Revocations
from gochat.domain.tokens import ACCESS, SERVICE_KIND, Tokens
from gochat.internal.user.v1 import user_pb2
from gochat.keys import Key
from gochat.monitoring.shared import SharedMetrics
from gochat.rpc import TESTED_GRPCIO
from gochat.rpc.grpcio_internals import Server
from gochat.rpc.loop import IDLE_WATCH_INTERVAL, ServingLoop
from gochat.rpc.state import State
from gochat.serving.acting import Users
from gochat.serving.admission import Admission
from gochat.serving.binding import Method
from gochat.serving.endpoints import REQUEST_TIMEOUT, UnaryEndpoint
from gochat.serving.executors import Executors
from gochat.serving.throttle import Throttle
from tests.attacks.wire import END_HEADERS, HEADERS, RST_STREAM, Raw, frame, request
from tests.conftest import Own
from tests.harness import Deployment, bearer
from tests.processes import FAST
from tests.waiting import eventually, polled

SUBSCRIBE = "/gochat.api.event.v1.EventService/Subscribe"
PROFILE = "/gochat.api.logic.v1.LogicService/GetUserProfile"
END_STREAM = 1


def test_this_grpcio_is_one_that_the_loop_was_tested_with() -> None:
    assert grpc.__version__ in TESTED_GRPCIO, "run the whole suite with it, then add it"


def test_metrics_and_log_say_which_server_serves(app: Deployment) -> None:
    for process in app.processes:
        assert process.metrics()("gochat_server_fast") == FAST
        assert f"served by {'the serving loop' if FAST else 'grpc.server'}" in process.log.read_text()


@pytest.mark.skipif(not FAST, reason="grpcio waits for a request without end, on a thread")
def test_a_call_whose_request_never_comes_is_ended_in_time(own: Own) -> None:
    stranger = Raw(own().address)
    stranger.send(frame(HEADERS, END_HEADERS, 1, request(PROFILE)))
    began = list(stranger.frames(REQUEST_TIMEOUT - 1))
    assert not [received for received in began if received.kind in (HEADERS, RST_STREAM)]
    ended = list(stranger.frames(3))  # without any other call
    assert [received for received in ended if received.stream == 1 and received.kind in (HEADERS, RST_STREAM)]
    stranger.close()


def test_a_call_that_ends_without_a_request_is_answered(own: Own) -> None:
    app = own()
    stranger = Raw(app.address)
    stranger.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, request(PROFILE)))
    assert [received.kind for received in stranger.frames(1) if received.stream == 1] in (
        [HEADERS],
        [HEADERS, RST_STREAM],
    )
    stranger.close()
    assert app.person().GetUserProfile().profile.username


class InProcess:
    """A serving loop in this process with two methods that run inline: GetUserProfile, which a test gives, and
    ValidateToken, which answers; and with Subscribe, on threads, which a test may give. queues: do calls of it wait in
    grpcio while others are opened?"""

    def __init__(
        self,
        handler: Callable[[Any], Any] = lambda _: None,
        subscribe: Callable[[Any], Any] = lambda _: None,
        *,
        queues: bool = False,
    ) -> None:
        revocations = Revocations(900)
        revocations.update([], 0, time.monotonic() + 600)
        self.changed: list[Key] = []
        tokens = Tokens([Key(b"x" * 32)], revocations, lambda: self.changed)
        self.metadata = bearer(tokens.sign(ACCESS, Caller("u1", "user", "d1"), 600))
        self.service = bearer(tokens.sign(SERVICE_KIND, Caller(role="service"), 600))
        self.executors = Executors(4, None)
        users = Users(lambda _: user_pb2.ResolveUsersResponse())  # there is nobody in whose place a service could call
        self.state = State(Admission(tokens, Throttle(Limits(calls_per_second=0)), users), self.executors)
        handlers = {"GetUserProfile": handler, "ValidateToken": lambda _: logic_pb2.ValidateTokenResponse(valid=True)}
        paths = {name: f"/gochat.api.logic.v1.LogicService/{name}" for name in handlers}
        self.metrics = SharedMetrics([*paths.values(), SUBSCRIBE])
        metrics = self.metrics.claim({})
        method = Method(
            SUBSCRIBE,
            RULES[SUBSCRIBE],
            SubscribeRequest,
            SubscribeResponse,
            subscribe,
            None,
            streams=True,
            has_error=False,
        )
        executor = self.executors.of(method) if queues else self.executors.calls.execute
        endpoints = {SUBSCRIBE: UnaryEndpoint(method, metrics.of(SUBSCRIBE), executor, Lane.POOLED)}
        for name, path in paths.items():
            request, response = getattr(logic_pb2, f"{name}Request"), getattr(logic_pb2, f"{name}Response")
            method = Method(path, RULES[path], request, response, handlers[name], None, streams=False, has_error=False)
            inline = self.executors.inline.execute
            endpoints[path] = UnaryEndpoint(method, metrics.of(path), inline, Lane.INLINE)
        self.loop = ServingLoop(Server([("grpc.so_reuseport", 0)]), endpoints, self.state)
        self.address = f"127.0.0.1:{self.loop.listen('127.0.0.1:0', None)}"
        self.loop.start()
        self.channel = grpc.insecure_channel(self.address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.logic = logic_pb2_grpc.LogicServiceStub(self.channel)

    def profile(self) -> Any:
        return self.logic.GetUserProfile.future(logic_pb2.GetUserProfileRequest(), metadata=self.metadata, timeout=20)

    def validate(self) -> bool:
        request = logic_pb2.ValidateTokenRequest(token="t")
        return bool(self.logic.ValidateToken(request, metadata=self.metadata, timeout=5).valid)


def test_a_call_that_waits_for_a_device_lets_another_thread_serve() -> None:
    reads, writes = os.pipe()

    def waits(_: Any) -> Any:
        os.read(reads, 1)
        return logic_pb2.GetUserProfileResponse(profile={"user_id": "u1"})

    served = InProcess(waits)
    assert served.validate()
    waiting = served.profile()
    eventually(lambda: served.loop.takeovers == 1)
    assert [served.validate() for _ in range(20)] == [True] * 20
    assert not waiting.done()
    os.write(writes, b"x")
    assert waiting.result().profile.user_id == "u1"
    assert served.validate()
    assert served.loop.drain(5, 5)
    assert not served.executors.inline.replaced


def test_a_call_with_an_unknown_key_runs_on_a_thread_and_the_next_inline() -> None:
    threads = []

    def where(_: Any) -> Any:
        threads.append(threading.current_thread().name)
        return logic_pb2.GetUserProfileResponse()

    served, key = InProcess(where), Key(b"y" * 32)
    token = Tokens([key], Revocations(900)).sign(ACCESS, Caller("u1", "user", "d1"), 600)
    served.metadata = bearer(token)
    with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
        served.profile().result()
    served.changed = [key]
    served.profile().result()
    served.profile().result()
    assert threads == ["call", "serving"]
    assert served.loop.drain(5, 5)


def test_a_call_that_waits_for_the_interpreter_keeps_the_serving_thread() -> None:
    gate = threading.Event()

    def waits(_: Any) -> Any:
        assert gate.wait(10)
        return logic_pb2.GetUserProfileResponse()

    served = InProcess(waits)
    waiting = served.profile()
    eventually(lambda: served.executors.inline.executed == 1)
    assert not polled(lambda: served.loop.takeovers, seconds=20 * IDLE_WATCH_INTERVAL)
    gate.set()
    assert waiting.result() is not None
    assert served.loop.drain(5, 5)


STANDS_STILL = """
import threading
from gochat.rpc import loop
from tests.rpc.test_loop import InProcess
loop.STANDSTILL_TIMEOUT = 1.0
served = InProcess(lambda _: threading.Event().wait())
served.profile().exception()
"""


def test_a_stalled_loop_ends_the_process_and_logs_where() -> None:
    ended = subprocess.run([sys.executable, "-c", STANDS_STILL], capture_output=True, text=True, timeout=30)
    assert ended.returncode == 1
    assert "the serving loop stands still" in ended.stderr
    assert "in wait" in ended.stderr
