"""Reactions to messages. Each has a row; the message carries their sum, so that a page of messages reads no other
table."""

from gochat.api.message.v1 import message_pb2 as pb
from gochat.domain import cursors, ids, reactions
from gochat.domain.changes import Kind
from gochat.internal.message.v1 import message_pb2 as store_pb
from gochat.repo.changes import add_change
from gochat.repo.seen import Seen, lock_seen, seen
from gochat.storage.database import Database, Tx

_INSERT = """
INSERT INTO reactions (conversation_id, seq, user_id, reaction, number, created_at)
SELECT ?, ?, ?, ?, COALESCE(MAX(number), 0) + 1, ?
FROM reactions WHERE conversation_id = ? AND seq = ?
ON CONFLICT DO NOTHING RETURNING 1"""
_DELETE = "DELETE FROM reactions WHERE conversation_id = ? AND seq = ? AND user_id = ? AND reaction = ?"
_FIRST = f"""
SELECT user_id FROM reactions
WHERE conversation_id = ? AND seq = ? AND reaction = ? ORDER BY number LIMIT {reactions.FIRST}"""
_SET_SUM = "UPDATE messages SET reactions = ? WHERE conversation_id = ? AND seq = ?"
_LIST = """
SELECT number, user_id, reaction, created_at FROM reactions
WHERE conversation_id = ? AND seq = ? AND number > ? ORDER BY number LIMIT ?"""


class Reactions:
    """Of MessageStoreService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def AddReaction(self, request: store_pb.AddReactionRequest) -> pb.AddReactionResponse:
        def work(tx: Tx) -> None:
            message = lock_seen(tx, request.request.message_id, request.user_id).must_not_be_recalled()
            summed = reactions.loads(message.reactions)
            reaction = reactions.spelling(summed, request.request.reaction)
            this = (message.conversation_id, message.seq)
            if tx.fetch_one(_INSERT, *this, request.user_id, reaction, ids.now_ms(), *this):
                reactions.add(summed, reaction, request.user_id)
                _changed(tx, message, request.user_id, reaction, summed)

        self._database.write(work)
        return pb.AddReactionResponse(success=True)

    def RemoveReaction(self, request: store_pb.RemoveReactionRequest) -> pb.RemoveReactionResponse:
        def work(tx: Tx) -> None:
            message = lock_seen(tx, request.request.message_id, request.user_id).must_not_be_recalled()
            summed = reactions.loads(message.reactions)
            reaction = reactions.spelling(summed, request.request.reaction)
            this = (message.conversation_id, message.seq)
            if tx.sql(_DELETE, *this, request.user_id, reaction).rowcount:
                first = [user_id for (user_id,) in tx.fetch_all(_FIRST, *this, reaction)]
                reactions.remove(summed, reaction, first)
                _changed(tx, message, request.user_id, reaction, summed)

        self._database.write(work)
        return pb.RemoveReactionResponse(success=True)

    def ListReactions(self, request: store_pb.ListReactionsRequest) -> pb.ListReactionsResponse:
        asked = request.request
        page = cursors.page(request, self._database.pair_key, (0,))

        def work(tx: Tx) -> pb.ListReactionsResponse:
            message = seen(tx, asked.message_id, request.user_id)
            rows = tx.fetch_all(_LIST, message.conversation_id, message.seq, *page.after, page.fetched)
            answer = pb.ListReactionsResponse(next_page_token=page.cut(rows))
            for _, user_id, reaction, created_at in rows:
                answer.reactions.add(user_id=user_id, reaction=reaction, created_at=created_at)
            return answer

        return self._database.read(work, replica=True)


def _changed(tx: Tx, message: Seen, user_id: str, reaction: str, summed: pb.MessageDetail) -> None:
    tx.sql(_SET_SUM, reactions.dumps(summed), message.conversation_id, message.seq)
    add_change(tx, Kind.REACTION_CHANGED, message.conversation_id, user_id, seq=message.seq, detail=reaction)
