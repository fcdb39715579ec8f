"""The forms of the requests of ChangeService."""

from google.protobuf.message import Message

from gochat.domain.forms.rules import Form, anything, each, form, identifier, number
from gochat.domain.limits import MAX_ACKNOWLEDGED, MAX_STATES
from gochat.internal.change.v1 import change_pb2 as pb

FORMS: dict[type[Message], Form] = {
    pb.ReadChangesRequest: form(start=anything),
    pb.DescribeChangesRequest: form(changes=anything),
    pb.OpenFeedRequest: form(start=anything),
    pb.ListStatesRequest: form("user_id", after_conversation_id=identifier, limit=number(0, MAX_STATES)),
    pb.AcknowledgeRequest: form("user_id", "message_ids", message_ids=each(identifier, MAX_ACKNOWLEDGED)),
}
