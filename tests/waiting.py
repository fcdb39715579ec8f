"""Waiting for what a server shows of itself: its gauges, its health, its log. No test sleeps and hopes."""

import time
from collections.abc import Callable
from typing import Any

import grpc

from tests.processes import Metrics, Process

POLL_INTERVAL, MAX_POLL_INTERVAL = 0.05, 0.25  # seconds between two looks: a twentieth of the time that it waits


def polled(ask: Callable[[], Any], enough: Callable[[Any], object] = bool, seconds: float = 20) -> Any:
    """What ask() returns: as soon as that is enough, else at last. The one loop that looks again and again.

    `assert not polled(..., seconds=1)` is that something does not happen for a second.
    """
    began = time.monotonic()
    while not enough(found := ask()) and (waited := time.monotonic() - began) < seconds:
        time.sleep(min(max(POLL_INTERVAL, waited / 20), MAX_POLL_INTERVAL))
    return found


def eventually(holds: Callable[[], Any], seconds: float = 20) -> Any:
    """What holds() returns once that is true."""
    found = polled(holds, seconds=seconds)
    assert found, f"it did not come to that within {seconds} s: {found!r}"
    return found


def status_of(call: Callable[[], Any]) -> str:
    """The name of the gRPC status that a call ends with."""
    try:
        call()
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        assert error.code() is not None
        return str(error.code().name)
    return "OK"


def once_available(call: Callable[[], Any], seconds: float = 30) -> Any:
    """Makes the call until it is not refused as UNAVAILABLE; returns its answer."""

    def tried() -> Any:
        try:
            return [call()]
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            assert error.code() is grpc.StatusCode.UNAVAILABLE, f"{error.code()} {error.details()}"
            return None

    (answer,) = eventually(tried, seconds)
    return answer


def started(process: Process, rpc: str) -> float:
    """How many calls of an RPC a process has taken in until now."""
    return process.metrics()("grpc_server_started_total", grpc_method=rpc)


def in_flight(process: Process, calls: int = 1, rpc: str = "SendMessage") -> None:
    """Returns once the process has so many calls of an RPC that began and did not end."""
    number = polled(lambda: process.metrics()("grpc_server_in_flight", grpc_method=rpc), lambda n: n == calls)
    assert number == calls, f"{number:g} calls of {rpc} are in flight, not {calls}"


def with_the_writer(process: Process, calls: int, waiting: int) -> None:
    """Returns once so many sends are in flight of which so many wait for the transaction before theirs; the server's
    own writes wait with them."""
    in_flight(process, calls)
    eventually(lambda: process.metrics()("gochat_database_waiting_writes") >= waiting)


def idle(process: Process) -> Metrics:
    """The metrics once no call is in flight: a client has its answer a moment before the call is counted."""
    found: Metrics = eventually(lambda: (found := process.metrics())("grpc_server_in_flight") == 0 and found)
    return found


def next_millisecond() -> None:
    """What follows has a later time: lists are sorted by it, in milliseconds."""
    now = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 == now:
        pass
