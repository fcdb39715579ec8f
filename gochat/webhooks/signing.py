"""Signatures of the Standard Webhooks specification, version 1 (https://www.standardwebhooks.com)."""

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import UTC, datetime


def signed(secrets: Sequence[str], message_id: str, seconds: int, body: bytes) -> dict[str, str]:
    """The headers of a message. secrets: "whsec_" and base64, at least one; the receiver takes any. seconds: Unix
    time of this attempt."""
    content = f"{message_id}.{seconds}.".encode() + body
    signatures = []
    for secret in secrets:
        key = b64decode(secret.removeprefix("whsec_"))
        signatures.append("v1," + b64encode(hmac.digest(key, content, hashlib.sha256)).decode())
    return {
        "content-type": "application/json",
        "user-agent": "GoChat",
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(signatures),
    }


def rfc3339(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
