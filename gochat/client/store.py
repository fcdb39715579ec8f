"""What a client keeps: messages to be sent, how far it has read, conversations and their settings, messages.

In memory only the newest messages are kept.
"""

import sqlite3
from collections.abc import Callable, Iterable

from gochat.api.common.v1.common_pb2 import Message
from gochat.api.conversation.v1.conversation_pb2 import ConversationDetail
from gochat.api.event.v1.event_pb2 import ConversationSettings, ConversationState, Event
from gochat.api.logic.v1.logic_pb2 import SendMessageRequest
from gochat.api.message.v1.message_pb2 import MessageDetail
from gochat.client import details, ids
from gochat.client.database import Database
from gochat.client.details import RECALLED
from gochat.client.errors import ChatError
from gochat.client.state import applied, uncount

MAX_IN_MEMORY = 2_000  # messages


class Store(Database):
    # Conversations and messages.

    def delivered_seq(self, conversation_id: str) -> int | None:
        """None: of a conversation that it does not know."""
        found = self._sql("SELECT delivered_seq FROM conversations WHERE conversation_id = ?", conversation_id)
        return int(found[0][0]) if found else None

    def set_delivered(self, conversation_id: str, seq: int) -> None:
        self._sql(
            """INSERT INTO conversations (conversation_id, delivered_seq) VALUES (?, ?)
            ON CONFLICT DO UPDATE SET delivered_seq = excluded.delivered_seq""",
            *(conversation_id, seq),
        )

    def state(self, conversation_id: str) -> ConversationState | None:
        found = self._sql("SELECT state FROM conversations WHERE conversation_id = ?", conversation_id)
        return ConversationState.FromString(found[0][0]) if found and found[0][0] is not None else None

    def states(self) -> list[ConversationState]:
        """The latest activity first."""
        rows = self._sql("SELECT state FROM conversations WHERE state IS NOT NULL")
        states = [ConversationState.FromString(state) for (state,) in rows]
        return sorted(states, key=lambda state: -state.info.updated_at)

    def put_state(self, conversation_id: str, state: ConversationState | None) -> None:
        self._sql(
            """INSERT INTO conversations (conversation_id, state) VALUES (?, ?)
            ON CONFLICT DO UPDATE SET state = excluded.state""",
            *(conversation_id, None if state is None else state.SerializeToString()),
        )

    def put_states(self, states: Iterable[ConversationState]) -> None:
        """All conversations of the user, and no others."""
        with self.transaction():
            self._sql("UPDATE conversations SET state = NULL")
            for state in states:
                self.put_state(state.info.conversation_id, state)

    def settings(self, conversation_id: str) -> ConversationSettings:
        found = self._sql("SELECT settings FROM conversation_settings WHERE conversation_id = ?", conversation_id)
        return ConversationSettings.FromString(found[0][0]) if found else ConversationSettings()

    def set_settings(self, conversation_id: str, settings: ConversationSettings) -> None:
        if settings == ConversationSettings():
            self._sql("DELETE FROM conversation_settings WHERE conversation_id = ?", conversation_id)
        else:
            self._sql(
                """INSERT INTO conversation_settings (conversation_id, settings) VALUES (?, ?)
                ON CONFLICT DO UPDATE SET settings = excluded.settings""",
                *(conversation_id, settings.SerializeToString()),
            )

    def put_settings(self, conversations: Iterable[ConversationDetail]) -> None:
        with self.transaction():
            for detail in conversations:
                self.set_settings(detail.state.info.conversation_id, detail.settings)

    def messages(self, conversation_id: str, before_seq: int, limit: int) -> list[MessageDetail]:
        """Newest first. before_seq: exclusive; 0: from the newest."""
        rows = self._sql(
            """SELECT detail FROM messages WHERE conversation_id = ? AND seq < ?
            ORDER BY seq DESC LIMIT ?""",
            *(conversation_id, before_seq or 2**62, limit),
        )
        return [MessageDetail.FromString(detail) for (detail,) in rows]

    def message(self, message_id: str) -> MessageDetail | None:
        found = self._sql("SELECT detail FROM messages WHERE conversation_id = ? AND seq = ?", *ids.split(message_id))
        return MessageDetail.FromString(found[0][0]) if found else None

    def put_messages(self, messages: Iterable[Message]) -> None:
        with self.transaction():
            for message in messages:
                self._put_message(message)

    def _put_message(self, message: Message, edited_at: int = 0) -> None:
        before = self.message(message.message_id)
        after = details.with_message(before, message, edited_at)
        if before is None:
            self._add_references(after)
        self._put(after, before)

    def _add_references(self, detail: MessageDetail) -> None:
        """What it answers and where it comes from, where that is stored."""
        reply_seq, origin = _reply_seq(detail.message), detail.message.metadata.get("forwarded_from", "")
        answered = reply_seq and self.message(ids.join(detail.message.conversation_id, reply_seq))
        if answered:
            detail.reply.CopyFrom(details.preview(answered.message))
        if ids.is_one(origin) and (original := self.message(origin)):
            detail.forwarded.CopyFrom(details.forwarded(original))

    def put_details(self, found: Iterable[MessageDetail]) -> None:
        """As the server has answered, which may be older than what an event has said since."""
        with self.transaction():
            for detail in found:
                self._put(detail, self.message(detail.message.message_id))

    def replace_detail(self, detail: MessageDetail) -> None:
        """Whatever was stored before."""
        with self.transaction():
            self._put(detail, None)

    def _put(self, detail: MessageDetail, before: MessageDetail | None) -> None:
        """Unless it is older than that before."""
        if before and (before.message.status == RECALLED or before.edited_at > detail.edited_at):
            return
        conversation_id, seq = ids.split(detail.message.message_id)
        self._sql(
            """INSERT INTO messages (conversation_id, seq, detail, reply_seq) VALUES (?, ?, ?, ?)
            ON CONFLICT (conversation_id, seq)
            DO UPDATE SET detail = excluded.detail, reply_seq = excluded.reply_seq""",
            *(conversation_id, seq, detail.SerializeToString(), _reply_seq(detail.message)),
        )
        self._answer(conversation_id, seq, detail)
        if self._in_memory:
            self._sql("DELETE FROM messages WHERE number <= (SELECT MAX(number) FROM messages) - ?", MAX_IN_MEMORY)

    def _answer(self, conversation_id: str, seq: int, answered: MessageDetail | None) -> None:
        """Shows in those that answer a message what it is now; None: it is gone."""
        rows = self._sql(
            "SELECT number, detail FROM messages WHERE conversation_id = ? AND reply_seq = ? AND reply_seq > 0",
            *(conversation_id, seq),
        )
        for number, data in rows:
            detail = MessageDetail.FromString(data)
            detail.ClearField("reply")
            if answered:
                detail.reply.CopyFrom(details.preview(answered.message))
            self._sql("UPDATE messages SET detail = ? WHERE number = ?", detail.SerializeToString(), number)

    def delete_message(self, message_id: str) -> None:
        conversation_id, seq = ids.split(message_id)
        with self._lock:
            self._sql("DELETE FROM messages WHERE conversation_id = ? AND seq = ?", conversation_id, seq)
            self._answer(conversation_id, seq, None)

    def change_message(self, message_id: str, change: Callable[[MessageDetail], None]) -> None:
        """If it is stored."""
        with self._lock:
            if detail := self.message(message_id):
                change(detail)
                self._put(detail, None)

    def forget(self, conversation_id: str) -> None:
        self._sql("DELETE FROM conversations WHERE conversation_id = ?", conversation_id)
        self.set_settings(conversation_id, ConversationSettings())
        self.delete_messages(conversation_id, 0)

    def known(self) -> list[str]:
        return [str(row[0]) for row in self._sql("SELECT conversation_id FROM conversations")]

    def delete_messages(self, conversation_id: str, after_seq: int, up_to_seq: int = 2**62) -> None:
        self._sql(
            "DELETE FROM messages WHERE conversation_id = ? AND seq > ? AND seq <= ?",
            *(conversation_id, after_seq, up_to_seq),
        )

    def apply(self, event: Event, user_id: str) -> None:
        """What an event says. user_id: whose store it is."""
        conversation_id = event.conversation_id
        if not conversation_id or event.HasField("typing"):
            return
        with self.transaction():
            gone = self._apply_to_messages(event, user_id)
            self._apply_to_settings(event, user_id)
            before = self.state(conversation_id)
            after = applied(before, event, user_id)
            if after is not None and gone is not None:
                uncount(after, gone, user_id)
                if event.HasField("message_deleted") and gone.message_id == after.info.last_message.message_id:
                    after.info.ClearField("last_message")
                    for newest in self.messages(conversation_id, 0, 1):
                        after.info.last_message.CopyFrom(newest.message)
            if after is not None or before is not None:
                self.put_state(conversation_id, after)

    def _apply_to_messages(self, event: Event, user_id: str) -> Message | None:
        """The message that is recalled or deleted, as it was; None where that is not known, or none is."""
        gone = None
        match event.WhichOneof("event"):
            case "message_sent":
                self._put_message(event.message_sent.message)
            case "message_updated":
                message, edited_at = event.message_updated.message, event.message_updated.edited_at
                if message.status == RECALLED:
                    known = self.message(message.message_id)
                    unknown = Message(message_id=message.message_id, from_user_id=message.from_user_id)
                    gone = known.message if known else unknown
                self._put_message(message, edited_at)
            case "message_deleted":
                deleted = self.message(event.message_deleted.message_id)
                gone = deleted.message if deleted else None
                self.delete_message(event.message_deleted.message_id)
            case "reaction_changed":
                reaction = event.reaction_changed
                self.change_message(reaction.message_id, lambda detail: details.react(detail, reaction, user_id))
            case "pin_changed":
                self.change_message(event.pin_changed.message_id, lambda detail: details.pin(detail, event.pin_changed))
            case "conversation_hidden":
                self.delete_messages(event.conversation_id, 0)
        return gone

    def _apply_to_settings(self, event: Event, user_id: str) -> None:
        conversation_id, settings = event.conversation_id, None
        match event.WhichOneof("event"):
            case "conversation_settings_updated":
                settings = event.conversation_settings_updated.settings
            case "group_dissolved":
                settings = ConversationSettings()
            case "member_left" if event.member_left.user_id == user_id:
                settings = ConversationSettings()
            case "conversation_hidden":
                settings = self.settings(conversation_id)
                settings.marked_unread = False
            case "message_sent" if event.message_sent.message.from_user_id == user_id:
                settings = self.settings(conversation_id)
                settings.marked_unread = False
        if settings is not None:
            self.set_settings(conversation_id, settings)

    # Outgoing messages.

    def put_outgoing(self, request: SendMessageRequest) -> None:
        """Raises ChatError where the key is in the queue already."""
        key = request.metadata["client_msg_id"]
        try:
            self._sql("INSERT INTO outgoing (client_msg_id, request) VALUES (?, ?)", key, request.SerializeToString())
        except sqlite3.IntegrityError:
            raise ChatError("ALREADY_EXISTS", "this client_msg_id is being sent", "CLIENT_MSG_ID_REUSED") from None

    def outgoing(self) -> list[tuple[SendMessageRequest, str]]:
        """(request, error for which it is not tried again), in the order in which they were put."""
        rows = self._sql("SELECT request, failed FROM outgoing ORDER BY number")
        return [(SendMessageRequest.FromString(request), str(failed)) for request, failed in rows]

    def set_failed(self, client_msg_id: str, error: str) -> None:
        """error: empty to try it again, at the end of the queue."""
        if error:
            self._sql("UPDATE outgoing SET failed = ? WHERE client_msg_id = ?", error, client_msg_id)
        else:
            self._sql(
                """UPDATE outgoing SET failed = '', number = (SELECT MAX(number) + 1 FROM outgoing)
                WHERE client_msg_id = ?""",
                client_msg_id,
            )

    def delete_outgoing(self, client_msg_id: str) -> None:
        self._sql("DELETE FROM outgoing WHERE client_msg_id = ?", client_msg_id)


def _reply_seq(message: Message) -> int:
    """Of the message of its conversation that it answers; 0: none."""
    answered = message.metadata.get("reply_to", "")
    if not ids.is_one(answered):
        return 0
    conversation_id, seq = ids.split(answered)
    return seq if conversation_id == message.conversation_id else 0
