"""A user's conversations: lists by cursor, a single one, the one with another user."""

from collections.abc import Sequence
from typing import Any

from gochat.api.conversation.v1 import conversation_pb2 as pb
from gochat.domain import cursors
from gochat.errors import invalid
from gochat.internal.conversation.v1 import conversation_pb2 as store_pb
from gochat.repo.details import DETAIL_COLUMNS, FROM_DETAILS, MEMBER_COLUMNS, detail_of, fill_detail
from gochat.repo.inboxes import CARRIES, LOOKUPS, MOVED, Inboxes
from gochat.repo.lists import UNREAD, UNREAD_MENTIONS, of_members
from gochat.repo.membership import open_single
from gochat.repo.users import get_user
from gochat.storage.database import Database, Row, Tx
from gochat.storage.kept import Kept
from gochat.storage.models import LOOKED_UP

MAX_ANSWER = 7 * 2**19  # bytes: gRPC clients take 4 MiB by default
_EITHER = -1  # of a filter that is not set
_FIRST = LOOKED_UP, ""  # before all places: (time, conversation id)
_NONE = -1, ""  # after all places
_START = LOOKED_UP, LOOKED_UP, ""  # of the list

_MEMBERSHIPS = """members AS member
    JOIN conversations AS conversation ON conversation.conversation_id = member.conversation_id"""


# Of those of the user's conversations that they have not hidden the ones for which all filters hold. The last two hold
# only where the two before do, which need no conversation to be read where the member's row carries its last_seq.
def _part(source: str = _MEMBERSHIPS, last_seq: str = "conversation.last_seq") -> str:
    return f"""
    SELECT {MEMBER_COLUMNS}, conversation.last_seq, conversation.updated_at
    FROM {source}
    WHERE member.user_id = ?1 AND conversation.last_seq > member.hidden_seq
        AND ?2 IN ('', conversation.type) AND ?3 IN ({_EITHER}, member.archived)
        AND (?4 = 0 OR member.marked_unread = 1 OR {last_seq} > member.read_seq)
        AND (?5 = 0 OR {last_seq} > member.read_seq)
        AND (?4 = 0 OR member.marked_unread = 1 OR {UNREAD} > 0)
        AND (?5 = 0 OR {UNREAD_MENTIONS} > 0)"""


# The page is cut from three parts, then all else is looked up. Those that are pinned are few. Of others an index has
# most in order, as far as the page takes them; large conversations are looked up, or those of them that have moved: see
# inboxes.py.
def _page(postgres: bool) -> str:
    return f"""
WITH pinned AS ({_part()}
        AND member.pinned_at > 0 AND (member.pinned_at, member.conversation_id) < (?6, ?7)
), looked_up AS ({_part()}
        AND member.pinned_at = 0 AND member.active_at = {LOOKED_UP}
        AND (conversation.updated_at, member.conversation_id) < (?8, ?9)
    UNION ALL {_part(MOVED[postgres])}
        AND member.pinned_at = 0 AND own.user_id = ?1
        AND (conversation.updated_at, member.conversation_id) < (?8, ?9)
), carried AS ({_part(last_seq="member.last_seq")}
        AND member.pinned_at = 0 AND member.active_at < {LOOKED_UP}
        AND (member.active_at, member.conversation_id) < (?8, ?9) AND {CARRIES}
    ORDER BY member.active_at DESC, member.conversation_id DESC LIMIT ?10
), member AS (
    SELECT * FROM (
        SELECT 0 AS moved_at, pinned.* FROM pinned
        UNION ALL SELECT updated_at, looked_up.* FROM looked_up
        UNION ALL SELECT updated_at, carried.* FROM carried
    ) AS listed
    ORDER BY pinned_at DESC, moved_at DESC, conversation_id DESC LIMIT ?10
), page AS (
    SELECT member.*, {UNREAD} AS unread, {UNREAD_MENTIONS} AS unread_mentions
    FROM member
    JOIN conversations AS conversation ON conversation.conversation_id = member.conversation_id
)
SELECT (
    SELECT json_group_array(json_array(page.pinned_at, page.moved_at, page.conversation_id, {DETAIL_COLUMNS}))
    {FROM_DETAILS}
), {LOOKUPS}"""


# On a Citus cluster: which conversations, then what is shown of them.
_MOVED_AT = "CASE WHEN member.pinned_at > 0 THEN 0 ELSE conversation.updated_at END"
_PAGE_OF_NODES = f"""
DECLARE
    listed TEXT[];
    shown  JSON;
BEGIN
    SELECT array_agg(each.conversation_id) INTO listed FROM ({_part()}
            AND (
                member.pinned_at > 0 AND (member.pinned_at, member.conversation_id) < (?6, ?7)
                OR member.pinned_at = 0 AND (conversation.updated_at, member.conversation_id) < (?8, ?9)
            )
        ORDER BY member.pinned_at DESC, {_MOVED_AT} DESC, member.conversation_id DESC LIMIT ?10
    ) AS each;
    SELECT json_agg(each.line) INTO shown FROM (
        SELECT json_array(page.pinned_at, {_MOVED_AT.replace("member.", "page.")}, page.conversation_id,
            {of_members(DETAIL_COLUMNS)}) AS line
        {of_members(FROM_DETAILS)}
        WHERE page.user_id = ?1 AND page.conversation_id = ANY (listed)
    ) AS each;
    RETURN QUERY SELECT shown, 0::BIGINT;
END"""
PAGE = Kept(
    "inbox_page",
    _page(postgres=False),
    # user_id; the filters type, archived, unread, mentioned; the place among the pinned and among the others; the limit
    ("TEXT", "TEXT", "INTEGER", "INTEGER", "INTEGER", "BIGINT", "TEXT", "BIGINT", "TEXT", "BIGINT"),
    ("JSON", "BIGINT"),
    postgres=_page(postgres=True),
    joins=True,
    distributed=_PAGE_OF_NODES,
)


class Inbox:
    def __init__(self, database: Database, inboxes: Inboxes) -> None:
        self._database, self._inboxes = database, inboxes

    def OpenDirect(self, request: store_pb.OpenDirectRequest) -> pb.OpenDirectResponse:
        user_id, peer_id = request.user_id, request.request.peer_user_id
        if peer_id == user_id:
            raise invalid("peer_user_id", "must be another user")

        def work(tx: Tx) -> pb.ConversationDetail:
            pair = (user_id, "user_id"), (peer_id, "peer_user_id")
            return detail_of(tx, open_single(tx, self._database.pair_key, *pair), user_id)

        return pb.OpenDirectResponse(conversation=self._database.write(work))

    def GetConversation(self, request: store_pb.GetConversationRequest) -> pb.GetConversationResponse:
        found = self._database.read(lambda tx: detail_of(tx, request.request.conversation_id, request.user_id))
        return pb.GetConversationResponse(conversation=found)

    def ListConversations(self, request: store_pb.ListConversationsRequest) -> pb.ListConversationsResponse:
        user_id, wanted = request.user_id, request.request
        page = cursors.page(request, self._database.pair_key, _START)
        archived = int(wanted.archived) if wanted.HasField("archived") else _EITHER
        pinned = int(wanted.pinned) if wanted.HasField("pinned") else _EITHER
        filters = user_id, wanted.type, archived, int(wanted.unread), int(wanted.mentioned)
        of_pinned, of_others = _after(page.after, pinned)
        ((table, lookups),) = self._database.read(
            lambda tx: tx.fetch_all(PAGE, *filters, *of_pinned, *of_others, page.fetched),
            one_statement=True,
            replica=True,
        )
        self._inboxes.note(user_id, lookups)
        rows = sorted(Tx.decode_rows(table), key=_place, reverse=True)
        if not (rows or wanted.page_token):
            self._database.read(lambda tx: get_user(tx, user_id), one_statement=True)  # raises NOT_FOUND
        answer = pb.ListConversationsResponse()
        number = _fill(answer, rows[: page.limit])
        if number < len(rows):
            answer.next_page_token = page.token(_place(rows[number - 1]))
        return answer


def _place(row: Row) -> Any:
    """In the list: when it was pinned, when it moved last, its id."""
    return row[:3]


def _after(place: Sequence[Any], pinned: int) -> tuple[tuple[int, str], tuple[int, str]]:
    """Which of the pinned ones come after the place, and which of the others."""
    pinned_at, moved_at, conversation_id = place
    of_pinned = (pinned_at, conversation_id) if pinned_at else _NONE
    of_others = _FIRST if pinned_at else (moved_at, conversation_id)
    return (of_pinned if pinned else _NONE), (_NONE if pinned == 1 else of_others)


def _fill(answer: pb.ListConversationsResponse, rows: list[Row]) -> int:
    """How many of the rows the answer has room for."""
    size = 0
    for number, row in enumerate(rows):
        detail = answer.conversations.add()
        fill_detail(detail, row[3:])
        size += detail.ByteSize()
        if size > MAX_ANSWER:
            del answer.conversations[number:]
            return number
    return len(rows)
