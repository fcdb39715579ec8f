"""A message with what belongs to it, as it is after an event."""

from gochat.api.common.v1.common_pb2 import Message
from gochat.api.event.v1.event_pb2 import PinChanged, ReactionChanged
from gochat.api.message.v1.message_pb2 import Forwarded, MessageDetail, MessagePreview

RECALLED = 4  # of Message.status
ALL = "all"
"""As mentions: everybody, which in a group its owner and admins may say."""
MAX_PREVIEW = 200  # characters
MAX_REACTED = 10  # users of a reaction who are named


def with_message(before: MessageDetail | None, message: Message, edited_at: int = 0) -> MessageDetail:
    """before: as far as it is known. Its reactions and its pin stay, but of one that is recalled nothing does."""
    if message.status == RECALLED:
        return MessageDetail(message=message)
    after = MessageDetail()
    after.CopyFrom(before or after)
    after.message.CopyFrom(message)
    after.edited_at = max(after.edited_at, edited_at)
    mentions = message.metadata.get("mentions", "")
    after.mentions_all = mentions == ALL
    after.mentioned_user_ids[:] = [] if mentions in {"", ALL} else mentions.split(",")
    return after


def react(detail: MessageDetail, changed: ReactionChanged, user_id: str) -> None:
    """user_id: for whom "mine" is."""
    found = [each for each in detail.reactions if each.reaction == changed.reaction]
    reaction = found[0] if found else detail.reactions.add(reaction=changed.reaction)
    reaction.count = changed.count
    if changed.user_id == user_id:
        reaction.mine = changed.added
    others = [each for each in reaction.user_ids if each != changed.user_id]
    reaction.user_ids[:] = [*others, changed.user_id][:MAX_REACTED] if changed.added else others
    if not reaction.count:
        detail.reactions.remove(reaction)


def pin(detail: MessageDetail, changed: PinChanged) -> None:
    detail.ClearField("pin")
    if changed.HasField("pin"):
        detail.pin.CopyFrom(changed.pin)


def preview(message: Message) -> MessagePreview:
    """As a message shows it that answers this one."""
    return MessagePreview(
        message_id=message.message_id,
        from_user_id=message.from_user_id,
        content=message.content[:MAX_PREVIEW],
        message_type=message.message_type,
        status=message.status if message.status == RECALLED else 1,
    )


def forwarded(original: MessageDetail) -> Forwarded:
    if original.HasField("forwarded"):
        return original.forwarded
    return Forwarded(from_user_id=original.message.from_user_id, created_at=original.message.created_at)
