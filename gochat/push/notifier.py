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
from gochat.internal.push.v1 import push_pb2 as pb
from gochat.internal.push.v1.push_pb2_grpc import PushStoreServiceStub
from gochat.internal.reader.v1 import reader_pb2
from gochat.internal.reader.v1.reader_pb2_grpc import ReaderServiceStub
from gochat.push.delivery import WebPush

INTERVAL = 0.5  # seconds between two rounds
LEASE = 15  # seconds
SETTLE = 2.0  # seconds after the start in which other processes say who is connected there
TIMEOUT = 5.0  # seconds for a round
RELEASE_TIMEOUT = 1.0  # seconds of the last call, when the process stops


class Notifier:
    """Of one thread. connected(user_ids, seconds): those of them who have a stream, in any process. count(number): is
    called with how many were notified. process: a name that no other one has."""

    def __init__(
        self,
        store: PushStoreServiceStub,
        readers: ReaderServiceStub,
        connected: Callable[[Sequence[str], float], Sequence[str]],
        web: WebPush,
        settings: Push,
        process: str,
        count: Callable[[int], None],
    ) -> None:
        self._store, self._readers, self._connected, self._web = store, readers, connected, web
        self._settings, self._process, self._count = settings, process, count
        self._held = False
        self._claim_at = 0.0
        self._begin_at = monotonic() + SETTLE

    def work(self) -> None:
        """A round. Raises ChatError."""
        with entered(Call(SERVICE, "-", monotonic() + TIMEOUT, SERVICE, lane=Lane.CONTROL)):
            if monotonic() >= self._claim_at:
                self._claim()
            if self._held:
                self._notify()
                self._web.work()

    def _claim(self) -> None:
        claim = reader_pb2.ClaimRequest(name=PUSH_READER, holder=self._process, seconds=LEASE)
        self._held = self._readers.Claim(claim).held
        self._claim_at = monotonic() + LEASE / 3

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
        if self._held:
            with entered(Call(SERVICE, "-", monotonic() + ending(RELEASE_TIMEOUT), SERVICE, lane=Lane.CONTROL)):
                self._readers.Release(reader_pb2.ReleaseRequest(name=PUSH_READER, holder=self._process))
