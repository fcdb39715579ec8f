"""The forms of the requests of MessageService, and of MessageStoreService, which hold them."""

from google.protobuf.message import Message

from gochat.api.message.v1 import message_pb2 as pb
from gochat.domain.forms.rules import Form, form, identifier, mentions, nested, reaction
from gochat.internal.message.v1 import message_pb2 as store_pb

FORMS: dict[type[Message], Form] = {
    pb.SendMessagesRequest: form("messages"),
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
