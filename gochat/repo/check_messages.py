"""The invariants of what belongs to messages, as check.py judges them: reactions, pins, mentions, versions, and what
users have deleted for themselves alone."""

from collections import defaultdict
from collections.abc import Iterator

from gochat.domain import reactions
from gochat.domain.limits import MAX_PINS
from gochat.storage.database import Row, Tx

_PAGE = 200  # messages in memory

_IS_WITHDRAWN = """NOT EXISTS (
    SELECT 1 FROM messages AS message
    WHERE message.conversation_id = t.conversation_id AND message.seq = t.seq AND message.status < 4
)"""
_TOO_MANY_PINS = f"""
SELECT conversation_id FROM messages
WHERE pinned_at > 0 GROUP BY conversation_id HAVING COUNT(*) > {MAX_PINS}"""
_DELETED_SEQ = """
SELECT t.conversation_id, t.user_id FROM members AS t
WHERE t.deleted_seq <> COALESCE((
    SELECT MAX(own.seq) FROM own_deletions AS own
    WHERE own.conversation_id = t.conversation_id AND own.user_id = t.user_id
), 0)"""
_OF_NOTHING = """
SELECT t.conversation_id, t.user_id, t.seq FROM own_deletions AS t
WHERE NOT EXISTS (
    SELECT 1 FROM messages AS message WHERE message.conversation_id = t.conversation_id AND message.seq = t.seq
)"""
_MENTIONED_TWICE = """
SELECT t.conversation_id, t.user_id, t.seq FROM mentions AS t
WHERE t.user_id = '' AND EXISTS (
    SELECT 1 FROM mentions AS other
    WHERE other.conversation_id = t.conversation_id AND other.seq = t.seq AND other.user_id <> ''
)"""
_SUMS = f"""
SELECT t.conversation_id, t.seq, t.reactions FROM messages AS t
WHERE (t.conversation_id, t.seq) > (?, ?) AND (t.reactions <> '' OR EXISTS (
    SELECT 1 FROM reactions AS one WHERE one.conversation_id = t.conversation_id AND one.seq = t.seq
))
ORDER BY t.conversation_id, t.seq LIMIT {_PAGE}"""
_REACTIONS = """
SELECT conversation_id, seq, reaction, user_id FROM reactions
WHERE (conversation_id, seq) IN (VALUES %s) ORDER BY number"""


def _messages(condition: str) -> str:
    return f"SELECT t.conversation_id, t.seq FROM messages AS t WHERE {condition}"


MESSAGE_RULES = [
    (
        "messages",
        "is withdrawn, and something of it is still there",
        _messages(
            "t.status >= 4 AND (t.edited_at <> 0 OR t.reply_seq <> 0 OR t.forwarded_at <> 0 OR t.pinned_at <> 0"
            " OR t.reactions <> '')"
        ),
    ),
    (
        "messages",
        "reply_seq is not of an earlier message",
        _messages("t.reply_seq <> 0 AND t.reply_seq NOT BETWEEN 1 AND t.seq - 1"),
    ),
    (
        "messages",
        "was edited, by its versions, and has no edited_at",
        _messages(
            "t.edited_at = 0 AND EXISTS (SELECT 1 FROM message_versions AS version"
            " WHERE version.conversation_id = t.conversation_id AND version.seq = t.seq)"
        ),
    ),
    (
        "messages",
        "is pinned by somebody at no time, or forwarded from there",
        _messages("t.pinned_at = 0 AND t.pinned_by <> '' OR (t.forwarded_at = 0) <> (t.forwarded_user_id = '')"),
    ),
    ("conversations", f"has more than {MAX_PINS} pinned messages", _TOO_MANY_PINS),
    ("members", "deleted_seq is not that of the newest of their own_deletions", _DELETED_SEQ),
    ("own_deletions", "seq is not of a message", _OF_NOTHING),
    ("mentions", "mentions all, and some of them once more", _MENTIONED_TWICE),
    *(
        (
            table,
            "seq is not of a message, or of one that is withdrawn",
            f"SELECT {key} FROM {table} AS t WHERE {_IS_WITHDRAWN}",
        )
        for table, key in (
            ("reactions", "t.conversation_id, t.seq, t.user_id, t.reaction"),
            ("mentions", "t.conversation_id, t.user_id, t.seq"),
            ("message_versions", "t.conversation_id, t.seq, t.version"),
        )
    ),
]
"""(table, sentence, a SELECT of the keys of the rows of which the sentence is true)"""


def wrong_sums(tx: Tx) -> Iterator[Row]:
    """The keys of the messages whose sum of reactions is not that of their rows. Kinds may be in another order."""
    last: Row = ("", 0)
    while rows := tx.fetch_all(_SUMS, *last):
        text = _REACTIONS % ", ".join(["(?, ?)"] * len(rows))
        users = defaultdict[tuple[str, int, str], list[str]](list)
        for conversation_id, seq, reaction, user_id in tx.fetch_all(text, *[v for row in rows for v in row[:2]]):
            users[conversation_id, seq, reaction].append(user_id)
        for conversation_id, seq, summed in rows:
            right = {
                reaction: (len(those), those[: reactions.FIRST])
                for (of, at, reaction), those in users.items()
                if (of, at) == (conversation_id, seq)
            }
            kinds = reactions.loads(summed).reactions
            if {one.reaction: (one.count, list(one.user_ids)) for one in kinds} != right:
                yield conversation_id, seq
        last = rows[-1][:2]
