"""Messages: reading, read positions, status, recalling, deleting. Sending is in sending.py."""

import json
from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

from gochat.api.common.v1 import common_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.context import current, entered
from gochat.domain import ids, limits, policy
from gochat.domain.changes import Kind
from gochat.errors import ChatError, invalid, not_found
from gochat.internal.store.v1 import store_pb2
from gochat.repo.audit import record
from gochat.repo.changes import add_change
from gochat.repo.hidden import hide_emptied, kept
from gochat.repo.membership import lock_conversation, mark_read, membership, no_conversation
from gochat.repo.reads import Read
from gochat.storage.database import Database, Tx, placeholders
from gochat.storage.kept import Kept

SENT, DELIVERED, READ, RECALLED, DELETED = 1, 2, 3, 4, 5

# What `fill` takes of a row `message` of messages; after it goes the status that the recipient's positions give it.
# Statements that have these at hand take them from there, the others look them up. NULL in a group.
COLUMNS = """message.seq, message.from_user_id, message.to_user_id, message.content, message.message_type,
    message.status, message.metadata, message.created_at, message.updated_at"""


def reached(member: str) -> str:
    """The status of `message` by the positions of this row of members: read, delivered, or NULL."""
    return f"""CASE
        WHEN {member}.read_seq >= message.seq THEN {READ} WHEN {member}.delivered_seq >= message.seq THEN {DELIVERED}
    END"""


RECIPIENT_REACHED = f"""(
    SELECT {reached("recipient")} FROM members AS recipient
    WHERE recipient.conversation_id = message.conversation_id AND recipient.user_id = message.to_user_id
)"""
_OF_CONVERSATION = f"""
SELECT {COLUMNS}, CASE WHEN message.to_user_id <> '' THEN {RECIPIENT_REACHED} END
FROM messages AS message
WHERE message.conversation_id = ?"""
BY_SEQ = f"{_OF_CONVERSATION} AND message.status < {DELETED}"
_PAGE = f"{BY_SEQ} ORDER BY message.seq DESC LIMIT ? OFFSET ?"
_AT = f"{_OF_CONVERSATION} AND message.seq = ?"

_LISTED = "listed.conversation_id, " + COLUMNS.replace("message.", "listed.")  # SQLite copies what is selected
_NEWEST = 2**62  # greater than any seq
_MARK_READ = "SELECT mark_read(?, ?, ?, ?, ?)"  # in sql/routines.postgres.sql
_MARK_READ_UNLOCKED = "SELECT mark_read(?, ?, ?, ?, ?, TRUE)"
_MARK_ALL_READ = """
SELECT wanted.number, mark_read(wanted.room, wanted.reader, wanted.seq, wanted.actor, wanted.read_at, TRUE)
FROM (VALUES %s) AS wanted (number, room, reader, seq, actor, read_at)"""


# The positions of the other participant are looked up once for the page; for a service, which is not one of the two,
# for each message.
HISTORY = Kept(
    "history",
    f"""
SELECT conversation.last_seq, reader.role, (
    SELECT json_group_array(json_array({COLUMNS}, CASE message.to_user_id
        WHEN '' THEN NULL
        WHEN reader.user_id THEN {reached("reader")}
        WHEN other.user_id THEN {reached("other")}
        ELSE {RECIPIENT_REACHED}
    END))
    FROM (
        SELECT {_LISTED} FROM messages AS listed
        WHERE listed.conversation_id = conversation.conversation_id AND listed.status < {DELETED}
            AND listed.seq < ?3 AND listed.seq > COALESCE(reader.hidden_seq, -1) AND {kept("listed", "reader")}
        ORDER BY listed.seq DESC LIMIT ?4
    ) AS message
)
FROM conversations AS conversation
LEFT JOIN members AS reader ON reader.conversation_id = conversation.conversation_id AND reader.user_id = ?2
LEFT JOIN members AS other ON conversation.type = 'single'
    AND other.conversation_id = conversation.conversation_id AND other.user_id <> reader.user_id
WHERE conversation.conversation_id = ?1 AND conversation.dissolved_at = 0""",
    ("TEXT", "TEXT", "BIGINT", "BIGINT"),  # conversation_id, user_id, before, limit
    ("BIGINT", "TEXT", "JSON"),
)
# What recall and deletion leave of a message, here and in the tables below.
_ERASED = """content = '', metadata = '', edited_at = 0, reply_seq = 0, forwarded_user_id = '', forwarded_at = 0,
    pinned_by = '', pinned_at = 0, reactions = ''"""
_ERASED_TABLES = ("message_versions", "reactions", "mentions")
_seq_column = itemgetter(0)  # of COLUMNS


class Messages:
    def __init__(self, database: Database) -> None:
        self._database = database

    def GetMessages(self, request: repo_pb2.GetMessagesRequest) -> repo_pb2.GetMessagesResponse:
        def work(tx: Tx) -> repo_pb2.GetMessagesResponse:
            conversation = membership(tx, request.conversation_id, "")
            if request.message_ids:
                return _by_ids(tx, request.conversation_id, request.message_ids)
            limit = request.limit or limits.DEFAULT_LONG_PAGE
            rows = tx.fetch_all(_PAGE, request.conversation_id, limit, request.offset)
            deleted = tx.fetch_all(
                f"SELECT COUNT(*) FROM messages WHERE conversation_id = ? AND status >= {RECALLED}"
                f" AND status = {DELETED}",
                request.conversation_id,
            )[0][0]
            found = [message(request.conversation_id, row) for row in rows]
            return repo_pb2.GetMessagesResponse(messages=found, total=conversation.last_seq - deleted)

        return self._database.read(work, replica=True)

    def UpdateMessageStatus(self, request: repo_pb2.UpdateMessageStatusRequest) -> repo_pb2.UpdateMessageStatusResponse:
        self._database.write(lambda tx: set_status(tx, request.message_id, request.user_id, request.status))
        return repo_pb2.UpdateMessageStatusResponse(success=True)

    def DeleteMessage(self, request: repo_pb2.DeleteMessageRequest) -> repo_pb2.DeleteMessageResponse:
        self._database.write(lambda tx: set_status(tx, request.message_id, request.user_id, DELETED))
        return repo_pb2.DeleteMessageResponse(success=True)

    def GetHistory(self, request: store_pb2.GetHistoryRequest) -> store_pb2.GetHistoryResponse:
        answer = store_pb2.GetHistoryResponse()
        HISTORY_PAGE.alone(self._database, request, answer)
        return answer

    def MarkRead(self, request: store_pb2.MarkReadRequest) -> store_pb2.MarkReadResponse:
        def work(tx: Tx) -> None:
            if not tx.postgres:
                _mark_read(tx, request)
                return
            ((refusal,),) = tx.fetch_all(_MARK_READ, *_read_until(request, current().actor.user_id))
            if refusal:
                raise _UNREADABLE[refusal]()

        self._database.write(work, one_statement=True)
        return store_pb2.MarkReadResponse()


def mark_all_read(database: Database, requests: Sequence[tuple[store_pb2.MarkReadRequest, str]]) -> list[bool]:
    """Was it done? If not, nothing has happened: a rule refuses it, or another transaction has locked the row.
    requests: with the ids of those who act."""

    def work(tx: Tx) -> list[bool]:
        if tx.distributed:  # each is a transaction of the node of its conversation
            each = (_read_until(request, actor_id) for request, actor_id in requests)
            return [tx.fetch_one(_MARK_READ_UNLOCKED, *values) == ("",) for values in each]
        if not tx.postgres:
            return [_is_marked_read(tx, request, actor_id) for request, actor_id in requests]
        wanted = [(number, *_read_until(request, actor_id)) for number, (request, actor_id) in enumerate(requests)]
        wanted.sort(key=itemgetter(1, 2))  # rows are locked in the order of their keys
        text = _MARK_ALL_READ % ", ".join(["(?, ?, ?, CAST(? AS BIGINT), ?, CAST(? AS BIGINT))"] * len(wanted))
        refusals: dict[int, str] = dict(tx.fetch_all(text, *(value for row in wanted for value in row)))
        return [not refusals[number] for number in range(len(requests))]

    return database.write(work, one_statement=True)


def _read_until(request: store_pb2.MarkReadRequest, actor_id: str) -> tuple[Any, ...]:
    """Parameters of mark_read() in sql/routines.postgres.sql."""
    seq = seq_in(request.conversation_id, request.message_id)
    return request.conversation_id, request.user_id, seq, actor_id, ids.now_ms()


def _mark_read(tx: Tx, request: store_pb2.MarkReadRequest) -> None:
    """The same steps as that function."""
    seq = seq_in(request.conversation_id, request.message_id)
    reader = membership(tx, request.conversation_id, request.user_id)
    if not 1 <= seq <= reader.last_seq:
        raise _no_message()
    mark_read(tx, request.conversation_id, request.user_id, seq, reader)


def _is_marked_read(tx: Tx, request: store_pb2.MarkReadRequest, actor_id: str) -> bool:
    call = current()
    try:
        with entered(replace(call, actor=replace(call.actor, user_id=actor_id))):
            _mark_read(tx, request)
    except ChatError:  # before anything was written
        return False
    return True


def _history_parameters(request: store_pb2.GetHistoryRequest) -> tuple[Any, ...]:
    before = _NEWEST
    if request.before_message_id:
        before = seq_in(request.conversation_id, request.before_message_id)
    return request.conversation_id, request.user_id, before, (request.limit or limits.DEFAULT_LONG_PAGE) + 1


def _fill_history(
    answer: store_pb2.GetHistoryResponse, request: store_pb2.GetHistoryRequest, found: Sequence[Any]
) -> int:
    if not found:
        raise no_conversation()
    ((last_seq, role, page),) = found
    if role is None and request.user_id:
        raise policy.not_participant()
    if request.before_message_id and not 1 <= seq_in(request.conversation_id, request.before_message_id) <= last_seq:
        raise invalid("before_message_id", "must be the id of a message of this conversation")
    rows = sorted(Tx.decode_rows(page), key=_seq_column)
    limit = request.limit or limits.DEFAULT_LONG_PAGE
    answer.has_more = len(rows) > limit
    del rows[: max(0, len(rows) - limit)]
    while rows:
        fill(answer.messages.add(), request.conversation_id, rows.pop())
    return 0


HISTORY_PAGE = Read(HISTORY, _history_parameters, _fill_history, replica=True)


def message(conversation_id: str, row: Any) -> common_pb2.Message:
    """row: COLUMNS and the status by the recipient's positions."""
    made = common_pb2.Message()
    fill(made, conversation_id, row)
    return made


def fill(m: common_pb2.Message, conversation_id: str, row: Any) -> None:
    """Fills m in place, since a message made apart would be copied into the list of an answer. row: COLUMNS and
    the status by the recipient's positions: once one has passed a message, that counts as delivered or read. Field by
    field and without the empty ones, which takes two thirds of the time of one assignment."""
    seq, sender, recipient, content, kind, status, metadata, created_at, updated_at, reached_status = row
    m.message_id = ids.message(conversation_id, seq)
    m.conversation_id = conversation_id
    m.from_user_id = sender
    if recipient:
        m.to_user_id = recipient
    if content:
        m.content = content
    m.message_type = kind
    m.status = status if reached_status is None or reached_status < status else reached_status
    m.created_at = created_at
    m.updated_at = updated_at
    if metadata:
        m.metadata.update(json.loads(metadata))


def message_at(conversation_id: str, seq: int, tx: Tx) -> common_pb2.Message:
    """Of a message that exists, deleted or not."""
    (row,) = tx.fetch_all(_AT, conversation_id, seq)
    return message(conversation_id, row)


def _by_ids(tx: Tx, conversation_id: str, message_ids: Any) -> repo_pb2.GetMessagesResponse:
    wanted = [parsed[1] for parsed in map(ids.parse_message, message_ids) if parsed and parsed[0] == conversation_id]
    wanted = list(dict.fromkeys(wanted))
    listed = f"{BY_SEQ} AND message.seq IN ({placeholders(wanted)})"
    rows = tx.fetch_all(listed, conversation_id, *wanted) if wanted else []
    by_seq = {row[0]: row for row in rows}
    found = [message(conversation_id, by_seq[seq]) for seq in wanted if seq in by_seq]
    return repo_pb2.GetMessagesResponse(messages=found, total=len(found))


def seq_in(conversation_id: str, message_id: str) -> int:
    """0 for an id of another conversation."""
    parsed = ids.parse_message(message_id)
    return parsed[1] if parsed and parsed[0] == conversation_id else 0


def _no_message() -> ChatError:
    return not_found("message", "message_id")


_UNREADABLE = {"no_conversation": no_conversation, "not_participant": policy.not_participant, "no_message": _no_message}


def set_status(tx: Tx, message_id: str, user_id: str, status: int) -> None:
    """user_id: "" for the service itself, which may recall and delete what it likes."""
    conversation_id, seq = ids.parse_message(message_id) or ("", 0)
    lock_conversation(tx, conversation_id)
    row = tx.fetch_one(
        "SELECT from_user_id, status FROM messages WHERE conversation_id = ? AND seq = ?", conversation_id, seq
    )
    if row is None or row[1] == DELETED:
        raise _no_message()
    sender, _ = row
    try:
        member = membership(tx, conversation_id, user_id)
    except ChatError as error:  # of a dissolved group; the request names only the message
        raise error.renamed("conversation_id", "message_id") from None
    if status < RECALLED and user_id == sender:
        return  # that a message reached its own sender is no news
    now = ids.now_ms()
    changes, values = "status = ?, updated_at = ?", [status, now]
    if status >= RECALLED:
        if user_id:
            policy.withdraw(user_id, sender, member.type, member.role)
        changes += f", {_ERASED}"
    elif status == READ:
        mark_read(tx, conversation_id, user_id, seq, member)
    update = f"UPDATE messages SET {changes} WHERE conversation_id = ? AND seq = ? AND status < ?"
    if not tx.sql(update, *values, conversation_id, seq, status).rowcount:
        return
    kind = Kind.MESSAGE_DELETED if status == DELETED else Kind.MESSAGE_UPDATED
    add_change(tx, kind, conversation_id, seq=seq, at=now)
    if status >= RECALLED:
        for table in _ERASED_TABLES:
            tx.sql(f"DELETE FROM {table} WHERE conversation_id = ? AND seq = ?", conversation_id, seq)
        tx.sql(
            "UPDATE conversations SET recalled_seq = ? WHERE conversation_id = ? AND recalled_seq < ?",
            *(seq, conversation_id, seq),
        )
        if status == DELETED:
            hide_emptied(tx, conversation_id, member.last_seq)
        record(tx, "message.recall" if status == RECALLED else "message.delete", message_id, user_id)
