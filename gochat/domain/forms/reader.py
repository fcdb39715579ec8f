"""The forms of the requests of ReaderService."""

from google.protobuf.message import Message

from gochat.domain.forms.rules import Form, anything, form, identifier, number
from gochat.internal.reader.v1 import reader_pb2 as pb

_NAMES = {"name": identifier, "holder": identifier}

FORMS: dict[type[Message], Form] = {
    pb.ClaimRequest: form("name", "holder", "seconds", seconds=number(1, 3600), **_NAMES),
    pb.AdvanceRequest: form("name", "holder", "position", position=anything, **_NAMES),
    pb.ReleaseRequest: form("name", "holder", **_NAMES),
}
