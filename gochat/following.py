"""Following the change log: one process at a time reads it under a name, and goes on where the last one stopped.

What comes of changes outside of streams reads the log so. Each change is delivered at least once, in the order of the
log: the position moves when what comes before it is delivered, and whoever takes over begins there.
"""

import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from time import monotonic

from gochat.background import ending, periodic
from gochat.context import SERVICE, Call, entered
from gochat.domain.changes import pieces_of
from gochat.errors import ChatError
from gochat.internal.change.v1 import change_pb2 as pb
from gochat.internal.change.v1.change_pb2_grpc import ChangeServiceStub
from gochat.internal.reader.v1 import reader_pb2
from gochat.internal.reader.v1.reader_pb2_grpc import ReaderServiceStub

LEASE = 15  # seconds without a word of its holder after which another process takes over
RENEW_INTERVAL = 5.0  # seconds between two claims, of the holder and of those who wait
RETRY_INTERVAL = 1.0  # seconds until the log is read again after a failure
TIMEOUT = 10.0  # seconds of a call of the repo half
RELEASE_TIMEOUT = 1.0  # seconds of the last one, when the process stops
PIECE = 100  # changes that are described and delivered together; more with all details are more than a request may be

log = logging.getLogger(__name__)

Deliver = Callable[[Sequence[pb.Change], Sequence[Sequence[pb.Delivery]]], None]


class LeaseLostError(Exception):
    """Another process reads on, or this one stops."""


class Lease:
    """That one process at a time does something, which goes by the log up to a position. Of one thread, within a call
    of its own. held: was it, when it was last claimed?"""

    def __init__(self, name: str, readers: ReaderServiceStub) -> None:
        self._name, self._readers, self.holder = name, readers, secrets.token_hex(8)
        self._claim_at = 0.0
        self.held = False
        self.position = pb.Position()
        """Where it stood when it was claimed last."""

    def keep(self) -> bool:
        """Claims or renews it where it is time to; returns whether it is held."""
        if monotonic() >= self._claim_at:
            self.claim()
        return self.held

    def claim(self) -> None:
        request = reader_pb2.ClaimRequest(name=self._name, holder=self.holder, seconds=LEASE)
        claimed = self._readers.Claim(request)
        self._claim_at = monotonic() + RENEW_INTERVAL
        self.held, self.position = claimed.held, claimed.position

    def advance(self, position: pb.Position) -> None:
        """Raises LeaseLostError."""
        request = reader_pb2.AdvanceRequest(name=self._name, holder=self.holder, position=position)
        try:
            self._readers.Advance(request)
        except ChatError as error:
            if error.reason == "LEASE_LOST":
                self.held = False
                raise LeaseLostError from None
            raise

    def release(self) -> None:
        """Lets another process go on at once."""
        self._readers.Release(reader_pb2.ReleaseRequest(name=self._name, holder=self.holder))


class Follower:
    """deliver(changes, deliveries of each): returns when they are done with. If it raises, they come again. Where that
    may take seconds it calls `keep`. wants: of a change; others are neither described nor delivered. idle: is called
    after each read, while the lease is held. described_for: as of DescribeChanges; "" for a stream of everything, None
    for all users. Threads: `step` and what it calls belong to one; others may read `behind`."""

    def __init__(
        self,
        name: str,
        changes: ChangeServiceStub,
        readers: ReaderServiceStub,
        deliver: Deliver,
        *,
        wants: Callable[[pb.Change], bool] = lambda _: True,
        idle: Callable[[], None] = lambda: None,
        described_for: str | None = "",
    ) -> None:
        self._name, self._changes, self._lease, self._deliver = name, changes, Lease(name, readers), deliver
        self._wants, self._idle, self._described_for = wants, idle, described_for
        self._position: pb.Position | None = None  # while the lease is held
        self._stopped = False
        self.behind = 0
        """Since when the oldest change that is known not to be delivered waits, in Unix milliseconds; 0 for none."""

    @contextmanager
    def running(self, interval: float) -> Iterator[None]:
        """Follows on a thread of its own for as long as the block lasts. interval: seconds between two reads."""
        try:
            with periodic(f"following the log for {self._name}", self.step, interval, retry=RETRY_INTERVAL):
                yield
        finally:
            self._stopped = True
            with suppress(ChatError), calling(ending(RELEASE_TIMEOUT)):
                self._lease.release()

    def step(self) -> None:
        """Delivers what was committed since the last time, if the lease is this process's or free."""
        try:
            more = True
            while more:
                self.keep()
                more = self._read()
                self._idle()
        except LeaseLostError:
            self._position, self.behind = None, 0

    def keep(self) -> None:
        """Renews the lease where it is time to. Raises LeaseLostError."""
        if self._stopped:
            raise LeaseLostError
        with calling():
            if not self._lease.keep():
                raise LeaseLostError
        if self._position is None:
            self._position = self._lease.position

    def _read(self) -> bool:
        """Returns whether there may be more."""
        assert self._position is not None
        with calling():
            answer = self._changes.ReadChanges(pb.ReadChangesRequest(start=self._position, piecewise=True))
        if answer.gap:
            if self._begin_again():
                return True
            log.error(
                "%s: goes on from now, since the log has not what follows: %s", self._name, pb.Gap.Name(answer.gap)
            )
        for changes, moved in pieces_of(answer.changes, answer.position, PIECE):
            self.keep()
            self.behind = changes[0].at
            if wanted := [change for change in changes if self._wants(change)]:
                request = pb.DescribeChangesRequest(changes=wanted, user_id=self._described_for)
                with calling():
                    described = self._changes.DescribeChanges(request).changes
                self._deliver(wanted, [each.deliveries for each in described])
            if moved:
                self._advance(moved)
        if answer.position != self._position:
            self._advance(answer.position)
        self.behind = 0
        return len(answer.changes) > 0

    def _begin_again(self) -> bool:
        """Where the log has not what follows: it may do so from where the reader stands in the database, which another
        server has taken over. Raises LeaseLostError."""
        with calling():
            self._lease.claim()
        if not self._lease.held:
            raise LeaseLostError
        before, self._position = self._position, self._lease.position
        return before != self._position

    def _advance(self, position: pb.Position) -> None:
        with calling():
            self._lease.advance(position)
        self._position = position


def calling(seconds: float = TIMEOUT) -> entered:
    """The current call, for as long as its block lasts: one of this process itself."""
    return entered(Call(SERVICE, "-", monotonic() + seconds, SERVICE))
