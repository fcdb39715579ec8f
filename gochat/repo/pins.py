"""Pinned messages of a conversation."""

from gochat.api.message.v1 import message_pb2 as pb
from gochat.domain import ids, policy
from gochat.domain.changes import Kind
from gochat.internal.message.v1 import message_pb2 as store_pb
from gochat.repo.audit import record
from gochat.repo.changes import add_change
from gochat.repo.seen import Seen, lock_seen
from gochat.storage.database import Database, Tx

_COUNT = "SELECT COUNT(*) FROM messages WHERE conversation_id = ? AND pinned_at > 0"
_SET = "UPDATE messages SET pinned_by = ?, pinned_at = ? WHERE conversation_id = ? AND seq = ?"


class Pins:
    """Of MessageStoreService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def PinMessage(self, request: store_pb.PinMessageRequest) -> pb.PinMessageResponse:
        def work(tx: Tx) -> None:
            message = _may_pin(tx, request.request.message_id, request.user_id).must_not_be_recalled()
            if not message.pinned_at:
                ((number,),) = tx.fetch_all(_COUNT, message.conversation_id)
                policy.pins(number)
                _set(tx, message, request.user_id, ids.now_ms(), "message.pin")

        self._database.write(work)
        return pb.PinMessageResponse(success=True)

    def UnpinMessage(self, request: store_pb.UnpinMessageRequest) -> pb.UnpinMessageResponse:
        def work(tx: Tx) -> None:
            message = _may_pin(tx, request.request.message_id, request.user_id)
            if message.pinned_at:
                _set(tx, message, "", 0, "message.unpin")

        self._database.write(work)
        return pb.UnpinMessageResponse(success=True)


def _may_pin(tx: Tx, message_id: str, user_id: str) -> Seen:
    """user_id: "" for the service itself."""
    message = lock_seen(tx, message_id, user_id)
    if user_id:
        policy.manage(message.type, message.role)
    return message


def _set(tx: Tx, message: Seen, user_id: str, at: int, action: str) -> None:
    tx.sql(_SET, user_id, at, message.conversation_id, message.seq)
    add_change(tx, Kind.PIN_CHANGED, message.conversation_id, seq=message.seq)
    if message.type == "group":
        record(tx, action, message.message_id)
