"""A conversation as it is after an event."""

from gochat.api.common.v1.common_pb2 import ConversationInfo, Message
from gochat.api.event.v1.event_pb2 import ConversationState, Event
from gochat.client.details import RECALLED


def applied(before: ConversationState | None, event: Event, user_id: str) -> ConversationState | None:
    """before: None where the conversation is not in the user's list, as for the result. user_id: of the user."""
    if event.HasField("message_sent"):
        message = event.message_sent.message
        return _with_message(_or_new(before, message), message, user_id)
    if event.HasField("conversation_updated"):
        conversation = event.conversation_updated.conversation
        after = before or ConversationState()
        for name in ("conversation_id", "type", "name", "avatar", "updated_at"):
            if value := getattr(conversation, name):
                setattr(after.info, name, value)
        return after
    if before is None or event.HasField("conversation_hidden") or event.HasField("group_dissolved"):
        return None
    if event.HasField("member_left"):
        return None if event.member_left.user_id == user_id else before
    _update(before, event, user_id)
    return before


def _or_new(before: ConversationState | None, message: Message) -> ConversationState:
    if before:
        return before
    kind = "single" if message.to_user_id else "group"
    return ConversationState(info=ConversationInfo(conversation_id=message.conversation_id, type=kind))


def _with_message(after: ConversationState, message: Message, user_id: str) -> ConversationState:
    if message.message_id <= after.info.last_message.message_id:  # it has been counted
        return after
    after.info.last_message.CopyFrom(message)
    after.info.updated_at = max(message.created_at, after.info.updated_at)
    if message.from_user_id == user_id:
        after.info.unread_count, after.read_message_id = 0, message.message_id
    elif message.message_id > after.read_message_id and message.status != RECALLED:
        after.info.unread_count += 1
    if after.info.type == "single" and not after.peer_user_id:
        after.peer_user_id = message.to_user_id if message.from_user_id == user_id else message.from_user_id
    return after


def _update(state: ConversationState, event: Event, user_id: str) -> None:
    kind = event.WhichOneof("event")
    if kind == "message_updated":
        if event.message_updated.message.message_id == state.info.last_message.message_id:
            state.info.last_message.CopyFrom(event.message_updated.message)
    elif kind == "read":
        if event.read.user_id == user_id:
            state.info.unread_count = event.read.unread_count
            state.read_message_id = max(state.read_message_id, event.read.message_id)
        else:
            state.peer_read_message_id = max(state.peer_read_message_id, event.read.message_id)
    elif kind == "delivered":
        state.peer_delivered_message_id = max(state.peer_delivered_message_id, event.delivered.message_id)
    elif kind == "group_updated":
        group = event.group_updated.group
        state.info.name, state.info.avatar = group.name, group.avatar
    elif kind == "member_joined" and event.member_joined.member.user_id == user_id:
        state.role = event.member_joined.member.role
    elif kind == "member_updated" and event.member_updated.member.user_id == user_id:
        state.role = event.member_updated.member.role


def uncount(state: ConversationState, message: Message, user_id: str) -> None:
    """A message, as it was, has been recalled or deleted: it is not unread any more, if it was."""
    is_counted = message.from_user_id != user_id and message.status != RECALLED
    if is_counted and message.message_id > state.read_message_id:
        state.info.unread_count = max(0, state.info.unread_count - 1)
