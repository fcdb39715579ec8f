"""Work on all rows in the background: in chunks, so that no call waits for long, on connections of the server's own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from gochat.background import periodic
from gochat.context import SERVICE, Call, Lane, entered
from gochat.domain import ids
from gochat.storage.database import Database, Tx

INTERVAL = 60.0  # seconds between two rounds
TIMEOUT = 30.0  # seconds for a chunk


@contextmanager
def in_chunks(database: Database, name: str, chunk: Callable[[Tx, int], bool]) -> Iterator[None]:
    """For as long as the block lasts, runs chunk(tx, now) now and then periodically, each time until it says that there
    is no more to do. name: as of `periodic`. now: when the round began, in Unix milliseconds."""

    def work() -> None:
        now, more = ids.now_ms(), True
        while more:
            with entered(Call(SERVICE, "-", monotonic() + TIMEOUT, SERVICE, lane=Lane.CONTROL)):
                more = database.write(lambda tx: chunk(tx, now))

    with periodic(name, work, INTERVAL):
        yield
