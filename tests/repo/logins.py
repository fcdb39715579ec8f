"""Of test_every_write.py: what signs people in without a password."""

from collections.abc import Callable
from typing import Any

from gochat.api.session.v1 import session_pb2
from tests.harness import PASSWORD, Deployment, Person, fresh
from tests.issuing import exchangeable

NEED_NONE = {
    "ExchangeToken": "as Register",
    "SignInExternal": "as Register",
    "CreateGuest": "as Register",
    "BeginSignIn": "it keeps nothing",
    "FinishSignIn": "as ExchangeToken",
    "RecordRefusal": "as RecordEvent: the audit log is not shown to apps",
}


def guest(app: Deployment, nickname: str = "", device_id: str = "") -> Person:
    request = session_pb2.CreateGuestRequest(nickname=nickname, device_id=device_id)
    made = app.session.CreateGuest(request, timeout=30)
    return Person(app, made.user_id, "", made.access_token, made.refresh_token)


def by_guest(world: Any) -> tuple[Person, dict[str, Any]]:
    return guest(world.app), {"username": fresh(), "password": PASSWORD}


def for_guest(world: Any) -> tuple[None, dict[str, Any]]:
    person = guest(world.app)
    session_id = person.ListSessions().sessions[0].session_id
    return None, _refresh(user_id=person.id, session_id=session_id, external_id=fresh())


def _refresh(**fields: Any) -> dict[str, Any]:
    return {"refresh_id": fresh(), "expires_at": 10**15} | fields


NONE: dict[str, Callable[[Any], tuple[None, dict[str, Any]]]] = {
    "ExchangeToken": lambda _: (None, {"token": exchangeable(sub=fresh())}),
    "SignInExternal": lambda _: (None, _refresh(external_id=fresh(), create=True)),
    "SessionService/CreateGuest": lambda _: (None, {}),
    "LoginStoreService/CreateGuest": lambda _: (None, _refresh()),
    "RecordRefusal": lambda _: (None, {"issuer": "main"}),
}
