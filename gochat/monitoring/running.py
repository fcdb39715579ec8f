"""Keeps the numbers of a running server fresh, and serves them."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

from gochat import background, logs
from gochat.background import periodic
from gochat.config import Config
from gochat.context import LONGEST_DEADLINE, SERVICE, Call, Lane, entered
from gochat.monitoring.board import Board
from gochat.monitoring.exporter import Numbers, exporting
from gochat.repo import statistics
from gochat.rpc.server import RpcServer
from gochat.storage.database import Database

SAMPLING = 1.0  # seconds between two looks at queues and pools, where another process is asked for them
COUNTING = 30.0  # seconds between two counts of what the database holds
COUNTING_SHARE = 100  # and at least so many times as long as the last count took
COUNTERS = {"log_lines_dropped": logs.dropped, "background_failures": background.failures}


def exported(
    config: Config, target: str, boards: Sequence[Board], fresh: Callable[[], None] = lambda: None
) -> AbstractContextManager[str]:
    """The sums of the boards, on [metrics] listen; yields the URL, "" where there is none. Raises ListenError."""
    sqlite = not config.database.is_postgres
    return exporting(config.metrics.listen, Numbers(boards, target, sqlite=sqlite, fresh=fresh))


@contextmanager
def monitored(
    config: Config, target: str, board: Board, rpc_server: RpcServer, database: Database | None, *, shared: bool
) -> Iterator[str]:
    """Keeps the board of this process fresh. shared: another process serves it. Yields and raises as exported()."""

    counted = board.named()  # by those whose place this process has taken

    def sample() -> None:
        board.put(rpc_server.statistics() | (database.statistics() if database else {}))
        board.put({name: counted[name] + count() for name, count in COUNTERS.items()})

    def count() -> None:
        assert database is not None
        with entered(Call(SERVICE, "-", time.monotonic() + LONGEST_DEADLINE, SERVICE, lane=Lane.CONTROL)):
            counted = statistics.count(database)
        board.put(counted | {"counted_at": int(time.time())})

    with ExitStack() as running:
        url = ""
        if not shared:
            url = running.enter_context(exported(config, target, [board], sample))
        elif config.metrics.listen:
            running.enter_context(periodic("sampling", sample, SAMPLING))
        if config.metrics.listen and database and (board.counts or not shared):
            running.enter_context(periodic("counting", count, lambda took: max(COUNTING, COUNTING_SHARE * took)))
        yield url
