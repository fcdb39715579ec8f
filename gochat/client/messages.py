"""Messages: read, changed, reacted to, pinned. MessageDetail is a message with what belongs to it."""

from collections.abc import Sequence

from gochat.api.conversation.v1 import conversation_pb2
from gochat.api.event.v1 import event_pb2
from gochat.api.logic.v1 import logic_pb2
from gochat.api.message.v1 import message_pb2
from gochat.client import ids
from gochat.client.calls import Calls

MAX_ACKNOWLEDGED = 100


class Messages(Calls):
    """Errors of all that names a message: NOT_FOUND, also for one that is deleted or that the user does not see."""

    def history(self, conversation_id: str, before: str = "", limit: int = 50) -> logic_pb2.GetMessageHistoryResponse:
        """Messages, newest first; has_more is exact. before: a message id, exclusive; empty: from the newest. limit: at
        most 200. The store keeps them. Errors: NOT_FOUND, PERMISSION_DENIED for who is not in the conversation."""
        request = logic_pb2.GetMessageHistoryRequest(
            conversation_id=conversation_id, before_message_id=before, limit=limit
        )
        page = self._call(self._connection.logic.GetMessageHistory, request)
        self._store.put_messages(page.messages)
        return page

    def messages_before(
        self, conversation_id: str, before: str = "", limit: int = 50
    ) -> message_pb2.ListMessagesResponse:
        """As history(), as MessageDetail, which takes a second call."""
        page = self.history(conversation_id, before, limit)
        found = dict[str, message_pb2.MessageDetail]()
        after = ids.before(page.messages[-1].message_id) if page.messages else ""
        while page.messages and page.messages[0].message_id > after:
            details = self.messages_after(conversation_id, after, limit)
            found |= {detail.message.message_id: detail for detail in details.messages}
            if not details.has_more:
                break
            after = details.messages[-1].message.message_id
        listed = [found[each.message_id] for each in page.messages if each.message_id in found]
        return message_pb2.ListMessagesResponse(messages=listed, has_more=page.has_more)

    def messages_after(
        self, conversation_id: str, after: str = "", limit: int = 50
    ) -> message_pb2.ListMessagesResponse:
        """As MessageDetail, oldest first. after: a message id, exclusive; empty: from the first. limit: at most 200.
        The store keeps them. Errors: as of history."""
        request = message_pb2.ListMessagesRequest(conversation_id=conversation_id, after_message_id=after, limit=limit)
        page = self._call(self._connection.message.ListMessages, request)
        self._store.put_details(page.messages)
        return page

    def message(self, message_id: str) -> message_pb2.MessageDetail:
        """One message. The store keeps it."""
        request = message_pb2.GetMessageRequest(message_id=message_id)
        return self._keep_message(self._call(self._connection.message.GetMessage, request).message)

    def stored_messages(
        self, conversation_id: str, before: str = "", limit: int = 50
    ) -> Sequence[message_pb2.MessageDetail]:
        """Newest first, from the store, without the server: those that events() or another method brought, as events()
        has kept them up to date."""
        return self._store.messages(conversation_id, ids.split(before)[1] if before else 0, limit)

    def stored_message(self, message_id: str) -> message_pb2.MessageDetail | None:
        """From the store, without the server; None if it is not there."""
        return self._store.message(message_id)

    def mark_read(self, message_id: str) -> None:
        """Everything in its conversation up to this message is read. An older one changes nothing."""
        request = logic_pb2.MarkMessageReadRequest(
            user_id=self._acting_for, conversation_id=ids.split(message_id)[0], message_id=message_id
        )
        self._call(self._connection.logic.MarkMessageRead, request)

    def acknowledge(self, message_ids: Sequence[str]) -> None:
        """This device has received the messages of their conversations up to these: in a one-to-one conversation the
        sender sees status 2 (delivered)."""
        for first in range(0, len(message_ids), MAX_ACKNOWLEDGED):
            some = message_ids[first : first + MAX_ACKNOWLEDGED]
            request = event_pb2.AcknowledgeRequest(user_id=self._acting_for, message_ids=some)
            self._call(self._connection.event.Acknowledge, request)

    def receipts(self, message_id: str) -> conversation_pb2.GetReceiptsResponse:
        """Who has received and who has read a message; in groups of more than 1,000 members numbers alone."""
        request = conversation_pb2.GetReceiptsRequest(message_id=message_id, user_id=self._acting_for)
        return self._call(self._connection.conversation.GetReceipts, request)

    def set_typing(self, conversation_id: str, typing: bool = True) -> None:
        """To be repeated every 3 seconds while the user types; it expires after 6."""
        request = event_pb2.SetTypingRequest(user_id=self._acting_for, conversation_id=conversation_id, typing=typing)
        self._call(self._connection.event.SetTyping, request)

    # edit(), recall(), pin() and unpin() name no user: a service that acts for one does them by its own right.

    def edit(self, message_id: str, content: str, mentions: Sequence[str] | None = None) -> message_pb2.MessageDetail:
        """Replaces the text of a message of the user's own, for a time after it was sent (24 hours, by default).
        mentions: as of send; None: they stay. Errors: PERMISSION_DENIED with NOT_THE_SENDER or TOO_LATE."""
        named = None if mentions is None else joined(mentions)
        request = message_pb2.EditMessageRequest(message_id=message_id, content=content, mentions=named)
        return self._keep_message(self._call(self._connection.message.EditMessage, request).message)

    def versions(self, message_id: str, page_token: str = "", limit: int = 50) -> message_pb2.ListVersionsResponse:
        """What the text was before it was edited, oldest first, for the sender and managers of the group. page_token:
        next_page_token of the page before. limit: at most 200. Errors: PERMISSION_DENIED."""
        request = message_pb2.ListVersionsRequest(message_id=message_id, page_token=page_token, limit=limit)
        return self._call(self._connection.message.ListVersions, request)

    def recall(self, message_id: str) -> None:
        """Erases a message of the user's own, or of a group that they manage, for everybody and for good. Errors:
        PERMISSION_DENIED."""
        self._call(self._connection.message.RecallMessage, message_pb2.RecallMessageRequest(message_id=message_id))

    def delete(self, message_id: str) -> None:
        """Takes a message away from the user alone, on all their devices and for good."""
        request = message_pb2.DeleteMessageRequest(message_id=message_id, user_id=self._acting_for)
        self._call(self._connection.message.DeleteMessage, request)
        deleted = event_pb2.MessageDeleted(message_id=message_id)
        gone = event_pb2.Event(conversation_id=ids.split(message_id)[0], message_deleted=deleted)
        self._store.apply(gone, self.user_id)

    def react(self, message_id: str, reaction: str) -> None:
        """reaction: one emoji, or a code such as ":ship-it:". Once more changes nothing. Errors: INVALID_ARGUMENT,
        PERMISSION_DENIED for a 51st kind."""
        request = message_pb2.AddReactionRequest(message_id=message_id, reaction=reaction, user_id=self._acting_for)
        self._call(self._connection.message.AddReaction, request)

    def unreact(self, message_id: str, reaction: str) -> None:
        """Takes a reaction of the user's own back."""
        request = message_pb2.RemoveReactionRequest(message_id=message_id, reaction=reaction, user_id=self._acting_for)
        self._call(self._connection.message.RemoveReaction, request)

    def reactions(self, message_id: str, page_token: str = "", limit: int = 50) -> message_pb2.ListReactionsResponse:
        """Who reacted with what, oldest first. page_token, limit: as of versions."""
        request = message_pb2.ListReactionsRequest(message_id=message_id, page_token=page_token, limit=limit)
        return self._call(self._connection.message.ListReactions, request)

    def pin(self, message_id: str) -> None:
        """For all in the conversation. Errors: PERMISSION_DENIED for who does not manage the group, or with
        TOO_MANY_PINS beyond 100."""
        self._call(self._connection.message.PinMessage, message_pb2.PinMessageRequest(message_id=message_id))

    def unpin(self, message_id: str) -> None:
        """Errors: as of pin."""
        self._call(self._connection.message.UnpinMessage, message_pb2.UnpinMessageRequest(message_id=message_id))

    def pinned(self, conversation_id: str) -> Sequence[message_pb2.MessageDetail]:
        """All, the latest pin first. The store keeps them. Errors: as of history."""
        request = message_pb2.ListPinnedMessagesRequest(conversation_id=conversation_id)
        details = self._call(self._connection.message.ListPinnedMessages, request).messages
        self._store.put_details(details)
        return details

    def _keep_message(self, detail: message_pb2.MessageDetail) -> message_pb2.MessageDetail:
        self._store.put_details([detail])
        return detail


def joined(mentions: Sequence[str]) -> str:
    """As metadata mentions. ALL, too, is a sequence of strings."""
    return mentions if isinstance(mentions, str) else ",".join(mentions)
