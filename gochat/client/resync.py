"""What a client reads that is too far behind: the state of all conversations, and the messages that it has missed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gochat.api.common.v1.common_pb2 import Conversation, Message
from gochat.api.event.v1.event_pb2 import (
    ConversationState,
    ConversationUpdated,
    Event,
    GetStateRequest,
    MessageSent,
    Resync,
)
from gochat.api.logic.v1.logic_pb2 import GetMessageHistoryRequest
from gochat.api.message.v1.message_pb2 import ListMessagesRequest
from gochat.client import ids
from gochat.client.connection import Connection, TokenSource
from gochat.client.errors import ChatError
from gochat.client.store import Store

PAGE = 200
JOIN_MARGIN = 60_000  # milliseconds by which messages of a new conversation may be older than what is known


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

    def states(self) -> tuple[list[ConversationState], str]:
        """(all conversations, the cursor that continues them)"""
        states, request = list[ConversationState](), GetStateRequest(user_id=self._user_id, limit=PAGE)
        while True:
            page = self._connection.call(self._connection.event.GetState, request, self._token_of)
            states += page.conversations
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return states, page.cursor

    def missed(self, reason: "Resync.Reason.ValueType") -> Iterator[Event]:
        """Each conversation as it is now, and its messages after the newest that was delivered. If this is
        interrupted it may be done again: where to begin is decided, and stored, for all before the first event."""
        states, _ = self.states()
        is_other_database = reason == Resync.REASON_OTHER_DATABASE
        self._decide(states, is_other_database=is_other_database)
        for state in states:
            yield _as_event(state)
            conversation_id = state.info.conversation_id
            delivered = self._store.delivered_seq(conversation_id) or 0
            if _newest_seq(state) > delivered:
                for message in self._after(conversation_id, delivered):
                    sent = MessageSent(message=message)
                    yield Event(
                        at=message.created_at,
                        conversation_id=conversation_id,
                        actor_id=message.from_user_id,
                        message_sent=sent,
                    )
        self._store.put_states(states)

    def _decide(self, states: list[ConversationState], *, is_other_database: bool) -> None:
        """Which message of each conversation was the last that was delivered.

        That is known, except of a conversation that is new, where it is the last one before anything that is known; and
        in a database that was restored, where messages that were delivered may be missing, and others have their ids.
        """
        since = max((state.info.updated_at for state in self._store.states()), default=0)
        if is_other_database:
            there = {state.info.conversation_id for state in states}
            for conversation_id in self._store.known():
                if conversation_id not in there:
                    self._store.forget(conversation_id)
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
                page = self._connection.call(self._connection.logic.GetMessageHistory, request, self._token_of)
                for message in page.messages:
                    if holds(message):
                        return ids.split(message.message_id)[1]
                if not page.has_more:
                    break
                request.before_message_id = page.messages[-1].message_id
        return 0

    def _after(self, conversation_id: str, seq: int) -> Iterator[Message]:
        after = ids.join(conversation_id, seq) if seq else ""
        request = ListMessagesRequest(conversation_id=conversation_id, after_message_id=after, limit=PAGE)
        with suppress_leaving():
            while True:
                page = self._connection.call(self._connection.message.ListMessages, request, self._token_of)
                for detail in page.messages:
                    yield detail.message
                if not page.has_more:
                    return
                request.after_message_id = page.messages[-1].message.message_id


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


@contextmanager
def suppress_leaving() -> Iterator[None]:
    """The user has left the conversation meanwhile, or it is gone: its events say so."""
    try:
        yield
    except ChatError as error:
        if error.code not in {"NOT_FOUND", "PERMISSION_DENIED"}:
            raise
