"""The forms of the requests of MessageService, and of MessageStoreService, which hold them."""

from typing import Any

from google.protobuf.message import Message

from gochat.api.message.v1 import message_pb2 as pb
from gochat.api.message.v1 import message_types_pb2 as types
from gochat.domain.forms.rules import (
    Form,
    Rule,
    anything,
    batch,
    form,
    identifier,
    mentions,
    metadata,
    nested,
    number,
    reaction,
    user,
)
from gochat.domain.limits import MAX_IMPORTED
from gochat.errors import invalid
from gochat.internal.message.v1 import message_pb2 as store_pb

_time = number(0, 2**53 - 1)  # milliseconds; what JavaScript can count
_OF_IMPORTS = ("client_msg_id", "reply_to", "mentions", "forwarded_from")


def _imported_batch(name: str, values: Any) -> None:
    batch(name, values, MAX_IMPORTED)


def _imported_metadata(name: str, value: Any) -> None:
    for key in _OF_IMPORTS:
        if key in value:
            raise invalid(f"{name}[{key}]", "must not be there: what is imported has fields for it, or cannot have it")
    metadata(name, value)


def _imported_reactions(name: str, values: Any) -> None:
    batch(name, values)
    rules: dict[str, Rule] = {"user_id": user, "reaction": reaction, "created_at": _time}
    for index, value in enumerate(values):
        for field, rule in rules.items():
            path = f"{name}[{index}].{field}"
            if field != "created_at" and not getattr(value, field):
                raise invalid(path, "must not be empty")
            rule(path, getattr(value, field))


FORMS: dict[type[Message], Form] = {
    pb.SendMessagesRequest: form("messages"),
    pb.ImportMessagesRequest: form(
        *("conversation_id", "messages"), messages=_imported_batch, unread=anything, any_order=anything
    ),
    types.ImportedMessage: form(
        *("import_id", "from_user_id", "content", "created_at"),
        import_id=identifier,
        created_at=_time,
        edited_at=_time,
        reply_to=identifier,
        reactions=_imported_reactions,
        metadata=_imported_metadata,
    ),
    pb.ListMessagesRequest: form("conversation_id", after_message_id=identifier),
    pb.GetMessageRequest: form("message_id"),
    pb.EditMessageRequest: form("message_id", "content", mentions=mentions),
    pb.ListVersionsRequest: form("message_id"),
    pb.RecallMessageRequest: form("message_id"),
    pb.DeleteMessageRequest: form("message_id"),
    pb.AddReactionRequest: form("message_id", "reaction", reaction=reaction),
    pb.RemoveReactionRequest: form("message_id", "reaction", reaction=reaction),
    pb.ListReactionsRequest: form("message_id"),
    pb.PinMessageRequest: form("message_id"),
    pb.UnpinMessageRequest: form("message_id"),
    pb.ListPinnedMessagesRequest: form("conversation_id"),
    store_pb.ListMessagesRequest: form(request=nested),
    store_pb.GetMessageRequest: form(request=nested),
    store_pb.EditMessageRequest: form(request=nested),
    store_pb.ListVersionsRequest: form(request=nested),
    store_pb.RecallMessageRequest: form(request=nested),
    store_pb.DeleteMessageRequest: form("user_id", request=nested),
    store_pb.AddReactionRequest: form("user_id", request=nested),
    store_pb.RemoveReactionRequest: form("user_id", request=nested),
    store_pb.ListReactionsRequest: form(request=nested),
    store_pb.PinMessageRequest: form(request=nested),
    store_pb.UnpinMessageRequest: form(request=nested),
    store_pb.ListPinnedMessagesRequest: form(request=nested),
}
