"""Valid requests of WebhookService and WebhookStoreService. No webhook here gets an event, and there are never many."""

from collections.abc import Callable
from typing import Any

from gochat.api.webhook.v1 import webhook_pb2 as pb
from gochat.internal.webhook.v1.webhook_pb2_grpc import WebhookStoreServiceStub
from tests.attacks.world import Place

_NEW = {"url": "https://hook.invalid/", "filter": {"conversation_ids": ["none"]}}


def _new(place: Place) -> dict[str, Any]:
    """Of one where there are none."""
    app = place.world.app
    store = WebhookStoreServiceStub(app.repo_channel)
    for each in store.ListWebhooks(pb.ListWebhooksRequest(), metadata=app.service).webhooks:
        store.DeleteWebhook(pb.DeleteWebhookRequest(webhook_id=each.webhook_id), metadata=app.service)
    return _NEW


def _webhook(place: Place, **more: Any) -> dict[str, Any]:
    """The only one."""
    app, request = place.world.app, pb.CreateWebhookRequest(**_new(place))
    made = WebhookStoreServiceStub(app.repo_channel).CreateWebhook(request, metadata=app.service)
    return {"webhook_id": made.webhook.webhook_id} | more


Build = Callable[[Place], dict[str, Any]]
REQUESTS: dict[str, Build] = {
    "CreateWebhook": _new,
    "UpdateWebhook": lambda p: _webhook(p, description="new"),
    "DeleteWebhook": _webhook,
    "ListWebhooks": lambda _: {},
    "RotateSecret": _webhook,
    "ListDeliveries": _webhook,
    "ReplayDeliveries": _webhook,
}
STORED: dict[str, Build] = REQUESTS | {
    "ListEndpoints": lambda _: {},
    "FindBlocked": lambda p: _webhook(p, lanes=["g1"]),
    "StoreDeliveries": lambda p: _webhook(p, deliveries=[{"delivery_id": "evt_1", "lane": "g1"}]),
    "TakeDue": lambda p: _webhook(p, most=1),
    "ResolveDeliveries": lambda p: _webhook(p, done_ids=["evt_1"]),
    "DisableWebhook": lambda p: _webhook(p, reason="gone"),
}
