"""The forms of the requests of MessageService."""

from google.protobuf.message import Message

from gochat.api.message.v1 import message_pb2 as pb
from gochat.domain.forms.rules import Form, form, identifier

FORMS: dict[type[Message], Form] = {
    pb.SendMessagesRequest: form("messages"),
    pb.ListMessagesRequest: form("conversation_id", after_message_id=identifier),
}
