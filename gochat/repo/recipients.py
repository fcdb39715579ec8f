"""The event RecipientsOffline, as it is when it is delivered: who of those who were to be notified is to be still, what
they have not read, and their tokens."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gochat.api.event.v1 import event_pb2
from gochat.domain import ids
from gochat.repo.inboxes import MOVED
from gochat.repo.lists import HAS_UNREAD, UNREAD, UNREAD_MENTIONS
from gochat.repo.messages import RECALLED
from gochat.repo.push_tokens import VALID
from gochat.storage.database import Tx, placeholders

_CLOCKS = 60_000  # milliseconds, more than the clocks of two servers differ by


def sent_since(first: str, message: str) -> str:
    """Was a message, which comes after the first one, not imported after it? Then it would be of an earlier time."""
    return f"{message}.created_at >= {first}.created_at - {_CLOCKS}"


_COUNTED = f"""
    SELECT member.user_id, member.conversation_id, {UNREAD} AS number,
        CASE WHEN member.conversation_id = ? THEN {UNREAD_MENTIONS} ELSE 0 END AS mentions"""
_SAID = f"""{_COUNTED}
    FROM members AS member
    JOIN conversations AS conversation ON conversation.conversation_id = member.conversation_id
    WHERE member.user_id IN ({{ids}}) AND member.last_seq > member.read_seq AND {HAS_UNREAD}"""
_TOTALS = """, total AS (
    SELECT user_id, CAST(SUM(number) AS BIGINT) AS number,
        CAST(SUM(CASE WHEN conversation_id = ? THEN number ELSE 0 END) AS BIGINT) AS here,
        CAST(SUM(mentions) AS BIGINT) AS mentions
    FROM unread
    GROUP BY user_id
)
SELECT owner.user_id, owner.external_id, own.read_seq, COALESCE(total.number, 0), COALESCE(total.here, 0),
    COALESCE(total.mentions, 0)
FROM members AS own
JOIN users AS owner ON owner.user_id = own.user_id AND owner.status = 1
LEFT JOIN total ON total.user_id = own.user_id
WHERE own.conversation_id = ? AND own.user_id IN ({ids})"""
_UNREAD = {
    postgres: f"""
WITH unread AS ({_SAID}
    UNION ALL {_COUNTED}
    FROM {moved}
    WHERE own.user_id IN ({{ids}}) AND member.last_seq <= member.read_seq AND {HAS_UNREAD}
){_TOTALS}"""
    for postgres, moved in MOVED.items()
}
_UNREAD_OF_NODES = f"WITH unread AS ({_SAID}){_TOTALS}"  # on a Citus cluster, where nobody has an inbox
_TOKENS = f"""
SELECT token.user_id, token.platform, token.token, token.device_id
{VALID} AND token.user_id IN ({{}})
ORDER BY token.user_id, token.registered_at DESC, token.token_id"""
_COUNT = f"""
SELECT COUNT(*)
FROM messages AS first
JOIN messages AS message ON message.conversation_id = first.conversation_id AND message.seq BETWEEN first.seq AND ?
    AND {sent_since("first", "message")}
WHERE first.conversation_id = ? AND first.seq = ? AND message.status < {RECALLED}"""


class Unread(NamedTuple):
    """total: in all conversations. here, mentions: in this one."""

    external_id: str
    read_seq: int
    total: int
    here: int
    mentions: int


def unread_of(tx: Tx, conversation_id: str, user_ids: Sequence[str]) -> Mapping[str, Unread]:
    """By user, of those who are active and in the conversation."""
    text, here = _UNREAD_OF_NODES if tx.distributed else _UNREAD[tx.postgres], (conversation_id, *user_ids)
    values = (*here, *(() if tx.distributed else here), conversation_id, *here)
    rows = tx.fetch_all(text.format(ids=placeholders(user_ids)), *values)
    return {user_id: Unread(*rest) for user_id, *rest in rows}


def offline_recipients(
    tx: Tx, conversation_id: str, seq: int, user_ids: Sequence[str]
) -> list[event_pb2.OfflineRecipient]:
    """Of these users those who are to be notified of the message still, in their order."""
    unread = unread_of(tx, conversation_id, user_ids)
    rows = tx.fetch_all(_TOKENS.format(placeholders(user_ids)), ids.now_ms(), *user_ids)
    found = []
    for user_id in user_ids:
        own = unread.get(user_id)
        if own is not None and own.read_seq < seq:
            tokens = [
                event_pb2.OfflineToken(platform=platform, token=token, device_id=device_id)
                for owner_id, platform, token, device_id in rows
                if owner_id == user_id
            ]
            found.append(
                event_pb2.OfflineRecipient(
                    user_id=user_id,
                    external_id=own.external_id,
                    unread_total=own.total,
                    unread_in_conversation=own.here,
                    is_mentioned=own.mentions > 0,
                    tokens=tokens,
                )
            )
    return found


def message_count(tx: Tx, conversation_id: str, first_seq: int, seq: int) -> int:
    """Of these messages those that were sent and are there."""
    return int(tx.fetch_all(_COUNT, seq, conversation_id, first_seq)[0][0])
