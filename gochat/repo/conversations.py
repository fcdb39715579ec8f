"""Conversations as their participants see them: lists, unread counts, names, hiding."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from gochat.api.common.v1 import common_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.domain import ids, limits, policy
from gochat.domain.changes import Kind
from gochat.errors import invalid, not_found
from gochat.internal.store.v1 import store_pb2
from gochat.repo.audit import record
from gochat.repo.changes import add_change
from gochat.repo.groups import create_group
from gochat.repo.hidden import kept
from gochat.repo.inboxes import Inboxes
from gochat.repo.lists import PAGE, UNREAD_PAGE, UNREAD_TOTAL
from gochat.repo.membership import (
    lock_conversation,
    locked_conversation,
    mark_read,
    membership,
    open_single,
    update_conversation,
)
from gochat.repo.messages import DELETED, fill
from gochat.repo.reads import AloneError, Read
from gochat.storage.database import Database, Tx

MAX_UNREAD = 100  # conversations in one answer: of the largest messages, as much as gRPC clients take by default
_INT32 = 2**31 - 1
_CONVERSATION = f"""
SELECT conversation.type, conversation.name, conversation.avatar, conversation.created_at, conversation.updated_at, (
    SELECT visible.content FROM messages AS visible
    WHERE visible.conversation_id = conversation.conversation_id AND visible.seq > COALESCE(viewer.hidden_seq, -1)
        AND visible.status < {DELETED} AND {kept("visible", "viewer")}
    ORDER BY visible.seq DESC LIMIT 1
)
FROM conversations AS conversation
LEFT JOIN members AS viewer ON viewer.conversation_id = conversation.conversation_id AND viewer.user_id = ?
WHERE conversation.conversation_id = ? AND conversation.dissolved_at = 0"""
_HIDE = "UPDATE members SET hidden_seq = ? WHERE conversation_id = ? AND user_id = ?"
_latest = itemgetter(5, 1)  # updated_at and conversation_id, of the rows of a page


class Conversations:
    """Of RepoService."""

    def __init__(self, database: Database, inboxes: Inboxes) -> None:
        self._database, self._inboxes = database, inboxes

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
                conversation_id = create_group(
                    tx, owner, others, name=request.name, avatar=request.avatar, field="participant_ids"
                ).conversation_id
            return conversation_of(tx, conversation_id, participants[0])

        conversation = self._database.write(work)
        return repo_pb2.CreateConversationResponse(
            conversation_id=conversation.conversation_id, conversation=conversation
        )

    def GetConversation(self, request: repo_pb2.GetConversationRequest) -> repo_pb2.GetConversationResponse:
        conversation = self._database.read(
            lambda tx: conversation_of(tx, request.conversation_id, ""), one_statement=True
        )
        return repo_pb2.GetConversationResponse(conversation=conversation)

    def UpdateConversation(self, request: repo_pb2.UpdateConversationRequest) -> repo_pb2.UpdateConversationResponse:
        changed = self._database.write(
            lambda tx: _update(tx, request.conversation_id, "", request.name, request.avatar)
        )
        return repo_pb2.UpdateConversationResponse(success=True, conversation=changed)

    def GetConversationsByUser(
        self, request: repo_pb2.GetConversationsByUserRequest
    ) -> repo_pb2.GetConversationsByUserResponse:
        answer = repo_pb2.GetConversationsByUserResponse()
        self._inboxes.note(request.user_id, CONVERSATIONS.alone(self._database, request, answer))
        return answer


class StoreConversations:
    """Of StoreService: as their participants see and change them."""

    def __init__(self, database: Database, inboxes: Inboxes) -> None:
        self._database, self._inboxes = database, inboxes

    def GetUnread(self, request: store_pb2.GetUnreadRequest) -> store_pb2.GetUnreadResponse:
        answer = store_pb2.GetUnreadResponse()
        try:
            self._inboxes.note(request.user_id, UNREAD_MESSAGES.alone(self._database, request, answer))
        except AloneError:
            ((total,),) = self._database.read(
                lambda tx: tx.fetch_all(UNREAD_TOTAL, request.user_id), one_statement=True, replica=True
            )
            answer.total_count = min(int(total), _INT32)
        return answer

    def UpdateConversation(self, request: store_pb2.UpdateConversationRequest) -> store_pb2.UpdateConversationResponse:
        changed = self._database.write(
            lambda tx: _update(tx, request.conversation_id, request.user_id, request.name, request.avatar)
        )
        return store_pb2.UpdateConversationResponse(conversation=changed)

    def HideConversation(self, request: store_pb2.HideConversationRequest) -> store_pb2.HideConversationResponse:
        def work(tx: Tx) -> None:
            lock_conversation(tx, request.conversation_id)  # or a deletion of messages could be missed
            member = membership(tx, request.conversation_id, request.user_id)
            mark_read(tx, request.conversation_id, request.user_id, member.last_seq, member)
            if member.hidden_seq != member.last_seq:
                tx.sql(_HIDE, member.last_seq, request.conversation_id, request.user_id)
                add_change(tx, Kind.CONVERSATION_HIDDEN, request.conversation_id, request.user_id)

        self._database.write(work)
        return store_pb2.HideConversationResponse()


def _update(tx: Tx, conversation_id: str, user_id: str, name: str, avatar: str) -> common_pb2.Conversation:
    conversation = locked_conversation(tx, conversation_id)
    member = membership(tx, conversation_id, user_id)
    if user_id:
        policy.manage(member.type, member.role, conversation.editing)
    given = {"name": name, "avatar": avatar}
    changes = {key: value for key, value in given.items() if value not in ("", getattr(conversation, key))}
    if changes:
        update_conversation(tx, conversation, updated_at=ids.now_ms(), **changes)
        is_group = conversation.type == "group"
        record(tx, "group.change" if is_group else "conversation.change", conversation_id)
        add_change(tx, Kind.GROUP_UPDATED if is_group else Kind.CONVERSATION_UPDATED, conversation_id)
    return conversation_of(tx, conversation_id, user_id)


def conversation_of(tx: Tx, conversation_id: str, viewer_id: str) -> common_pb2.Conversation:
    """viewer_id: what this user has hidden stays hidden; "" for the service itself."""
    row = tx.fetch_one(_CONVERSATION, viewer_id, conversation_id)
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


def _fill(infos: Any, rows: Sequence[Sequence[Any]]) -> int:
    """How many messages are unread. infos: the list of an answer. rows: of a page. Field by field: see
    messages.fill."""
    total = 0
    for row in sorted(rows, key=_latest, reverse=True):
        total += fill_info(infos.add(), row)
    return total


def _fill_page(
    answer: repo_pb2.GetConversationsByUserResponse,
    request: repo_pb2.GetConversationsByUserRequest,
    found: Sequence[Any],
) -> int:
    ((total, rows, is_user, lookups),) = found
    if not is_user:
        raise not_found("user", "user_id")
    page, limit = limits.page_of(request.pagination)
    answer.pagination.MergeFrom(common_pb2.PaginationResponse(total=total, page=page, limit=limit))
    _fill(answer.conversations, Tx.decode_rows(rows))
    return int(lookups)


def _page_parameters(request: repo_pb2.GetConversationsByUserRequest) -> tuple[str, int, int]:
    page, limit = limits.page_of(request.pagination)
    return request.user_id, limit, (page - 1) * limit


def _fill_unread(answer: store_pb2.GetUnreadResponse, _: store_pb2.GetUnreadRequest, found: Sequence[Any]) -> int:
    ((rows, is_user, lookups),) = found
    if not is_user:
        raise not_found("user", "user_id")
    answer.total_count = min(_fill(answer.conversations, Tx.decode_rows(rows)), _INT32)
    if len(answer.conversations) == MAX_UNREAD:  # there may be more; by a statement of its own, since few have
        raise AloneError
    return int(lookups)


CONVERSATIONS = Read(PAGE, _page_parameters, _fill_page, replica=True)
UNREAD_MESSAGES = Read(UNREAD_PAGE, lambda request: (request.user_id, MAX_UNREAD), _fill_unread, replica=True)


def fill_info(info: Any, row: Sequence[Any]) -> int:
    """How many messages are unread. row: that number and INFO_COLUMNS."""
    unread, conversation_id, kind, name, avatar, updated_at, *newest = row
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
    return int(unread)
