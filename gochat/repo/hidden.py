"""What users have hidden from themselves alone: messages that they have deleted, and conversations up to a message.

members.deleted_seq, the newest message that a user has deleted, has everybody else pay nothing: beyond it nothing is
looked for. What comes after a hidden_seq has a message that its user sees, so that lists need not look for one:
whatever takes such a message away, or brings a hidden_seq back, hides the conversation again.
"""

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
# Of new members of a group those who were in it before.
_RESTORE_NEWEST = """
UPDATE members SET deleted_seq = (
    SELECT MAX(own.seq) FROM own_deletions AS own
    WHERE own.conversation_id = members.conversation_id AND own.user_id = members.user_id
)
WHERE conversation_id = ? AND user_id IN ({0}) AND EXISTS (
    SELECT 1 FROM own_deletions AS own
    WHERE own.conversation_id = members.conversation_id AND own.user_id = members.user_id
)"""
_RESTORE_HIDDEN = """
UPDATE members SET hidden_seq = (
    SELECT former.hidden_seq FROM former_members AS former
    WHERE former.conversation_id = members.conversation_id AND former.user_id = members.user_id
)
WHERE conversation_id = ? AND user_id IN (
    SELECT former.user_id FROM former_members AS former
    WHERE former.conversation_id = ? AND former.user_id IN ({0})
)"""
_FORGET_FORMER = "DELETE FROM former_members WHERE conversation_id = ? AND user_id IN ({0})"
_HIDE_EMPTIED = f"""
UPDATE members SET hidden_seq = ?, read_seq = ?
WHERE conversation_id = ? AND hidden_seq BETWEEN 1 AND ? AND NOT EXISTS (
    SELECT 1 FROM messages AS visible
    WHERE visible.conversation_id = members.conversation_id AND visible.seq > members.hidden_seq
        AND visible.status < 5 AND {kept("visible", "members")}
)"""


def insert(tx: Tx, conversation_id: str, user_id: str, seq: int) -> None:
    tx.sql(_INSERT, conversation_id, user_id, seq)
    tx.sql(_RAISE_NEWEST, seq, conversation_id, user_id, seq)
    tx.sql(_UNMENTION, conversation_id, user_id, seq)


def restore(tx: Tx, conversation_id: str, user_ids: Sequence[str], last_seq: int) -> None:
    """Of new members of a locked group those who were in it before: what they had hidden then stays so."""
    if not user_ids:
        return
    these = placeholders(user_ids)
    tx.sql(_RESTORE_NEWEST.format(these), conversation_id, *user_ids)
    if tx.sql(_RESTORE_HIDDEN.format(these), conversation_id, conversation_id, *user_ids).rowcount:
        tx.sql(_FORGET_FORMER.format(these), conversation_id, *user_ids)
        _hide_emptied(tx, conversation_id, last_seq, last_seq, user_ids)


def hide_emptied(tx: Tx, conversation_id: str, last_seq: int) -> None:
    """After a message of a locked conversation was deleted, for all or by a user for themselves: hides the conversation
    again from those who had hidden it before and see nothing since then."""
    _hide_emptied(tx, conversation_id, last_seq, last_seq - 1)


def _hide_emptied(tx: Tx, conversation_id: str, last_seq: int, newest: int, user_ids: Sequence[str] = ()) -> None:
    """newest: up to which hidden_seq. user_ids: of these users; of all where there are none."""
    of_these = f" AND user_id IN ({placeholders(user_ids)})" if user_ids else ""
    text = f"{_HIDE_EMPTIED}{of_these} RETURNING user_id"
    hidden = tx.fetch_all(text, last_seq, last_seq, conversation_id, newest, *user_ids)
    add_changes_of(tx, Kind.CONVERSATION_HIDDEN, conversation_id, [user_id for (user_id,) in hidden])
