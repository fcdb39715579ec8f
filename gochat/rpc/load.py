"""Load for `gochat bench`: clients that call as fast as they are answered, and a minimal gRPC server to compare with.

`client` is the main function of a client process. Its main thread reads commands from the pipe; for each measurement it
starts a thread for each worker and joins them, so the results of a worker are read only when its thread has ended.
"""

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

# Otherwise all channels of a process that have the same address share one connection.
_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 64 * 1024 * 1024))


@dataclass(frozen=True)
class Script:
    """The calls that one worker makes again and again, one at a time: path and request of each. token: "" for none."""

    calls: Sequence[tuple[str, bytes]]
    token: str = ""


@dataclass
class Sample:
    """latencies: of the calls that succeeded, in nanoseconds. errors: gRPC status -> calls. seconds: from the first
    request to the last answer."""

    latencies: list[int]
    errors: Counter[str]
    seconds: float

    @property
    def calls(self) -> int:
        return len(self.latencies) + self.errors.total()


def percentile(latencies: Sequence[int], percent: float) -> float:
    """The percentile by nearest rank, in milliseconds; 0 if there are no latencies. latencies: in nanoseconds."""
    ordered = sorted(latencies)
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)] / 1e6 if ordered else 0.0


class _Worker:
    """Makes one call at a time."""

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


def client(pipe: Connection, own_connections: bool) -> None:
    """What a client process runs, until the pipe is closed. own_connections: each worker has a connection of its own.

    A message is (name, address, scripts), to make a worker for each script; or (name, seconds), to run the workers of
    that name for so long and answer with a Sample.
    """
    channels: dict[tuple[str, int], grpc.Channel] = {}
    workers: dict[str, list[_Worker]] = {}
    while True:
        try:
            name, *command = pipe.recv()
        except EOFError:
            return
        if len(command) == 2:
            address, scripts = command
            workers[name] = []
            for number, script in enumerate(scripts):
                key = address, number if own_connections else 0
                if key not in channels:
                    channels[key] = grpc.insecure_channel(address, options=_OPTIONS)
                workers[name].append(_Worker(channels[key], script))
        else:
            pipe.send(_run(workers[name], command[0]))


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
    """Makes and times single calls."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)

    def time(self, path: str, request: bytes, token: str) -> int:
        """Makes the call; returns how long it took, in nanoseconds. Raises ChatError."""
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
    """Serves ECHO, which answers the bytes of the request, until standard input ends."""
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
