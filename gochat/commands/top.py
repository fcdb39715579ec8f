"""gochat top: a live table of what a running server does, from its metrics."""

import http.client
import shutil
import sys
import time
from argparse import Namespace
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from prometheus_client.parser import text_string_to_metric_families

from gochat.commands.arguments import LOCAL, Subparsers, add_command, config_of
from gochat.commands.server import found_halves
from gochat.config import Config, ConfigError, parse_address
from gochat.monitoring.families import COUNTED, FAMILIES

INTERVAL, FIRST_INTERVAL = 2.0, 1.0  # seconds
SCRAPE_TIMEOUT = 5.0  # seconds
COLUMNS = ("RPC", "calls/s", "P50 ms", "P95 ms", "P99 ms", "errors/s", "in flight")
_OPEN, _HOME, _TO_LINE_END, _TO_END, _CLOSE = (
    "\x1b[?1049h\x1b[?25l",
    "\x1b[H",
    "\x1b[K",
    "\x1b[J",
    "\x1b[?25h\x1b[?1049l",
)
_OF_DATABASE = {family.name for family in FAMILIES if family.where == COUNTED}

Labels = frozenset[tuple[str, str]]
Scrape = dict[tuple[str, Labels], float]
"""name and labels -> value"""


def add_to(commands: Subparsers) -> None:
    watched = add_command(commands, "top", run, "a live table of what a running server does, from its metrics", LOCAL)
    watched.add_argument(
        "--metrics",
        nargs="+",
        metavar="URL",
        help="or HOST:PORT, of one or more servers (default: those of the data folder)",
    )
    watched.add_argument("--once", action="store_true", help="one table, of one second")


def run(arguments: Namespace) -> int:
    urls = [_url(text) for text in arguments.metrics or _of(config_of(arguments))]
    before, at = _scrape(urls), time.monotonic()
    if arguments.once:
        time.sleep(FIRST_INTERVAL)
        print("\n".join(table(before, _scrape(urls), time.monotonic() - at)))
        return 0
    interval, live = FIRST_INTERVAL, sys.stdout.isatty()
    print(_OPEN if live else "", end="")
    try:
        while True:
            time.sleep(interval)
            try:
                now, then = _scrape(urls), time.monotonic()
                lines = table(before, now, then - at)
                before, at, interval = now, then, INTERVAL
            except ConfigError as error:
                lines = [str(error)]
            _show([f"{' '.join(urls)}  {datetime.now():%H:%M:%S}  Ctrl-C ends", *lines], live)
    except KeyboardInterrupt:
        return 0
    finally:
        print(_CLOSE if live else "", end="", flush=True)


def _show(lines: list[str], live: bool) -> None:
    if live:
        columns, rows = shutil.get_terminal_size()
        lines = [f"{line[:columns]}{_TO_LINE_END}" for line in lines[: rows - 1]]
        print(_HOME + "\n".join(lines) + _TO_END, end="", flush=True)
    else:
        print("\n".join(lines), end="\n\n", flush=True)


def _of(config: Config) -> list[str]:
    """Of the servers of the data folder, or what the settings say."""
    if found := [server.metrics for server in found_halves(config) if server.metrics]:
        return found
    listen = config.metrics.listen
    if not listen or listen.endswith(":0"):
        raise ConfigError(f"metrics.listen: {listen!r} does not say where the metrics are: name them with --metrics")
    return [listen]


def _url(text: str) -> str:
    if text.startswith(("http://", "https://")):
        return text
    parse_address("--metrics", text)
    return f"http://{text}/metrics"


def _scrape(urls: Sequence[str]) -> Scrape:
    """The sums of several processes; but of counts of rows, which each of them exports for the same database, the
    largest. Raises ConfigError."""
    sums: Scrape = defaultdict(float)
    opener = build_opener(ProxyHandler({}))
    for url in urls:
        try:
            with opener.open(url, timeout=SCRAPE_TIMEOUT) as answer:
                families = list(text_string_to_metric_families(answer.read().decode()))
        except (URLError, OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise ConfigError(
                f"{url}: no metrics there ({reason}): does a server run, with [metrics] listen?"
            ) from None
        except ValueError:
            raise ConfigError(f"{url}: the answer is not in the format of Prometheus") from None
        for sample in (sample for family in families for sample in family.samples):
            key = sample.name, frozenset(sample.labels.items())
            sums[key] = max(sums[key], sample.value) if sample.name in _OF_DATABASE else sums[key] + sample.value
    return sums


def table(before: Scrape, after: Scrape, seconds: float) -> list[str]:
    """The lines of the table, from two scrapes that are so many seconds apart."""
    increases = {
        key: value - (earlier if (earlier := before.get(key, 0.0)) <= value else 0.0)  # restarted: from 0
        for key, value in after.items()
    }
    calls, errors, in_flight = (
        _by_rpc("grpc_server_handled_total", increases),
        _by_rpc("gochat_errors_total", increases),
        {},
    )
    in_flight = _by_rpc("grpc_server_in_flight", after)
    latencies = {rpc: _latencies(increases, rpc) for rpc in calls}
    rows = [
        (rpc, calls[rpc] / seconds, latencies[rpc], errors.get(rpc, 0.0) / seconds, in_flight.get(rpc, 0.0))
        for rpc in sorted(calls, key=lambda rpc: (-calls[rpc], rpc))
        if calls[rpc] or in_flight.get(rpc)
    ]
    every = _latencies(increases, "")
    rows.insert(
        0, ("all", sum(calls.values()) / seconds, every, sum(errors.values()) / seconds, sum(in_flight.values()))
    )
    lines = [_line(COLUMNS)]
    for rpc, rate, buckets, failed, running in rows:
        quantiles = [_number(None if (q := quantile(buckets, p)) is None else q * 1000, 2) for p in (0.5, 0.95, 0.99)]
        lines.append(_line((rpc, f"{rate:.1f}", *quantiles, f"{failed:.1f}", f"{running:.0f}")))
    return [*_header(after, increases, seconds), "", *lines]


def _header(now: Scrape, increases: Scrape, seconds: float) -> list[str]:
    def of(name: str, scrape: Scrape = now, **labels: str) -> float | None:
        found = [value for (other, its), value in scrape.items() if other == name and its >= frozenset(labels.items())]
        return sum(found) if found else None

    lag = quantile(_buckets("gochat_event_delivery_lag_seconds", increases), 0.99)
    delivered = of("gochat_events_delivered_total", increases)
    cpu, memory = of("process_cpu_seconds_total", increases), of("process_resident_memory_bytes")
    return [
        f"users {_number(of('gochat_users', status='active'))}"
        f" (24 h: {_number(of('gochat_active_users', window='day'))},"
        f" 30 days: {_number(of('gochat_active_users', window='month'))})"
        f"  messages {_number(of('gochat_messages_sent_total'))}"
        f"  conversations {_number(of('gochat_conversations'))}"
        f" (groups: {_number(of('gochat_conversations', type='group'))})",
        f"in flight {_number(of('grpc_server_in_flight'))}  waiting {_number(of('gochat_pool_waiting_calls'))}"
        f"  CPU {_number(None if cpu is None else cpu / seconds * 100)} %"
        f"  memory {_number(None if memory is None else memory / 2**20)} MiB"
        f"  files {_number(of('process_open_fds'))}",
        f"streams {_number(of('gochat_streams_open'))}"
        f"  events/s {_number(None if delivered is None else delivered / seconds)}"
        f"  lag P99 {_number(None if lag is None else lag * 1000)} ms",
    ]


def _by_rpc(name: str, scrape: Scrape) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for (other, labels), value in scrape.items():
        if other == name:
            sums[_rpc(dict(labels))] += value
    return sums


def _rpc(labels: dict[str, str]) -> str:
    """A short name: Logic.SendMessage for SendMessage of LogicService."""
    return f"{labels['grpc_service'].rpartition('.')[2].removesuffix('Service')}.{labels['grpc_method']}"


def _latencies(increases: Scrape, rpc: str) -> list[tuple[float, float]]:
    """The buckets of the calls of an RPC; "" for all."""
    return _buckets("grpc_server_handling_seconds", increases, lambda labels: rpc in ("", _rpc(labels)))


def _buckets(
    name: str, increases: Scrape, chosen: Callable[[dict[str, str]], bool] = lambda _: True
) -> list[tuple[float, float]]:
    """Of a histogram: (upper bound in seconds, observations up to it)."""
    sums: dict[float, float] = defaultdict(float)
    for (other, labels), value in increases.items():
        if other == f"{name}_bucket" and chosen(named := dict(labels)):
            sums[float(named["le"])] += value
    return sorted(sums.items())


def quantile(buckets: list[tuple[float, float]], q: float) -> float | None:
    """In seconds, computed as Prometheus's histogram_quantile: calls are taken to be spread evenly within a bucket; in
    the last bucket the result is its lower bound. None if there are no calls."""
    if not buckets or not buckets[-1][1]:
        return None
    rank, lower, below = q * buckets[-1][1], 0.0, 0.0
    for bound, number in buckets:
        if number >= rank and number > below:
            return lower if bound == float("inf") else lower + (bound - lower) * (rank - below) / (number - below)
        lower, below = bound, number
    return lower


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _line(cells: Sequence[str]) -> str:
    return f"{cells[0]:<36}" + "".join(f"{cell:>11}" for cell in cells[1:])
