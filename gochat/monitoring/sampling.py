"""Keeps the gauges of a running server up to date, and has them exported.

`sample` runs on the thread of a scrape or, in a worker, on a periodic thread; `count_rows` on a periodic thread of its
own. They need no lock, since they write different metrics (monitoring/shared.py says how those are read).
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Protocol

from gochat import background, logs
from gochat.background import periodic
from gochat.config import Config
from gochat.context import MAX_DEADLINE, SERVICE, Call, Lane, entered
from gochat.events.counters import Counters
from gochat.monitoring.exporter import MetricsCollector, serve_metrics
from gochat.monitoring.families import OF_ONE_WORKER
from gochat.monitoring.shared import SharedMetrics
from gochat.repo import statistics
from gochat.storage.database import Database
from gochat.webhooks.counters import OUTCOMES, count_of

SAMPLE_INTERVAL = 1.0  # seconds between two samples of queues and pools in a worker, whose metrics the parent exports
COUNT_INTERVAL = 30.0  # seconds between two counts of the rows in the database, at least
COUNT_PAUSE_FACTOR = 100  # and at least so many times as long as the last count took


class Transport(Protocol):
    def statistics(self) -> Mapping[str, int]:
        """By the names of gochat.monitoring.families."""


COUNTERS = {"log_lines_dropped": logs.dropped, "background_failures": background.failures} | {
    f"webhook_{outcome}": partial(count_of, outcome) for outcome in OUTCOMES
}


def export_sums(
    config: Config, target: str, processes: Sequence[SharedMetrics], refresh: Callable[[], None] = lambda: None
) -> AbstractContextManager[str]:
    """Serves the sums of the metrics of these processes on [metrics] listen; yields the URL, "" where there is none.
    Raises ListenError."""
    sqlite = not config.database.is_postgres
    return serve_metrics(config.metrics.listen, MetricsCollector(processes, target, sqlite=sqlite, refresh=refresh))


@contextmanager
def monitor(
    config: Config,
    target: str,
    own: SharedMetrics,
    transports: Sequence[Transport],
    streams: Counters,
    database: Database | None,
    *,
    worker: bool,
) -> Iterator[str]:
    """Keeps the gauges of this process up to date, the sums of those of its transports, and exports them unless this is
    a worker, whose parent does. Yields and raises as export_sums()."""

    elsewhere = OF_ONE_WORKER if worker and not own.counts_rows else ()
    before = own.named()  # what the process before this worker had counted

    def sample() -> None:
        gauges = Counter[str]()
        for transport in transports:
            gauges.update(transport.statistics())
        gauges.update(database.statistics() if database else {})
        own.put({name: value for name, value in gauges.items() if name not in elsewhere})
        counted = streams.statistics() | {name: count() for name, count in COUNTERS.items()}
        own.put({name: before[name] + number for name, number in counted.items()})

    def count_rows() -> None:
        assert database is not None
        with entered(Call(SERVICE, "-", time.monotonic() + MAX_DEADLINE, SERVICE, lane=Lane.CONTROL)):
            rows = statistics.count(database)
        own.put(rows | {"counted_at": int(time.time())})

    with ExitStack() as running:
        url = ""
        if not worker:
            url = running.enter_context(export_sums(config, target, [own], sample))
        elif config.metrics.listen:
            running.enter_context(periodic("sampling", sample, SAMPLE_INTERVAL))
        if config.metrics.listen and database and (own.counts_rows or not worker):
            running.enter_context(
                periodic("counting", count_rows, lambda took: max(COUNT_INTERVAL, COUNT_PAUSE_FACTOR * took))
            )
        yield url
