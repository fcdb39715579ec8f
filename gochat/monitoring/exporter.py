"""Serves the metrics of one process, or the sums of several, to Prometheus by HTTP.

The HTTP server has threads of its own, one that accepts and one for each scrape. They only read SharedMetrics, without
a lock (monitoring/shared.py says why that is safe), and call `refresh`, which sets the gauges of this process. Two
scrapes at a time may both do that: each sets values that are true at that moment.
"""

import logging
import platform
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler
from importlib.metadata import version
from itertools import product
from socketserver import ThreadingTCPServer
from typing import Any

from prometheus_client import MetricsHandler, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from gochat.api.common.v1 import common_pb2
from gochat.background import periodic
from gochat.config import Metrics, parse_address
from gochat.listening import ListenError, resolve
from gochat.monitoring.families import families, histogram
from gochat.monitoring.shared import TRANSPORTS, SharedMetrics
from gochat.rpc.status import STATUS_BY_NUMBER
from gochat.services import rpcs
from gochat.serving.metrics import LATENCIES, WIDTH, RpcReading, read

log = logging.getLogger(__name__)

REQUEST_TIMEOUT = 10.0  # seconds that a client may take for a request
POLL_INTERVAL = 0.1  # seconds within which the HTTP server notices that it is to stop
RESTART_INTERVAL = 1.0  # seconds after which it is started again if it has failed
BOUNDS = tuple(map(floatToGoString, LATENCIES))
CODE = {
    number: "OK" if number == 0 else "Canceled" if number == 1 else code.name.title().replace("_", "")
    for number, code in STATUS_BY_NUMBER.items()
}
"""gRPC status -> its name as in Go (NotFound), which is usual in gRPC metrics."""

STREAMING = frozenset(path for path, rpc in rpcs().items() if rpc.server_streaming)
_RPC = ("grpc_type", "grpc_service", "grpc_method", "transport")

_BUILD = GaugeMetricFamily("gochat_build_info", "1; what runs", labels=("version", "python", "grpcio"))
_BUILD.add_metric((version("gochat"), platform.python_version(), version("grpcio")), 1)


class MetricsCollector(Collector):
    """Collects the sums of the metrics of several processes. target: all, logic or repo, of these processes. refresh():
    brings gauges up to date before each scrape."""

    def __init__(
        self, processes: Sequence[SharedMetrics], target: str, *, sqlite: bool, refresh: Callable[[], None]
    ) -> None:
        self._processes = processes
        self._target = target
        self._sqlite = sqlite
        self._refresh = refresh

    def collect(self) -> Iterator[Metric]:
        self._refresh()
        sums = [sum(values) for values in zip(*(each.rpcs() for each in self._processes), strict=True)]
        transports = TRANSPORTS if self._target != "repo" else TRANSPORTS[:1]
        readings = {
            key: read(sums[index * WIDTH : (index + 1) * WIDTH])
            for index, key in enumerate(product(transports, self._processes[0].paths))
        }
        named = [each.named() for each in self._processes]
        yield from _of_rpcs(readings)
        if self._target != "repo":
            received = CounterMetricFamily("gochat_messages_received_total", "Messages that clients were given to read")
            received.add_metric([], sum(reading.items for reading in readings.values()))
            yield received
        yield from families(
            {name: sum(values[name] for values in named) for name in named[0]}, self._target, sqlite=self._sqlite
        )
        yield from _of_processes([each.pid for each in self._processes])
        yield _BUILD


def _of_rpcs(readings: dict[tuple[str, str], RpcReading]) -> Iterator[Metric]:
    """readings: by transport and path. By HTTP, those that were called."""
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
        "Calls that ended in an error of the specification's table, as a status or in the body",
        labels=(*_RPC, "code"),
    )
    durations = {}
    for (transport, path), reading in readings.items():
        if transport != TRANSPORTS[0] and not reading.started:
            continue
        labels = ("server_stream" if path in STREAMING else "unary", *path.split("/")[1:], transport)
        for metric, value in (
            (started, reading.started),
            (in_flight, reading.in_flight),
            (received, reading.received),
            (sent, reading.sent),
        ):
            metric.add_metric(labels, value)
        for status, count in reading.handled.items():
            if count or not status:
                handled.add_metric((*labels, CODE[status]), count)
        for code, count in reading.errors.items():
            if count:
                errors.add_metric((*labels, common_pb2.ErrorCode.Name(code)), count)  # type: ignore[arg-type]
        if reading.started:
            durations[labels] = (BOUNDS, reading.latencies, reading.seconds)
    yield from (started, handled, in_flight, received, sent, errors)
    yield histogram(
        "grpc_server_handling_seconds",
        "From when a thread takes the call until its answer is made, or the stream is open",
        durations,
        _RPC,
    )


def _of_processes(pids: Sequence[int]) -> Iterator[Metric]:
    """CPU, memory and file descriptors. Those of workers are not added up but have the label `worker`: a sum of their
    counters would fall whenever a worker is restarted."""
    merged: dict[str, Metric] = {}
    for worker, pid in enumerate(pids, 1):
        for metric in ProcessCollector(pid=partial(int, pid), registry=None).collect() if pid else ():
            whole = merged.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
            label = {"worker": str(worker)} if len(pids) > 1 else {}
            whole.samples += [sample._replace(labels=label) for sample in metric.samples]
    yield from merged.values()


class _Handler(MetricsHandler):
    timeout = REQUEST_TIMEOUT

    def version_string(self) -> str:
        return "gochat"


class _Server(ThreadingTCPServer):
    allow_reuse_address = True  # despite connections of an earlier server in TIME_WAIT
    daemon_threads = True

    def __init__(self, family: socket.AddressFamily, address: Any, handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = family
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as in socketserver
        log.debug("a scrape failed", exc_info=True)


@contextmanager
def serve_metrics(listen: str, metrics: Collector) -> Iterator[str]:
    """Serves the metrics by HTTP and yields the URL. If listen is "", serves nothing and yields "". Raises ListenError.

    If the default port is taken, a free one is used: nobody has asked for that port.
    """
    if not listen:
        yield ""
        return
    try:
        servers = _servers(listen, metrics)
    except ListenError:
        if listen != Metrics().listen:
            raise
        servers = _servers(f"{parse_address('metrics.listen', listen)[0]}:0", metrics)
    with ExitStack() as running:
        for server in servers:
            running.callback(server.server_close)
            running.enter_context(periodic("metrics", partial(server.serve_forever, POLL_INTERVAL), RESTART_INTERVAL))
        try:
            host, _ = parse_address("metrics.listen", listen)
            yield f"http://{host}:{servers[0].server_address[1]}/metrics"
        finally:
            for server in servers:
                server.shutdown()


def _servers(listen: str, metrics: Collector) -> list[_Server]:
    """One for each address of the host. Raises ListenError."""
    servers: list[_Server] = []
    try:
        for family, address in resolve(listen, "metrics.listen"):
            servers.append(_Server(family, address, _Handler.factory(metrics)))
    except OSError:
        for server in servers:
            server.server_close()
        raise ListenError(listen, "metrics.listen") from None
    return servers
