"""Messages with what belongs to them, for a reader: one statement a page."""

from binascii import a2b_base64
from collections.abc import Callable, Sequence
from typing import Any

from gochat.api.message.v1 import message_pb2 as pb
from gochat.domain import ids, limits, policy, reactions
from gochat.errors import invalid, not_found
from gochat.internal.message.v1 import message_pb2 as store_pb
from gochat.repo.hidden import kept
from gochat.repo.messages import COLUMNS, DELETED, RECALLED, RECIPIENT_REACHED, SENT, fill, reached, seq_in
from gochat.storage.database import Database, Row, Tx, placeholders
from gochat.storage.kept import Kept

MAX_ANSWER = 4_000_000  # bytes: gRPC clients take 4 MiB by default
_FIRST_USERS = reactions.FIRST * len(
    ids.new_user()
)  # bytes: a shorter sum has no reaction with more users than it names
_ALWAYS_FIT = 100  # messages of the largest size with the most that can belong to them

Fetch = Callable[..., list[Row]]
"""Tx.fetch_all, of a transaction or of one for each statement."""


def _details(name: str, listed: str, *values: str) -> Kept:
    """listed: which messages. values: the types of its parameters, which are numbered from 3."""
    text = f"""
SELECT conversation.last_seq, reader.role, (
    SELECT json_group_array(json_array({COLUMNS}, CASE message.to_user_id
            WHEN '' THEN NULL
            WHEN reader.user_id THEN {reached("reader")}
            WHEN other.user_id THEN {reached("other")}
            ELSE {RECIPIENT_REACHED}
        END, message.reactions, CASE
            WHEN message.edited_at > 0 OR message.reply_seq > 0 OR message.forwarded_at > 0 OR message.pinned_at > 0
            THEN json_array(message.edited_at, message.forwarded_user_id, message.forwarded_at, message.pinned_by,
                message.pinned_at, CASE WHEN message.reply_seq > 0 THEN (
                    SELECT json_array(replied.seq, replied.from_user_id, substr(replied.content, 1, 200),
                        replied.message_type, replied.status)
                    FROM messages AS replied
                    WHERE replied.conversation_id = message.conversation_id AND replied.seq = message.reply_seq
                        AND replied.status < {DELETED} AND replied.seq > COALESCE(reader.hidden_seq, -1)
                        AND {kept("replied", "reader")}
                ) END)
        END
    ))
    FROM (
        SELECT listed.* FROM messages AS listed
        WHERE listed.conversation_id = conversation.conversation_id AND listed.status < {DELETED}
            AND listed.seq > COALESCE(reader.hidden_seq, -1) AND {kept("listed", "reader")} AND {listed}
    ) AS message
)
FROM conversations AS conversation
LEFT JOIN members AS reader ON reader.conversation_id = conversation.conversation_id AND reader.user_id = ?2
LEFT JOIN members AS other ON conversation.type = 'single'
    AND other.conversation_id = conversation.conversation_id AND other.user_id <> reader.user_id
WHERE conversation.conversation_id = ?1 AND conversation.dissolved_at = 0"""
    return Kept(name, text, ("TEXT", "TEXT", *values), ("BIGINT", "TEXT", "JSON"))


AFTER = _details("messages_after", "listed.seq > ?3 ORDER BY listed.seq LIMIT ?4", "BIGINT", "BIGINT")
ONE = _details("message", "listed.seq = ?3", "BIGINT")
PINNED = _details("pinned_messages", "listed.pinned_at > 0")
_OWN_REACTIONS = "SELECT seq, reaction FROM reactions WHERE conversation_id = ? AND user_id = ? AND seq IN (%s)"


class MessageDetails:
    """Of MessageStoreService: reading."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ListMessages(self, request: store_pb.ListMessagesRequest) -> pb.ListMessagesResponse:
        asked, reader_id = request.request, request.user_id
        limit = asked.limit or limits.DEFAULT_LONG_PAGE
        conversation_id, cursor = asked.conversation_id, asked.after_message_id
        after = seq_in(conversation_id, cursor) if cursor else 0
        last_seq, rows = _read(self._fetch, AFTER, conversation_id, reader_id, after, limit + 1)
        if cursor and not 1 <= after <= last_seq:
            raise invalid("after_message_id", "must be the id of a message of this conversation")
        rows.sort()  # by number
        answer = pb.ListMessagesResponse(has_more=len(rows) > limit)
        _fill(self._fetch, answer.messages, conversation_id, reader_id, rows[:limit])
        if limit > _ALWAYS_FIT and answer.ByteSize() > MAX_ANSWER:
            del answer.messages[_ALWAYS_FIT:]
            answer.has_more = True
        return answer

    def GetMessage(self, request: store_pb.GetMessageRequest) -> pb.GetMessageResponse:
        return pb.GetMessageResponse(message=detail(self._fetch, request.request.message_id, request.user_id))

    def ListPinnedMessages(self, request: store_pb.ListPinnedMessagesRequest) -> pb.ListPinnedMessagesResponse:
        conversation_id = request.request.conversation_id
        _, rows = _read(self._fetch, PINNED, conversation_id, request.user_id)
        rows.sort(key=lambda row: (row[11][4], row[0]), reverse=True)  # pinned_at, seq
        answer = pb.ListPinnedMessagesResponse()
        _fill(self._fetch, answer.messages, conversation_id, request.user_id, rows)
        return answer

    def _fetch(self, text: str | Kept, *parameters: Any) -> list[Row]:
        return self._database.read(lambda tx: tx.fetch_all(text, *parameters), one_statement=True, replica=True)


def detail(fetch: Fetch, message_id: str, reader_id: str) -> pb.MessageDetail:
    """reader_id: "" for the service itself. Raises NOT_FOUND."""
    conversation_id, seq = ids.parse_message(message_id) or ("", 0)
    found = _fetch_page(fetch, ONE, conversation_id, reader_id, seq)
    rows = found[2] if found and (found[1] is not None or not reader_id) else []
    if not rows:
        raise not_found("message", "message_id")
    answer = pb.ListMessagesResponse()
    _fill(fetch, answer.messages, conversation_id, reader_id, rows)
    return answer.messages[0]


def _read(fetch: Fetch, statement: Kept, conversation_id: str, reader_id: str, *values: int) -> tuple[int, list[Any]]:
    """(last_seq of the conversation, rows in no order). Raises NOT_FOUND, PERMISSION_DENIED."""
    found = _fetch_page(fetch, statement, conversation_id, reader_id, *values)
    if found is None:
        raise not_found("conversation", "conversation_id")
    last_seq, role, rows = found
    if role is None and reader_id:
        raise policy.not_participant()
    return last_seq, rows


def _fetch_page(
    fetch: Fetch, statement: Kept, conversation_id: str, reader_id: str, *values: int
) -> tuple[int, str | None, list[Any]] | None:
    """(last_seq of the conversation, role of the reader, rows in no order); None where there is no conversation."""
    found = fetch(statement, conversation_id, reader_id, *values)
    if not found:
        return None
    ((last_seq, role, page),) = found
    return last_seq, role, Tx.decode_rows(page)


def _fill(fetch: Fetch, details: Any, conversation_id: str, reader_id: str, rows: Sequence[Row]) -> None:
    """details: the list of an answer. Without what is empty: see messages.fill."""
    reader = reader_id.encode()
    unsure = dict[tuple[int, str], pb.Reaction]()  # those in which the reader may be, but not as one of the first
    for row in rows:
        *message, summed, others = row
        filled = details.add()
        fill(filled.message, conversation_id, message)
        if summed:
            _fill_reactions(filled, a2b_base64(summed), reader_id, reader, row[0], unsure)
        if others:
            _fill_others(filled, conversation_id, *Tx.decode_rows(others))
        if '"mentions"' in row[6]:  # metadata
            _fill_mentions(filled, filled.message.metadata.get("mentions", ""))
    if unsure and reader_id:
        seqs = list(dict.fromkeys(seq for seq, _ in unsure))
        for own in fetch(_OWN_REACTIONS % placeholders(seqs), conversation_id, reader_id, *seqs):
            if own in unsure:
                unsure[own].mine = True


def _fill_reactions(
    filled: pb.MessageDetail,
    summed: bytes,
    reader_id: str,
    reader: bytes,
    seq: int,
    unsure: dict[tuple[int, str], pb.Reaction],
) -> None:
    """summed: a detail with the reactions alone."""
    filled.MergeFromString(summed)
    if reader in summed or len(summed) > _FIRST_USERS:
        for one in filled.reactions:
            if reader_id in one.user_ids:
                one.mine = True
            elif one.count > reactions.FIRST:
                unsure[seq, one.reaction] = one


def _fill_others(
    filled: pb.MessageDetail,
    conversation_id: str,
    edited_at: int,
    forwarded_user_id: str,
    forwarded_at: int,
    pinned_by: str,
    pinned_at: int,
    reply: Row | None,
) -> None:
    if edited_at:
        filled.edited_at = edited_at
    if forwarded_at:
        filled.forwarded.from_user_id, filled.forwarded.created_at = forwarded_user_id, forwarded_at
    if pinned_at:
        filled.pin.user_id, filled.pin.pinned_at = pinned_by, pinned_at
    if reply:
        seq, sender, content, kind, status = Tx.decode_rows(reply)
        filled.reply.message_id = ids.message(conversation_id, seq)
        filled.reply.from_user_id, filled.reply.content = sender, content
        filled.reply.message_type, filled.reply.status = kind, status if status == RECALLED else SENT


def _fill_mentions(filled: pb.MessageDetail, mentions: str) -> None:
    if mentions == policy.ALL:
        filled.mentions_all = True
    elif mentions:
        filled.mentioned_user_ids.extend(dict.fromkeys(mentions.split(",")))
