"""Accounts: who may make one, and what the operator's commands do to their sessions."""

from collections.abc import Callable

import jwt
import pytest

from gochat.api.repo.v1 import repo_pb2
from gochat.api.session.v1 import session_pb2
from tests.attacks.sessions import NEW, assert_refused_in_time, refresh, valid
from tests.conftest import Own
from tests.harness import PASSWORD, Deployment, Person, as_service, fresh, refused


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
        app.signed_in("", username, PASSWORD)
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
    alone.signed_in("", username, PASSWORD)
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
    person, bystander = alone.person(password=PASSWORD), alone.person(password=PASSWORD)
    alone.run("user", "disable", person.username.upper(), "--address", alone.address)
    assert_refused_in_time(person)
    assert not valid(alone, person.access_token)
    with refused("UNAUTHENTICATED", reason="BAD_CREDENTIALS"):
        alone.signed_in(person.id, person.username, PASSWORD)
    alone.run("user", "enable", person.username, "--address", alone.address)
    again = alone.signed_in(person.id, person.username, PASSWORD)
    again.GetConversations()
    for token in (person.access_token, person.refresh_token):
        assert not valid(alone, token)
    with refused("UNAUTHENTICATED"):
        refresh(alone, person.refresh_token)
    bystander.GetConversations()


def test_the_operator_sets_a_password(alone: Deployment) -> None:
    person = alone.person(password=PASSWORD)
    there = ("--password-stdin", "--address", alone.address)
    alone.run("user", "password", person.username, *there, stdin=NEW + "\n")
    assert_refused_in_time(person)
    with refused("UNAUTHENTICATED", reason="BAD_CREDENTIALS"):
        alone.signed_in(person.id, person.username, PASSWORD)
    alone.signed_in(person.id, person.username, NEW).GetConversations()


def test_a_command_for_an_unknown_user_changes_nobody(alone: Deployment) -> None:
    person = alone.person(password=PASSWORD)
    run = alone.run("user", "disable", person.username[:-1], "--address", alone.address, check=False)
    assert (run.returncode, run.stderr) == (1, "gochat: user not found\n")
    assert as_service(alone).repo.GetUser(user_id=person.id).user.status == 1
    person.GetConversations()
