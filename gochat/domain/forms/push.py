"""The forms of the requests of PushService and PushStoreService."""

import re
from typing import Any

from google.protobuf.message import Message

from gochat.api.push.v1 import push_pb2 as pb
from gochat.domain import webpush
from gochat.domain.forms.rules import Form, Rule, anything, batch, each, form, nested, number, one_of, text
from gochat.errors import invalid
from gochat.internal.push.v1 import push_pb2 as store

PLATFORMS = ("apns", "fcm", "webpush", "custom")
MAX_TOKEN = 4096  # bytes
MAX_CLAIMED = 100  # notifications that are handed out at a time
_NUMBER = number(0, 2**63 - 1)
_DURATION = number(0, 24 * 3600 * 1000)  # milliseconds
_TTL = number(0, 28 * 24 * 3600)  # seconds
_TOKEN_IDS = each(text(size=64))


def token(name: str, value: str) -> None:
    text(size=MAX_TOKEN)(name, value)
    if not re.fullmatch(r"[!-~]*", value):
        raise invalid(name, "must be printable ASCII without spaces")


def _key(is_key: Any, of: str) -> Rule:
    def rule(name: str, value: str) -> None:
        if value and not is_key(value):
            raise invalid(name, f"must be {of} in base64url, as a subscription has it")

    return rule


def _retries(name: str, values: Any) -> None:
    batch(name, values, MAX_CLAIMED)
    for value in values:
        nested(name, value)


_platform = one_of("", *PLATFORMS)

FORMS: dict[type[Message], Form] = {
    pb.RegisterPushTokenRequest: form(
        *("platform", "token"),
        platform=_platform,
        token=token,
        p256dh=_key(webpush.is_public_key, "a point of P-256"),
        auth=_key(webpush.is_auth_secret, "16 bytes"),
    ),
    pb.UnregisterPushTokenRequest: form("platform", "token", platform=_platform, token=token),
    pb.ListPushTokensRequest: form(),
    pb.GetWebPushKeyRequest: form(),
    store.RegisterPushTokenRequest: form("user_id", request=nested),
    store.UnregisterPushTokenRequest: form("user_id", request=nested),
    store.ListPushTokensRequest: form("user_id"),
    store.GetVapidKeyRequest: form(),
    store.CollectPendingRequest: form(delay=_DURATION, interval=_DURATION, all_recipients=anything),
    store.DecidePendingRequest: form(connected_user_ids=each(text(size=128)), interval=_DURATION, ttl=_TTL),
    store.ClaimDeliveriesRequest: form("most", most=number(1, MAX_CLAIMED), content=anything),
    store.Retry: form(
        *("token_id", "conversation_id"),
        token_id=text(size=64),
        seq=_NUMBER,
        attempts=_NUMBER,
        due_at=_NUMBER,
        expires_at=_NUMBER,
    ),
    store.FinishDeliveriesRequest: form(retries=_retries, gone_token_ids=_TOKEN_IDS),
}
