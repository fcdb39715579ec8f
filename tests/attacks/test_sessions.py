"""Sessions end when they should, everywhere and in time, and only those that should."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import not_
from typing import Any

import jwt
import pytest

from gochat.api.logic.v1 import logic_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.api.session.v1 import session_pb2
from gochat.internal.account.v1 import account_pb2
from tests.conftest import Own
from tests.harness import PASSWORD, Deployment, Person, as_service, fresh, refused
from tests.waiting import eventually, polled, status_of

REVOCATION_TIMEOUT = 5.0  # seconds within which an ended session's access token stops working
GIVE_UP_TIMEOUT = 8.0
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


def reuse(person: Person) -> None:
    """Two clients with one refresh token: one of them is a thief."""
    refresh(person.app, person.refresh_token)
    with refused("UNAUTHENTICATED", reason="SESSION_ENDED"):
        refresh(person.app, person.refresh_token)


def revoke_as_service(person: Person) -> None:
    request = session_pb2.RevokeSessionRequest(session_id=session_of(person))
    person.app.session.RevokeSession(request, metadata=person.app.service)


def set_status(person: Person, status: int) -> None:
    as_service(person.app).repo.UpdateUser(user_id=person.id, status=status)


def set_role(person: Person, role: str) -> None:
    request = account_pb2.SetUserRoleRequest(user_id=person.id, role=role)
    person.app.account.SetUserRole(request, metadata=person.app.service)


def set_password(person: Person) -> None:
    request = account_pb2.SetPasswordRequest(user_id=person.id, password=NEW)
    person.app.account.SetPassword(request, metadata=person.app.service)


def two_devices(app: Deployment, role: str = "user") -> tuple[Person, Person]:
    """Sessions of a new user's."""
    username = fresh()
    user_id = app.create_user(username)
    app.account.SetUserRole(account_pb2.SetUserRoleRequest(user_id=user_id, role=role), metadata=app.service)
    phone, laptop = (app.signed_in(user_id, username, device_id=device) for device in ("phone", "laptop"))
    return phone, laptop


@dataclass
class Ending:
    """A session and another one of the same user. last: where its token was presented -> after how many seconds it was
    last taken there."""

    this: Person
    other: Person
    asked: dict[str, Callable[[], bool]]
    ended_at: float = 0.0
    last: dict[str, float] = field(default_factory=dict)


CHANGE = {"old_password": PASSWORD, "new_password": NEW}
ENDS_IT: dict[str, Callable[[Ending], Any]] = {
    "it logs out": lambda of: of.this.Logout(),
    "another device revokes it": lambda of: of.other.RevokeSession(session_id=session_of(of.this)),
    "a service revokes it": lambda of: revoke_as_service(of.this),
    "its refresh token is used twice": lambda of: reuse(of.this),
    "the device signs in again": lambda of: of.this.app.signed_in(of.this.id, of.this.username, device_id="phone"),
}
ENDS_ALL: dict[str, Callable[[Ending], Any]] = {
    "the user is disabled": lambda of: set_status(of.this, 2),
    "the user is deleted": lambda of: set_status(of.this, 3),
    "the user is made an admin": lambda of: set_role(of.this, "admin"),
    "the admin is demoted": lambda of: set_role(of.this, "user"),
    "the admin is disabled": lambda of: set_status(of.this, 2),
    "it changes the password": lambda of: of.this.ChangePassword(**CHANGE),
    "another device changes the password": lambda of: of.other.ChangePassword(**CHANGE),
    "the operator sets the password": lambda of: set_password(of.this),
}
ADMINS = ("the admin is demoted", "the admin is disabled")
ENDS = ENDS_IT | ENDS_ALL


@pytest.fixture(scope="module")
def bystander(app: Deployment) -> Person:
    return app.person()


@pytest.fixture(scope="module")
def endings(app: Deployment, bystander: Person) -> dict[str, Ending]:
    """Every session in ENDS, ended, and watched side by side since each takes seconds."""
    endings, get = {}, repo_pb2.GetUserRequest(user_id=bystander.id)
    for name in ENDS:
        this, other = two_devices(app, "admin" if name in ADMINS else "user")
        asked: dict[str, Callable[[], bool]] = {
            "logic": lambda this=this: taken(this.GetConversations),
            "validate": lambda this=this: valid(app, this.access_token),
        }
        if name in ADMINS:
            asked["repo"] = lambda this=this: taken(lambda: app.repo.GetUser(get, metadata=this.metadata))
        assert all(ask() for ask in asked.values())
        endings[name] = Ending(this, other, asked)
    for name, act in ENDS.items():
        act(endings[name])
        endings[name].ended_at = time.monotonic()
    pending = [(ending, where) for ending in endings.values() for where in ending.asked]

    def still_taken() -> bool:
        for ending, where in tuple(pending):
            began = time.monotonic()
            if ending.asked[where]():
                ending.last[where] = began - ending.ended_at
            else:
                pending.remove((ending, where))
        return bool(pending)

    polled(still_taken, not_, GIVE_UP_TIMEOUT)
    return endings


@pytest.mark.parametrize("name", ENDS)
def test_the_access_token_of_an_ended_session_stops_working_in_time(endings: dict[str, Ending], name: str) -> None:
    assert endings[name].last.get("logic", 0) < REVOCATION_TIMEOUT
    for call in (endings[name].this.GetConversations, endings[name].this.ListSessions):
        with refused("UNAUTHENTICATED", reason="BAD_TOKEN"):
            call()


@pytest.mark.parametrize("name", ENDS)
def test_validate_token_reports_an_ended_session_in_time(
    app: Deployment, endings: dict[str, Ending], name: str
) -> None:
    assert endings[name].last.get("validate", 0) < REVOCATION_TIMEOUT
    assert not valid(app, endings[name].this.access_token)


@pytest.mark.parametrize("name", ADMINS)
def test_the_repo_refuses_the_token_of_a_former_admin_in_time(
    app: Deployment, endings: dict[str, Ending], bystander: Person, name: str
) -> None:
    assert endings[name].last.get("repo", 0) < REVOCATION_TIMEOUT
    with refused("UNAUTHENTICATED", reason="BAD_TOKEN"):
        app.repo.GetUser(repo_pb2.GetUserRequest(user_id=bystander.id), metadata=endings[name].this.metadata)


@pytest.mark.parametrize("name", ENDS)
def test_the_refresh_token_of_an_ended_session_stops_working(
    app: Deployment, endings: dict[str, Ending], name: str
) -> None:
    with refused("UNAUTHENTICATED"):
        refresh(app, endings[name].this.refresh_token)


@pytest.mark.parametrize("name", ENDS_IT)
def test_ending_one_session_keeps_the_users_others(app: Deployment, endings: dict[str, Ending], name: str) -> None:
    other = endings[name].other
    assert other.GetConversations().ListFields() is not None
    assert valid(app, other.access_token)
    assert refresh(app, other.refresh_token).access_token


@pytest.mark.parametrize("name", ENDS_ALL)
def test_ending_all_sessions_ends_the_users_others_too(app: Deployment, endings: dict[str, Ending], name: str) -> None:
    other = endings[name].other
    assert not valid(app, other.access_token)
    with refused("UNAUTHENTICATED"):
        refresh(app, other.refresh_token)


@pytest.mark.usefixtures("endings")
def test_ending_sessions_keeps_those_of_other_users(app: Deployment, bystander: Person) -> None:
    bystander.GetConversations()
    assert valid(app, bystander.access_token)
    assert [session.session_id for session in bystander.ListSessions().sessions] == [session_of(bystander)]


def test_a_demoted_admin_who_signs_in_again_is_a_user(app: Deployment, endings: dict[str, Ending]) -> None:
    demoted = endings["the admin is demoted"].this
    again = app.signed_in(demoted.id, demoted.username)
    with refused("PERMISSION_DENIED", reason="NOT_A_SERVICE"):
        app.repo.GetUser(repo_pb2.GetUserRequest(user_id=demoted.id), metadata=again.metadata)


def test_a_wrong_old_password_changes_nothing(app: Deployment) -> None:
    phone, laptop = two_devices(app)
    with refused("UNAUTHENTICATED", reason="BAD_CREDENTIALS"):
        phone.ChangePassword(old_password="wrong horse", new_password=NEW)
    with refused("INVALID_ARGUMENT", "new_password"):
        phone.ChangePassword(old_password=PASSWORD, new_password="7 chars")
    with refused("UNAUTHENTICATED", reason="BAD_CREDENTIALS"):
        app.signed_in(phone.id, phone.username, NEW)
    app.signed_in(phone.id, phone.username)
    for session in (phone, laptop):
        refresh(app, session.refresh_token)


def test_only_the_new_password_and_the_new_tokens_work_after_a_change(app: Deployment) -> None:
    person = app.person()
    answer = person.ChangePassword(old_password=PASSWORD, new_password=NEW)
    changed = Person(app, person.id, person.username, answer.access_token, answer.refresh_token)
    (session,) = changed.ListSessions().sessions
    assert session.current
    refresh(app, answer.refresh_token)
    with refused("UNAUTHENTICATED", reason="BAD_CREDENTIALS"):
        app.signed_in(person.id, person.username)
    app.signed_in(person.id, person.username, NEW)


def test_sessions_are_listed_to_their_owner_alone(app: Deployment, bystander: Person) -> None:
    phone, laptop = two_devices(app)
    for person, device in ((phone, "phone"), (laptop, "laptop")):
        sessions = person.ListSessions().sessions
        assert {session.device_id: session.session_id for session in sessions} == {
            "phone": session_of(phone),
            "laptop": session_of(laptop),
        }
        assert [session.device_id for session in sessions if session.current] == [device]
        with refused("PERMISSION_DENIED", reason="NOT_YOURSELF"):
            person.ListSessions(user_id=bystander.id)
    request = session_pb2.ListSessionsRequest(user_id=phone.id)
    seen = app.session.ListSessions(request, metadata=app.service).sessions
    assert [session.current for session in seen] == [False, False]


def test_another_users_session_cannot_be_revoked(app: Deployment, bystander: Person) -> None:
    person = app.person()
    for session_id in (session_of(bystander), "d00000000000000000000000000", "' OR '1'='1", "%"):
        with refused("NOT_FOUND", "session_id"):
            person.RevokeSession(session_id=session_id)
    for each in (person, bystander):
        assert [session.current for session in each.ListSessions().sessions] == [True]


def test_a_service_has_no_session_to_end_and_no_password_to_change(app: Deployment) -> None:
    request = session_pb2.ChangePasswordRequest(old_password=PASSWORD, new_password=NEW)
    for call in (
        lambda: app.session.Logout(session_pb2.LogoutRequest(), metadata=app.service),
        lambda: app.session.ChangePassword(request, metadata=app.service),
    ):
        with refused("INVALID_ARGUMENT", "authorization"):
            call()


# Registration.


def register(app: Deployment, username: str, password: str = PASSWORD) -> session_pb2.RegisterResponse:
    request = session_pb2.RegisterRequest(username=username, password=password, device_id="phone")
    return app.session.Register(request, timeout=30)


def test_nobody_makes_an_account_unless_the_operator_opens_registration(app: Deployment) -> None:
    username = fresh()
    with refused("PERMISSION_DENIED", reason="REGISTRATION_CLOSED"):
        register(app, username)
    with refused("PERMISSION_DENIED", reason="REGISTRATION_CLOSED"):
        app.session.Register(session_pb2.RegisterRequest(username=username, password=PASSWORD), metadata=app.service)
    with refused("UNAUTHENTICATED", reason="BAD_CREDENTIALS"):
        app.signed_in("", username)
    assert app.create_user(username)


@pytest.fixture(scope="module")
def alone(own_of_module: Own) -> Deployment:
    """Open to all."""
    return own_of_module(env={"GOCHAT_AUTH_REGISTRATION": "open"})


def test_registering_signs_in_as_a_user(alone: Deployment) -> None:
    username = fresh()
    answer = register(alone, username)
    person = Person(alone, answer.user_id, username, answer.access_token, answer.refresh_token)
    assert person.GetUserProfile().profile.username == username
    assert [session.device_id for session in person.ListSessions().sessions] == ["phone"]
    refresh(alone, answer.refresh_token)
    request = repo_pb2.GetUserRequest(user_id=person.id)
    with refused("PERMISSION_DENIED", reason="NOT_A_SERVICE"):
        alone.repo.GetUser(request, metadata=person.metadata)
    assert jwt.decode(answer.access_token, options={"verify_signature": False})["role"] == "user"


def test_registering_with_an_admin_token_makes_no_admin(alone: Deployment) -> None:
    request = session_pb2.RegisterRequest(username=fresh(), password=PASSWORD)
    metadata = (*alone.service, ("x-gochat-actor", "|admin|127.0.0.1"), ("x-gochat-role", "admin"))
    # Fields 6 to 9, which the request does not have: what a later or another program might read as a role.
    raw = request.SerializeToString() + b"".join(bytes([number << 3 | 2, 5]) + b"admin" for number in range(6, 10))
    call = alone.channel.unary_unary("/gochat.api.session.v1.SessionService/Register")
    answer = session_pb2.RegisterResponse.FromString(call(raw, metadata=metadata, timeout=30))
    assert jwt.decode(answer.access_token, options={"verify_signature": False})["role"] == "user"


@pytest.mark.parametrize("like", [str, str.upper, lambda name: name.replace("x", "\uff58"), lambda n: "\u0455" + n[1:]])
def test_a_taken_username_and_its_look_alikes_are_not_registered(alone: Deployment, like: Callable[[str], str]) -> None:
    username = fresh("s")
    register(alone, username)
    assert like(username) != username or like is str
    with refused("ALREADY_EXISTS", "username", "USERNAME_TAKEN"):
        register(alone, like(username), NEW)
    alone.signed_in("", username)
    with refused("UNAUTHENTICATED", reason="BAD_CREDENTIALS"):
        alone.signed_in("", username, NEW)


@pytest.mark.parametrize("password", ["", "7 chars", "\u00e9" * 7, "x" * 1025])
def test_a_password_too_short_or_too_long_is_not_registered(alone: Deployment, password: str) -> None:
    username = fresh()
    with refused("INVALID_ARGUMENT", "password"):
        register(alone, username, password)
    register(alone, username)


# The operator's commands.


def test_the_operator_disables_and_enables_a_user(alone: Deployment) -> None:
    person, bystander = alone.person(), alone.person()
    alone.run("user", "disable", person.username.upper(), "--address", alone.address)
    assert_refused_in_time(person)
    assert not valid(alone, person.access_token)
    with refused("UNAUTHENTICATED", reason="BAD_CREDENTIALS"):
        alone.signed_in(person.id, person.username)
    alone.run("user", "enable", person.username, "--address", alone.address)
    again = alone.signed_in(person.id, person.username)
    again.GetConversations()
    for token in (person.access_token, person.refresh_token):
        assert not valid(alone, token)
    with refused("UNAUTHENTICATED"):
        refresh(alone, person.refresh_token)
    bystander.GetConversations()


def test_the_operator_sets_a_password(alone: Deployment) -> None:
    person = alone.person()
    there = ("--password-stdin", "--address", alone.address)
    alone.run("user", "password", person.username, *there, stdin=NEW + "\n")
    assert_refused_in_time(person)
    with refused("UNAUTHENTICATED", reason="BAD_CREDENTIALS"):
        alone.signed_in(person.id, person.username, PASSWORD)
    alone.signed_in(person.id, person.username, NEW).GetConversations()


def test_a_command_for_an_unknown_user_changes_nobody(alone: Deployment) -> None:
    person = alone.person()
    run = alone.run("user", "disable", person.username[:-1], "--address", alone.address, check=False)
    assert (run.returncode, run.stderr) == (1, "gochat: user not found\n")
    assert as_service(alone).repo.GetUser(user_id=person.id).user.status == 1
    person.GetConversations()
