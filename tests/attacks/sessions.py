"""Sessions as their owner, the operator and a thief see them."""

from collections.abc import Callable
from typing import Any

import jwt

from gochat.api.logic.v1 import logic_pb2
from gochat.api.session.v1 import session_pb2
from gochat.internal.account.v1 import account_pb2
from tests.harness import Deployment, Person, fresh
from tests.waiting import eventually, status_of

REVOCATION_TIMEOUT = 5.0  # seconds within which an ended session's access token stops working
NEW = "a new password"


def session_of(person: Person) -> str:
    return str(jwt.decode(person.access_token, options={"verify_signature": False})["sid"])


def valid(app: Deployment, token: str) -> bool:
    request = logic_pb2.ValidateTokenRequest(token=token)
    return bool(app.logic.ValidateToken(request, metadata=app.service, timeout=30).valid)


def taken(call: Callable[[], Any]) -> bool:
    """False if the call is refused for its token."""
    status = status_of(call)
    assert status in ("OK", "UNAUTHENTICATED")
    return status == "OK"


def refresh(app: Deployment, token: str) -> session_pb2.RefreshTokenResponse:
    return app.session.RefreshToken(session_pb2.RefreshTokenRequest(refresh_token=token), timeout=30)


def assert_refused_in_time(person: Person) -> None:
    eventually(lambda: not taken(person.GetConversations), REVOCATION_TIMEOUT)


def two_devices(app: Deployment, role: str = "user") -> tuple[Person, Person]:
    """Sessions of a new user's."""
    username = fresh()
    user_id = app.create_user(username)
    app.account.SetUserRole(account_pb2.SetUserRoleRequest(user_id=user_id, role=role), metadata=app.service)
    phone, laptop = (app.signed_in(user_id, username, device_id=device) for device in ("phone", "laptop"))
    return phone, laptop
