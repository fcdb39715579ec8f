"""Bulk sending: what goes into one conversation in one transaction, in as many statements for a thousand messages as
for one. Rows cross to the database and back as one JSON text: see Tx.decode_rows."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import peewee

from gochat.api.message.v1 import message_pb2
from gochat.context import current
from gochat.domain import forms, ids, policy
from gochat.errors import ChatError
from gochat.internal.store.v1 import store_pb2
from gochat.repo.messages import (
    NO_CONVERSATION,
    SENT,
    SENT_NOW,
    as_stored,
    conversation_of,
    judged,
    key_reused,
    refusal,
    store,
)
from gochat.repo.standing import open_single
from gochat.storage.database import Database, Row, Tx

# On PostgreSQL. A message whose rows somebody else has locked is left: not only would all others wait with it, two
# batches that hold some rows and wait for others could wait for each other. A send changes its conversation and the
# sender's row in members; in a conversation of up to 10, every member's: see conversations_active in 0007_inbox.
# send_message() takes its arguments from the lockable rows, so that no plan can call it before they are locked.
_SEND_SKIP_LOCKED = """
    WITH wanted AS MATERIALIZED (
        SELECT one, one ->> 1 AS conversation_id, one ->> 2 AS sender FROM json_array_elements(?::json) AS one
    ), senders AS (
        SELECT conversation_id, array_agg(DISTINCT sender) AS user_ids FROM wanted GROUP BY conversation_id
    ), lockable AS MATERIALIZED (
        SELECT conversation.*, member.user_ids
        FROM senders
        CROSS JOIN LATERAL (
            SELECT c.conversation_id, c.member_count FROM conversations c
            WHERE c.conversation_id = senders.conversation_id FOR NO KEY UPDATE SKIP LOCKED
        ) AS conversation
        CROSS JOIN LATERAL (
            SELECT array_agg(locked.user_id) AS user_ids FROM (
                SELECT m.user_id FROM members m
                WHERE m.conversation_id = conversation.conversation_id AND m.user_id = ANY (
                    CASE WHEN conversation.member_count > 10 THEN senders.user_ids
                    ELSE ARRAY(
                        SELECT every.user_id FROM members every
                        WHERE every.conversation_id = conversation.conversation_id
                    ) END
                ) FOR NO KEY UPDATE SKIP LOCKED
            ) AS locked
        ) AS member
    )
    SELECT (one ->> 0)::int, lockable.conversation_id, sent.seq
    FROM wanted
    JOIN lockable ON lockable.conversation_id = wanted.conversation_id
        AND wanted.sender = ANY (lockable.user_ids)
        AND (lockable.member_count > 10 OR lockable.member_count = cardinality(lockable.user_ids))
    CROSS JOIN LATERAL send_message(
        lockable.conversation_id, sender, one ->> 3, one ->> 4, one ->> 5, one ->> 6, one ->> 7, one ->> 8, ?
    ) AS sent
    WHERE sent.outcome = 'sent'
"""

PARTICIPANTS = "SELECT user_id FROM members WHERE conversation_id = ?"


class _Message(NamedTuple):
    """place: in the request. named: the recipient by the request. to_pair: no conversation is named."""

    place: int
    sender: str
    named: str
    to_pair: bool
    content: str
    kind: str
    metadata: str
    key: str
    digest: str


class _Sent(NamedTuple):
    seq: int
    digest: str
    at: int


class Bulk:
    def __init__(self, database: Database) -> None:
        self._database = database

    def StoreMessages(self, request: store_pb2.StoreMessagesRequest) -> store_pb2.StoreMessagesResponse:
        caller, pair_key = current().caller, self._database.pair_key
        results: dict[int, message_pb2.SendResult] = {}
        conversations: dict[str, list[_Message]] = {}
        for place, one in enumerate(request.messages):
            try:
                forms.check(one)
                policy.send(caller, one.message_type)
                conversation_id = conversation_of(one, pair_key)
            except ChatError as error:
                results[place] = _refused(error)
            else:
                names = one.from_user_id, one.to_user_id, not one.conversation_id
                message = _Message(place, *names, one.content, *as_stored(one))
                conversations.setdefault(conversation_id, []).append(message)
        if request.at_once:
            return self._store_skip_locked(conversations, len(request.messages))
        works = [partial(_send_all, pair_key, *conversation) for conversation in conversations.items()]
        stored = self._database.write_each(works) if works else []
        for messages, outcomes in zip(conversations.values(), stored, strict=True):
            results.update(zip((one.place for one in messages), outcomes, strict=True))
        return store_pb2.StoreMessagesResponse(results=[results[place] for place in range(len(request.messages))])

    def _store_skip_locked(
        self, conversations: Mapping[str, Sequence[_Message]], number: int
    ) -> store_pb2.StoreMessagesResponse:
        now = ids.now_ms()
        rows = [
            (one.place, where, one.sender, one.named, one.content, one.kind, one.metadata, one.key, one.digest)
            for where, messages in conversations.items()
            for one in messages
        ]
        try:
            sent = self._database.write(lambda tx: _send_skip_locked(tx, rows, now), one_statement=True) if rows else []
        except (peewee.PeeweeException, UnicodeEncodeError):
            # PostgreSQL takes no part of a statement, so each is free to be sent by itself, and to have its own error:
            # a character, say, that the database's encoding does not have.
            if self._database.enqueue:
                raise
            sent = []
        answer = store_pb2.StoreMessagesResponse(results=[message_pb2.SendResult()] * number)
        for place, conversation_id, seq in sent:
            answer.results[place].message_id = ids.message(conversation_id, seq)
            answer.results[place].created_at = now
        return answer


def _send_skip_locked(tx: Tx, rows: Sequence[tuple[Any, ...]], now: int) -> list[Row]:
    """(place, conversation_id, seq) of those that were sent. rows: place and what store() takes."""
    if tx.postgres:
        return tx.prepared("send_skip_locked", _SEND_SKIP_LOCKED, _json(rows), now)
    stored = ((place, where, store(tx, where, *rest, now)) for place, where, *rest in rows)
    return [(place, where, seq) for place, where, (outcome, seq, _) in stored if outcome == SENT_NOW]


def _send_all(
    pair_key: bytes, conversation_id: str, messages: Sequence[_Message], tx: Tx
) -> list[message_pb2.SendResult]:
    """The steps of _store in messages.py, each for all messages at once."""
    sql, unopened = _SQL[tx.postgres], dict[str, ChatError]()
    place = tx.fetch_one(sql.lock, conversation_id)
    if place is None:
        unopened = _open(tx, pair_key, messages)
        place = tx.fetch_one(sql.lock, conversation_id)
    kind, seq = place or ("", 0)
    members = _members(tx, conversation_id, kind, {one.sender for one in messages})
    sent = _sent_before(tx, conversation_id, {(one.sender, one.key) for one in messages if one.key})
    now = ids.now_ms()
    rows, keys, read, results = [], [], dict[str, int](), []
    for one in messages:
        outcome, recipient = judged(kind, members, one.sender, one.named) if place else (NO_CONVERSATION, "")
        if outcome != SENT_NOW:
            results.append(_refused((one.to_pair and unopened.get(one.sender)) or refusal(outcome)))
            continue
        stored = sent.get((one.sender, one.key)) if one.key else None
        if stored is None:
            seq += 1
            stored = _Sent(seq, one.digest, now)
            rows.append((seq, one.sender, recipient, one.content, one.kind, one.metadata))
            read[one.sender] = seq  # one's own message is read, and everything before it
            if one.key:
                sent[one.sender, one.key] = stored
                keys.append((one.sender, one.key, seq, one.digest))
        if stored.digest == one.digest:
            message_id = ids.message(conversation_id, stored.seq)
            results.append(message_pb2.SendResult(message_id=message_id, created_at=stored.at))
        else:
            results.append(_refused(key_reused()))
    if keys:
        tx.sql(sql.add_keys, conversation_id, _json(keys))
    if rows:
        tx.sql(sql.add_messages, conversation_id, now, now, _json(rows))
        tx.sql(sql.move_read, conversation_id, _json(list(read.items())))
        tx.sql(sql.move_last, seq, now, conversation_id)
    return results


def _open(tx: Tx, pair_key: bytes, messages: Sequence[_Message]) -> dict[str, ChatError]:
    """Makes the one-to-one conversation that messages are sent to. Returns why not, by sender."""
    unopened = {}
    for sender, named in dict.fromkeys((one.sender, one.named) for one in messages if one.to_pair):
        try:
            open_single(tx, pair_key, (sender, "from_user_id"), (named, "to_user_id"))
        except ChatError as error:
            unopened[sender] = error
    return unopened


def _members(tx: Tx, conversation_id: str, kind: str, senders: set[str]) -> set[str]:
    """Of a group those of the senders who are in it, else both."""
    if kind != "group":
        return {user_id for (user_id,) in tx.fetch_all(PARTICIPANTS, conversation_id)}
    ((found,),) = tx.fetch_all(_SQL[tx.postgres].senders, conversation_id, _json([[sender] for sender in senders]))
    return {user_id for (user_id,) in tx.decode_rows(found) if user_id}


def _sent_before(tx: Tx, conversation_id: str, keys: set[tuple[str, str]]) -> dict[tuple[str, str], _Sent]:
    """What was sent by these senders with these client_msg_ids. Nobody adds to it: the conversation is locked."""
    if not keys:
        return {}
    ((found,),) = tx.fetch_all(_SQL[tx.postgres].sent_before, conversation_id, _json(list(keys)))
    sent = {}
    for sender, key, earlier in tx.decode_rows(found):
        if earlier:
            seq, digest, at = earlier.split()
            sent[sender, key] = _Sent(int(seq), digest, int(at))
    return sent


def _refused(error: ChatError) -> message_pb2.SendResult:
    return message_pb2.SendResult(error=error.body())


def _json(rows: Sequence[Sequence[Any]]) -> str:
    return json.dumps(rows, ensure_ascii=False)


class _Sql(NamedTuple):
    lock: str
    senders: str
    sent_before: str
    add_keys: str
    add_messages: str
    move_last: str
    move_read: str


def _sql(*, postgres: bool) -> _Sql:
    """The lock is that of send_message in sql/0007_inbox.postgres.sql. A subquery for each row of the request and an
    INSERT that always meets its row: so a planner goes by the primary key, and never reads all of a conversation."""
    rows = "json_array_elements(?::json) j" if postgres else "json_each(?) j"
    cell = "(j.value ->> {})" if postgres else "json_extract(j.value, '$[{}]')"
    text = [cell.format(number) for number in range(6)]
    number = [f"{one}::bigint" if postgres else one for one in text]
    return _Sql(
        lock="SELECT type, last_seq FROM conversations WHERE conversation_id = ? AND dissolved_at = 0"
        + (" FOR NO KEY UPDATE" if postgres else ""),
        senders="SELECT json_group_array(json_array((SELECT m.user_id FROM members m"
        f" WHERE m.conversation_id = ? AND m.user_id = {text[0]}))) FROM {rows}",
        sent_before=f"SELECT json_group_array(json_array({text[0]}, {text[1]},"
        " (SELECT s.seq || ' ' || s.digest || ' ' || l.created_at FROM sends s"
        " JOIN messages l ON l.conversation_id = s.conversation_id AND l.seq = s.seq WHERE s.conversation_id = ?"
        f" AND s.from_user_id = {text[0]} AND s.client_msg_id = {text[1]}))) FROM {rows}",
        add_keys=f"INSERT INTO sends SELECT ?, {text[0]}, {text[1]}, {number[2]}, {text[3]} FROM {rows}",
        add_messages=f"INSERT INTO messages SELECT ?, {number[0]}, {', '.join(text[1:5])}, {SENT}, {text[5]},"
        f" ?, ? FROM {rows}",
        move_last="UPDATE conversations SET last_seq = ?, updated_at = ? WHERE conversation_id = ?",
        move_read="INSERT INTO members (conversation_id, user_id, role, read_seq, joined_at)"
        f" SELECT ?, {text[0]}, '', {number[1]}, 0 FROM {rows} WHERE 1 = 1"  # else SQLite takes ON for a join's
        " ON CONFLICT (conversation_id, user_id) DO UPDATE SET read_seq = excluded.read_seq",
    )


_SQL = {postgres: _sql(postgres=postgres) for postgres in (False, True)}
