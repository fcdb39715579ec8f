"""For the access matrix: a valid request of each RPC of ConversationService and ConversationStoreService."""

from collections.abc import Callable
from typing import Any

from tests.attacks.world import Place

Valid = Callable[[Place], dict[str, Any]]

REQUESTS: dict[str, Valid] = {
    "OpenDirect": lambda p: {"peer_user_id": p.world.other.id},
    "GetConversation": lambda p: {"conversation_id": p.id},
    "UpdateSettings": lambda p: {"conversation_id": p.id, "archived": True, "marked_unread": True},
    "ListConversations": lambda _: {},
    "GetReceipts": lambda p: {"message_id": p.message_id},
}
"""Without user_id: whoever calls."""


def _stored(valid: Valid) -> Valid:
    return lambda place: {"user_id": place.world.id_of("owner"), "request": valid(place)}


STORED = {rpc: _stored(valid) for rpc, valid in REQUESTS.items()}
