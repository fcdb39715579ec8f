"""Notifications to browsers: what waits to be sent, of PushStoreService. What is to be said is read when it is handed
out, so that what was recalled or read meanwhile is not sent."""

from collections.abc import Sequence

from gochat.domain import ids, webpush
from gochat.internal.push.v1 import push_pb2 as pb
from gochat.repo.messages import RECALLED
from gochat.repo.push_tokens import VALID
from gochat.repo.recipients import unread_of
from gochat.storage.database import Database, Row, Tx, placeholders

WEBPUSH = "webpush"

_ADD = """
INSERT INTO push_deliveries (token_id, conversation_id, seq, attempts, due_at, expires_at)
SELECT token_id, ?, ?, 0, ?, ?
FROM push_tokens
WHERE platform = ? AND user_id IN ({})
ORDER BY token_id
ON CONFLICT (token_id, conversation_id) DO UPDATE SET
    seq = excluded.seq, attempts = 0, due_at = excluded.due_at, expires_at = excluded.expires_at"""
_IS_DUE = "SELECT 1 FROM push_deliveries WHERE due_at <= ? LIMIT 1"
_DUE = """
SELECT token_id, conversation_id, seq, attempts, expires_at
FROM push_deliveries
WHERE due_at <= ?
ORDER BY due_at LIMIT ?"""
_TAKE = "DELETE FROM push_deliveries WHERE (token_id, conversation_id) IN (VALUES {})"
_TOKENS = f"""
SELECT token.token_id, token.user_id, token.token, token.p256dh, token.auth
{VALID} AND token.token_id IN ({{}})"""
# Without its text where it is recalled or is none.
_MESSAGE = f"""
SELECT CASE WHEN conversation.type = 'group' THEN conversation.name ELSE sender.nickname END, sender.nickname,
    conversation.type, CASE WHEN message.message_type = 'text' THEN message.content ELSE '' END
FROM messages AS message
JOIN conversations AS conversation ON conversation.conversation_id = message.conversation_id
JOIN users AS sender ON sender.user_id = message.from_user_id
WHERE message.conversation_id = ? AND message.seq = ? AND message.status < {RECALLED}"""
_AGAIN = """
INSERT INTO push_deliveries (token_id, conversation_id, seq, attempts, due_at, expires_at)
SELECT token_id, ?, ?, ?, ?, ?
FROM push_tokens
WHERE token_id = ?
ON CONFLICT DO NOTHING"""
_END = "DELETE FROM push_tokens WHERE token_id IN ({})"


def add_deliveries(tx: Tx, conversation_id: str, seq: int, user_ids: Sequence[str], now: int, ttl: int) -> None:
    """Of a message to the browsers of these users. now: Unix milliseconds. ttl: seconds."""
    values = (conversation_id, seq, now, now + ttl * 1000, WEBPUSH)
    tx.sql(_ADD.format(placeholders(user_ids)), *values, *user_ids)


class PushDeliveries:
    """Of PushStoreService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ClaimDeliveries(self, request: pb.ClaimDeliveriesRequest) -> pb.ClaimDeliveriesResponse:
        now = ids.now_ms()
        if not self._database.read(lambda tx: tx.fetch_one(_IS_DUE, now), one_statement=True):
            return pb.ClaimDeliveriesResponse()

        def work(tx: Tx) -> list[pb.Delivery]:
            skip = " FOR UPDATE SKIP LOCKED" if tx.postgres else ""
            due = tx.fetch_all(_DUE + skip, now, request.most)
            if not due:
                return []
            keys = [part for row in due for part in row[:2]]
            tx.sql(_TAKE.format(", ".join(["(?, ?)"] * len(due))), *keys)
            return _described(tx, [row for row in due if row[4] > now], now, content=request.content)

        return pb.ClaimDeliveriesResponse(deliveries=self._database.write(work))

    def FinishDeliveries(self, request: pb.FinishDeliveriesRequest) -> pb.FinishDeliveriesResponse:
        def work(tx: Tx) -> None:
            for each in request.retries:
                values = (each.conversation_id, each.seq, each.attempts, each.due_at, each.expires_at)
                tx.sql(_AGAIN, *values, each.token_id)
            if request.gone_token_ids:
                gone = sorted(request.gone_token_ids)
                tx.sql(_END.format(placeholders(gone)), *gone)

        self._database.write(work)
        return pb.FinishDeliveriesResponse()


def _described(tx: Tx, due: Sequence[Row], now: int, *, content: bool) -> list[pb.Delivery]:
    """Of those that are to be sent still."""
    token_ids = sorted({token_id for token_id, *_ in due})
    if not token_ids:
        return []
    rows = tx.fetch_all(_TOKENS.format(placeholders(token_ids)), now, *token_ids)
    tokens = {token_id: rest for token_id, *rest in rows}
    found = []
    for token_id, conversation_id, seq, attempts, expires_at in due:
        message = tx.fetch_one(_MESSAGE, conversation_id, seq)
        if token_id not in tokens or message is None:
            continue
        user_id, endpoint, p256dh, auth = tokens[token_id]
        unread = unread_of(tx, conversation_id, [user_id]).get(user_id)
        if unread is None or unread.read_seq >= seq:
            continue
        title, sender, kind, text = message
        found.append(
            pb.Delivery(
                token_id=token_id,
                endpoint=endpoint,
                p256dh=webpush.decode(p256dh),
                auth=webpush.decode(auth),
                conversation_id=conversation_id,
                seq=seq,
                attempts=attempts,
                expires_at=expires_at,
                title=title,
                sender=sender if kind == "group" else "",
                text=text if content else "",
                unread_total=unread.total,
            )
        )
    return found
