"""The forms of the requests of SignalService."""

from google.protobuf.message import Message

from gochat.domain.forms.rules import Form, anything, batch, each, form, user
from gochat.domain.limits import MAX_WATCHED
from gochat.internal.signal.v1 import signal_pb2 as pb

FORMS: dict[type[Message], Form] = {
    pb.WatchRequest: form(),
    pb.PublishRequest: form(signals=anything),
    pb.CheckTypingRequest: form("conversation_id", "user_id"),
    pb.ListActivityRequest: form(user_ids=each(user, MAX_WATCHED)),
    pb.RecordActivityRequest: form(users=batch),
}
