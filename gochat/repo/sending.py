"""Sending: the one way a message is stored, be it a single one, the first of two users, a batch or bulk.

`store` takes a list of messages to one conversation: it locks the conversation, judges each message, numbers and
inserts those that may be sent, then writes the conversation and its members once. On PostgreSQL these steps are the
function send_messages() of sql/routines.postgres.sql, in one round trip; on SQLite they are here, in _store_sqlite.
tests/repo/test_sending.py holds the two, and all who call them, to the same answers.
"""

import json
from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

import peewee

from gochat.api.message.v1 import message_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.context import current
from gochat.domain import forms, group_policy, ids, policy
from gochat.domain.changes import IMPORTED, Kind
from gochat.errors import ChatError, duplicate, invalid, not_found
from gochat.internal.store.v1 import store_pb2
from gochat.repo import references
from gochat.repo.membership import POSITION, move_read, open_single, show_empty, update_inbox
from gochat.repo.messages import SENT, message, message_at
from gochat.repo.send_limits import SendLimits
from gochat.storage.database import Database, Tx
from gochat.storage.models import MAX_INBOX_MEMBERS

# What comes of a message, as send_messages() of sql/routines.postgres.sql has it too. Only STORED has changed anything.
STORED, REPEATED, KEY_REUSED, NO_CONVERSATION = "sent", "repeated", "key_reused", "no_conversation"
NOT_PARTICIPANT, NO_RECIPIENT, OTHER_RECIPIENT = "not_participant", "no_recipient", "other_recipient"
BAD_REFERENCE = "bad_reference"  # of metadata: not of the function, which does not see these messages
_MAY_REPEAT = (NO_CONVERSATION, NOT_PARTICIPANT, NO_RECIPIENT, *group_policy.SEND_ERRORS)
"""What may have come true after the message was sent: then its sender, who repeats it, gets the first answer."""
_ERRORS: dict[str, Callable[[], ChatError]] = {
    NO_CONVERSATION: lambda: not_found("conversation", "conversation_id"),
    NOT_PARTICIPANT: policy.not_participant,
    NO_RECIPIENT: lambda: not_found("user", "to_user_id"),
    OTHER_RECIPIENT: lambda: invalid("to_user_id", "must be empty or the other participant of this conversation"),
    KEY_REUSED: lambda: duplicate(
        "this client_msg_id was used for a message with other content", "CLIENT_MSG_ID_REUSED", "metadata"
    ),
}

# The last column: may every member send?
_CONVERSATION = """
SELECT type, last_seq, member_count, updated_at, posting = 'everyone' AND slow_mode_seconds = 0 AND muted_until <= ?
FROM conversations
WHERE conversation_id = ? AND dissolved_at = 0"""
_PAIR = f"SELECT user_id FROM members WHERE conversation_id = ? AND role <> '{policy.DELETED}'"
_IS_MEMBER = "SELECT 1 FROM members WHERE conversation_id = ? AND user_id = ?"
_INSERT_KEY = """
INSERT INTO sends (conversation_id, from_user_id, client_msg_id, seq, digest)
VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING"""
_EARLIER = """
SELECT used.digest, used.seq, earlier.created_at
FROM sends AS used
JOIN messages AS earlier ON earlier.conversation_id = used.conversation_id AND earlier.seq = used.seq
WHERE used.conversation_id = ? AND used.from_user_id = ? AND used.client_msg_id = ?"""
_INSERT_MESSAGE = f"""
INSERT INTO messages (
    conversation_id, seq, from_user_id, to_user_id, content, message_type, status, metadata, created_at, updated_at
) VALUES (?, ?, ?, ?, ?, ?, {SENT}, ?, ?, ?)"""
_MOVE = "UPDATE conversations SET last_seq = ?, updated_at = ? WHERE conversation_id = ?"
_MOVE_LARGE = f"""
UPDATE conversations SET last_seq = ?, updated_at = ?, position = {POSITION[False]} WHERE conversation_id = ?"""
# Not by changes.py, which is for what is done less often: senders are in their messages.
_INSERT_CHANGE = """
INSERT INTO changes (kind, conversation_id, user_id, actor_id, first_seq, seq, detail, at)
VALUES (?, ?, '', '', ?, ?, ?, ?)"""

# Of PostgreSQL, in sql/routines.postgres.sql.
_SEND_MESSAGES = "SELECT number, conversation_id, outcome, seq, recipient, created_at FROM send_messages(?, ?, ?)"
_SEND_UNLOCKED = "SELECT number, conversation_id, outcome, seq, recipient, created_at FROM send_unlocked(?, ?)"


class Outgoing(NamedTuple):
    """A message in the form that it is stored in. number: its index in the request. to_user_id: as the request names
    it; may be empty. digest: of what is sent with this client_msg_id. names_conversation: else it may be the first of
    two users. restricted: by what a group lets its members do. written_at: when, of one that is imported, whose sender
    need not be in a group; else 0. Such are stored apart from others."""

    number: int
    conversation_id: str
    from_user_id: str
    to_user_id: str
    content: str
    message_type: str
    metadata: str
    client_msg_id: str
    digest: str
    names_conversation: bool
    restricted: bool
    written_at: int = 0

    @property
    def refers(self) -> bool:
        """To other messages, or to members: see references.py."""
        return references.refers(self.metadata)


class Outcome(NamedTuple):
    """What came of a message. seq, created_at: of the message that is STORED, or of the earlier one that it repeats;
    of one that a group does not let its sender send, created_at is until when.
    unopened: why two users have no conversation and cannot be given one. bad_reference: what is wrong with one."""

    number: int
    conversation_id: str
    outcome: str
    seq: int = 0
    recipient: str = ""
    created_at: int = 0
    unopened: ChatError | None = None
    bad_reference: ChatError | None = None


class Sending:
    def __init__(self, database: Database) -> None:
        self._database = database

    def CreateMessage(self, request: repo_pb2.CreateMessageRequest) -> repo_pb2.CreateMessageResponse:
        return self._create(request, restricted=False)

    def StoreMessage(self, request: repo_pb2.CreateMessageRequest) -> repo_pb2.CreateMessageResponse:
        return self._create(request, restricted=True)

    def StoreRewritten(self, request: store_pb2.StoreRewrittenRequest) -> repo_pb2.CreateMessageResponse:
        return self._create(request.message, restricted=True, digest=request.digest)

    def _create(
        self, request: repo_pb2.CreateMessageRequest, *, restricted: bool, digest: str = ""
    ) -> repo_pb2.CreateMessageResponse:
        policy.send(current().caller, request.message_type)
        sent = as_stored(0, request, self._database.pair_key, restricted=restricted, digest=digest)
        now = ids.now_ms()
        (stored,) = self._database.write(lambda tx: store(tx, [sent], now), one_statement=not sent.refers)
        if stored.outcome == NO_CONVERSATION and not sent.names_conversation:
            (stored,) = self._database.write(partial(_open_and_store, self._database.pair_key, [sent]))
        if error := send_error(stored):
            raise error
        if stored.outcome == REPEATED or sent.refers:
            earlier = partial(message_at, sent.conversation_id, stored.seq)
            answer = self._database.read(earlier, one_statement=True)
        else:
            text, at = (sent.content, sent.message_type, SENT, sent.metadata), stored.created_at
            row = (stored.seq, sent.from_user_id, stored.recipient, *text, at, at, None)
            answer = message(sent.conversation_id, row)
        return repo_pb2.CreateMessageResponse(message_id=answer.message_id, message=answer)

    def StoreMessages(self, request: store_pb2.StoreMessagesRequest) -> store_pb2.StoreMessagesResponse:
        """What goes into one conversation is one transaction."""
        caller, pair_key, unrestricted = current().caller, self._database.pair_key, set(request.unrestricted)
        digests = dict(enumerate(request.digests))
        answer = store_pb2.StoreMessagesResponse(results=[message_pb2.SendResult()] * len(request.messages))
        conversations: dict[str, list[Outgoing]] = {}
        for number, asked in enumerate(request.messages):
            try:
                forms.check(asked)
                policy.send(caller, asked.message_type)
                restricted, digest = number not in unrestricted, digests.get(number, "")
                one = as_stored(number, asked, pair_key, restricted=restricted, digest=digest)
            except ChatError as refused:
                if not request.skip_locked:
                    answer.results[number].error.CopyFrom(refused.body())
            else:
                if not (request.skip_locked and one.refers):  # which waits for the lock
                    conversations.setdefault(one.conversation_id, []).append(one)
        if not conversations:
            return answer
        if request.skip_locked:
            stored = self._store_unlocked(list(conversations.values()))
        else:
            works = [partial(_open_and_store, pair_key, messages) for messages in conversations.values()]
            stored = self._database.write_each(works)
        for outcome in chain.from_iterable(stored):
            result = answer.results[outcome.number]
            if error := send_error(outcome):
                result.error.CopyFrom(error.body())
            else:
                result.message_id = ids.message(outcome.conversation_id, outcome.seq)
                result.created_at = outcome.created_at
        return answer

    def _store_unlocked(self, conversations: Sequence[Sequence[Outgoing]]) -> list[list[Outcome]]:
        if self._database.distributed:
            return []  # one transaction for several nodes takes longer than one for each of these
        try:
            return self._database.write(partial(_store_unlocked, conversations), one_statement=True)
        except (peewee.PeeweeException, UnicodeEncodeError):
            # PostgreSQL takes no part of a statement, so each is free to be sent by itself, and to have its own error:
            # a character, say, that the database's encoding does not have.
            if self._database.enqueue:
                raise
            return []


def as_stored(
    number: int,
    request: repo_pb2.CreateMessageRequest,
    pair_key: bytes,
    *,
    restricted: bool = True,
    digest: str = "",
) -> Outgoing:
    """conversation_id: of two users also where they have none yet. digest: of the sender's words, where those of the
    request are others. Raises INVALID_PARAMS."""
    conversation_id, sender, kind = request.conversation_id, request.from_user_id, request.message_type or "text"
    if not conversation_id:
        if not request.to_user_id:
            raise invalid("conversation_id", "must not be empty unless to_user_id is given")
        if request.to_user_id == sender:
            raise invalid("to_user_id", "must not be the sender")
        conversation_id = ids.single(sender, request.to_user_id, pair_key)
    metadata = key = ""
    if request.metadata:
        metadata = json.dumps(dict(request.metadata), ensure_ascii=False)
        if key := request.metadata.get("client_msg_id", ""):
            digest = digest or policy.content_digest(kind, request.content)
    names_conversation = bool(request.conversation_id)
    text = (request.content, kind, metadata, key, digest if key else "")
    return Outgoing(number, conversation_id, sender, request.to_user_id, *text, names_conversation, restricted)


def send_verdict(kind: str, members: Collection[str], sender: str, named: str) -> tuple[str, str]:
    """(outcome, recipient) of a send into a conversation. members: has the sender if they are in it; of a one-to-one
    conversation both, but for one who is deleted. named: the recipient by the request; may be empty."""
    if sender not in members:
        return NOT_PARTICIPANT, ""
    recipient = next((user_id for user_id in members if user_id != sender), "") if kind == "single" else ""
    if kind == "single" and not recipient:
        return NO_RECIPIENT, ""
    return (OTHER_RECIPIENT, "") if named not in ("", recipient) else (STORED, recipient)


def send_error(stored: Outcome) -> ChatError | None:
    """None where the message is stored, now or earlier."""
    if stored.outcome == NO_CONVERSATION and stored.unopened:
        return stored.unopened
    if by_group := group_policy.SEND_ERRORS.get(stored.outcome):
        return by_group(stored.created_at, ids.now_ms())
    if stored.outcome == BAD_REFERENCE:
        return stored.bad_reference
    error = _ERRORS.get(stored.outcome)
    return error() if error else None


def store(tx: Tx, messages: Sequence[Outgoing], now: int) -> list[Outcome]:
    """Stores messages to one conversation, in their order. One statement on PostgreSQL, if none of them refers to
    anything."""
    if any(one.refers for one in messages):
        return _store_referring(tx, messages, now)
    return _store(tx, messages, now)


def _store_referring(tx: Tx, messages: Sequence[Outgoing], now: int) -> list[Outcome]:
    """As store(), with what the messages refer to. One whose reference is wrong is not stored, unless it repeats one
    that was stored when it was right. What a message refers to was there before all of these."""
    kept, refused = dict[int, references.References](), dict[int, Outcome]()
    for one in messages:
        try:
            if one.refers and (found := references.checked(tx, one)):
                kept[one.number] = found
        except ChatError as error:
            bad = Outcome(one.number, one.conversation_id, BAD_REFERENCE, bad_reference=error)
            refused[one.number] = _or_repeat(tx, one, bad)
    sendable = [
        one._replace(metadata=references.as_kept(one.metadata, kept[one.number])) if one.number in kept else one
        for one in messages
        if one.number not in refused
    ]
    stored = {outcome.number: outcome for outcome in (_store(tx, sendable, now) if sendable else [])}
    for number, found in kept.items():
        if stored[number].outcome == STORED:
            references.keep(tx, stored[number].conversation_id, stored[number].seq, found)
    return [refused.get(one.number) or stored[one.number] for one in messages]


def _store(tx: Tx, messages: Sequence[Outgoing], now: int) -> list[Outcome]:
    if not tx.postgres:
        return _store_sqlite(tx, messages[0].conversation_id, messages, now)
    return [Outcome(*row) for row in tx.fetch_all(_SEND_MESSAGES, messages[0].conversation_id, _json(messages), now)]


def _store_sqlite(tx: Tx, conversation_id: str, messages: Sequence[Outgoing], now: int) -> list[Outcome]:
    """The same steps as send_messages() of sql/routines.postgres.sql."""
    conversation = tx.fetch_one(_CONVERSATION, now, conversation_id)
    if conversation is None:
        return [_or_repeat(tx, one, Outcome(one.number, conversation_id, NO_CONVERSATION)) for one in messages]
    kind, newest, member_count, updated_at, is_free = conversation
    is_first, first_seq, active_at = newest == 0, newest + 1, now
    is_import = messages[0].written_at > 0
    senders = {one.from_user_id for one in messages}
    members = senders if is_import and kind == "group" else _members(tx, conversation_id, kind, senders)
    limits = None if is_free or is_import else SendLimits(tx, conversation_id, members, now)
    outcomes, read = [], dict[str, int]()
    for one in messages:
        outcome, recipient = send_verdict(kind, members, one.from_user_id, one.to_user_id)
        stored = Outcome(one.number, conversation_id, outcome, newest + 1, recipient, one.written_at or now)
        if limits and outcome == STORED and one.restricted and (refusal := limits.refusal(one.from_user_id)):
            outcome, until = refusal
            stored = stored._replace(outcome=outcome, created_at=until)
        if outcome == STORED and one.client_msg_id:
            stored = _insert_key(tx, one, stored)
        elif outcome in _MAY_REPEAT:
            stored = _or_repeat(tx, one, stored)
        if stored.outcome == STORED:
            newest = read[one.from_user_id] = stored.seq
            row = (conversation_id, newest, one.from_user_id, recipient, one.content, one.message_type, one.metadata)
            at = one.written_at or now
            tx.sql(_INSERT_MESSAGE, *row, at, at)
            if is_import:
                active_at = updated_at = at if newest == 1 else max(at, updated_at)
            if limits:
                limits.add(one.from_user_id)
        outcomes.append(stored)
    if read:
        # One's own message is read, and everything before it; first, so that it is at no moment unread.
        for sender, seq in read.items():
            move_read(tx, conversation_id, sender, seq)
        tx.sql(_MOVE if member_count <= MAX_INBOX_MEMBERS else _MOVE_LARGE, newest, active_at, conversation_id)
        if member_count <= MAX_INBOX_MEMBERS:
            update_inbox(tx, conversation_id, (newest, active_at))
            if is_first:
                show_empty(tx, conversation_id)
                if kind == "single":
                    tx.sql(_INSERT_CHANGE, int(Kind.CONVERSATION_UPDATED), conversation_id, 0, 0, "", now)
        if limits:
            limits.write(tx)
        detail = IMPORTED if is_import else ""
        tx.sql(_INSERT_CHANGE, int(Kind.MESSAGES_SENT), conversation_id, first_seq, newest, detail, now)
    return outcomes


def _members(tx: Tx, conversation_id: str, kind: str, senders: set[str]) -> set[str]:
    """Of a one-to-one conversation both, but for one who is deleted; of a group those of the senders who are in it."""
    if kind == "single":
        return {user_id for (user_id,) in tx.fetch_all(_PAIR, conversation_id)}
    return {user_id for user_id in senders if tx.fetch_one(_IS_MEMBER, conversation_id, user_id)}


def _or_repeat(tx: Tx, sent: Outgoing, refused: Outcome) -> Outcome:
    """Of a message that cannot be sent any more: as given, or what was stored when it was sent the first time."""
    if not sent.client_msg_id:
        return refused
    row = tx.fetch_one(_EARLIER, sent.conversation_id, sent.from_user_id, sent.client_msg_id)
    if row is None or row[0] != sent.digest:
        return refused
    _, seq, created_at = row
    return refused._replace(outcome=REPEATED, seq=seq, created_at=created_at)


def _insert_key(tx: Tx, sent: Outgoing, stored: Outcome) -> Outcome:
    """Of a message with a client_msg_id: as given, or what was stored with it earlier."""
    used = (sent.conversation_id, sent.from_user_id, sent.client_msg_id)
    if tx.sql(_INSERT_KEY, *used, stored.seq, sent.digest).rowcount:
        return stored
    ((digest, seq, created_at),) = tx.fetch_all(_EARLIER, *used)
    outcome = REPEATED if digest == sent.digest else KEY_REUSED
    return stored._replace(outcome=outcome, seq=seq, created_at=created_at)


def _open_and_store(pair_key: bytes, messages: Sequence[Outgoing], tx: Tx) -> list[Outcome]:
    """As store(), but makes the one-to-one conversation where there is none."""
    now = ids.now_ms()
    outcomes = store(tx, messages, now)
    first = [(one.from_user_id, one.to_user_id) for one in messages if not one.names_conversation]
    if not first or outcomes[0].outcome != NO_CONVERSATION:
        return outcomes
    unopened = dict[str, ChatError]()  # by sender
    for sender, recipient in dict.fromkeys(first):
        try:
            open_single(tx, pair_key, (sender, "from_user_id"), (recipient, "to_user_id"))
        except ChatError as error:
            unopened[sender] = error
    return [
        outcome if one.names_conversation else outcome._replace(unopened=unopened.get(one.from_user_id))
        for one, outcome in zip(messages, store(tx, messages, now), strict=True)
    ]


def _store_unlocked(conversations: Sequence[Sequence[Outgoing]], tx: Tx) -> list[list[Outcome]]:
    """Of messages by conversation those that are STORED. The others wait for a lock, repeat one, or break a rule."""
    now = ids.now_ms()
    if tx.postgres:
        outgoing = _json([*chain.from_iterable(conversations)])
        return [[Outcome(*row) for row in tx.fetch_all(_SEND_UNLOCKED, outgoing, now)]]
    return [[one for one in store(tx, messages, now) if one.outcome == STORED] for messages in conversations]


def _json(messages: Sequence[Outgoing]) -> str:
    return json.dumps([one._asdict() for one in messages], ensure_ascii=False)
