"""The forms of the requests of SessionService."""

from google.protobuf.message import Message

from gochat.api.session.v1 import session_pb2 as pb
from gochat.domain.forms.rules import Form, chosen_password, form, text, username
from gochat.domain.limits import MAX_EXTERNAL_TOKEN

_token = text(size=MAX_EXTERNAL_TOKEN)
_name = text(size=32)
_uri = text(size=2048)


def _chosen_password(name: str, value: str) -> None:
    if value:
        chosen_password(name, value)


FORMS: dict[type[Message], Form] = {
    pb.RefreshTokenRequest: form("refresh_token", refresh_token=text(size=8192)),
    pb.LogoutRequest: form(),
    pb.ListSessionsRequest: form(),
    pb.RevokeSessionRequest: form("session_id"),
    pb.ChangePasswordRequest: form("old_password", "new_password", new_password=chosen_password),
    pb.CreateSessionRequest: form("user_id"),
    pb.RegisterRequest: form("username", "password", username=username, password=chosen_password),
    pb.ListSignInMethodsRequest: form(),
    pb.ExchangeTokenRequest: form("token", token=_token),
    pb.BeginSignInRequest: form("issuer", "redirect_uri", issuer=_name, redirect_uri=_uri),
    pb.FinishSignInRequest: form(
        *("issuer", "code", "state", "code_verifier", "redirect_uri"),
        issuer=_name,
        code=text(size=4096),
        state=text(size=8192),
        code_verifier=text(size=128),
        redirect_uri=_uri,
    ),
    pb.CreateGuestRequest: form(),
    pb.ClaimAccountRequest: form(username=username, password=_chosen_password, token=_token),
}
