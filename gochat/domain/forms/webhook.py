"""The forms of the requests of WebhookService and WebhookStoreService."""

from urllib.parse import urlsplit

from google.protobuf.message import Message

from gochat.api.webhook.v1 import webhook_pb2 as pb
from gochat.domain.forms.rules import Form, anything, each, form, identifier, nested, number, one_of, text
from gochat.domain.limits import MAX_BATCH, MESSAGE_TYPES
from gochat.domain.webhooks import EVENTS, MAX_FILTERED, MAX_KEEP, PARKED, PENDING
from gochat.errors import invalid
from gochat.internal.webhook.v1 import webhook_pb2 as store


def _url(name: str, value: str) -> None:
    """Of a receiver. What its host is an address of is judged when it is called."""
    if not value:
        return
    text(size=2048)(name, value)
    try:
        parts = urlsplit(value)
        named = parts.hostname and parts.port != 0
    except ValueError:
        named = None
    if not named or parts.scheme not in ("https", "http") or parts.username is not None or parts.fragment:
        raise invalid(name, "must be such as https://example.com/hook, without a user or a fragment")
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise invalid(name, "must be of ASCII characters without spaces: others are written as %XX, or xn-- in names")


_filter = nested
_store = anything  # of the server's own making

FORMS: dict[type[Message], Form] = {
    pb.WebhookFilter: form(
        events=each(one_of(*EVENTS)),
        conversation_ids=each(identifier, MAX_FILTERED),
        message_types=each(one_of(*MESSAGE_TYPES)),
    ),
    pb.CreateWebhookRequest: form("url", url=_url, description=text(characters=200), filter=_filter),
    pb.UpdateWebhookRequest: form(
        "webhook_id",
        url=_url,
        description=text(characters=200),
        filter=_filter,
        enabled=anything,
    ),
    pb.DeleteWebhookRequest: form(
        "webhook_id",
    ),
    pb.ListWebhooksRequest: form(),
    pb.RotateSecretRequest: form("webhook_id", keep_seconds=number(0, MAX_KEEP)),
    pb.ListDeliveriesRequest: form("webhook_id", state=one_of("", PENDING, PARKED)),
    pb.ReplayDeliveriesRequest: form("webhook_id", delivery_ids=each(identifier, MAX_BATCH)),
    store.ListEndpointsRequest: form(),
    store.FindBlockedRequest: form("webhook_id", lanes=each(text(size=128))),
    store.StoreDeliveriesRequest: form("webhook_id", deliveries=_store),
    store.TakeDueRequest: form("webhook_id", "most", retry_seconds=number(0, 2**31), most=number(1, MAX_BATCH)),
    store.ResolveDeliveriesRequest: form("webhook_id", done_ids=each(identifier, MAX_BATCH), failed=_store),
    store.DisableWebhookRequest: form("webhook_id", reason=text(size=64)),
}
