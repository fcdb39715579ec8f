"""Who acts by the call that is running, as the rules say it."""

from typing import Any

from gochat.context import current
from gochat.domain import policy


def acting() -> dict[str, Any]:
    """As the oneof `acting` of a request of the internal services."""
    return policy.acting(current().caller)


def actor(named: str, field: str = "user_id") -> str:
    """Of an act that is a person's own: the id that the request names in this field, or of the caller."""
    return policy.actor(current().caller, named, field)
