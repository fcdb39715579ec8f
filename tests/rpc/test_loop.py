"""The serving loop's own timers and limits; what hostile clients do with them is in tests/attacks."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from gochat.rpc import TESTED_GRPCIO
from gochat.serving.endpoints import REQUEST_TIMEOUT
from tests.attacks.wire import END_HEADERS, HEADERS, RST_STREAM, Raw, frame, request
from tests.harness import FAST, Deployment

PROFILE = "/gochat.api.logic.v1.LogicService/GetUserProfile"
END_STREAM = 1


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path)
    yield deployment
    deployment.kill()


def test_this_grpcio_is_one_that_the_loop_was_tested_with() -> None:
    assert grpc.__version__ in TESTED_GRPCIO, "run the whole suite with it, then add it"


def test_metrics_and_log_say_which_server_serves(app: Deployment) -> None:
    for process in app.processes:
        assert process.metrics()("gochat_server_fast") == FAST
        assert f"served by {'the serving loop' if FAST else 'grpc.server'}" in process.log.read_text()


@pytest.mark.skipif(not FAST, reason="grpcio waits for a request without end, on a thread")
def test_a_call_whose_request_never_comes_is_ended_in_time(own: Deployment) -> None:
    stranger = Raw(own.address)
    stranger.send(frame(HEADERS, END_HEADERS, 1, request(PROFILE)))
    began = list(stranger.frames(REQUEST_TIMEOUT - 1))
    assert not [received for received in began if received.kind in (HEADERS, RST_STREAM)]
    ended = list(stranger.frames(3))  # without any other call
    assert [received for received in ended if received.stream == 1 and received.kind in (HEADERS, RST_STREAM)]
    stranger.close()


def test_a_call_that_ends_without_a_request_is_answered(own: Deployment) -> None:
    stranger = Raw(own.address)
    stranger.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, request(PROFILE)))
    assert [received.kind for received in stranger.frames(1) if received.stream == 1] in (
        [HEADERS],
        [HEADERS, RST_STREAM],
    )
    stranger.close()
    assert own.person().GetUserProfile().profile.username
