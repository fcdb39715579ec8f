"""Sessions end when they should, everywhere and in time, and only those that should."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import not_
from typing import Any

import pytest

from gochat.api.repo.v1 import repo_pb2
from gochat.api.session.v1 import session_pb2
from gochat.internal.account.v1 import account_pb2
from tests.attacks.sessions import NEW, REVOCATION_TIMEOUT, refresh, session_of, taken, two_devices, valid
from tests.harness import PASSWORD, Deployment, Person, as_service, refused
from tests.waiting import polled

GIVE_UP_TIMEOUT = 8.0


def reuse(person: Person) -> None:
    """Two clients with one refresh token: one of them is a thief, who comes when the other has gone on."""
    refresh(person.app, refresh(person.app, person.refresh_token).refresh_token)
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
    return app.person(password=PASSWORD)


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
    app.signed_in(phone.id, phone.username, PASSWORD)
    for session in (phone, laptop):
        refresh(app, session.refresh_token)


def test_only_the_new_password_and_the_new_tokens_work_after_a_change(app: Deployment) -> None:
    person = app.person(password=PASSWORD)
    answer = person.ChangePassword(old_password=PASSWORD, new_password=NEW)
    changed = Person(app, person.id, person.username, answer.access_token, answer.refresh_token)
    (session,) = changed.ListSessions().sessions
    assert session.current
    refresh(app, answer.refresh_token)
    with refused("UNAUTHENTICATED", reason="BAD_CREDENTIALS"):
        app.signed_in(person.id, person.username, PASSWORD)
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
    person = app.person(password=PASSWORD)
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
