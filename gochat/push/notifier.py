"""Has recipients notified who are offline: asks the repo half whose time has come, and says who of them is connected.

One process at a time does it, the one with the lease of the log's reader: another would do no harm, since each step is
done once, only work.
"""

from collections.abc import Callable, Sequence
from time import monotonic

from gochat.background import ending
from gochat.config import Push
from gochat.context import SERVICE, Call, Lane, entered
from gochat.domain.changes import PUSH_READER
from gochat.following import RELEASE_TIMEOUT, Lease
from gochat.internal.push.v1 import push_pb2 as pb
from gochat.internal.push.v1.push_pb2_grpc import PushStoreServiceStub
from gochat.internal.reader.v1.reader_pb2_grpc import ReaderServiceStub
from gochat.push.delivery import WebPush

INTERVAL = 0.5  # seconds between two rounds
SETTLE = 2.0  # seconds after the start in which other processes say who is connected there
TIMEOUT = 5.0  # seconds for a round


class Notifier:
    """Of one thread. connected(user_ids, seconds): those of them who have a stream, in any process. count(number): is
    called with how many were notified."""

    def __init__(
        self,
        store: PushStoreServiceStub,
        readers: ReaderServiceStub,
        connected: Callable[[Sequence[str], float], Sequence[str]],
        web: WebPush,
        settings: Push,
        count: Callable[[int], None],
    ) -> None:
        self._store, self._lease, self._connected, self._web = store, Lease(PUSH_READER, readers), connected, web
        self._settings, self._count = settings, count
        self._begin_at = monotonic() + SETTLE

    def work(self) -> None:
        """A round. Raises ChatError."""
        with entered(Call(SERVICE, "-", monotonic() + TIMEOUT, SERVICE, lane=Lane.CONTROL)):
            if self._lease.keep():
                self._notify()
                self._web.work()

    def _notify(self) -> None:
        interval = int(self._settings.interval * 1000)
        collect = pb.CollectPendingRequest(
            delay=int(self._settings.delay * 1000),
            interval=interval,
            all_recipients=self._settings.recipients == "all",
        )
        due = self._store.CollectPending(collect).due_user_ids
        if due and monotonic() >= self._begin_at:
            decide = pb.DecidePendingRequest(
                user_ids=due,
                connected_user_ids=self._connected(due, TIMEOUT / 2),
                interval=interval,
                ttl=self._settings.ttl,
            )
            self._count(self._store.DecidePending(decide).notified)

    def release(self) -> None:
        """Lets another process go on at once."""
        if self._lease.held:
            with entered(Call(SERVICE, "-", monotonic() + ending(RELEASE_TIMEOUT), SERVICE, lane=Lane.CONTROL)):
                self._lease.release()
