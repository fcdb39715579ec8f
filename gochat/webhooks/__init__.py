"""Webhooks: what happens, sent to the operator's own systems, and what these are asked before a message is stored."""

from gochat.config import Webhooks as Settings
from gochat.internal.webhook.v1.webhook_pb2_grpc import WebhookStoreServiceStub
from gochat.serving.binding import Handlers
from gochat.webhooks.service import Webhooks


def handlers(store: WebhookStoreServiceStub, settings: Settings) -> Handlers:
    """The object that serves every RPC of WebhookService."""
    return {"WebhookService": (Webhooks(store, settings),)}
