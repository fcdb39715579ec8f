"""Messages that users have deleted for themselves alone: what their lists leave out. members.deleted_seq, the newest of
them, has everybody else pay nothing: beyond it nothing is looked for."""

from collections.abc import Sequence

from gochat.domain.changes import Kind
from gochat.repo.changes import add_changes_of
from gochat.storage.database import Tx, placeholders


def kept(message: str, member: str) -> str:
    """The condition that a message is not deleted by the user of this row of members, which may be absent."""
    return f"""({message}.seq > COALESCE({member}.deleted_seq, 0) OR NOT EXISTS (
        SELECT 1 FROM own_deletions AS own
        WHERE own.conversation_id = {message}.conversation_id AND own.user_id = {member}.user_id
            AND own.seq = {message}.seq
    ))"""


def unread_deleted(member: str) -> str:
    """How many messages behind the read position of this row of members its user has deleted; those that are also
    recalled or deleted for all are subtracted elsewhere."""
    return f"""CASE WHEN {member}.deleted_seq <= {member}.read_seq THEN 0 ELSE (
        SELECT COUNT(*) FROM own_deletions AS own
        JOIN messages AS unread ON unread.conversation_id = own.conversation_id AND unread.seq = own.seq
        WHERE own.conversation_id = {member}.conversation_id AND own.user_id = {member}.user_id
            AND own.seq > {member}.read_seq AND unread.status < 4
    ) END"""


_INSERT = "INSERT INTO own_deletions (conversation_id, user_id, seq) VALUES (?, ?, ?)"
_RAISE_NEWEST = """
UPDATE members SET deleted_seq = ?
WHERE conversation_id = ? AND user_id = ? AND deleted_seq < ?"""
_UNMENTION = "DELETE FROM mentions WHERE conversation_id = ? AND user_id = ? AND seq = ?"
_RESTORE_NEWEST = """
UPDATE members SET deleted_seq = (
    SELECT MAX(own.seq) FROM own_deletions AS own
    WHERE own.conversation_id = members.conversation_id AND own.user_id = members.user_id
)
WHERE conversation_id = ? AND user_id IN ({}) AND EXISTS (
    SELECT 1 FROM own_deletions AS own
    WHERE own.conversation_id = members.conversation_id AND own.user_id = members.user_id
)"""
_HIDE_EMPTIED = f"""
UPDATE members SET hidden_seq = ?, read_seq = ?
WHERE conversation_id = ? AND hidden_seq > 0 AND hidden_seq < ? AND deleted_seq > hidden_seq AND NOT EXISTS (
    SELECT 1 FROM messages AS visible
    WHERE visible.conversation_id = members.conversation_id AND visible.seq > members.hidden_seq
        AND visible.status < 5 AND {kept("visible", "members")}
)
RETURNING user_id"""


def insert(tx: Tx, conversation_id: str, user_id: str, seq: int) -> None:
    tx.sql(_INSERT, conversation_id, user_id, seq)
    tx.sql(_RAISE_NEWEST, seq, conversation_id, user_id, seq)
    tx.sql(_UNMENTION, conversation_id, user_id, seq)


def restore(tx: Tx, conversation_id: str, user_ids: Sequence[str]) -> None:
    """Of new members of a group those who were in it before: what they had deleted then stays so."""
    if user_ids:
        tx.sql(_RESTORE_NEWEST.format(placeholders(user_ids)), conversation_id, *user_ids)


def hide_emptied(tx: Tx, conversation_id: str, last_seq: int) -> None:
    """After a message of a locked conversation was deleted: hides the conversation again from those who had hidden it
    before and have nothing that they see since then, by their own deletions."""
    hidden = tx.fetch_all(_HIDE_EMPTIED, last_seq, last_seq, conversation_id, last_seq)
    add_changes_of(tx, Kind.CONVERSATION_HIDDEN, conversation_id, [user_id for (user_id,) in hidden])
