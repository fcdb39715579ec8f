"""The forms of the requests of SessionService."""

from google.protobuf.message import Message

from gochat.api.session.v1 import session_pb2 as pb
from gochat.domain.forms.rules import Form, chosen_password, form, text, username

FORMS: dict[type[Message], Form] = {
    pb.RefreshTokenRequest: form("refresh_token", refresh_token=text(size=8192)),
    pb.LogoutRequest: form(),
    pb.ListSessionsRequest: form(),
    pb.RevokeSessionRequest: form("session_id"),
    pb.ChangePasswordRequest: form("old_password", "new_password", new_password=chosen_password),
    pb.CreateSessionRequest: form("user_id"),
    pb.RegisterRequest: form("username", "password", username=username, password=chosen_password),
}
