"""The forms of the requests of EventService."""

from google.protobuf.message import Message

from gochat.api.event.v1 import event_pb2 as pb
from gochat.domain.forms.rules import Form, anything, each, form, identifier, number, text, user
from gochat.domain.limits import MAX_ACKNOWLEDGED, MAX_STATES, MAX_WATCHED

_cursor = text(size=512)

FORMS: dict[type[Message], Form] = {
    pb.SubscribeRequest: form(cursor=_cursor, typing=anything, presence_user_ids=each(user, MAX_WATCHED)),
    pb.GetStateRequest: form(page_token=_cursor, limit=number(0, MAX_STATES)),
    pb.AcknowledgeRequest: form("message_ids", message_ids=each(identifier, MAX_ACKNOWLEDGED)),
    pb.SetTypingRequest: form("conversation_id", typing=anything),
}
