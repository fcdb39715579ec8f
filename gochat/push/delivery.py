"""Web Push: sends notifications to the push services of browsers (RFC 8030), encrypted (RFC 8291), signed (RFC 8292).

What is claimed is nobody else's any more. It is sent once, or handed back to be sent again later where the push service
said that it has not taken it: so what a process that is killed had claimed is lost, rather than shown twice.
"""

import hashlib
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from time import monotonic

from gochat.config import Push
from gochat.context import SERVICE, Call, Lane, entered
from gochat.domain import ids, webpush
from gochat.errors import ChatError
from gochat.internal.push.v1 import push_pb2 as pb
from gochat.internal.push.v1.push_pb2_grpc import PushStoreServiceStub
from gochat.outbound import OutboundError, post

log = logging.getLogger(__name__)

SENDERS = 16  # notifications that are being sent at a time
TIMEOUT = 10.0  # seconds for a request
FINISH_TIMEOUT = 5.0  # seconds
FIRST_PAUSE, MAX_PAUSE = 5.0, 3600.0  # seconds until what was not taken is sent again
REPORT_INTERVAL = 60.0  # seconds between two log records of failures
MAX_TEXT = 500  # characters of a message: with all else less than webpush.MAX_PAYLOAD
SENT, GONE, FAILED, REFUSED = "sent", "gone", "failed", "refused"
"""Outcomes: taken; the subscription is not valid any more; to be sent again; not taken, for good."""


class WebPush:
    """One thread calls `work`. Each notification is sent by a thread of its own. They share `_free`, a semaphore,
    and when failures were last reported, which a lock guards. count(outcome): is called for each by any of them."""

    def __init__(self, store: PushStoreServiceStub, settings: Push, count: Callable[[str], None]) -> None:
        self._store, self._settings, self._count = store, settings, count
        self._key = b""
        self._free = threading.Semaphore(SENDERS)
        self._reporting = threading.Lock()
        self._report_at = 0.0

    def work(self) -> None:
        """Begins to send what is due, as much as there are senders free. Raises ChatError."""
        if not self._key:
            self._key = self._store.GetVapidKey(pb.GetVapidKeyRequest()).private_key
        free = 0
        while free < SENDERS and self._free.acquire(blocking=False):
            free += 1
        claimed: Sequence[pb.Delivery] = ()
        try:
            if free:
                wanted = pb.ClaimDeliveriesRequest(most=free, content=self._settings.content)
                claimed = self._store.ClaimDeliveries(wanted).deliveries
        finally:
            if unused := free - len(claimed):
                self._free.release(unused)
        for delivery in claimed:
            threading.Thread(target=self._send, args=(delivery,), name="web push", daemon=True).start()

    def close(self, seconds: float) -> None:
        """Waits for what is being sent, so long at most."""
        until = monotonic() + seconds
        for _ in range(SENDERS):
            self._free.acquire(timeout=max(0.0, until - monotonic()))

    def _send(self, delivery: pb.Delivery) -> None:
        try:
            outcome, pause = self._posted(delivery)
            self._count(outcome)
            finish = _finish(delivery, outcome, pause)
            if finish is not None:
                with entered(Call(SERVICE, "-", monotonic() + FINISH_TIMEOUT, SERVICE, lane=Lane.CONTROL)):
                    self._store.FinishDeliveries(finish)
        except ChatError as error:
            log.error("what came of a notification is lost: %s", error)
        finally:
            self._free.release()

    def _posted(self, delivery: pb.Delivery) -> tuple[str, float]:
        """The outcome, and how many seconds the push service wants until the next time."""
        settings, now = self._settings, time.time()
        private = settings.private_endpoints
        if not webpush.is_endpoint(delivery.endpoint, insecure=private):
            return REFUSED, 0
        headers = {
            "authorization": webpush.authorization(self._key, delivery.endpoint, settings.contact, now),
            "content-encoding": "aes128gcm",
            "content-type": "application/octet-stream",
            "ttl": str(max(0, int(delivery.expires_at / 1000 - now))),
            "topic": topic_of(delivery.conversation_id),
            "urgency": "high",
        }
        try:
            body = webpush.encrypt(payload_of(delivery), delivery.p256dh, delivery.auth)
            answer = post(delivery.endpoint, body, headers, TIMEOUT, None if private else ())
        except OutboundError as error:
            self._report(f"{error}")
            return FAILED, 0
        outcome = outcome_of(answer.status)
        if outcome in (FAILED, REFUSED):
            self._report(f"status {answer.status}")
        return outcome, answer.retry_after

    def _report(self, what: str) -> None:
        """Without the endpoint, which would let anybody who knows it send."""
        with self._reporting:
            if monotonic() < self._report_at:
                return
            self._report_at = monotonic() + REPORT_INTERVAL
        log.warning("a push service did not take a notification: %s", what)


def outcome_of(status: int) -> str:
    """Of what a push service answers (RFC 8030, 5 and 7.3)."""
    if 200 <= status < 300:
        return SENT
    if status in (404, 410):
        return GONE
    return FAILED if status == 429 or status >= 500 else REFUSED


def topic_of(conversation_id: str) -> str:
    """Of notifications with one topic a push service keeps the newest (RFC 8030, 5.4): 32 characters that do not tell
    which conversation it is."""
    return webpush.encode(hashlib.sha256(conversation_id.encode()).digest()[:24])


def payload_of(delivery: pb.Delivery) -> bytes:
    """JSON for the service worker (gochat/web/static/worker.js)."""
    body = delivery.text[:MAX_TEXT]
    if body and delivery.sender:
        body = f"{delivery.sender}: {body}"
    fields = {
        "conversation_id": delivery.conversation_id,
        "title": delivery.title,
        "body": body,
        "unread": delivery.unread_total,
    }
    return json.dumps({name: value for name, value in fields.items() if value}, ensure_ascii=False).encode()


def pause_after(attempts: int, wanted: float) -> float:
    """Seconds until the next attempt after so many, with jitter. wanted: by the push service."""
    backoff = min(MAX_PAUSE, FIRST_PAUSE * 2.0 ** min(attempts, 20))
    return min(MAX_PAUSE, max(wanted, backoff * random.uniform(0.5, 1)))  # noqa: S311 - no secret


def _finish(delivery: pb.Delivery, outcome: str, wanted: float) -> pb.FinishDeliveriesRequest | None:
    if outcome == GONE:
        return pb.FinishDeliveriesRequest(gone_token_ids=[delivery.token_id])
    due_at = ids.now_ms() + int(pause_after(delivery.attempts, wanted) * 1000)
    if outcome != FAILED or due_at >= delivery.expires_at:
        return None
    retry = pb.Retry(
        token_id=delivery.token_id,
        conversation_id=delivery.conversation_id,
        seq=delivery.seq,
        attempts=delivery.attempts + 1,
        due_at=due_at,
        expires_at=delivery.expires_at,
    )
    return pb.FinishDeliveriesRequest(retries=[retry])
