"""Receipts: who has received and who has read a message, by the positions of members."""

from gochat.api.conversation.v1 import conversation_pb2 as pb
from gochat.domain import policy
from gochat.domain.limits import MAX_RECEIPTS
from gochat.internal.conversation.v1 import conversation_pb2 as store_pb
from gochat.repo.messages import DELIVERED, READ, SENT
from gochat.repo.seen import Seen, seen
from gochat.storage.database import Database, Row, Tx

_MEMBER_COUNT = "SELECT member_count FROM conversations WHERE conversation_id = ?"

# Who was there when the message was sent, which is judged by order; of those whose joined_seq is not known by time.
_RECIPIENTS = f"""
FROM members AS member
WHERE member.conversation_id = ? AND member.user_id <> ? AND member.role <> '{policy.DELETED}'
    AND CASE member.joined_seq WHEN -1 THEN member.joined_at <= ? ELSE member.joined_seq < ? END"""
_LISTED = f"""
SELECT json_group_array(json_array(
    CASE WHEN member.read_seq >= ? THEN {READ} WHEN member.delivered_seq >= ? THEN {DELIVERED} ELSE {SENT} END,
    member.user_id
))
{_RECIPIENTS}"""
_COUNTED = f"SELECT COUNT(*), COALESCE(SUM(CASE WHEN member.read_seq >= ? THEN 1 ELSE 0 END), 0) {_RECIPIENTS}"


class Receipts:
    def __init__(self, database: Database) -> None:
        self._database = database

    def GetReceipts(self, request: store_pb.GetReceiptsRequest) -> pb.GetReceiptsResponse:
        message_id, user_id = request.request.message_id, request.user_id
        return self._database.read(lambda tx: _receipts(tx, seen(tx, message_id, user_id)), replica=True)


def _receipts(tx: Tx, message: Seen) -> pb.GetReceiptsResponse:
    recipients = (message.conversation_id, message.from_user_id, message.created_at, message.seq)
    if tx.fetch_all(_MEMBER_COUNT, message.conversation_id)[0][0] > MAX_RECEIPTS:
        number, read = tx.fetch_all(_COUNTED, message.seq, *recipients)[0]
        return pb.GetReceiptsResponse(read_count=read, delivered_count=read, recipient_count=number)
    ((table,),) = tx.fetch_all(_LISTED, message.seq, message.seq, *recipients)
    rows: list[Row] = sorted(Tx.decode_rows(table), key=lambda row: (-row[0], row[1]))
    statuses = [status for status, _ in rows]
    return pb.GetReceiptsResponse(
        read_count=statuses.count(READ),
        delivered_count=len(rows) - statuses.count(SENT),
        recipient_count=len(rows),
        receipts=[pb.Receipt(user_id=recipient, status=status) for status, recipient in rows],
    )
