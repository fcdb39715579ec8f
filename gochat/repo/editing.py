"""Editing messages, and taking them away: for all, or for oneself alone."""

import json

from gochat.api.message.v1 import message_pb2 as pb
from gochat.domain import cursors, group_policy, ids, policy
from gochat.domain.changes import Kind
from gochat.domain.forms.rules import metadata as check_metadata
from gochat.errors import ChatError, invalid
from gochat.internal.message.v1 import message_pb2 as store_pb
from gochat.repo import hidden
from gochat.repo.audit import record
from gochat.repo.changes import add_change
from gochat.repo.message_details import detail
from gochat.repo.messages import RECALLED, set_status
from gochat.repo.references import MENTIONS, checked_mentions, replace_mentions
from gochat.repo.seen import Seen, lock_seen, seen
from gochat.repo.send_limits import SendLimits
from gochat.storage.database import Database, Tx

_KEEP_VERSION = """
INSERT INTO message_versions (conversation_id, seq, version, content, created_at, replaced_at, replaced_by)
SELECT ?, ?, COALESCE(MAX(version), 0) + 1, ?, COALESCE(MAX(replaced_at), ?), ?, ?
FROM message_versions WHERE conversation_id = ? AND seq = ?"""
_EDIT = """
UPDATE messages SET content = ?, metadata = ?, edited_at = ?, updated_at = ?
WHERE conversation_id = ? AND seq = ?"""
_VERSIONS = """
SELECT version, content, created_at, replaced_at, replaced_by FROM message_versions
WHERE conversation_id = ? AND seq = ? AND version > ? ORDER BY version LIMIT ?"""


class Editing:
    """Of MessageStoreService. edit_within: seconds; 0: at any time."""

    def __init__(self, database: Database, edit_within: int) -> None:
        self._database = database
        self._edit_within = edit_within

    def EditMessage(self, request: store_pb.EditMessageRequest) -> pb.EditMessageResponse:
        def work(tx: Tx) -> pb.MessageDetail:
            self._edit(tx, request.request, request.user_id)
            return detail(tx.fetch_all, request.request.message_id, request.user_id)

        return pb.EditMessageResponse(message=self._database.write(work))

    def ListVersions(self, request: store_pb.ListVersionsRequest) -> pb.ListVersionsResponse:
        asked = request.request
        page = cursors.page(request, self._database.pair_key, (0,))

        def work(tx: Tx) -> pb.ListVersionsResponse:
            message = seen(tx, asked.message_id, request.user_id)
            if request.user_id:
                whose = (request.user_id, message.from_user_id, message.type, message.role)
                policy.sender_or_manager(*whose, "read what a message was")
            rows = tx.fetch_all(_VERSIONS, message.conversation_id, message.seq, *page.after, page.fetched)
            answer = pb.ListVersionsResponse(next_page_token=page.cut(rows))
            for _, content, created_at, replaced_at, replaced_by in rows:
                answer.versions.add(
                    content=content, created_at=created_at, replaced_at=replaced_at, replaced_by=replaced_by
                )
            return answer

        return self._database.read(work, replica=True)

    def RecallMessage(self, request: store_pb.RecallMessageRequest) -> pb.RecallMessageResponse:
        def work(tx: Tx) -> None:
            message = lock_seen(tx, request.request.message_id, request.user_id)
            set_status(tx, message.message_id, request.user_id, RECALLED)

        self._database.write(work)
        return pb.RecallMessageResponse(success=True)

    def DeleteMessage(self, request: store_pb.DeleteMessageRequest) -> pb.DeleteMessageResponse:
        """For the user alone."""

        def work(tx: Tx) -> None:
            message = lock_seen(tx, request.request.message_id, request.user_id)
            hidden.insert(tx, message.conversation_id, request.user_id, message.seq)
            add_change(tx, Kind.MESSAGE_HIDDEN, message.conversation_id, request.user_id, seq=message.seq)
            hidden.hide_emptied(tx, message.conversation_id, message.last_seq)

        self._database.write(work)
        return pb.DeleteMessageResponse(success=True)

    def _edit(self, tx: Tx, asked: pb.EditMessageRequest, user_id: str) -> None:
        message, now = lock_seen(tx, asked.message_id, user_id), ids.now_ms()
        if user_id:
            policy.edit(user_id, message.from_user_id, now - message.created_at, self._edit_within)
            _must_be_let(tx, message, user_id, now)
        if message.must_not_be_recalled().message_type != "text":
            raise invalid("message_id", "must be of a message of type text")
        metadata = _with_mentions(tx, message, asked)
        if (asked.content, metadata) == (message.content, message.metadata):
            return
        this = (message.conversation_id, message.seq)
        if asked.content != message.content:
            tx.sql(_KEEP_VERSION, *this, message.content, message.created_at, now, user_id, *this)
        tx.sql(_EDIT, asked.content, metadata, now, now, *this)
        add_change(tx, Kind.MESSAGE_UPDATED, message.conversation_id, seq=message.seq, at=now)
        if user_id != message.from_user_id:
            record(tx, "message.edit", message.message_id)


def _must_be_let(tx: Tx, message: Seen, user_id: str, now: int) -> None:
    """Who may not send to a group does not say by an edit what they may not send; slow mode is for messages alone."""
    if message.type == "group":
        why, until = SendLimits(tx, message.conversation_id, [user_id], now).refusal(user_id) or ("", 0)
        if why and why != group_policy.SLOW_MODE:
            raise group_policy.SEND_ERRORS[why](until, now)


def _with_mentions(tx: Tx, message: Seen, asked: pb.EditMessageRequest) -> str:
    """The metadata of the message after the edit, whose mentions are written."""
    if not asked.HasField("mentions"):
        return message.metadata
    values = json.loads(message.metadata) if message.metadata else {}
    if asked.mentions == values.get(MENTIONS, ""):
        return message.metadata
    mentioned = checked_mentions(tx, message.conversation_id, message, asked.mentions, MENTIONS)
    values[MENTIONS] = asked.mentions
    if not asked.mentions:
        del values[MENTIONS]
    try:
        check_metadata("metadata", values)
    except ChatError as error:
        raise invalid("mentions", f"must leave room: {error.message}") from None
    replace_mentions(tx, message.conversation_id, message.seq, mentioned)
    return json.dumps(values, ensure_ascii=False) if values else ""
