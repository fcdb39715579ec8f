"""Who is to be notified of messages: PushStoreService, the steps from the log of changes to RECIPIENTS_OFFLINE in it.

A row of push_pending is of a user and a conversation: the messages of which they may have to be notified, and when that
is judged. It stays for an interval after they were notified, so that what comes meanwhile waits until that is over.
Each step takes what it has done away in its own transaction: so nobody is notified twice, whichever process does it.

Rows are locked here alone, in the order of their keys, and after no other lock. The conversation is not locked for the
change: it is of messages that this reader has read in the log, so its position comes after theirs.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gochat.domain import ids
from gochat.domain.changes import IMPORTED, PUSH_READER, Kind
from gochat.domain.limits import MAX_NOTIFIED
from gochat.internal.change.v1 import change_pb2
from gochat.internal.push.v1 import push_pb2 as pb
from gochat.repo.changes import add_change
from gochat.repo.feed import Row, kept_epoch, kept_position, read_log
from gochat.repo.hidden import kept
from gochat.repo.messages import RECALLED
from gochat.repo.push_deliveries import add_deliveries
from gochat.repo.push_tokens import VALID
from gochat.repo.recipients import sent_since
from gochat.storage.database import Database, Tx, placeholders

log = logging.getLogger(__name__)

SECOND_LOOK = 60_000  # milliseconds: a connection that is dead without having been closed is found out within these
MAX_DUE = 1000  # rows that are judged together
_CONVERSATIONS = 500  # of one statement
_RECIPIENTS = 200  # of one change

_POSITION = "SELECT epoch, position FROM log_readers WHERE name = ?"
_MOVE = "UPDATE log_readers SET epoch = ?, position = ? WHERE name = ?"
_DUE = "SELECT user_id FROM push_pending WHERE seq > 0 AND due_at <= ? ORDER BY due_at LIMIT ?"
_OVER = "SELECT 1 FROM push_pending WHERE seq = 0 AND due_at <= ? LIMIT 1"
_FORGET = "DELETE FROM push_pending WHERE seq = 0 AND due_at <= ?"
_IS_LARGE = f"""EXISTS (
        SELECT 1 FROM conversations AS conversation
        WHERE conversation.conversation_id = wanted.conversation_id AND conversation.member_count > {MAX_NOTIFIED}
    )"""
_HAS_TOKEN = f"EXISTS (SELECT 1 {VALID} AND token.user_id = member.user_id)"
# Whose messages these are news to: of a small group all members, of a large one those who are mentioned.
_RECIPIENTS_OF = (
    f"""
JOIN members AS member ON member.conversation_id = wanted.conversation_id
WHERE NOT {_IS_LARGE}""",
    f"""
JOIN mentions AS mention ON mention.conversation_id = wanted.conversation_id
    AND mention.seq BETWEEN wanted.first_seq AND wanted.seq
JOIN members AS member ON member.conversation_id = wanted.conversation_id AND member.user_id = mention.user_id
WHERE {_IS_LARGE}""",
    f"""
JOIN mentions AS mention ON mention.conversation_id = wanted.conversation_id
    AND mention.seq BETWEEN wanted.first_seq AND wanted.seq AND mention.user_id = ''
JOIN members AS member ON member.conversation_id = wanted.conversation_id
WHERE {_IS_LARGE}""",
)
_INSERT = "INSERT INTO push_pending (conversation_id, user_id, first_seq, seq, due_at, notified_at, was_connected)"
# A message to who had a stream when the one before was judged is judged by itself.
_ON_CONFLICT = """ON CONFLICT (conversation_id, user_id) DO UPDATE SET
    first_seq = CASE WHEN push_pending.seq = 0 THEN excluded.first_seq ELSE push_pending.first_seq END,
    seq = excluded.seq,
    was_connected = 0,
    due_at = CASE
        WHEN push_pending.seq > 0 AND push_pending.was_connected = 0 THEN push_pending.due_at
        WHEN push_pending.notified_at + ? > excluded.due_at THEN push_pending.notified_at + ?
        ELSE excluded.due_at
    END"""
_COLLECT = {
    all_recipients: f"""
WITH wanted (conversation_id, first_seq, seq, due_at) AS (VALUES {{}})
{_INSERT}
"""
    + " UNION ".join(
        f"""
SELECT wanted.conversation_id, member.user_id, wanted.first_seq, wanted.seq, wanted.due_at, 0, 0
FROM wanted {recipients} AND member.read_seq < wanted.seq AND member.hidden_seq < wanted.seq AND {condition}"""
        for recipients in _RECIPIENTS_OF
    )
    + f"""
ORDER BY 1, 2
{_ON_CONFLICT}"""
    for all_recipients, condition in ((False, _HAS_TOKEN), (True, "member.role <> 'deleted'"))
}
# Of one conversation, on a Citus cluster.
_RECIPIENTS_OF_NODE = f"""
SELECT member.user_id
FROM members AS member
JOIN conversations AS conversation ON conversation.conversation_id = member.conversation_id
WHERE member.conversation_id = ? AND (conversation.member_count <= {MAX_NOTIFIED} OR EXISTS (
    SELECT 1 FROM mentions AS mention
    WHERE mention.conversation_id = ? AND mention.seq BETWEEN ? AND ? AND mention.user_id IN (member.user_id, '')
)) AND member.read_seq < ? AND member.hidden_seq < ? AND member.role <> 'deleted'
ORDER BY member.user_id"""
_WITH_TOKEN = f"SELECT DISTINCT token.user_id {VALID} AND token.user_id IN ({{}})"
_LOCK = """
SELECT conversation_id, user_id, was_connected
FROM push_pending
WHERE seq > 0 AND due_at <= ? AND user_id IN ({})
ORDER BY conversation_id, user_id LIMIT 2000"""
# Of those that are due: what their users have not read and see, if it is anything. Who is mentioned hears of it even
# where they have muted the conversation.
_UNREAD = f"""
SELECT pending.conversation_id, pending.user_id, MIN(message.seq), MAX(message.seq), MAX(member.delivered_seq),
    MAX(member.quiet_until), COUNT(mention.seq)
FROM push_pending AS pending
JOIN users AS owner ON owner.user_id = pending.user_id AND owner.status = 1
JOIN members AS member ON member.conversation_id = pending.conversation_id AND member.user_id = pending.user_id
JOIN messages AS first ON first.conversation_id = pending.conversation_id AND first.seq = pending.first_seq
JOIN messages AS message ON message.conversation_id = pending.conversation_id
    AND message.seq BETWEEN pending.first_seq AND pending.seq AND {sent_since("first", "message")}
LEFT JOIN mentions AS mention ON mention.conversation_id = message.conversation_id AND mention.seq = message.seq
    AND mention.user_id IN (pending.user_id, '')
WHERE pending.seq > 0 AND pending.due_at <= ? AND pending.user_id IN ({{}}) AND message.seq > member.read_seq
    AND message.seq > member.hidden_seq AND message.status < {RECALLED} AND message.from_user_id <> pending.user_id
    AND {kept("message", "member")}
GROUP BY pending.conversation_id, pending.user_id"""
_CLEAR = """
UPDATE push_pending SET first_seq = 0, seq = 0, was_connected = 0, due_at = notified_at + ?
WHERE (conversation_id, user_id) IN (VALUES {})"""
_NOTIFIED = """
UPDATE push_pending SET first_seq = 0, seq = 0, was_connected = 0, notified_at = ?, due_at = ?
WHERE (conversation_id, user_id) IN (VALUES {})"""
_POSTPONE = """
UPDATE push_pending SET was_connected = 1, due_at = ?
WHERE (conversation_id, user_id) IN (VALUES {})"""

Key = tuple[str, str]
"""(conversation_id, user_id)"""


class _Unread(NamedTuple):
    conversation_id: str
    user_id: str
    first_seq: int
    seq: int
    delivered_seq: int
    quiet_until: int
    mentions: int


class Notifying:
    """Of PushStoreService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def CollectPending(self, request: pb.CollectPendingRequest) -> pb.CollectPendingResponse:
        now = ids.now_ms()
        self._database.collect()

        def look(tx: Tx) -> bool:
            """Is there anything to write?"""
            return _position(tx) != read_log(tx, change_pb2.Position()).now or bool(tx.fetch_one(_OVER, now))

        def work(tx: Tx) -> None:
            start = _position(tx, tx.lock)
            if start is None:  # the reader has not begun
                return
            changes = read_log(tx, start) if _has_recipients(tx, request) else read_log(tx, change_pb2.Position())
            if changes.gap:
                log.warning("what was sent before now notifies nobody: %s", change_pb2.Gap.Name(changes.gap))
            for wanted in _sent(changes.complete, request.delay):
                _collect(tx, wanted, request)
            tx.sql(_MOVE, kept_epoch(tx, changes.now), changes.now.at, PUSH_READER)
            tx.sql(_FORGET, now)

        if self._database.read(look):
            self._database.write(work)
        due = self._database.read(lambda tx: tx.fetch_all(_DUE, ids.now_ms(), MAX_DUE), one_statement=True)
        return pb.CollectPendingResponse(due_user_ids=dict.fromkeys(user_id for (user_id,) in due))

    def DecidePending(self, request: pb.DecidePendingRequest) -> pb.DecidePendingResponse:
        if not request.user_ids:
            return pb.DecidePendingResponse()
        return pb.DecidePendingResponse(notified=self._database.write(lambda tx: _decide(tx, request)))


def _position(tx: Tx, lock: str = "") -> change_pb2.Position | None:
    row = tx.fetch_one(_POSITION + lock, PUSH_READER)
    return kept_position(tx, *row) if row else None


def _has_recipients(tx: Tx, request: pb.CollectPendingRequest) -> bool:
    return request.all_recipients or tx.fetch_one("SELECT 1 FROM push_tokens LIMIT 1") is not None


def _sent(changes: Iterable[Row], delay: int) -> Iterable[list[tuple[str, int, int, int]]]:
    """What these changes sent, in pieces: of each conversation its id, the first and last number, when it is judged."""
    sent = dict[str, tuple[int, int, int]]()
    for change in changes:
        if change.kind == Kind.MESSAGES_SENT and change.detail != IMPORTED:
            first, _, due_at = sent.get(change.conversation_id, (change.first_seq, 0, change.at + delay))
            sent[change.conversation_id] = first, change.seq, due_at
    rows = [(conversation_id, *found) for conversation_id, found in sorted(sent.items())]
    for start in range(0, len(rows), _CONVERSATIONS):
        yield rows[start : start + _CONVERSATIONS]


def _collect_of_nodes(tx: Tx, sent: Sequence[tuple[str, int, int, int]], request: pb.CollectPendingRequest) -> None:
    """As _collect(), on a Citus cluster: tokens are on the coordinator, members on the nodes of conversations."""
    for conversation_id, first_seq, seq, due_at in sent:
        of_message = conversation_id, conversation_id, first_seq, seq, seq, seq
        found = [user_id for (user_id,) in tx.fetch_all(_RECIPIENTS_OF_NODE, *of_message)]
        if found and not request.all_recipients:
            text = _WITH_TOKEN.format(placeholders(found))
            found = [user_id for (user_id,) in tx.fetch_all(text, ids.now_ms(), *found)]
        for start in range(0, len(found), _RECIPIENTS):
            piece = found[start : start + _RECIPIENTS]
            values = ", ".join(["(?, ?, ?, ?, ?, 0, 0)"] * len(piece))
            rows = [value for user_id in piece for value in (conversation_id, user_id, first_seq, seq, due_at)]
            tx.sql(f"{_INSERT} VALUES {values} {_ON_CONFLICT}", *rows, request.interval, request.interval)


def _collect(tx: Tx, sent: Sequence[tuple[str, int, int, int]], request: pb.CollectPendingRequest) -> None:
    if tx.distributed:
        _collect_of_nodes(tx, sent, request)
        return
    text = _COLLECT[request.all_recipients].format(", ".join(["(?, ?, ?, ?)"] * len(sent)))
    now = [] if request.all_recipients else [ids.now_ms()] * len(_RECIPIENTS_OF)
    tx.sql(text, *(value for row in sent for value in row), *now, request.interval, request.interval)


def _decide(tx: Tx, request: pb.DecidePendingRequest) -> int:
    """Returns how many were notified."""
    now, user_ids, connected = ids.now_ms(), list(request.user_ids), set(request.connected_user_ids)
    wanted = placeholders(user_ids)
    lock = "" if tx.distributed else tx.lock  # Citus locks rows of one node only; one process at a time comes here
    due = {(room, user): seen for room, user, seen in tx.fetch_all(_LOCK.format(wanted) + lock, now, *user_ids)}
    unread = [_Unread(*row) for row in tx.fetch_all(_UNREAD.format(wanted), now, *user_ids)]
    notified, postponed = list[_Unread](), dict[Key, None]()
    for each in unread:
        key = each.conversation_id, each.user_id
        if key not in due or (each.quiet_until > now and not each.mentions):
            continue
        if each.user_id in connected:
            if not due[key]:
                postponed[key] = None
        elif not (due[key] and each.delivered_seq >= each.seq):  # else their device had it before it went
            notified.append(each)
    done = {(each.conversation_id, each.user_id) for each in notified}
    cleared = [key for key in due if key not in done and key not in postponed]
    _update(tx, _NOTIFIED, sorted(done), now, now + request.interval)
    _update(tx, _POSTPONE, [*postponed], now + SECOND_LOOK)
    _update(tx, _CLEAR, cleared, request.interval)
    together = defaultdict[tuple[str, int, int], list[str]](list)
    for each in notified:
        together[each.conversation_id, each.first_seq, each.seq].append(each.user_id)
    for (conversation_id, first_seq, seq), recipients in sorted(together.items()):
        for start in range(0, len(recipients), _RECIPIENTS):
            detail = " ".join(recipients[start : start + _RECIPIENTS])
            add_change(
                tx, Kind.RECIPIENTS_OFFLINE, conversation_id, first_seq=first_seq, seq=seq, detail=detail, at=now
            )
        add_deliveries(tx, conversation_id, seq, recipients, now, request.ttl)
    return len(notified)


def _update(tx: Tx, text: str, keys: Sequence[Key], *values: int) -> None:
    if keys:
        tx.sql(text.format(", ".join(["(?, ?)"] * len(keys))), *values, *(part for key in keys for part in key))
