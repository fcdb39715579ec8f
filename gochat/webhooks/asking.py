"""Asking the operator's own system before a message is stored: signed as webhooks are, and soon or not at all."""

import json
import logging
import secrets
from collections.abc import Mapping
from typing import Any

from gochat import outbound
from gochat.config import Webhooks as Settings
from gochat.context import current
from gochat.domain import ids
from gochat.errors import deadline_exceeded, unavailable
from gochat.jsontext import loads
from gochat.outbound import OutboundError
from gochat.webhooks.signing import rfc3339, signed

ACTIONS = ("allow", "refuse", "change")

log = logging.getLogger(__name__)


class Asker:
    """Any thread that may wait may call `ask`. The URL is the operator's own setting, so its address is not judged."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def ask(self, kind: str, data: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The answer, a JSON object; None where there is none, and nothing is to depend on that. Raises UNAVAILABLE,
        reason NOT_ASKED, where it is."""
        settings, now = self._settings, ids.now_ms()
        timeout = min(settings.before_send_timeout, current().remaining())
        if timeout <= 0:
            raise deadline_exceeded()
        body = json.dumps({"type": kind, "timestamp": rfc3339(now), "data": data}, ensure_ascii=False).encode()
        headers = signed([settings.before_send_secret], f"ask_{secrets.token_hex(12)}", now // 1000, body)
        try:
            answer = outbound.post(settings.before_send, body, headers, timeout, None)
            if answer.status != 200:
                raise OutboundError(f"status {answer.status}")
            if len(answer.body) == outbound.MAX_ANSWER:
                raise OutboundError(f"its answer has {outbound.MAX_ANSWER} bytes or more")
            found = loads(answer.body)
            if not isinstance(found, dict) or found.get("action") not in ACTIONS:
                raise OutboundError("its answer has no action of allow, refuse, change")
            if not all(_is_text(found.get(name, "")) for name in ("content", "reason")):
                raise OutboundError("its content or reason is no text")
            if found["action"] == "change" and not found.get("content"):
                raise OutboundError("its answer changes the message and has no content")
        except (OutboundError, ValueError) as error:
            reason = str(error) if isinstance(error, OutboundError) else "its answer is no JSON"
            log.warning("[webhooks] before_send: %s", reason)
            if settings.before_send_failure == "open":
                return None
            raise unavailable("messages cannot be checked now", "NOT_ASKED") from None
        return found


def _is_text(value: object) -> bool:
    """Text that a message may hold: no NUL, and no half of a surrogate pair."""
    return isinstance(value, str) and "\0" not in value and not any("\ud800" <= each <= "\udfff" for each in value)
