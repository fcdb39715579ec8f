"""A message as the facts that acts on it are judged on, for a user who sees it."""

from typing import NamedTuple

from gochat.domain import ids, policy
from gochat.errors import invalid, not_found
from gochat.repo.hidden import kept
from gochat.repo.membership import lock_conversation
from gochat.repo.messages import DELETED, RECALLED
from gochat.storage.database import Tx

_SEEN = f"""
SELECT conversation.type, conversation.last_seq, member.role, message.from_user_id, message.status,
    message.message_type, message.content, message.metadata, message.created_at, message.edited_at,
    message.forwarded_user_id, message.forwarded_at, message.pinned_at, message.reactions
FROM conversations AS conversation
JOIN messages AS message ON message.conversation_id = conversation.conversation_id
LEFT JOIN members AS member ON member.conversation_id = conversation.conversation_id AND member.user_id = ?
    AND member.role <> '{policy.DELETED}'
WHERE conversation.conversation_id = ? AND conversation.dissolved_at = 0 AND message.seq = ?
    AND message.status < {DELETED} AND (? = '' OR (message.seq > member.hidden_seq AND {kept("message", "member")}))"""


class Seen(NamedTuple):
    """conversation_id, seq: of the message. type, last_seq: of the conversation. role: of the user; "" for the service
    itself. The rest are columns of messages."""

    conversation_id: str
    seq: int
    type: str
    last_seq: int
    role: str
    from_user_id: str
    status: int
    message_type: str
    content: str
    metadata: str
    created_at: int
    edited_at: int
    forwarded_user_id: str
    forwarded_at: int
    pinned_at: int
    reactions: str

    @property
    def is_recalled(self) -> bool:
        return self.status == RECALLED

    @property
    def message_id(self) -> str:
        return ids.message(self.conversation_id, self.seq)

    def must_not_be_recalled(self) -> "Seen":
        """Raises INVALID_PARAMS."""
        if self.is_recalled:
            raise invalid("message_id", "must be of a message that is not recalled")
        return self


def seen(tx: Tx, message_id: str, user_id: str, field: str = "message_id") -> Seen:
    """user_id: "" for the service itself, which sees all that there is. Raises NOT_FOUND, whyever it is not seen."""
    conversation_id, seq = ids.parse_message(message_id) or ("", 0)
    row = tx.fetch_one(_SEEN, user_id, conversation_id, seq, user_id)
    if row is None:
        raise not_found("message", field)
    kind, last_seq, role, *facts = row
    return Seen(conversation_id, seq, kind, last_seq, role or "", *facts)


def lock_seen(tx: Tx, message_id: str, user_id: str) -> Seen:
    """As seen(), of a conversation that no other transaction changes until this one ends."""
    conversation_id, _ = ids.parse_message(message_id) or ("", 0)
    lock_conversation(tx, conversation_id)
    return seen(tx, message_id, user_id)
