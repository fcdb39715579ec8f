"""What the metadata of a send refers to, checked under the conversation's lock and kept with the message: reply_to,
mentions, forwarded_from. A send without these keys comes by here without a statement."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from gochat.domain import ids, policy
from gochat.errors import ChatError, invalid, not_found
from gochat.repo.membership import Membership, lock_conversation, membership
from gochat.repo.seen import Seen, seen
from gochat.storage.database import Tx, placeholders

REPLY_TO, MENTIONS, FORWARDED_FROM = "reply_to", "mentions", "forwarded_from"
_KEYS = tuple(f'"{key}": ' for key in (REPLY_TO, MENTIONS, FORWARDED_FROM))

_MEMBERS = "SELECT COUNT(*) FROM members WHERE conversation_id = ? AND role <> '{}' AND user_id IN ({})"
_SET = """
UPDATE messages SET reply_seq = ?, forwarded_user_id = ?, forwarded_at = ?
WHERE conversation_id = ? AND seq = ?"""
_INSERT_MENTIONS = "INSERT INTO mentions (conversation_id, user_id, seq) VALUES "
_DELETE_MENTIONS = "DELETE FROM mentions WHERE conversation_id = ? AND seq = ?"


class References(NamedTuple):
    """reply_seq, forwarded_at: 0 for none. mentions: user ids; ("",) for all."""

    reply_seq: int
    forwarded_user_id: str
    forwarded_at: int
    mentions: Sequence[str]


def refers(metadata: str) -> bool:
    """Has the metadata of a message, as it is stored, one of the keys?"""
    return metadata != "" and any(key in metadata for key in _KEYS)


def checked(tx: Tx, sent: Any) -> References | None:
    """What this message of sending.py refers to. None where it cannot be sent in any case, so that its sender learns
    why. Raises the error of the first key that is wrong."""
    values = json.loads(sent.metadata)
    conversation_id, sender = sent.conversation_id, sent.from_user_id
    lock_conversation(tx, conversation_id)
    try:
        member = membership(tx, conversation_id, sender)
        pair: tuple[str, ...] = ()
    except ChatError:
        if sent.names_conversation:
            return None
        member = Membership("single", 0, policy.MEMBER, -1)  # the first message of the two
        pair = (sender, sent.to_user_id)
    replied = _referred(tx, values, REPLY_TO, sender, conversation_id)
    forwarded = _referred(tx, values, FORWARDED_FROM, sender)
    return References(
        replied.seq if replied else 0,
        *_origin(forwarded),
        checked_mentions(tx, conversation_id, member, values.get(MENTIONS, ""), f"metadata[{MENTIONS}]", of_pair=pair),
    )


def as_kept(metadata: str, found: References) -> str:
    """The metadata of a message as it is stored: with the user who said it first in place of the message that it is
    forwarded from, whose id would tell those who read it of its conversation."""
    if not found.forwarded_at:
        return metadata
    return json.dumps(json.loads(metadata) | {FORWARDED_FROM: found.forwarded_user_id}, ensure_ascii=False)


def checked_mentions(
    tx: Tx, conversation_id: str, member: Membership | Seen, value: str, field: str, *, of_pair: Sequence[str] = ()
) -> Sequence[str]:
    """Who is mentioned; ("",) for all. member: of who mentions them; the service itself (role "") may say all. of_pair:
    the members of a conversation that is yet to be opened. Raises INVALID_PARAMS, PERMISSION_DENIED."""
    if not value:
        return ()
    if value == policy.ALL:
        if member.role:
            policy.manage(member.type, member.role)
        return ("",)
    user_ids = list(dict.fromkeys(value.split(",")))
    if of_pair:
        number = len(set(user_ids) & set(of_pair))
    else:
        text = _MEMBERS.format(policy.DELETED, placeholders(user_ids))
        ((number,),) = tx.fetch_all(text, conversation_id, *user_ids)
    if number != len(user_ids):
        raise invalid(field, "must name members of this conversation, or all")
    return user_ids


def keep(tx: Tx, conversation_id: str, seq: int, kept: References) -> None:
    """Of a message that was just stored."""
    reply_seq, *forwarded, mentions = kept
    if reply_seq or any(forwarded):
        tx.sql(_SET, reply_seq, *forwarded, conversation_id, seq)
    insert_mentions(tx, conversation_id, seq, mentions)


def insert_mentions(tx: Tx, conversation_id: str, seq: int, mentions: Sequence[str]) -> None:
    if mentions:
        rows = ", ".join(["(?, ?, ?)"] * len(mentions))
        values = [value for user_id in mentions for value in (conversation_id, user_id, seq)]
        tx.sql(_INSERT_MENTIONS + rows, *values)


def replace_mentions(tx: Tx, conversation_id: str, seq: int, mentions: Sequence[str]) -> None:
    """Those who have deleted the message for themselves alone are not counted as mentioned any more."""
    tx.sql(_DELETE_MENTIONS, conversation_id, seq)
    gone = "SELECT user_id FROM own_deletions WHERE conversation_id = ? AND seq = ?"
    deleted_by = {user_id for (user_id,) in tx.fetch_all(gone, conversation_id, seq)}
    insert_mentions(tx, conversation_id, seq, [user_id for user_id in mentions if user_id not in deleted_by])


def _referred(tx: Tx, values: dict[str, str], key: str, sender: str, conversation_id: str = "") -> Seen | None:
    """conversation_id: in which the message must be, if in one. Raises NOT_FOUND."""
    message_id = values.get(key, "")
    if not message_id:
        return None
    field = f"metadata[{key}]"
    if conversation_id and (ids.parse_message(message_id) or ("",))[0] != conversation_id:
        raise not_found("message", field)
    found = seen(tx, message_id, sender, field)
    if found.is_recalled:
        raise not_found("message", field)
    return found


def _origin(forwarded: Seen | None) -> tuple[str, int]:
    """Who said it first, and when."""
    if forwarded is None:
        return "", 0
    if forwarded.forwarded_at:
        return forwarded.forwarded_user_id, forwarded.forwarded_at
    return forwarded.from_user_id, forwarded.created_at
