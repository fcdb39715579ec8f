"""A user's own settings of a conversation: muted, pinned, archived, marked as unread. They are columns of the
membership, which sends and read positions rewrite anyway: these clear marked_unread (membership.py,
routines.postgres.sql)."""

from collections.abc import Sequence
from typing import Any

from gochat.api.conversation.v1 import conversation_pb2 as pb
from gochat.api.event.v1 import event_pb2
from gochat.domain import ids, policy
from gochat.domain.changes import Kind
from gochat.internal.conversation.v1 import conversation_pb2 as store_pb
from gochat.repo.changes import add_change
from gochat.repo.membership import lock_conversation, membership
from gochat.repo.users import get_user
from gochat.storage.database import Database, Tx

SETTINGS = ("quiet_until", "pinned_at", "archived", "marked_unread")
"""Columns of members, in the order of the fields of ConversationSettings."""

_OF_MEMBER = f"SELECT {', '.join(SETTINGS)} FROM members WHERE conversation_id = ? AND user_id = ?"
_UPDATE = (
    f"UPDATE members SET {', '.join(f'{name} = ?' for name in SETTINGS)} WHERE conversation_id = ? AND user_id = ?"
)
_PINNED = "SELECT COUNT(*) FROM members WHERE user_id = ? AND pinned_at > 0"


class Settings:
    def __init__(self, database: Database) -> None:
        self._database = database

    def UpdateSettings(self, request: store_pb.UpdateSettingsRequest) -> pb.UpdateSettingsResponse:
        user_id, wanted = request.user_id, request.request

        def work(tx: Tx) -> event_pb2.ConversationSettings:
            if wanted.pinned:
                get_user(tx, user_id, lock=True)  # or two who pin together could pass the limit
            lock_conversation(tx, wanted.conversation_id)
            membership(tx, wanted.conversation_id, user_id)
            before = tx.fetch_all(_OF_MEMBER, wanted.conversation_id, user_id)[0]
            after = _changed(before, wanted)
            if after != before:
                if wanted.pinned and not before[1]:
                    policy.pin_conversation(tx.fetch_all(_PINNED, user_id)[0][0])
                tx.sql(_UPDATE, *after, wanted.conversation_id, user_id)
                add_change(tx, Kind.SETTINGS_UPDATED, wanted.conversation_id, user_id)
            return as_settings(after)

        return pb.UpdateSettingsResponse(settings=self._database.write(work))


def _changed(before: Sequence[int], wanted: pb.UpdateSettingsRequest) -> tuple[int, ...]:
    """SETTINGS, with those that are set in the request."""
    quiet_until, pinned_at, archived, marked_unread = before
    if wanted.HasField("muted_until"):
        quiet_until = wanted.muted_until
    if wanted.HasField("pinned"):
        pinned_at = (pinned_at or ids.now_ms()) if wanted.pinned else 0
    if wanted.HasField("archived"):
        archived = int(wanted.archived)
    if wanted.HasField("marked_unread"):
        marked_unread = int(wanted.marked_unread)
    return quiet_until, pinned_at, archived, marked_unread


def settings_of(tx: Tx, conversation_id: str, user_id: str) -> event_pb2.ConversationSettings | None:
    """None for who is not in the conversation."""
    row = tx.fetch_one(_OF_MEMBER, conversation_id, user_id)
    return as_settings(row) if row else None


def as_settings(row: Sequence[Any]) -> event_pb2.ConversationSettings:
    """row: SETTINGS."""
    muted_until, pinned_at, archived, marked_unread = row
    return event_pb2.ConversationSettings(
        muted_until=muted_until, pinned_at=pinned_at, archived=bool(archived), marked_unread=bool(marked_unread)
    )
