"""Conversations and their messages."""

from collections.abc import Sequence

from gochat.api.common.v1.common_pb2 import Conversation, Message, PaginationRequest
from gochat.api.event.v1 import event_pb2
from gochat.api.logic.v1 import logic_pb2
from gochat.api.message.v1 import message_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.client import ids
from gochat.client.calls import Calls
from gochat.client.state import RECALLED

MAX_ACKNOWLEDGED = 100


class Conversations(Calls):
    def history(self, conversation_id: str, before: str = "", limit: int = 50) -> logic_pb2.GetMessageHistoryResponse:
        """Messages, newest first; has_more is exact. before: a message id, exclusive; empty: from the newest. limit: at
        most 200. The store keeps them. Errors: NOT_FOUND, PERMISSION_DENIED for who is not in the conversation."""
        request = logic_pb2.GetMessageHistoryRequest(
            conversation_id=conversation_id, before_message_id=before, limit=limit
        )
        page = self._call(self._connection.logic.GetMessageHistory, request)
        self._store.put_messages(page.messages)
        return page

    def messages_after(
        self, conversation_id: str, after: str = "", limit: int = 50
    ) -> message_pb2.ListMessagesResponse:
        """Messages, oldest first. after: a message id, exclusive; empty: from the first. limit: at most 200. The store
        keeps them. Errors: as of history."""
        request = message_pb2.ListMessagesRequest(conversation_id=conversation_id, after_message_id=after, limit=limit)
        page = self._call(self._connection.message.ListMessages, request)
        self._store.put_messages(detail.message for detail in page.messages)
        return page

    def mark_read(self, message_id: str) -> None:
        """Everything in its conversation up to this message is read. An older one changes nothing. Errors:
        NOT_FOUND."""
        request = logic_pb2.MarkMessageReadRequest(
            user_id=self._acting_for, conversation_id=ids.split(message_id)[0], message_id=message_id
        )
        self._call(self._connection.logic.MarkMessageRead, request)

    def acknowledge(self, message_ids: Sequence[str]) -> None:
        """This device has received the messages of their conversations up to these: in a one-to-one conversation the
        sender sees status 2 (delivered). Errors: NOT_FOUND."""
        for first in range(0, len(message_ids), MAX_ACKNOWLEDGED):
            some = message_ids[first : first + MAX_ACKNOWLEDGED]
            request = event_pb2.AcknowledgeRequest(user_id=self._acting_for, message_ids=some)
            self._call(self._connection.event.Acknowledge, request)

    def set_typing(self, conversation_id: str, typing: bool = True) -> None:
        """To be repeated every 3 seconds while the user types; it expires after 6."""
        request = event_pb2.SetTypingRequest(user_id=self._acting_for, conversation_id=conversation_id, typing=typing)
        self._call(self._connection.event.SetTyping, request)

    def recall(self, message_id: str) -> None:
        """Takes back a message of the user's own, or of a group that they manage: its content is gone for everybody.
        With the token of a service or an admin only, which says by `user_id` of the client for whom. Errors:
        NOT_FOUND, PERMISSION_DENIED."""
        request = repo_pb2.UpdateMessageStatusRequest(message_id=message_id, status=RECALLED, user_id=self.user_id)
        self._call(self._connection.repo.UpdateMessageStatus, request)

    def conversations(self, page: int = 1, limit: int = 20) -> logic_pb2.GetConversationsResponse:
        """The latest activity first, with unread counts. page: from 1. limit: at most 100."""
        request = logic_pb2.GetConversationsRequest(
            user_id=self._acting_for, pagination=PaginationRequest(page=page, limit=limit)
        )
        return self._call(self._connection.logic.GetConversations, request)

    def unread(self) -> logic_pb2.GetUnreadMessagesResponse:
        """The number of unread messages, and the conversations that have some, at most 100."""
        request = logic_pb2.GetUnreadMessagesRequest(user_id=self._acting_for)
        return self._call(self._connection.logic.GetUnreadMessages, request)

    def state(self) -> Sequence[event_pb2.ConversationState]:
        """All conversations of the user, with read positions and roles, the latest activity first. The store keeps
        them, and events() keeps them up to date there."""
        states, _ = self._reader().states()
        self._store.put_states(states)
        return self._store.states()

    def search_conversations(self, query: str) -> Sequence[event_pb2.ConversationState]:
        """Those of the user whose name contains this, regardless of case, the latest activity first."""
        wanted = query.casefold()
        return [state for state in self.state() if wanted in state.info.name.casefold()]

    def stored_conversations(self) -> Sequence[event_pb2.ConversationState]:
        """As state(), from the store, without the server."""
        return self._store.states()

    def stored_conversation(self, conversation_id: str) -> event_pb2.ConversationState | None:
        """From the store, without the server; None if it is not in the user's list."""
        return self._store.state(conversation_id)

    def stored_messages(self, conversation_id: str, before: str = "", limit: int = 50) -> Sequence[Message]:
        """As history(), from the store, without the server: those that events() or history() brought."""
        return self._store.messages(conversation_id, ids.split(before)[1] if before else 0, limit)

    def open_conversation(self, user_id: str) -> Conversation:
        """The one-to-one conversation with a user, which is made unless it is there. Errors: NOT_FOUND."""
        user_ids = [self._acting_for, user_id] if self._acting_for else [user_id]
        request = logic_pb2.CreateConversationRequest(type="single", user_ids=user_ids)
        return self._call(self._connection.logic.CreateConversation, request).conversation

    def update_conversation(self, conversation_id: str, name: str = "", avatar: str = "") -> Conversation:
        """Changes what is not empty, for all participants. Errors: PERMISSION_DENIED for who does not manage the
        group."""
        request = logic_pb2.UpdateConversationRequest(conversation_id=conversation_id, name=name, avatar=avatar)
        return self._call(self._connection.logic.UpdateConversation, request).conversation

    def hide(self, conversation_id: str) -> None:
        """Hides a conversation, and what it holds, from the user alone, until a newer message."""
        request = logic_pb2.DeleteConversationRequest(conversation_id=conversation_id, user_id=self._acting_for)
        self._call(self._connection.logic.DeleteConversation, request)
