"""Whom a group lets send, or edit. Sends on SQLite read it for those groups alone that do not let every member; on
PostgreSQL it is in send_messages() of sql/routines.postgres.sql."""

from collections.abc import Iterable

from gochat.domain import group_policy
from gochat.storage.database import Tx, placeholders

_SETTINGS = "SELECT posting, slow_mode_seconds FROM conversations WHERE conversation_id = ?"
_SENDERS = """
SELECT member.user_id, member.role, COALESCE(detail.muted_until, 0), COALESCE(detail.last_sent_at, 0)
FROM members AS member
LEFT JOIN member_details AS detail ON detail.conversation_id = member.conversation_id
    AND detail.user_id = member.user_id
WHERE member.conversation_id = ? AND member.user_id IN (%s)"""
_SET_SENT_AT = """
INSERT INTO member_details (conversation_id, user_id, last_sent_at)
SELECT conversation_id, user_id, ? FROM members WHERE conversation_id = ? AND user_id IN (%s)
ON CONFLICT (conversation_id, user_id) DO UPDATE SET last_sent_at = excluded.last_sent_at"""


class SendLimits:
    """Of a group whose row is locked. members: the senders who are in it."""

    def __init__(self, tx: Tx, group_id: str, members: Iterable[str], now: int) -> None:
        user_ids = list(members)
        self._group_id, self._now, self._sent = group_id, now, set[str]()
        ((self._posting, self._slow_mode),) = tx.fetch_all(_SETTINGS, group_id)
        rows = tx.fetch_all(_SENDERS % placeholders(user_ids), group_id, *user_ids) if user_ids else []
        self._facts = {user_id: (role, muted_until, sent_at) for user_id, role, muted_until, sent_at in rows}

    def refusal(self, user_id: str) -> tuple[str, int] | None:
        """As group_policy.send_refusal()."""
        role, muted_until, sent_at = self._facts[user_id]
        facts = (role, muted_until, self._now if user_id in self._sent else sent_at)
        return group_policy.send_refusal(self._posting, self._slow_mode, facts, self._now)

    def add(self, user_id: str) -> None:
        """They have sent a message."""
        self._sent.add(user_id)

    def write(self, tx: Tx) -> None:
        if self._slow_mode and self._sent:
            tx.sql(_SET_SENT_AT % placeholders([*self._sent]), self._now, self._group_id, *self._sent)
