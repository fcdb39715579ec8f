"""Webhooks, and what could not be delivered to them yet."""

import json
from typing import Any

from gochat.api.webhook.v1 import webhook_pb2 as pb
from gochat.domain import cursors, ids, webhooks
from gochat.domain.webhooks import DEFAULT_KEEP, MAX_WEBHOOKS, PARKED, PENDING, reader_of
from gochat.errors import duplicate, not_found
from gochat.internal.change.v1.change_pb2 import Change
from gochat.internal.webhook.v1 import webhook_pb2 as store
from gochat.repo.audit import record
from gochat.repo.changes import COLUMNS
from gochat.repo.readers import begin
from gochat.storage.database import Database, Row, Tx, placeholders

_FILTER = ("events", "conversation_ids", "message_types")
_COLUMNS = (
    *("webhook_id", "url", "description", *_FILTER, "enabled", "disabled_reason", "secret", "previous_secret"),
    *("previous_until", "created_at", "updated_at"),
)
_SHOWN = f"""
SELECT webhook.webhook_id, webhook.url, webhook.description, {", ".join(f"webhook.{name}" for name in _FILTER)},
    webhook.enabled, webhook.disabled_reason, webhook.created_at, webhook.updated_at,
    (SELECT COUNT(*) FROM webhook_deliveries AS waiting
        WHERE waiting.webhook_id = webhook.webhook_id AND waiting.state = '{PENDING}'),
    (SELECT COUNT(*) FROM webhook_deliveries AS parked
        WHERE parked.webhook_id = webhook.webhook_id AND parked.state = '{PARKED}'),
    COALESCE((SELECT change.at FROM log_readers AS reader JOIN changes AS change ON change.position >= reader.position
        WHERE reader.name = '{reader_of("")}' || webhook.webhook_id ORDER BY change.position LIMIT 1), 0)
FROM webhooks AS webhook"""
_ENDPOINTS = f"""
SELECT webhook_id, url, updated_at, {", ".join(_FILTER)}, secret,
    CASE WHEN previous_until > ? THEN previous_secret ELSE '' END
FROM webhooks WHERE enabled = 1"""
_DELIVERY = (
    *("webhook_id", "number", "delivery_id", "event", "lane", "change", "change_index", "state", "attempts"),
    *("next_attempt_at", "created_at", "last_error"),
)
_STORE = f"""
INSERT INTO webhook_deliveries ({", ".join(_DELIVERY)}) VALUES %s ON CONFLICT (webhook_id, delivery_id) DO NOTHING"""
_LIST = """
SELECT number, delivery_id, event, lane, state, attempts, next_attempt_at, created_at, last_error
FROM webhook_deliveries
WHERE webhook_id = ? AND number > ? AND ? IN ('', state) ORDER BY number LIMIT ?"""
# Not before anything was tried, however old it is.
_PARK = f"""
UPDATE webhook_deliveries SET state = '{PARKED}'
WHERE webhook_id = ? AND state = '{PENDING}' AND created_at <= ? AND EXISTS (
    SELECT 1 FROM webhook_deliveries AS tried
    WHERE tried.webhook_id = webhook_deliveries.webhook_id AND tried.state = '{PENDING}' AND tried.attempts > 0
)"""
_DUE = f"""
WITH first AS (
    SELECT lane, MIN(number) AS number FROM webhook_deliveries
    WHERE webhook_id = ? AND state = '{PENDING}' GROUP BY lane
), due AS (
    SELECT first.lane FROM first
    JOIN webhook_deliveries AS head ON head.webhook_id = ? AND head.number = first.number
    WHERE head.next_attempt_at <= ?
    ORDER BY first.number LIMIT ?
)
SELECT delivery_id, event, lane, change, change_index, attempts FROM webhook_deliveries
WHERE webhook_id = ? AND state = '{PENDING}' AND lane IN (SELECT lane FROM due) ORDER BY number LIMIT ?"""
_REPLAY = f"""
UPDATE webhook_deliveries SET state = '{PENDING}', attempts = 0, next_attempt_at = 0, created_at = ?
WHERE webhook_id = ? AND state = '{PARKED}'"""
_FAILED = """
UPDATE webhook_deliveries SET attempts = ?, next_attempt_at = ?, last_error = ?
WHERE webhook_id = ? AND delivery_id = ?"""
_CHANGE = (*COLUMNS, "position")


class Webhooks:
    """Of WebhookStoreService: what people do."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def CreateWebhook(self, request: pb.CreateWebhookRequest) -> pb.CreateWebhookResponse:
        def work(tx: Tx) -> pb.CreateWebhookResponse:
            ((count,),) = tx.fetch_all("SELECT COUNT(*) FROM webhooks")
            if count >= MAX_WEBHOOKS:
                raise duplicate(f"there are {MAX_WEBHOOKS} webhooks already", "TOO_MANY_WEBHOOKS")
            webhook_id, secret, now = ids.new_webhook(), webhooks.new_secret(), ids.now_ms()
            values = (webhook_id, request.url, request.description, *_written(request.filter), 1, "")
            row = (*values, secret, "", 0, now, now)
            tx.sql(f"INSERT INTO webhooks ({', '.join(_COLUMNS)}) VALUES ({placeholders(_COLUMNS)})", *row)
            begin(tx, reader_of(webhook_id))
            record(tx, "webhook.create", webhook_id)
            return pb.CreateWebhookResponse(webhook=_shown(tx, webhook_id), secret=secret)

        return self._database.write(work)

    def UpdateWebhook(self, request: pb.UpdateWebhookRequest) -> pb.UpdateWebhookResponse:
        def work(tx: Tx) -> pb.UpdateWebhookResponse:
            _locked(tx, request.webhook_id)
            values: dict[str, Any] = {"updated_at": ids.now_ms()}
            values |= {name: value for name in ("url", "description") if (value := getattr(request, name))}
            if request.HasField("filter"):
                values |= dict(zip(_FILTER, _written(request.filter), strict=True))
            if request.HasField("enabled"):
                values |= {"enabled": int(request.enabled), "disabled_reason": ""}
            names = ", ".join(f"{name} = ?" for name in values)
            tx.sql(f"UPDATE webhooks SET {names} WHERE webhook_id = ?", *values.values(), request.webhook_id)
            record(tx, "webhook.update", request.webhook_id)
            return pb.UpdateWebhookResponse(webhook=_shown(tx, request.webhook_id))

        return self._database.write(work)

    def DeleteWebhook(self, request: pb.DeleteWebhookRequest) -> pb.DeleteWebhookResponse:
        def work(tx: Tx) -> pb.DeleteWebhookResponse:
            _locked(tx, request.webhook_id)
            for table in ("webhook_deliveries", "webhooks"):
                tx.sql(f"DELETE FROM {table} WHERE webhook_id = ?", request.webhook_id)
            tx.sql("DELETE FROM log_readers WHERE name = ?", reader_of(request.webhook_id))
            record(tx, "webhook.delete", request.webhook_id)
            return pb.DeleteWebhookResponse()

        return self._database.write(work)

    def ListWebhooks(self, _: pb.ListWebhooksRequest) -> pb.ListWebhooksResponse:
        rows = self._database.read(lambda tx: tx.fetch_all(f"{_SHOWN} ORDER BY webhook.webhook_id"), one_statement=True)
        return pb.ListWebhooksResponse(webhooks=map(_webhook, rows))

    def RotateSecret(self, request: pb.RotateSecretRequest) -> pb.RotateSecretResponse:
        def work(tx: Tx) -> pb.RotateSecretResponse:
            _locked(tx, request.webhook_id)
            secret, now = webhooks.new_secret(), ids.now_ms()
            tx.sql(
                "UPDATE webhooks SET previous_secret = secret, previous_until = ?, secret = ?, updated_at = ?"
                " WHERE webhook_id = ?",
                now + (request.keep_seconds or DEFAULT_KEEP) * 1000,
                secret,
                now,
                request.webhook_id,
            )
            record(tx, "webhook.rotate", request.webhook_id)
            return pb.RotateSecretResponse(secret=secret)

        return self._database.write(work)

    def ListDeliveries(self, request: pb.ListDeliveriesRequest) -> pb.ListDeliveriesResponse:
        page = cursors.page(request, self._database.pair_key, (0,))

        def work(tx: Tx) -> list[Row]:
            _shown(tx, request.webhook_id)
            return tx.fetch_all(_LIST, request.webhook_id, *page.after, request.state, page.fetched)

        rows = self._database.read(work)
        more = page.cut(rows)
        names = ("delivery_id", "event", "conversation_id", "state", "attempts", "next_attempt_at", "created_at")
        deliveries = [pb.Delivery(**dict(zip((*names, "last_error"), row[1:], strict=True))) for row in rows]
        return pb.ListDeliveriesResponse(deliveries=deliveries, next_page_token=more)

    def ReplayDeliveries(self, request: pb.ReplayDeliveriesRequest) -> pb.ReplayDeliveriesResponse:
        wanted = list(dict.fromkeys(request.delivery_ids))

        def work(tx: Tx) -> pb.ReplayDeliveriesResponse:
            _locked(tx, request.webhook_id)
            chosen = f" AND delivery_id IN ({placeholders(wanted)})" if wanted else ""
            cursor = tx.sql(_REPLAY + chosen, ids.now_ms(), request.webhook_id, *wanted)
            replayed = cursor.rowcount
            tx.sql("UPDATE webhooks SET updated_at = ? WHERE webhook_id = ?", ids.now_ms(), request.webhook_id)
            record(tx, "webhook.replay", request.webhook_id)
            return pb.ReplayDeliveriesResponse(replayed=replayed)

        return self._database.write(work)


class Outbox:
    """Of WebhookStoreService: what the process that delivers does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ListEndpoints(self, _: store.ListEndpointsRequest) -> store.ListEndpointsResponse:
        rows = self._database.read(lambda tx: tx.fetch_all(_ENDPOINTS, ids.now_ms()), one_statement=True)
        return store.ListEndpointsResponse(
            endpoints=[
                store.Endpoint(
                    webhook_id=webhook_id,
                    url=url,
                    secrets=filter(None, (secret, previous)),
                    filter=_filter(written),
                    updated_at=updated_at,
                )
                for webhook_id, url, updated_at, *written, secret, previous in rows
            ]
        )

    def FindBlocked(self, request: store.FindBlockedRequest) -> store.FindBlockedResponse:
        lanes = list(request.lanes)
        text = f"""
SELECT DISTINCT lane FROM webhook_deliveries
WHERE webhook_id = ? AND state = '{PENDING}' AND lane IN ({placeholders(lanes)})"""
        rows = self._database.read(lambda tx: tx.fetch_all(text, request.webhook_id, *lanes)) if lanes else []
        return store.FindBlockedResponse(lanes=[lane for (lane,) in rows])

    def StoreDeliveries(self, request: store.StoreDeliveriesRequest) -> store.StoreDeliveriesResponse:
        row = f"({placeholders(_DELIVERY)})"

        def work(tx: Tx) -> None:
            _locked(tx, request.webhook_id)
            newest = "SELECT COALESCE(MAX(number), 0) FROM webhook_deliveries WHERE webhook_id = ?"
            ((number,),) = tx.fetch_all(newest, request.webhook_id)
            for first in range(0, len(request.deliveries), 500):
                values: list[Any] = []
                some = request.deliveries[first : first + 500]
                for each in some:
                    number += 1
                    change = json.dumps([getattr(each.change, name) for name in _CHANGE])
                    values += [request.webhook_id, number, each.delivery_id, each.event, each.lane, change, each.index]
                    values += [PENDING, each.attempts, each.next_attempt_at, ids.now_ms(), each.last_error]
                tx.sql(_STORE % ", ".join([row] * len(some)), *values)

        self._database.write(work)
        return store.StoreDeliveriesResponse()

    def TakeDue(self, request: store.TakeDueRequest) -> store.TakeDueResponse:
        def work(tx: Tx) -> store.TakeDueResponse:
            now, webhook_id = ids.now_ms(), request.webhook_id
            parked = tx.sql(_PARK, webhook_id, now - request.retry_seconds * 1000).rowcount
            most = request.most
            rows = tx.fetch_all(_DUE, webhook_id, webhook_id, now, most, webhook_id, most)
            return store.TakeDueResponse(deliveries=map(_stored, rows), parked=parked)

        return self._database.write(work)

    def ResolveDeliveries(self, request: store.ResolveDeliveriesRequest) -> store.ResolveDeliveriesResponse:
        done = list(request.done_ids)

        def work(tx: Tx) -> None:
            if done:
                text = f"DELETE FROM webhook_deliveries WHERE webhook_id = ? AND delivery_id IN ({placeholders(done)})"
                tx.sql(text, request.webhook_id, *done)
            for each in request.failed:
                values = (each.attempts, each.next_attempt_at, each.last_error)
                tx.sql(_FAILED, *values, request.webhook_id, each.delivery_id)

        self._database.write(work)
        return store.ResolveDeliveriesResponse()

    def DisableWebhook(self, request: store.DisableWebhookRequest) -> store.DisableWebhookResponse:
        def work(tx: Tx) -> None:
            _locked(tx, request.webhook_id)
            tx.sql(
                "UPDATE webhooks SET enabled = 0, disabled_reason = ?, updated_at = ? WHERE webhook_id = ?",
                request.reason,
                ids.now_ms(),
                request.webhook_id,
            )
            record(tx, "webhook.disable", request.webhook_id, request.reason)

        self._database.write(work)
        return store.DisableWebhookResponse()


def _locked(tx: Tx, webhook_id: str) -> None:
    """Raises NOT_FOUND."""
    if tx.fetch_one(f"SELECT 1 FROM webhooks WHERE webhook_id = ?{tx.lock}", webhook_id) is None:
        raise not_found("webhook", "webhook_id")


def _shown(tx: Tx, webhook_id: str) -> pb.Webhook:
    """Raises NOT_FOUND."""
    row = tx.fetch_one(f"{_SHOWN} WHERE webhook.webhook_id = ?", webhook_id)
    if row is None:
        raise not_found("webhook", "webhook_id")
    return _webhook(row)


def _webhook(row: Row) -> pb.Webhook:
    webhook_id, url, description, events, conversation_ids, message_types, enabled, reason, *rest = row
    created_at, updated_at, pending, parked, waiting_since = rest
    return pb.Webhook(
        webhook_id=webhook_id,
        url=url,
        description=description,
        filter=_filter((events, conversation_ids, message_types)),
        enabled=bool(enabled),
        disabled_reason=reason,
        created_at=created_at,
        updated_at=updated_at,
        pending=pending,
        parked=parked,
        waiting_since=waiting_since,
    )


def _written(wanted: pb.WebhookFilter) -> list[str]:
    return [json.dumps(list(getattr(wanted, name))) for name in _FILTER]


def _filter(written: Any) -> pb.WebhookFilter:
    return pb.WebhookFilter(**{name: json.loads(value) for name, value in zip(_FILTER, written, strict=True)})


def _stored(row: Row) -> store.StoredDelivery:
    delivery_id, event, lane, change, index, attempts = row
    return store.StoredDelivery(
        delivery_id=delivery_id,
        event=event,
        lane=lane,
        change=Change(**dict(zip(_CHANGE, json.loads(change), strict=True))),
        index=index,
        attempts=attempts,
    )
