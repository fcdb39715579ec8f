"""Importing: messages that people wrote elsewhere, stored by sending.py at the times at which they did."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from gochat.api.message.v1 import message_pb2 as pb
from gochat.api.message.v1 import message_types_pb2 as types
from gochat.api.repo.v1 import repo_pb2
from gochat.domain import forms, ids, reactions
from gochat.domain.changes import IMPORTED, Kind
from gochat.errors import ChatError, invalid, not_found
from gochat.repo.audit import record
from gochat.repo.changes import add_change
from gochat.repo.membership import locked_conversation
from gochat.repo.messages import RECALLED
from gochat.repo.references import REPLY_TO
from gochat.repo.sending import KEY_REUSED, REPEATED, STORED, Outcome, Outgoing, as_stored, send_error, store
from gochat.repo.users import lock_existing
from gochat.storage.database import Database, Tx, placeholders

_NEWEST = "SELECT created_at FROM messages WHERE conversation_id = ? AND seq = ?"
_EARLIER = """
SELECT from_user_id, client_msg_id, seq, digest FROM sends
WHERE conversation_id = ? AND (from_user_id, client_msg_id) IN (VALUES %s)"""
_ANSWERABLE = f"SELECT seq FROM messages WHERE conversation_id = ? AND status < {RECALLED} AND seq IN (%s)"
_INSERT_REACTIONS = """
INSERT INTO reactions (conversation_id, seq, user_id, reaction, number, created_at) VALUES %s"""
_SET = """
UPDATE messages
SET metadata = wanted.column2, edited_at = wanted.column3, updated_at = wanted.column4, reply_seq = wanted.column5,
    reactions = wanted.column6
FROM (VALUES %s) AS wanted
WHERE messages.conversation_id = ? AND messages.seq = wanted.column1"""
# Of whoever had read all that was there before.
_READ = "UPDATE members SET read_seq = ? WHERE conversation_id = ? AND read_seq BETWEEN ? AND ?"
_MAX_ROWS = 1000  # of a statement


class _Imported(NamedTuple):
    """A message of a request, of a checked form. number: its index there. summed: its reactions as the message carries
    them."""

    number: int
    asked: types.ImportedMessage
    sent: Outgoing
    reactions: Sequence[tuple[str, str, int]]
    summed: str


class Importing:
    """Of MessageStoreService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ImportMessages(self, request: pb.ImportMessagesRequest) -> pb.ImportMessagesResponse:
        now, wanted = ids.now_ms(), list[_Imported]()
        verdicts = dict[int, Outcome | ChatError]()
        for number, asked in enumerate(request.messages):
            try:
                wanted.append(self._imported(number, request.conversation_id, asked, now))
            except ChatError as error:
                verdicts[number] = error
        verdicts |= self._database.write(partial(_import, request, wanted))
        return pb.ImportMessagesResponse(results=[_result(verdicts[number], number) for number in sorted(verdicts)])

    def _imported(self, number: int, conversation_id: str, asked: types.ImportedMessage, now: int) -> _Imported:
        forms.check(asked)
        for field in ("created_at", "edited_at"):
            if getattr(asked, field) > now:
                raise invalid(field, "must not be in the future")
        send = repo_pb2.CreateMessageRequest(
            conversation_id=conversation_id,
            from_user_id=asked.from_user_id,
            content=asked.content,
            message_type=asked.message_type,
            metadata={**asked.metadata, "client_msg_id": asked.import_id},
        )
        forms.check(send)
        sent = as_stored(number, send, self._database.pair_key, restricted=False)._replace(written_at=asked.created_at)
        summed, rows = pb.MessageDetail(), dict[tuple[str, str], int]()
        for each in asked.reactions:
            reaction = reactions.spelling(summed, each.reaction)
            if (each.user_id, reaction) not in rows:
                reactions.add(summed, reaction, each.user_id)
                rows[each.user_id, reaction] = min(each.created_at or asked.created_at, now)
        listed = [(*key, at) for key, at in rows.items()]
        return _Imported(number, asked, sent, listed, reactions.dumps(summed) if listed else "")


def _import(request: pb.ImportMessagesRequest, wanted: Sequence[_Imported], tx: Tx) -> dict[int, Outcome | ChatError]:
    """What came of each, by its number. Raises NOT_FOUND for the conversation."""
    conversation_id, now = request.conversation_id, ids.now_ms()
    people = {each.sent.from_user_id for each in wanted} | {user for each in wanted for user, *_ in each.reactions}
    existing = lock_existing(tx, sorted(people))
    before = locked_conversation(tx, conversation_id).last_seq
    newest = tx.fetch_one(_NEWEST, conversation_id, before)
    newest_at = newest[0] if newest and not request.any_order else 0
    verdicts: dict[int, Outcome | ChatError] = dict(_earlier(tx, conversation_id, wanted))
    # By message id, then by import_id; 0 while it is not known.
    seqs = dict(_answerable(tx, conversation_id, [each.asked.reply_to for each in wanted]))
    storable = list[_Imported]()
    for each in wanted:
        earlier = verdicts.get(each.number)
        if isinstance(earlier, Outcome):
            seqs[each.asked.import_id] = earlier.seq
            continue
        try:
            _check(each.asked, existing, newest_at, seqs)
        except ChatError as error:
            verdicts[each.number] = error
            continue
        newest_at = max(newest_at, 0 if request.any_order else each.asked.created_at)
        seqs[each.asked.import_id] = 0
        storable.append(each)
    if not storable:
        return verdicts
    outcomes = store(tx, [each.sent for each in storable], now)
    stored = [
        (each, outcome.seq) for each, outcome in zip(storable, outcomes, strict=True) if outcome.outcome == STORED
    ]
    for each, outcome in zip(storable, outcomes, strict=True):
        verdicts[each.number] = outcome
        seqs[each.asked.import_id] = outcome.seq if outcome.outcome in (STORED, REPEATED) else 0
    if stored:
        _complete(tx, conversation_id, stored, seqs)
        _, last = stored[-1]
        if not request.unread and tx.sql(_READ, last, conversation_id, before, last - 1).rowcount:
            add_change(tx, Kind.READ, conversation_id, seq=last, detail=IMPORTED)
        record(tx, "message.import", conversation_id, str(len(stored)))
    return verdicts


def _check(
    asked: types.ImportedMessage, existing: Collection[str], newest_at: int, answerable: Collection[str]
) -> None:
    if asked.from_user_id not in existing:
        raise not_found("user", "from_user_id")
    for index, each in enumerate(asked.reactions):
        if each.user_id not in existing:
            raise not_found("user", f"reactions[{index}].user_id")
    if asked.reply_to and asked.reply_to not in answerable:
        raise not_found("message", "reply_to")
    if asked.created_at < newest_at:
        rule = "must not be before that of the newest message of the conversation, unless any_order is set"
        raise invalid("created_at", rule, "OUT_OF_ORDER")


def _earlier(tx: Tx, conversation_id: str, wanted: Sequence[_Imported]) -> Iterator[tuple[int, Outcome]]:
    """Those of which the import_id was used by their sender."""
    keys = list(dict.fromkeys((each.sent.from_user_id, each.sent.client_msg_id) for each in wanted))
    if not keys:
        return
    values = [value for key in keys for value in key]
    text = _EARLIER % ", ".join(["(?, ?)"] * len(keys))
    used = {(sender, key): (seq, digest) for sender, key, seq, digest in tx.fetch_all(text, conversation_id, *values)}
    for each in wanted:
        if found := used.get((each.sent.from_user_id, each.sent.client_msg_id)):
            seq, digest = found
            yield (
                each.number,
                Outcome(each.number, conversation_id, REPEATED if digest == each.sent.digest else KEY_REUSED, seq),
            )


def _answerable(tx: Tx, conversation_id: str, message_ids: Sequence[str]) -> Mapping[str, int]:
    """The sequence numbers of those that are ids of messages of the conversation which can be answered."""
    parsed = {each: ids.parse_message(each) for each in message_ids if each}
    seqs = {each: at[1] for each, at in parsed.items() if at and at[0] == conversation_id}
    if not seqs:
        return {}
    text = _ANSWERABLE % placeholders([*seqs])
    there = {seq for (seq,) in tx.fetch_all(text, conversation_id, *seqs.values())}
    return {each: seq for each, seq in seqs.items() if seq in there}


def _complete(tx: Tx, conversation_id: str, stored: Sequence[tuple[_Imported, int]], seqs: Mapping[str, int]) -> None:
    """Writes what belongs to the messages. stored: with their numbers. seqs: of what they answer."""
    changed, rows = list[tuple[Any, ...]](), list[tuple[Any, ...]]()
    for each, seq in stored:
        asked = each.asked
        reply_seq = seqs.get(asked.reply_to, 0)
        if asked.edited_at or reply_seq or each.summed:
            metadata = json.loads(each.sent.metadata)
            if reply_seq:
                metadata[REPLY_TO] = ids.message(conversation_id, reply_seq)
            as_kept, at = json.dumps(metadata, ensure_ascii=False), asked.edited_at or asked.created_at
            changed.append((seq, as_kept, asked.edited_at, at, reply_seq, each.summed))
        for number, (user_id, reaction, at) in enumerate(each.reactions, 1):
            rows.append((conversation_id, seq, user_id, reaction, number, at))
    for text, values, last in ((_SET, changed, (conversation_id,)), (_INSERT_REACTIONS, rows, ())):
        for start in range(0, len(values), _MAX_ROWS):
            some = values[start : start + _MAX_ROWS]
            listed = ", ".join([f"({placeholders(some[0])})"] * len(some))
            tx.sql(text % listed, *(value for row in some for value in row), *last)


def _result(verdict: Outcome | ChatError, number: int) -> types.ImportResult:
    if isinstance(verdict, Outcome) and (error := send_error(verdict)):
        verdict = error
    if isinstance(verdict, ChatError):
        return types.ImportResult(error=verdict.within(f"messages[{number}].").body())
    message_id = ids.message(verdict.conversation_id, verdict.seq)
    return types.ImportResult(message_id=message_id, repeated=verdict.outcome == REPEATED)
