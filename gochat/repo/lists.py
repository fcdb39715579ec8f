"""Lists of a user's conversations, latest and unread: their statements, and what they show of each conversation."""

from gochat.repo.hidden import kept, unread_deleted
from gochat.repo.inboxes import CARRIES, LOOKUPS, MOVED
from gochat.repo.messages import COLUMNS, DELETED, RECALLED, RECIPIENT_REACHED, reached
from gochat.storage.kept import Kept
from gochat.storage.models import LOOKED_UP

_IS_USER = "EXISTS (SELECT 1 FROM users WHERE user_id = ?1)"


# Sequence numbers count messages, so the number after a read position is a subtraction; only those that were recalled
# or deleted since, for all or by the user, are counted. One's own messages are never after one's read position.
def _unread(member: str) -> str:
    return f"""conversation.last_seq - {member}.read_seq - CASE
        WHEN conversation.recalled_seq <= {member}.read_seq THEN 0
        ELSE (
            SELECT COUNT(*) FROM messages AS recalled INDEXED BY messages_withdrawn
            WHERE recalled.conversation_id = conversation.conversation_id AND recalled.status >= {RECALLED}
                AND recalled.seq > {member}.read_seq
        )
    END - {unread_deleted(member)}"""


UNREAD = _unread("member")

# Of a row `member` of members, and its `conversation`. Messages that are recalled or deleted have no mentions.
UNREAD_MENTIONS = f"""CASE WHEN conversation.last_seq <= member.read_seq THEN 0 ELSE (
        SELECT COUNT(*) FROM mentions AS mention
        WHERE mention.conversation_id = member.conversation_id AND mention.user_id IN (member.user_id, '')
            AND mention.seq > member.read_seq AND {kept("mention", "member")}
    ) END"""


# What a list shows of each conversation of a page: `message`, the newest that is visible, which is the last unless that
# was recalled or deleted, for all or by the user; and `other`, the other user of a one-to-one conversation without a
# name or an avatar. The newest message names them; where there is none they are looked up.
FROM_PAGE = f"""
    FROM page
    JOIN conversations AS conversation ON conversation.conversation_id = page.conversation_id
    LEFT JOIN messages AS message ON message.conversation_id = page.conversation_id AND message.seq = CASE
        WHEN conversation.recalled_seq < page.last_seq AND page.deleted_seq < page.last_seq THEN page.last_seq
        ELSE (
            SELECT visible.seq FROM messages AS visible
            WHERE visible.conversation_id = page.conversation_id AND visible.seq > page.hidden_seq
                AND visible.status < {DELETED} AND {kept("visible", "page")}
            ORDER BY visible.seq DESC LIMIT 1
        )
    END
    LEFT JOIN users AS other ON other.user_id = CASE
        WHEN conversation.type = 'group' OR (conversation.name <> '' AND conversation.avatar <> '') THEN NULL
        WHEN message.from_user_id = page.user_id THEN message.to_user_id
        WHEN message.to_user_id = page.user_id THEN message.from_user_id
        ELSE (
            SELECT member.user_id FROM members AS member
            WHERE member.conversation_id = page.conversation_id AND member.user_id <> page.user_id
        )
    END"""
INFO_COLUMNS = f"""page.conversation_id, conversation.type, COALESCE(NULLIF(conversation.name, ''), other.nickname, ''),
        COALESCE(NULLIF(conversation.avatar, ''), other.avatar, ''), page.updated_at, {COLUMNS},
        CASE message.to_user_id
            WHEN '' THEN NULL WHEN page.user_id THEN {reached("page")} ELSE {RECIPIENT_REACHED}
        END"""


def of_members(text: str) -> str:
    """FROM_PAGE, or columns of it, with rows of members for those of a page: a Citus cluster sends its nodes no
    subquery for each row of a list that it has made itself."""
    for name, other in _OF_MEMBERS.items():
        text = text.replace(name, other)
    return text


_OF_MEMBERS = {
    "FROM page\n": "FROM members AS page\n",
    "page.last_seq": "conversation.last_seq",
    "page.updated_at": "conversation.updated_at",
    "page.unread_mentions": UNREAD_MENTIONS.replace("member.", "page."),
    "page.unread": f"({_unread('page')})",
}
_LOOKED_UP = """member.user_id, member.conversation_id, conversation.updated_at, conversation.last_seq, member.read_seq,
        member.delivered_seq, member.hidden_seq, member.deleted_seq"""
HAS_UNREAD = "conversation.last_seq > member.read_seq AND conversation.last_seq > member.hidden_seq"


# The page is cut first, then all else is looked up. It is cut by the inbox columns of members, which an index has in
# order, merged with the large conversations, which are looked up. Of the former SQLite reads as many as the page takes;
# PostgreSQL reads and sorts them all unless it is given a limit, for which SQLite would sort once more.
def _page(postgres: bool) -> str:
    return f"""
WITH looked_up AS (
    SELECT {_LOOKED_UP}
    FROM members AS member
    JOIN conversations AS conversation ON conversation.conversation_id = member.conversation_id
    WHERE member.user_id = ?1 AND member.active_at = {LOOKED_UP} AND conversation.last_seq > member.hidden_seq
    UNION ALL
    SELECT {_LOOKED_UP}
    FROM {MOVED[postgres]}
    WHERE own.user_id = ?1 AND conversation.last_seq > member.hidden_seq
), carried AS (
    SELECT user_id, conversation_id, active_at AS updated_at, last_seq, read_seq, delivered_seq, hidden_seq, deleted_seq
    FROM members AS member
    WHERE user_id = ?1 AND active_at < {LOOKED_UP} AND last_seq > hidden_seq AND {CARRIES}
    ORDER BY active_at DESC, conversation_id DESC {"LIMIT ?2 + ?3" if postgres else ""}
), page AS (
    SELECT * FROM (SELECT * FROM looked_up UNION ALL SELECT * FROM carried) AS latest
    ORDER BY updated_at DESC, conversation_id DESC LIMIT ?2 OFFSET ?3
)
SELECT (SELECT COUNT(*) FROM members WHERE user_id = ?1) - (
    SELECT COUNT(*) FROM members AS hiding INDEXED BY members_hiding
    JOIN conversations AS conversation ON conversation.conversation_id = hiding.conversation_id
    WHERE hiding.user_id = ?1 AND hiding.hidden_seq >= 0 AND conversation.last_seq <= hiding.hidden_seq
), (
    SELECT json_group_array(json_array({_unread("page")}, {INFO_COLUMNS}))
    {FROM_PAGE}
), {_IS_USER}, {LOOKUPS}"""


_MEMBERSHIPS = """members AS member
    JOIN conversations AS conversation ON conversation.conversation_id = member.conversation_id
    WHERE member.user_id = ?1"""


def _of_nodes(listed: str, declared: str, found: str, answer: str) -> str:
    """A list on a Citus cluster: which conversations, then what it shows of them. listed: of their ids, from which on.
    declared, found: another variable, and the statement that sets it. answer: the columns of the list, `shown` is the
    page."""
    return f"""
DECLARE
    listed TEXT[];
    shown  JSON;{declared}
BEGIN
    SELECT array_agg(each.conversation_id) INTO listed FROM (
        SELECT member.conversation_id FROM {_MEMBERSHIPS} AND {listed}
    ) AS each;
    SELECT json_agg(each.line) INTO shown FROM (
        SELECT json_array({_unread("page")}, {of_members(INFO_COLUMNS)}) AS line
        {of_members(FROM_PAGE)}
        WHERE page.user_id = ?1 AND page.conversation_id = ANY (listed)
    ) AS each;{found}
    RETURN QUERY SELECT {answer};
END"""


PAGE = Kept(
    "conversations_page",
    _page(postgres=False),
    ("TEXT", "BIGINT", "BIGINT"),  # user_id, limit, offset
    ("BIGINT", "JSON", "BOOLEAN", "BIGINT"),
    postgres=_page(postgres=True),
    joins=True,
    distributed=_of_nodes(
        """conversation.last_seq > member.hidden_seq
        ORDER BY conversation.updated_at DESC, member.conversation_id DESC LIMIT ?2 OFFSET ?3""",
        """
    total  BIGINT;""",
        f"""
    SELECT COUNT(*) INTO total FROM {_MEMBERSHIPS} AND conversation.last_seq > member.hidden_seq;""",
        f"total, shown, {_IS_USER}, 0::BIGINT",
    ),
)


# Those that have moved are looked up where their rows do not say that something is unread.
def _unread_conversations(postgres: bool) -> str:
    return f"""
WITH unread AS (
    SELECT {_LOOKED_UP}, {UNREAD} AS number
    FROM members AS member INDEXED BY members_unread
    JOIN conversations AS conversation ON conversation.conversation_id = member.conversation_id
    WHERE member.user_id = ?1 AND member.last_seq > member.read_seq AND {HAS_UNREAD}
    UNION ALL
    SELECT {_LOOKED_UP}, {UNREAD}
    FROM {MOVED[postgres]}
    WHERE own.user_id = ?1 AND member.last_seq <= member.read_seq AND {HAS_UNREAD}
)"""


def _unread_page(postgres: bool) -> str:
    return f"""
{_unread_conversations(postgres)}, page AS (
    SELECT * FROM unread WHERE number > 0 ORDER BY updated_at DESC, conversation_id DESC LIMIT ?2
)
SELECT (SELECT json_group_array(json_array(page.number, {INFO_COLUMNS})) {FROM_PAGE}), {_IS_USER}, {LOOKUPS}"""


def _unread_total(postgres: bool) -> str:
    return f"{_unread_conversations(postgres)} SELECT COALESCE(SUM(number), 0) FROM unread"


UNREAD_PAGE = Kept(
    "unread_page",
    _unread_page(postgres=False),
    ("TEXT", "BIGINT"),  # user_id, limit
    ("JSON", "BOOLEAN", "BIGINT"),
    postgres=_unread_page(postgres=True),
    joins=True,
    distributed=_of_nodes(
        f"""{HAS_UNREAD} AND {UNREAD} > 0
        ORDER BY conversation.updated_at DESC, member.conversation_id DESC LIMIT ?2""",
        "",
        "",
        f"shown, {_IS_USER}, 0::BIGINT",
    ),
)
UNREAD_TOTAL = Kept(
    "unread_total",
    _unread_total(postgres=False),
    ("TEXT",),  # user_id
    ("NUMERIC",),
    postgres=_unread_total(postgres=True),
    joins=True,
    distributed=f"""
BEGIN
    RETURN QUERY SELECT COALESCE(SUM(each.unread), 0) FROM (
        SELECT {UNREAD} AS unread FROM {_MEMBERSHIPS} AND {HAS_UNREAD}
    ) AS each;
END""",
)
