"""Puts the numbers of one process, or of several added up, into the words of Prometheus, and serves them."""

import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

from prometheus_client import MetricsHandler, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from gochat.api.common.v1 import common_pb2
from gochat.background import periodic
from gochat.config import Metrics, parse_address
from gochat.monitoring.board import Board
from gochat.monitoring.numbers import families, histogram
from gochat.rpc.server import ListenError
from gochat.rpc.status import STATUS_BY_NUMBER
from gochat.serving.metrics import LATENCIES, WIDTH, Reading, read

log = logging.getLogger(__name__)

PATIENCE = 10.0  # seconds that a client may take for a request
POLL_INTERVAL = 0.1  # seconds in which the server notices that it is to end
RESTART_INTERVAL = 1.0  # seconds after which it goes on, should it have failed
BOUNDS = tuple(map(floatToGoString, LATENCIES))
CODE = {
    number: "OK" if number == 0 else "Canceled" if number == 1 else code.name.title().replace("_", "")
    for number, code in STATUS_BY_NUMBER.items()
}
"""gRPC status -> its name in the metrics of the grpc-ecosystem, which are Go's: NotFound."""

_RPC = ("grpc_type", "grpc_service", "grpc_method")


class Numbers(Collector):
    """What a scrape is told. boards: of processes of this target: all, logic, repo. fresh: brings them up to date."""

    def __init__(self, boards: Sequence[Board], target: str, *, sqlite: bool, fresh: Callable[[], None]) -> None:
        self._boards = boards
        self._target = target
        self._sqlite = sqlite
        self._fresh = fresh

    def collect(self) -> Iterator[Metric]:
        self._fresh()
        sums = [sum(numbers) for numbers in zip(*(board.rpcs() for board in self._boards), strict=True)]
        readings = {path: read(sums[at * WIDTH : (at + 1) * WIDTH]) for at, path in enumerate(self._boards[0].paths)}
        named = [board.named() for board in self._boards]
        yield from _of_rpcs(readings)
        if self._target != "repo":
            received = CounterMetricFamily("gochat_messages_received_total", "Messages that clients were given to read")
            received.add_metric([], sum(reading.items for reading in readings.values()))
            yield received
        yield from families(
            {name: sum(numbers[name] for numbers in named) for name in named[0]}, self._target, sqlite=self._sqlite
        )
        yield from _of_processes([board.pid for board in self._boards])


def _of_rpcs(readings: dict[str, Reading]) -> Iterator[Metric]:
    started = CounterMetricFamily("grpc_server_started_total", "Calls that began", labels=_RPC)
    handled = CounterMetricFamily(
        "grpc_server_handled_total", "Calls that ended, by gRPC status", labels=(*_RPC, "grpc_code")
    )
    in_flight = GaugeMetricFamily("grpc_server_in_flight", "Calls that began and did not end", labels=_RPC)
    received = CounterMetricFamily(
        "grpc_server_msg_received_bytes_total", "Bytes of request messages, without headers and TLS", labels=_RPC
    )
    sent = CounterMetricFamily(
        "grpc_server_msg_sent_bytes_total", "Bytes of response messages, without headers and TLS", labels=_RPC
    )
    errors = CounterMetricFamily(
        "gochat_errors_total",
        "Calls that ended in an error of the specification's table, told as a status or in the body",
        labels=(*_RPC, "code"),
    )
    durations = {}
    for path, reading in readings.items():
        labels = ("unary", *path.split("/")[1:])
        for metric, value in (
            (started, reading.started),
            (in_flight, reading.in_flight),
            (received, reading.received),
            (sent, reading.sent),
        ):
            metric.add_metric(labels, value)
        for status, number in reading.handled.items():
            if number or not status:
                handled.add_metric((*labels, CODE[status]), number)
        for code, number in reading.errors.items():
            if number:
                errors.add_metric((*labels, common_pb2.ErrorCode.Name(code)), number)  # type: ignore[arg-type]
        if reading.started:
            durations[labels] = (BOUNDS, reading.latencies, reading.seconds)
    yield from (started, handled, in_flight, received, sent, errors)
    yield histogram(
        "grpc_server_handling_seconds",
        "From when a thread takes the call until its answer is made",
        durations,
        _RPC,
    )


def _of_processes(pids: Sequence[int]) -> Iterator[Metric]:
    """CPU, memory and file descriptors. Of several processes each by itself, with the label worker: added up, their
    counters would fall whenever one starts anew."""
    merged: dict[str, Metric] = {}
    for worker, pid in enumerate(pids, 1):
        for metric in ProcessCollector(pid=partial(int, pid), registry=None).collect() if pid else ():
            whole = merged.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
            label = {"worker": str(worker)} if len(pids) > 1 else {}
            whole.samples += [sample._replace(labels=label) for sample in metric.samples]
    yield from merged.values()


class _Handler(MetricsHandler):
    timeout = PATIENCE

    def version_string(self) -> str:
        return "gochat"


class _Server(ThreadingTCPServer):
    allow_reuse_address = True  # past the remains of closed connections
    daemon_threads = True

    def __init__(self, family: socket.AddressFamily, address: Any, handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = family
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as in socketserver
        log.debug("a scrape failed", exc_info=True)


@contextmanager
def exporting(listen: str, numbers: Collector) -> Iterator[str]:
    """Serves them by HTTP; yields the URL. Nothing, and "", where listen is "". Raises ListenError.

    Where another server has the default port, which nobody asked for, a free one does.
    """
    if not listen:
        yield ""
        return
    host, port = parse_address("metrics.listen", listen)
    try:
        family, _, _, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        try:
            server = _Server(family, address, _Handler.factory(numbers))
        except OSError:
            if listen != Metrics().listen:
                raise
            server = _Server(family, (host, 0), _Handler.factory(numbers))
    except OSError:
        raise ListenError(listen, "metrics.listen") from None
    with server, periodic("metrics", partial(server.serve_forever, POLL_INTERVAL), RESTART_INTERVAL):
        try:
            yield f"http://{host}:{server.server_address[1]}/metrics"
        finally:
            server.shutdown()
