"""Receipts: who has received and who has read a message, by the positions of members."""

from gochat.api.conversation.v1 import conversation_pb2 as pb
from gochat.domain import ids
from gochat.domain.limits import MAX_RECEIPTS
from gochat.errors import ChatError
from gochat.internal.conversation.v1 import conversation_pb2 as store_pb
from gochat.repo.membership import membership
from gochat.repo.messages import DELIVERED, READ, SENT
from gochat.repo.seen import seen
from gochat.storage.database import Database, Row, Tx

# Who was there when the message was sent, which is judged by order; of those whose joined_seq is not known by time.
_RECIPIENTS = """
FROM members AS member
WHERE member.conversation_id = ? AND member.user_id <> ?
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
        return self._database.read(lambda tx: _receipts(tx, request.request.message_id, request.user_id))


def _receipts(tx: Tx, message_id: str, user_id: str) -> pb.GetReceiptsResponse:
    conversation_id, seq = ids.parse_message(message_id) or ("", 0)
    try:
        reader = membership(tx, conversation_id, user_id)
    except ChatError as error:
        raise error.renamed("conversation_id", "message_id") from None
    message = seen(tx, message_id, user_id)
    recipients = (conversation_id, message.from_user_id, message.created_at, seq)
    if reader.member_count > MAX_RECEIPTS:
        number, read = tx.fetch_all(_COUNTED, seq, *recipients)[0]
        return pb.GetReceiptsResponse(read_count=read, delivered_count=read, recipient_count=number)
    ((table,),) = tx.fetch_all(_LISTED, seq, seq, *recipients)
    rows: list[Row] = sorted(Tx.decode_rows(table), key=lambda row: (-row[0], row[1]))
    statuses = [status for status, _ in rows]
    return pb.GetReceiptsResponse(
        read_count=statuses.count(READ),
        delivered_count=len(rows) - statuses.count(SENT),
        recipient_count=len(rows),
        receipts=[pb.Receipt(user_id=recipient, status=status) for status, recipient in rows],
    )
