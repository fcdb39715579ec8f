"""The forms of the requests of LoginStoreService."""

from google.protobuf.message import Message

from gochat.config import MAX_SESSIONS
from gochat.domain.forms.rules import Form, anything, form, number, password, text
from gochat.internal.login.v1 import login_pb2 as pb

FORMS: dict[type[Message], Form] = {
    pb.SignInExternalRequest: form(
        "external_id", "refresh_id", "expires_at", create=anything, max_sessions=number(0, MAX_SESSIONS)
    ),
    pb.CreateGuestRequest: form("refresh_id", "expires_at"),
    pb.ClaimAccountRequest: form("user_id", "session_id", "refresh_id", "expires_at", password=password),
    pb.RecordRefusalRequest: form(issuer=text(size=32)),
}
