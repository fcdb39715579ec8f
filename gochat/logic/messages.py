"""Sending and reading."""

from collections.abc import Sequence
from typing import Any

from gochat.api.logic.v1 import logic_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.api.repo.v1.repo_pb2_grpc import RepoServiceStub
from gochat.context import Call, Caller, current
from gochat.domain import forms, policy
from gochat.domain.limits import DEFAULT_LONG_PAGE
from gochat.errors import ChatError
from gochat.internal.store.v1 import store_pb2
from gochat.internal.store.v1.store_pb2_grpc import StoreServiceStub
from gochat.logic.before_send import Ask, asked
from gochat.logic.together import together


class Messages:
    """ask: before a user's message is stored. Where it is set, sends are not batched: they may wait."""

    def __init__(self, repo: RepoServiceStub, store: StoreServiceStub, ask: Ask | None = None) -> None:
        self._repo = repo
        self._store = store
        self._ask = ask

    def SendMessage(self, request: logic_pb2.SendMessageRequest) -> logic_pb2.SendMessageResponse:
        caller = current().caller
        message, digest = to_store(caller, request, self._ask)
        if digest:
            stored = self._store.StoreRewritten(store_pb2.StoreRewrittenRequest(message=message, digest=digest))
        else:
            store = self._repo.CreateMessage if policy.is_unrestricted(caller) else self._store.StoreMessage
            stored = store(message)
        return logic_pb2.SendMessageResponse(message_id=stored.message_id, created_at=stored.message.created_at)

    def batch_SendMessage(
        self, calls: Sequence[tuple[Call, logic_pb2.SendMessageRequest]]
    ) -> list[logic_pb2.SendMessageResponse | ChatError | None]:
        """Stores all that can be stored without waiting for a lock, in one statement. None for a call that is then run
        by itself: its message breaks a rule, meets a lock, or does not fit the database. When the answer is lost nobody
        knows what was stored, so only sends that are idempotent are tried again."""
        answers: list[logic_pb2.SendMessageResponse | ChatError | None] = [None] * len(calls)
        asked = store_pb2.StoreMessagesRequest(skip_locked=True)
        indexes = []
        for index, (call, request) in enumerate(calls):
            try:
                forms.check(request)
                asked.messages.append(to_store(call.caller, request)[0])
                if policy.is_unrestricted(call.caller):
                    asked.unrestricted.append(len(asked.messages) - 1)
            except ChatError:
                continue
            indexes.append(index)
        if not indexes:
            return answers
        try:
            results = self._store.StoreMessages(asked).results
        except ChatError as error:
            for index in indexes:
                answers[index] = None if policy.is_idempotent(calls[index][1]) else error
            return answers
        for index, result in zip(indexes, results, strict=True):
            if result.message_id:
                answers[index] = logic_pb2.SendMessageResponse(
                    message_id=result.message_id, created_at=result.created_at
                )
        return answers

    def GetMessageHistory(self, request: logic_pb2.GetMessageHistoryRequest) -> store_pb2.GetHistoryResponse:
        """As it is; see Conversations.GetConversations."""
        return self._store.GetHistory(_to_history(current().caller, request))

    def batch_GetMessageHistory(self, calls: Sequence[tuple[Call, logic_pb2.GetMessageHistoryRequest]]) -> list[Any]:
        """The longest pages are made alone: they have megabytes."""
        return together(
            self._store,
            "get_history",
            calls,
            lambda caller, request: _to_history(caller, request) if request.limit <= DEFAULT_LONG_PAGE else None,
        )

    def MarkMessageRead(self, request: logic_pb2.MarkMessageReadRequest) -> logic_pb2.MarkMessageReadResponse:
        self._store.MarkRead(_to_mark_read(current().caller, request))
        return logic_pb2.MarkMessageReadResponse(success=True)

    def batch_MarkMessageRead(self, calls: Sequence[tuple[Call, logic_pb2.MarkMessageReadRequest]]) -> list[Any]:
        answers = together(self._store, "mark_read", calls, _to_mark_read)
        return [answer and logic_pb2.MarkMessageReadResponse(success=True) for answer in answers]

    def GetUnreadMessages(self, request: logic_pb2.GetUnreadMessagesRequest) -> store_pb2.GetUnreadResponse:
        """As it is; see Conversations.GetConversations."""
        return self._store.GetUnread(_to_unread(current().caller, request))

    def batch_GetUnreadMessages(self, calls: Sequence[tuple[Call, logic_pb2.GetUnreadMessagesRequest]]) -> list[Any]:
        return together(self._store, "get_unread", calls, _to_unread)


def _to_history(caller: Caller, request: logic_pb2.GetMessageHistoryRequest) -> store_pb2.GetHistoryRequest:
    return store_pb2.GetHistoryRequest(
        conversation_id=request.conversation_id,
        **policy.acting(caller),
        before_message_id=request.before_message_id,
        limit=request.limit,
    )


def _to_unread(caller: Caller, request: logic_pb2.GetUnreadMessagesRequest) -> store_pb2.GetUnreadRequest:
    return store_pb2.GetUnreadRequest(user_id=policy.actor(caller, request.user_id, "user_id"))


def _to_mark_read(caller: Caller, request: logic_pb2.MarkMessageReadRequest) -> store_pb2.MarkReadRequest:
    return store_pb2.MarkReadRequest(
        conversation_id=request.conversation_id,
        user_id=policy.actor(caller, request.user_id, "user_id"),
        message_id=request.message_id,
    )


def to_store(
    caller: Caller, request: logic_pb2.SendMessageRequest, ask: Ask | None = None
) -> tuple[repo_pb2.CreateMessageRequest, str]:
    """The repo's request for a send; and of the sender's words, if the request has others, the digest by which a
    repetition is recognised. Raises PERMISSION_DENIED where the caller may not act for the sender, and whatever
    before_send.py raises."""
    policy.send(caller, request.message_type)
    sender = policy.actor(caller, request.from_user_id, "from_user_id")
    sent = asked(ask, caller, sender, request)
    stored = repo_pb2.CreateMessageRequest(
        conversation_id=sent.conversation_id,
        from_user_id=sender,
        to_user_id=sent.to_user_id,
        content=sent.content,
        message_type=sent.message_type,
        metadata=sent.metadata,
    )
    return stored, "" if sent is request else policy.content_digest(request.message_type, request.content)
