"""Conversations as their participants see them: lists, unread counts, names, hiding."""

from operator import itemgetter
from typing import Any

from gochat.api.common.v1 import common_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.api.store.v1 import store_pb2
from gochat.domain import ids, limits, policy
from gochat.errors import invalid, not_found
from gochat.repo.database import Database, Row, Tx
from gochat.repo.groups import found_group
from gochat.repo.messages import DELETED, RECALLED, fill, seen_by
from gochat.repo.models import LOOKED_UP, Conversation
from gochat.repo.standing import open_single, standing
from gochat.repo.users import found

MOST_UNREAD = 100  # conversations in one answer: of the largest messages, as much as gRPC clients take by default
_INT32 = 2**31 - 1

# What a page is cut by: as members carry it, or of the conversation itself.
_PLACE = "SELECT m.user_id, m.conversation_id, %s AS updated_at, %s AS last_seq, m.read_seq, m.hidden_seq"
_CARRIED = _PLACE % ("m.active_at", "m.last_seq") + " FROM members m WHERE m.user_id = ? AND m.last_seq > m.hidden_seq"
_ASKED = (
    _PLACE % ("c.updated_at", "c.last_seq") + " FROM members m%s JOIN conversations c"
    " ON c.conversation_id = m.conversation_id WHERE m.user_id = ? AND c.last_seq > m.hidden_seq"
)
_LATEST_FIRST = "ORDER BY updated_at DESC, conversation_id DESC"
# Those that are looked up, merged with the others, which an index has in order. SQLite reads of them what the page
# takes; PostgreSQL reads and sorts them all unless it is given a limit, for which SQLite would sort once more.
_LATEST = (
    f"SELECT * FROM ({_ASKED % ''} AND m.active_at = {LOOKED_UP} UNION ALL SELECT * FROM ({_CARRIED}"
    f" AND m.active_at < {LOOKED_UP} ORDER BY m.active_at DESC, m.conversation_id DESC%s) s) a"
    f" {_LATEST_FIRST} LIMIT ? OFFSET ?"
)
_WITHDRAWN = (
    "FROM messages w INDEXED BY messages_withdrawn"
    f" WHERE w.conversation_id = p.conversation_id AND w.status >= {RECALLED} AND w.seq"
)
# Sequence numbers count messages, so what came after a read position is a subtraction; only what was withdrawn since
# is counted. One's own messages are never after one's read position.
_UNREAD = f"p.last_seq - p.read_seq - (SELECT COUNT(*) {_WITHDRAWN} > p.read_seq)"
# The page is cut first, then all else is looked up: of its conversations, and of the newest visible message of each,
# which is the last unless that was withdrawn.
_INFOS = (
    "(SELECT json_group_array(json_array(p.conversation_id, c.type, c.name, c.avatar, p.updated_at, %s, "
    + seen_by("p")
    + ")) FROM (%s) p JOIN conversations c ON c.conversation_id = p.conversation_id"
    " LEFT JOIN messages l ON l.conversation_id = p.conversation_id AND l.seq ="
    f" CASE WHEN EXISTS (SELECT 1 {_WITHDRAWN} = p.last_seq) THEN (SELECT n.seq FROM messages n"
    " WHERE n.conversation_id = p.conversation_id AND n.seq > p.hidden_seq"
    f" AND n.status < {DELETED} ORDER BY n.seq DESC LIMIT 1) ELSE p.last_seq END)"
)
_PAGE = (
    "SELECT (SELECT COUNT(*) FROM members WHERE user_id = ?) - (SELECT COUNT(*) FROM members h"
    " INDEXED BY members_hiding JOIN conversations c ON c.conversation_id = h.conversation_id"
    " WHERE h.user_id = ? AND h.hidden_seq >= 0 AND c.last_seq <= h.hidden_seq),"
    f" {_INFOS % (_UNREAD, _LATEST)}"
)
_PAGES = {False: _PAGE % "", True: _PAGE % " LIMIT ?"}  # is it PostgreSQL?
_UNREAD_PAGE = (
    f"WITH u AS (SELECT p.*, {_UNREAD} AS unread FROM ({_ASKED % ' INDEXED BY members_unread'}"
    " AND m.last_seq > m.read_seq AND c.last_seq > m.read_seq) p)"
    " SELECT (SELECT SUM(unread) FROM u),"
    f" {_INFOS % ('p.unread', f'SELECT * FROM u WHERE unread > 0 {_LATEST_FIRST} LIMIT ?')}"
)
_latest = itemgetter(4, 0)  # of the columns of _INFOS


class Conversations:
    def __init__(self, database: Database) -> None:
        self._database = database

    def CreateConversation(self, request: repo_pb2.CreateConversationRequest) -> repo_pb2.CreateConversationResponse:
        participants = list(dict.fromkeys(request.participant_ids))
        if request.type == "single" and len(participants) != 2:
            raise invalid("participant_ids", "must name exactly two users for a one-to-one conversation")
        if request.type == "group" and not request.name:
            raise invalid("name", "must not be empty for a group")

        def work(tx: Tx) -> common_pb2.Conversation:
            if request.type == "single":
                users = [(user_id, "participant_ids") for user_id in participants]
                names = {"name": request.name, "avatar": request.avatar}
                conversation_id = open_single(tx, self._database.pair_key, *users, **names)
            else:
                owner, *others = participants
                conversation_id = found_group(
                    tx, owner, others, name=request.name, avatar=request.avatar, field="participant_ids"
                ).conversation_id
            return _conversation(tx, conversation_id, participants[0])

        conversation = self._database.write(work)
        return repo_pb2.CreateConversationResponse(
            conversation_id=conversation.conversation_id, conversation=conversation
        )

    def GetConversation(self, request: repo_pb2.GetConversationRequest) -> repo_pb2.GetConversationResponse:
        conversation = self._database.read(
            lambda tx: _conversation(tx, request.conversation_id, ""), one_statement=True
        )
        return repo_pb2.GetConversationResponse(conversation=conversation)

    def UpdateConversation(self, request: repo_pb2.UpdateConversationRequest) -> repo_pb2.UpdateConversationResponse:
        changed = self._database.write(lambda tx: _edit(tx, request.conversation_id, "", request.name, request.avatar))
        return repo_pb2.UpdateConversationResponse(success=True, conversation=changed)

    def EditConversation(self, request: store_pb2.EditConversationRequest) -> store_pb2.EditConversationResponse:
        changed = self._database.write(
            lambda tx: _edit(tx, request.conversation_id, request.operator_id, request.name, request.avatar)
        )
        return store_pb2.EditConversationResponse(conversation=changed)

    def GetConversationsByUser(
        self, request: repo_pb2.GetConversationsByUserRequest
    ) -> repo_pb2.GetConversationsByUserResponse:
        page, limit = limits.page_of(request.pagination)

        def work(tx: Tx) -> Row:
            up_to_the_page = (page * limit,) if tx.postgres else ()
            return tx.rows(_PAGES[tx.postgres], *(request.user_id,) * 4, *up_to_the_page, limit, (page - 1) * limit)[0]

        total, infos = self._database.read(work, one_statement=True)
        if not total:
            self._must_be_user(request.user_id)
        answer = repo_pb2.GetConversationsByUserResponse(
            pagination=common_pb2.PaginationResponse(total=total, page=page, limit=limit)
        )
        _fill(answer.conversations, infos)
        return answer

    def GetUnread(self, request: store_pb2.GetUnreadRequest) -> store_pb2.GetUnreadResponse:
        ((total, infos),) = self._database.read(
            lambda tx: tx.rows(_UNREAD_PAGE, request.user_id, MOST_UNREAD), one_statement=True
        )
        if not total:
            self._must_be_user(request.user_id)
        answer = store_pb2.GetUnreadResponse(total_count=min(int(total or 0), _INT32))
        _fill(answer.conversations, infos)
        return answer

    def _must_be_user(self, user_id: str) -> None:
        """Raises NOT_FOUND. Asked only where a list is empty."""
        self._database.read(lambda tx: found(tx, user_id), one_statement=True)

    def HideConversation(self, request: store_pb2.HideConversationRequest) -> store_pb2.HideConversationResponse:
        def work(tx: Tx) -> None:
            place = standing(tx, request.conversation_id, request.user_id)
            tx.sql(
                "UPDATE members SET hidden_seq = ?, read_seq = CASE WHEN read_seq < ? THEN ? ELSE read_seq END"
                " WHERE conversation_id = ? AND user_id = ?",
                *(place.last_seq, place.last_seq, place.last_seq),
                *(request.conversation_id, request.user_id),
            )

        self._database.write(work)
        return store_pb2.HideConversationResponse(success=True)


def _edit(tx: Tx, conversation_id: str, operator_id: str, name: str, avatar: str) -> common_pb2.Conversation:
    place = standing(tx, conversation_id, operator_id)
    if operator_id:
        policy.manage(place.type, place.role)
    changes = {key: value for key, value in (("name", name), ("avatar", avatar)) if value}
    if changes:
        tx.run(
            Conversation.update(updated_at=ids.now_ms(), **changes).where(
                Conversation.conversation_id == conversation_id
            )
        )
    return _conversation(tx, conversation_id, operator_id)


def _conversation(tx: Tx, conversation_id: str, viewer_id: str) -> common_pb2.Conversation:
    """viewer_id: from whom what he has hidden stays hidden; "" for the service itself."""
    row = tx.row(
        "SELECT c.type, c.name, c.avatar, c.created_at, c.updated_at, (SELECT n.content FROM messages n WHERE"
        f" n.conversation_id = c.conversation_id AND n.seq > COALESCE(m.hidden_seq, -1) AND n.status < {DELETED}"
        " ORDER BY n.seq DESC LIMIT 1) FROM conversations c"
        " LEFT JOIN members m ON m.conversation_id = c.conversation_id AND m.user_id = ?"
        " WHERE c.conversation_id = ? AND c.dissolved_at = 0",
        viewer_id,
        conversation_id,
    )
    if row is None:
        raise not_found("conversation", "conversation_id")
    kind, name, avatar, created_at, updated_at, newest = row
    return common_pb2.Conversation(
        conversation_id=conversation_id,
        type=kind,
        name=name,
        avatar=avatar,
        last_message=newest or "",
        created_at=created_at,
        updated_at=updated_at,
    )


def _fill(infos: Any, table: Any) -> None:
    """infos: the list of an answer. table: what _INFOS has read. Field by field: see messages.fill."""
    for row in sorted(Tx.table(table), key=_latest, reverse=True):
        conversation_id, kind, name, avatar, updated_at, unread, *newest = row
        info = infos.add()
        info.conversation_id = conversation_id
        info.type = kind
        if name:
            info.name = name
        if avatar:
            info.avatar = avatar
        info.updated_at = updated_at
        if unread:
            info.unread_count = min(unread, _INT32)
        if newest[0] is not None:
            fill(info.last_message, conversation_id, newest)
