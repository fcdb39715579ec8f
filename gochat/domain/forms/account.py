"""The forms of the requests of AccountService."""

from google.protobuf.message import Message

from gochat.config import MAX_SESSIONS
from gochat.domain.forms.rules import Form, form, identifier, number, one_of, password, username
from gochat.internal.account.v1 import account_pb2 as pb

FORMS: dict[type[Message], Form] = {
    pb.RegisterRequest: form("username", "password", "refresh_id", "expires_at", username=username, password=password),
    pb.SignInRequest: form(
        *("username", "password", "refresh_id", "expires_at"),
        max_sessions=number(0, MAX_SESSIONS),
        address_delay_ms=number(0, 2**63 - 1),
    ),
    pb.OpenSessionRequest: form("user_id", "refresh_id", "expires_at", max_sessions=number(0, MAX_SESSIONS)),
    pb.ChangePasswordRequest: form("user_id", "old_password", "new_password", "session_id", "refresh_id", "expires_at"),
    pb.SetPasswordRequest: form("user_id", "password", password=password),
    pb.SetUserRoleRequest: form("user_id", "role", role=one_of("user", "admin")),
    pb.GetUserRolesRequest: form("user_ids"),
    pb.RotateSessionRequest: form(
        "session_id", "refresh_id", "next_refresh_id", "expires_at", next_refresh_id=identifier
    ),
    pb.EndSessionRequest: form("session_id"),
    pb.ListUserSessionsRequest: form("user_id"),
    pb.ListEndedSessionsRequest: form(),
}
