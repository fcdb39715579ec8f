"""Conversations as the user sees them."""

from collections.abc import Sequence

from gochat.api.common.v1.common_pb2 import Conversation, PaginationRequest
from gochat.api.conversation.v1 import conversation_pb2
from gochat.api.event.v1 import event_pb2
from gochat.api.logic.v1 import logic_pb2
from gochat.client.calls import Calls

FOREVER = 2**63 - 1
"""As a time until which something or somebody is muted."""


class Conversations(Calls):
    def conversations(self, page: int = 1, limit: int = 20) -> logic_pb2.GetConversationsResponse:
        """The latest activity first, with unread counts. page: from 1. limit: at most 100."""
        request = logic_pb2.GetConversationsRequest(
            user_id=self._acting_for, pagination=PaginationRequest(page=page, limit=limit)
        )
        return self._call(self._connection.logic.GetConversations, request)

    def list_conversations(
        self,
        page_token: str = "",
        limit: int = 50,
        *,
        unread: bool = False,
        mentioned: bool = False,
        archived: bool | None = None,
        pinned: bool | None = None,
        type: str = "",
    ) -> conversation_pb2.ListConversationsResponse:
        """As ConversationDetail: those that are pinned first, then the latest activity. page_token: next_page_token of
        the page before, with the same filters. limit: at most 200. unread: those alone that are, or are marked so.
        mentioned: those alone with unread mentions of the user. archived, pinned: those alone that are, or are not;
        None: both. type: "single" or "group"; empty: both."""
        request = conversation_pb2.ListConversationsRequest(
            user_id=self._acting_for,
            page_token=page_token,
            limit=limit,
            unread=unread,
            mentioned=mentioned,
            archived=archived,
            pinned=pinned,
            type=type,
        )
        page = self._call(self._connection.conversation.ListConversations, request)
        self._store.put_settings(page.conversations)
        return page

    def conversation(self, conversation_id: str) -> conversation_pb2.ConversationDetail:
        """Also one that is hidden or empty. Errors: NOT_FOUND, PERMISSION_DENIED for who is not in it."""
        request = conversation_pb2.GetConversationRequest(conversation_id=conversation_id, user_id=self._acting_for)
        return self._keep_settings(self._call(self._connection.conversation.GetConversation, request).conversation)

    def open_direct(self, user_id: str) -> conversation_pb2.ConversationDetail:
        """The one-to-one conversation with a user, which is made unless it is there. Errors: NOT_FOUND."""
        request = conversation_pb2.OpenDirectRequest(peer_user_id=user_id, user_id=self._acting_for)
        return self._keep_settings(self._call(self._connection.conversation.OpenDirect, request).conversation)

    def update_settings(
        self,
        conversation_id: str,
        *,
        muted_until: int | None = None,
        pinned: bool | None = None,
        archived: bool | None = None,
        marked_unread: bool | None = None,
    ) -> event_pb2.ConversationSettings:
        """Changes settings of the user's own, which nobody else sees; None: stays. muted_until: Unix milliseconds;
        0: not muted; FOREVER. Errors: PERMISSION_DENIED with TOO_MANY_PINNED beyond 100."""
        request = conversation_pb2.UpdateSettingsRequest(
            conversation_id=conversation_id,
            user_id=self._acting_for,
            muted_until=muted_until,
            pinned=pinned,
            archived=archived,
            marked_unread=marked_unread,
        )
        settings = self._call(self._connection.conversation.UpdateSettings, request).settings
        self._store.set_settings(conversation_id, settings)
        return settings

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

    def stored_settings(self, conversation_id: str) -> event_pb2.ConversationSettings:
        """From the store, without the server; where nothing is known, nothing is set."""
        return self._store.settings(conversation_id)

    def update_conversation(self, conversation_id: str, name: str = "", avatar: str = "") -> Conversation:
        """Changes what is not empty, for all participants. Errors: PERMISSION_DENIED for who may not edit the
        group."""
        request = logic_pb2.UpdateConversationRequest(conversation_id=conversation_id, name=name, avatar=avatar)
        return self._call(self._connection.logic.UpdateConversation, request).conversation

    def hide(self, conversation_id: str) -> None:
        """Hides a conversation, and what it holds, from the user alone, until a newer message."""
        request = logic_pb2.DeleteConversationRequest(conversation_id=conversation_id, user_id=self._acting_for)
        self._call(self._connection.logic.DeleteConversation, request)

    def _keep_settings(self, detail: conversation_pb2.ConversationDetail) -> conversation_pb2.ConversationDetail:
        self._store.put_settings([detail])
        return detail
