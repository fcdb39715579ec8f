"""Load to measure with: calls made as fast as they are answered, and the least server that gRPC allows, to compare
with."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from math import ceil
from multiprocessing.connection import Connection
from threading import Thread

import grpc

from gochat.rpc.status import from_rpc_error

ECHO = "/gochat.bench.Echo/Echo"
TIMEOUT = 30.0  # seconds

_Method = Callable[..., bytes]

# Channels of one process would share a connection otherwise.
_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 64 * 1024 * 1024))


@dataclass(frozen=True)
class Script:
    """What one worker sends over and over, one call at a time: path and request of each call. token: "" for none."""

    calls: Sequence[tuple[str, bytes]]
    token: str = ""


@dataclass
class Sample:
    """latencies: nanoseconds, of the calls that succeeded. errors: gRPC status -> calls. seconds: from the first
    request to the last answer."""

    latencies: list[int]
    errors: Counter[str]
    seconds: float

    @property
    def calls(self) -> int:
        return len(self.latencies) + self.errors.total()


def percentile(latencies: Sequence[int], percent: float) -> float:
    """Milliseconds, of latencies in nanoseconds, by nearest rank; 0 of none."""
    ordered = sorted(latencies)
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)] / 1e6 if ordered else 0.0


class _Worker:
    """One call in flight."""

    def __init__(self, channel: grpc.Channel, script: Script) -> None:
        methods: dict[str, _Method] = {path: channel.unary_unary(path) for path, _ in script.calls}
        self._calls = cycle([(methods[path], request) for path, request in script.calls])
        self._metadata = _metadata(script.token)
        self.latencies: list[int] = []
        self.errors: Counter[str] = Counter()

    def run(self, until: int) -> None:
        """until: on the clock of time.perf_counter_ns()."""
        self.latencies, self.errors = [], Counter()
        while (started := time.perf_counter_ns()) < until:
            method, request = next(self._calls)
            try:
                method(request, timeout=TIMEOUT, metadata=self._metadata)
            except grpc.RpcError as error:
                code = error.code()
                self.errors[code.name if code else "UNKNOWN"] += 1
            else:
                self.latencies.append(time.perf_counter_ns() - started)


def client(pipe: Connection, apart: bool) -> None:
    """A process that makes calls, until the pipe is closed. apart: each worker has a connection of its own.

    Takes (name, address, scripts), a worker a script; and (name, seconds), which it answers with a Sample once the
    workers of that name have run so long.
    """
    channels: dict[tuple[str, int], grpc.Channel] = {}
    workers: dict[str, list[_Worker]] = {}
    while True:
        try:
            name, *told = pipe.recv()
        except EOFError:
            return
        if len(told) == 2:
            address, scripts = told
            workers[name] = []
            for number, script in enumerate(scripts):
                place = address, number if apart else 0
                if place not in channels:
                    channels[place] = grpc.insecure_channel(address, options=_OPTIONS)
                workers[name].append(_Worker(channels[place], script))
        else:
            pipe.send(_run(workers[name], told[0]))


def _run(workers: list[_Worker], seconds: float) -> Sample:
    started = time.perf_counter_ns()
    threads = [Thread(target=worker.run, args=(started + int(seconds * 1e9),)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = (time.perf_counter_ns() - started) / 1e9
    return Sample(
        [latency for worker in workers for latency in worker.latencies],
        sum((worker.errors for worker in workers), Counter()),
        elapsed,
    )


class Probe:
    """One call with a token of its own, made when wanted."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)

    def time(self, path: str, request: bytes, token: str) -> int:
        """How long the call takes, in nanoseconds. Raises ChatError."""
        method: _Method = self._channel.unary_unary(path)
        metadata = _metadata(token)
        started = time.perf_counter_ns()
        try:
            method(request, timeout=TIMEOUT, metadata=metadata)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        return time.perf_counter_ns() - started

    def close(self) -> None:
        self._channel.close()


def _metadata(token: str) -> tuple[tuple[str, str], ...] | None:
    return (("authorization", f"Bearer {token}"),) if token else None


def _serve_echo(threads: int) -> None:
    """Serves ECHO, bytes in, the same bytes out, until standard input ends."""
    server = grpc.server(ThreadPoolExecutor(threads))
    _, service, name = ECHO.split("/")
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(lambda request, _: request)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {name: handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"echo ready on 127.0.0.1:{port}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop(0).wait()


if __name__ == "__main__":
    _serve_echo(int(sys.argv[1]))
