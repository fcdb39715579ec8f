"""Delivering to one webhook: by one thread, which follows the log for it, and those of attempts.py.

The position in the log moves when all before it is delivered or written down to be tried again. Only failures, and
what takes long, are written down, and without content. Who waits for a failure is its lane, a conversation; and where
one attempt after the other fails, everything: then all is written down, and one attempt at a time looks whether the
receiver is back. So a dead receiver costs rows, and a slow one its own threads.
"""

import random
import threading
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import NamedTuple

from gochat import outbound
from gochat.domain import ids
from gochat.domain.changes import IMPORTED
from gochat.domain.clock import clock
from gochat.domain.webhooks import GONE, reader_of
from gochat.following import PIECE, Follower, calling
from gochat.internal.change.v1 import change_pb2
from gochat.internal.change.v1.change_pb2_grpc import ChangeServiceStub
from gochat.internal.reader.v1.reader_pb2_grpc import ReaderServiceStub
from gochat.internal.webhook.v1 import webhook_pb2 as pb
from gochat.internal.webhook.v1.webhook_pb2_grpc import WebhookStoreServiceStub
from gochat.outbound import Networks, OutboundError
from gochat.webhooks import counters
from gochat.webhooks.attempts import Attempts, Result
from gochat.webhooks.items import Item, is_wanted, items_of
from gochat.webhooks.signing import signed

TIMEOUT = 10.0  # seconds of an attempt
MAX_FAILURES = 8  # one after the other, without an answer or with one from 500 on, after which it counts as down
RETRY_INTERVAL = 1.0  # seconds between two looks for what is due
MAX_TAKEN = 100  # deliveries that are tried again together
MAX_STORED = PIECE  # deliveries that are written down together, each with a change
MIN_PAUSE, FIRST_PAUSE, MAX_PAUSE = 1.0, 2.0, 3 * 3600.0  # seconds until the next attempt
MAX_PROBE_PAUSE = 300.0  # seconds between two attempts while the receiver is down
LATE_PAUSE = 2 * TIMEOUT  # seconds after which an attempt that is under way is lost with its process


class Stubs(NamedTuple):
    changes: ChangeServiceStub
    readers: ReaderServiceStub
    store: WebhookStoreServiceStub


def pause(attempts: int, most: float = MAX_PAUSE) -> float:
    """Seconds until the next attempt, after so many that failed: exponential backoff with full jitter."""
    return MIN_PAUSE + random.uniform(0, min(most, FIRST_PAUSE * 2.0 ** min(attempts, 30)))  # noqa: S311 - no secret


class Endpoint:
    """Another thread may `change` it at any time. All else is of the follower's thread, but for what `_lock` guards."""

    def __init__(self, settings: pb.Endpoint, stubs: Stubs, networks: Networks, retry_seconds: int) -> None:
        self.settings, self._stubs, self._networks, self._retry_seconds = settings, stubs, networks, retry_seconds
        self._id = settings.webhook_id
        self.follower = Follower(
            reader_of(self._id), stubs.changes, stubs.readers, self._deliver, wants=self._wants, idle=self._retry
        )
        self._attempts = Attempts(self._post, self.follower.keep)
        self._late: dict[str, pb.StoredDelivery] = {}  # by the ids of items of which an attempt is late
        self._look_at = 0.0
        self._lock = threading.Lock()
        self._failures = 0
        self._is_gone = self._is_disabled = False

    def change(self, settings: pb.Endpoint) -> None:
        """Has what is due tried at once, where the operator has done something: replayed it, or moved the receiver."""
        if settings != self.settings:
            self.settings, self._look_at = settings, 0.0

    @property
    def _is_down(self) -> bool:
        return self._is_gone or self._failures >= MAX_FAILURES

    def _wants(self, change: change_pb2.Change) -> bool:
        """Is it worth describing? What was written elsewhere years ago is news to nobody."""
        wanted = self.settings.filter.conversation_ids
        return change.detail != IMPORTED and (not wanted or change.conversation_id in wanted)

    def _deliver(
        self, changes: Sequence[change_pb2.Change], described: Sequence[Sequence[change_pb2.Delivery]]
    ) -> None:
        wanted = self.settings.filter
        items = [
            item
            for change, deliveries in zip(changes, described, strict=True)
            for item in items_of(change, deliveries)
            if is_wanted(item, wanted)
        ]
        if not items:
            return
        lanes = _by_lane(items)
        with calling():
            found = self._stubs.store.FindBlocked(pb.FindBlockedRequest(webhook_id=self._id, lanes=lanes))
        free = {lane: of_lane for lane, of_lane in lanes.items() if lane not in found.lanes}
        results = self._attempt_free(free)
        kept = [
            (item, results[lane] if lane in results and position == results[lane].delivered else Result(0))
            for item, lane, position in _positions(items)
            if lane not in results or position >= results[lane].delivered
        ]
        for first in range(0, len(kept), MAX_STORED):
            self.follower.keep()
            deliveries = [self._stored(item, result) for item, result in kept[first : first + MAX_STORED]]
            with calling():
                request = pb.StoreDeliveriesRequest(webhook_id=self._id, deliveries=deliveries)
                self._stubs.store.StoreDeliveries(request)
        self._say_if_gone()

    def _attempt_free(self, lanes: Mapping[str, Sequence[Item]]) -> dict[str, Result]:
        """While the receiver is down one lane looks, now and then, whether it is back."""
        results: dict[str, Result] = {}
        if lanes and self._is_down and not self._is_gone and monotonic() >= self._look_at:
            first = next(iter(lanes))
            settings = self.settings
            results = self._attempt({first: lanes[first]})
            self._pause(settings, self._wait())
        if not self._is_down:
            results |= self._attempt({lane: items for lane, items in lanes.items() if lane not in results})
        return results

    def _pause(self, settings: pb.Endpoint, seconds: float) -> None:
        """settings: as they were at the last look; others are tried at once."""
        if settings is self.settings:
            self._look_at = monotonic() + seconds

    def _wait(self) -> float:
        """Seconds until the next look for what is due."""
        return pause(self._failures - MAX_FAILURES, MAX_PROBE_PAUSE) if self._is_down else RETRY_INTERVAL

    def _retry(self) -> None:
        """Tries again what is due, some of it: what comes meanwhile in other lanes does not wait for all."""
        self._settle_late()
        if self._is_gone or monotonic() < self._look_at:
            return
        settings = self.settings
        has_more = self._retry_some(1 if self._is_down else MAX_TAKEN)
        self._pause(settings, 0 if has_more else self._wait())
        self._say_if_gone()

    def _settle_late(self) -> None:
        """What came of attempts that were late: those are written down. If it is lost here they are made again."""
        done, failed = list[str](), list[pb.StoredDelivery]()
        for item, result in self._attempts.take_outcomes():
            before = self._late.pop(item.id, pb.StoredDelivery(delivery_id=item.id))
            if result.error:
                failed.append(self._stored(item, result, before))
            else:
                done.append(before.delivery_id)
        self._resolve(done, failed)
        if done:
            self._look_at = 0.0  # what waited for it is due

    def _resolve(self, done: Sequence[str], failed: Sequence[pb.StoredDelivery]) -> None:
        if done or failed:
            with calling():
                request = pb.ResolveDeliveriesRequest(webhook_id=self._id, done_ids=done, failed=failed)
                self._stubs.store.ResolveDeliveries(request)

    def _retry_some(self, most: int) -> bool:
        """Returns whether there may be more that is due."""
        with calling():
            request = pb.TakeDueRequest(webhook_id=self._id, retry_seconds=self._retry_seconds, most=most)
            taken = self._stubs.store.TakeDue(request)
        counters.add(counters.PARKED, taken.parked)
        if not taken.deliveries:
            return False
        with calling():
            changes = [each.change for each in taken.deliveries]
            described = self._stubs.changes.DescribeChanges(
                change_pb2.DescribeChangesRequest(changes=changes, user_id="")
            )
        stored: dict[str, pb.StoredDelivery] = {}
        items, done = list[Item](), list[str]()
        for each, of_change in zip(taken.deliveries, described.changes, strict=True):
            item = next((one for one in items_of(each.change, of_change.deliveries) if one.number == each.index), None)
            if item is None:  # what it was about is deleted
                done.append(each.delivery_id)
                counters.add(counters.GONE)
            else:
                items.append(item)
                stored[item.id] = each
        lanes = _by_lane(items)
        results = self._attempt(lanes)
        failed = []
        for item, lane, position in _positions(items):
            result, each = results[lane], stored[item.id]
            if position < result.delivered:
                done.append(each.delivery_id)
            elif position == result.delivered and (result.error or result.is_late):
                failed.append(self._stored(item, result, each))
        self._resolve(done, failed)
        return bool(done) and not self._is_down

    def _attempt(self, lanes: Mapping[str, Sequence[Item]]) -> dict[str, Result]:
        """Of each lane. One that is down is tried by a single lane, which is probing. Raises LeaseLostError."""
        return self._attempts.make(lanes, lambda: not (self._is_down and len(lanes) > 1))

    def _post(self, item: Item) -> Result:
        settings, body = self.settings, item.body()
        headers = signed(settings.secrets, item.id, int(clock.now()), body)
        try:
            answer = outbound.post(settings.url, body, headers, TIMEOUT, self._networks)
        except OutboundError as error:
            result, is_there = Result(0, str(error)), False
        else:
            is_there = answer.status < 500 and answer.status != 429
            is_success = 200 <= answer.status < 300
            result = Result(1) if is_success else Result(0, f"status {answer.status}", answer.retry_after)
            self._is_gone = self._is_gone or answer.status == 410
        counters.add(counters.FAILED if result.error else counters.DELIVERED)
        with self._lock:
            self._failures = 0 if is_there else self._failures + 1
        return result

    def _stored(self, item: Item, result: Result, before: pb.StoredDelivery | None = None) -> pb.StoredDelivery:
        """An item that is not delivered yet. before: as it was stored until now."""
        attempts, seconds = before.attempts if before else 0, 0.0
        if result.error:
            attempts += 1
            seconds = max(pause(attempts), min(result.retry_after, MAX_PAUSE))
        elif result.is_late:
            seconds = LATE_PAUSE
        stored = pb.StoredDelivery(
            delivery_id=before.delivery_id if before else item.id,
            event=item.name,
            lane=item.lane,
            change=item.change,
            index=item.number,
            attempts=attempts,
            next_attempt_at=ids.now_ms() + int(seconds * 1000) if seconds else 0,
            last_error=result.error,
        )
        if result.is_late:
            self._late[item.id] = stored
        return stored

    def _say_if_gone(self) -> None:
        """A receiver that answered 410 wants no more. Nothing that it was to get is lost: it is pending."""
        if self._is_gone and not self._is_disabled:
            with calling():
                self._stubs.store.DisableWebhook(pb.DisableWebhookRequest(webhook_id=self._id, reason=GONE))
            self._is_disabled = True


def _by_lane(items: Sequence[Item]) -> dict[str, list[Item]]:
    lanes: dict[str, list[Item]] = {}
    for item in items:
        lanes.setdefault(item.lane, []).append(item)
    return lanes


def _positions(items: Sequence[Item]) -> "list[tuple[Item, str, int]]":
    """Each with its lane, and which it is of that."""
    counted: dict[str, int] = {}
    found = []
    for item in items:
        position = counted.get(item.lane, 0)
        counted[item.lane] = position + 1
        found.append((item, item.lane, position))
    return found
