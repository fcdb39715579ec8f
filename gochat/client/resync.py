"""What a client reads that is too far behind: the state of all conversations, and what it has missed of messages."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import grpc
from google.protobuf import message as protobuf

from gochat.api.common.v1.common_pb2 import Conversation, Message
from gochat.api.conversation.v1.conversation_pb2 import ListConversationsRequest
from gochat.api.event.v1.event_pb2 import (
    ConversationState,
    ConversationUpdated,
    Event,
    GetStateRequest,
    MessageDeleted,
    MessageSent,
    MessageUpdated,
    Resync,
)
from gochat.api.logic.v1.logic_pb2 import GetMessageHistoryRequest
from gochat.api.message.v1.message_pb2 import ListMessagesRequest, MessageDetail
from gochat.client import ids
from gochat.client.connection import Connection, TokenSource
from gochat.client.details import RECALLED
from gochat.client.errors import ChatError
from gochat.client.store import Store

PAGE = 200
JOIN_MARGIN = 60_000  # milliseconds by which messages of a new conversation may be older than what is known
_Request = TypeVar("_Request", bound=protobuf.Message)
_Response = TypeVar("_Response")


class Reader:
    def __init__(self, connection: Connection, token_of: TokenSource, store: Store, user_id: str) -> None:
        self._connection, self._token_of, self._store, self._user_id = connection, token_of, store, user_id

    def begin(self) -> None:
        """Of a store that knows nothing: takes what there is as delivered."""
        states, cursor = self.states()
        self._store.put_states(states)
        with self._store.transaction():
            for state in states:
                self._store.set_delivered(state.info.conversation_id, _newest_seq(state))
            self._store.set("cursor", cursor)
        self.settings()

    def settings(self) -> None:
        """Reads those of all conversations that are listed into the store."""
        request = ListConversationsRequest(user_id=self._user_id, limit=PAGE)
        while True:
            page = self._call(self._connection.conversation.ListConversations, request)
            self._store.put_settings(page.conversations)
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
        self._store.set("has_settings", "1")

    def states(self) -> tuple[list[ConversationState], str]:
        """(all conversations, the cursor that continues them)"""
        states, request = list[ConversationState](), GetStateRequest(user_id=self._user_id, limit=PAGE)
        while True:
            page = self._call(self._connection.event.GetState, request)
            states += page.conversations
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return states, page.cursor

    def missed(self, reason: "Resync.Reason.ValueType") -> Iterator[Event]:
        """Each conversation as it is now, its messages after the newest that was delivered, and what became of those
        that are stored. If this is interrupted it may be done again: where to begin is decided, and stored, for all
        before the first event."""
        states, _ = self.states()
        self._decide(states, is_other_database=reason == Resync.REASON_OTHER_DATABASE)
        for state in states:
            yield _as_event(state)
            with suppress_leaving():
                yield from self._catch_up(state)
        self._store.put_states(states)
        self.settings()

    def _catch_up(self, state: ConversationState) -> Iterator[Event]:
        """Of the stored messages the newest are read again; those before, which may have changed too, are deleted."""
        conversation_id = state.info.conversation_id
        delivered = self._store.delivered_seq(conversation_id) or 0
        self._store.delete_messages(conversation_id, 0, delivered - PAGE)
        self._store.delete_messages(conversation_id, delivered)  # they come with the others that were missed
        stored = {each.message.message_id: each for each in self._store.messages(conversation_id, delivered + 1, PAGE)}
        if not stored and _newest_seq(state) <= delivered:
            return
        first = ids.join(conversation_id, delivered + 1)
        for detail in self._after(conversation_id, ids.before(min([first, *stored]))):
            message = detail.message
            before = stored.pop(message.message_id, None)
            self._store.replace_detail(detail)
            if message.message_id >= first:
                yield _event(message, message_sent=MessageSent(message=message))
            elif before and _is_changed(before, detail):
                updated = MessageUpdated(message=message, edited_at=detail.edited_at)
                yield _event(message, message_updated=updated)
        for detail in stored.values():
            deleted = MessageDeleted(message_id=detail.message.message_id)
            yield _event(detail.message, message_deleted=deleted)

    def _decide(self, states: list[ConversationState], *, is_other_database: bool) -> None:
        """Which message of each conversation was the last that was delivered.

        That is known, except of a conversation that is new, where it is the last one before anything that is known; and
        in a database that was restored, where messages that were delivered may be missing, and others have their ids.
        """
        since = max((state.info.updated_at for state in self._store.states()), default=0)
        there = {state.info.conversation_id for state in states}
        for conversation_id in self._store.known():
            if conversation_id not in there and is_other_database:
                self._store.forget(conversation_id)
            elif conversation_id not in there:  # they have hidden or left it
                self._store.delete_messages(conversation_id, 0)
        for state in states:
            conversation_id = state.info.conversation_id
            delivered = self._store.delivered_seq(conversation_id)
            if delivered is None:
                found = self._last(conversation_id, lambda message: message.created_at <= since - JOIN_MARGIN)
            elif is_other_database:
                found = self._last(
                    conversation_id,
                    lambda message, most=delivered: (  # type: ignore[misc]
                        message.created_at <= since and ids.split(message.message_id)[1] <= most
                    ),
                )
                self._store.delete_messages(conversation_id, found)
            else:
                continue
            self._store.set_delivered(conversation_id, found)

    def _last(self, conversation_id: str, holds: Callable[[Message], bool]) -> int:
        """The number of the last message of which that is true; 0 if there is none."""
        request = GetMessageHistoryRequest(conversation_id=conversation_id, limit=PAGE)
        with suppress_leaving():
            while True:
                page = self._call(self._connection.logic.GetMessageHistory, request)
                for message in page.messages:
                    if holds(message):
                        return ids.split(message.message_id)[1]
                if not page.has_more:
                    break
                request.before_message_id = page.messages[-1].message_id
        return 0

    def _after(self, conversation_id: str, after: str) -> Iterator[MessageDetail]:
        request = ListMessagesRequest(conversation_id=conversation_id, after_message_id=after, limit=PAGE)
        while True:
            page = self._call(self._connection.message.ListMessages, request)
            yield from page.messages
            if not page.has_more:
                return
            request.after_message_id = page.messages[-1].message.message_id

    def _call(self, rpc: "grpc.UnaryUnaryMultiCallable[_Request, _Response]", request: _Request) -> _Response:
        """Waits where it is too fast for the server's rate limit: much may have been missed."""
        while True:
            try:
                return self._connection.call(rpc, request, self._token_of)
            except ChatError as error:
                if error.code != "RESOURCE_EXHAUSTED" or self._connection.on_closed.wait(error.retry_after):
                    raise


def _newest_seq(state: ConversationState) -> int:
    newest = state.info.last_message.message_id
    return ids.split(newest)[1] if newest else 0


def _as_event(state: ConversationState) -> Event:
    info = state.info
    conversation = Conversation(
        conversation_id=info.conversation_id,
        type=info.type,
        name=info.name,
        avatar=info.avatar,
        last_message=info.last_message.content,
        updated_at=info.updated_at,
    )
    return Event(
        at=info.updated_at,
        conversation_id=info.conversation_id,
        conversation_updated=ConversationUpdated(conversation=conversation),
    )


def _event(message: Message, **what: MessageSent | MessageUpdated | MessageDeleted) -> Event:
    return Event(
        at=message.created_at,
        conversation_id=message.conversation_id,
        actor_id=message.from_user_id,
        **what,  # type: ignore[arg-type]
    )


def _is_changed(before: MessageDetail, after: MessageDetail) -> bool:
    """In what an update says; what it does not say is in the store alone."""

    def said(detail: MessageDetail) -> tuple[str, int, bool]:
        return detail.message.content, detail.edited_at, detail.message.status == RECALLED

    return said(before) != said(after)


@contextmanager
def suppress_leaving() -> Iterator[None]:
    """The user has left the conversation meanwhile, or it is gone: its events say so."""
    try:
        yield
    except ChatError as error:
        if error.code not in {"NOT_FOUND", "PERMISSION_DENIED"}:
            raise
