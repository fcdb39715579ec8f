"""Webhooks, as both halves know them: their secrets, and the events that they may be sent."""

import secrets
from base64 import b64encode

from gochat.api.event.v1.event_pb2 import Event

EVENTS = tuple(
    field.name for field in Event.DESCRIPTOR.oneofs_by_name["event"].fields if field.name not in ("typing", "presence")
)
"""Those that the log has."""
PENDING, PARKED = "pending", "parked"
GONE = "gone"  # why a webhook is disabled, where its receiver answered 410
MAX_WEBHOOKS = 50  # each has threads in the process that delivers
MAX_FILTERED = 100  # conversations of a filter
MAX_KEEP = 7 * 24 * 3600  # seconds that a secret signs after it was replaced
DEFAULT_KEEP = 24 * 3600

_SECRET_SIZE = 32  # bytes


def new_secret() -> str:
    """As the Standard Webhooks specification writes it."""
    return "whsec_" + b64encode(secrets.token_bytes(_SECRET_SIZE)).decode()


def reader_of(webhook_id: str) -> str:
    """The name under which the log is followed for it."""
    return f"webhook {webhook_id}"
