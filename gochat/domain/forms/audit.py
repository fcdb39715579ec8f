"""The forms of the requests of AuditService."""

from google.protobuf.message import Message

from gochat.api.audit.v1 import audit_pb2 as pb
from gochat.domain.forms.rules import Form, form, identifier, one_of, text

FORMS: dict[type[Message], Form] = {
    pb.ListEventsRequest: form(action=text(size=64), before_event_id=identifier),
    pb.RecordEventRequest: form("action", action=one_of("key.rotate"), target_id=identifier),
}
