"""What tokens are worth while keys change, halves stop and servers start again."""

import threading
import time

import jwt
import pytest

from gochat.api.logic.v1 import logic_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.internal.account.v1 import account_pb2
from tests.attacks.sessions import REVOCATION_TIMEOUT, refresh, taken, valid
from tests.conftest import SQLITE, Own
from tests.harness import Deployment, Person, bearer, refused
from tests.processes import frozen
from tests.waiting import eventually, status_of

UNKNOWN_TIMEOUT = 6.0  # seconds without the repo half after which no session is vouched for


@pytest.fixture(scope="module", params=SQLITE)
def app(request: pytest.FixtureRequest, own_of_module: Own) -> Deployment:
    return own_of_module(request.param)


@pytest.fixture(scope="module")
def halves(own_of_module: Own) -> Deployment:
    """Two processes, which the tests freeze, kill and start again."""
    return own_of_module("sqlite-split")


def rotate(app: Deployment, *options: str) -> str:
    """Returns the id of the new key."""
    key_id = app.run("key", "rotate", *options, "--address", app.repo_address).stdout.strip()
    app.service = bearer(app.token("service"))
    return key_id


def signed_with(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


# The signing key.


def test_a_new_key_signs_and_the_old_ones_tokens_still_work(app: Deployment) -> None:
    person, admin, service = app.person(), app.person(admin=True), app.service
    key_id = rotate(app)
    assert signed_with(person.access_token) != key_id == signed_with(app.service[0][1].split()[1])

    get = repo_pb2.GetUserRequest(user_id=person.id)

    def signs() -> bool:
        signed = []
        status = status_of(lambda: signed.append(app.signed_in(person.id, person.username).access_token))
        return status == "OK" and signed_with(signed[0]) == key_id

    eventually(signs, 2.0)
    eventually(lambda: taken(lambda: app.repo.GetUser(get, metadata=app.service)), 2.0)
    person.GetConversations()
    assert valid(app, person.access_token)
    for metadata in (service, admin.metadata):
        app.repo.GetUser(get, metadata=metadata)
    assert signed_with(refresh(app, person.refresh_token).access_token) == key_id
    assert [event.target_id for event in app.events(action="key.rotate")][-1] == key_id


def test_a_dropped_keys_tokens_stop_working(app: Deployment) -> None:
    person, service = app.person(), app.service
    get = repo_pb2.GetUserRequest(user_id=person.id)
    key_id = rotate(app, "--drop-old")
    eventually(lambda: status_of(person.GetConversations) == "UNAUTHENTICATED", REVOCATION_TIMEOUT)
    eventually(lambda: not taken(lambda: app.repo.GetUser(get, metadata=service)), REVOCATION_TIMEOUT)
    with refused("UNAUTHENTICATED", reason="BAD_TOKEN"):
        person.GetConversations()
    with refused("UNAUTHENTICATED", reason="BAD_REFRESH_TOKEN"):
        refresh(app, person.refresh_token)
    eventually(lambda: taken(lambda: app.repo.GetUser(get, metadata=app.service)), 2.0)
    assert not valid(app, person.access_token)
    again = app.signed_in(person.id, person.username)
    assert signed_with(again.access_token) == key_id
    again.GetConversations()


def test_no_call_fails_while_the_key_changes_under_both_halves(halves: Deployment) -> None:
    person, ended, outcomes = halves.person(), threading.Event(), []

    def call() -> None:
        while not ended.wait(0.05):
            outcomes.append(status_of(person.GetConversations))

    calling = threading.Thread(target=call)
    calling.start()
    try:
        for _ in range(3):
            key_id = halves.run("key", "rotate", "--address", halves.repo_address).stdout.strip()
            eventually(lambda key_id=key_id: halves.logs().count(f"signed with key {key_id}") == 2, 5.0)
    finally:
        ended.set()
        calling.join()
        halves.service = bearer(halves.token("service"))
    assert set(outcomes) == {"OK"}


# The repo half away: nobody knows then which sessions have ended.


def assert_not_vouched_for(person: Person, since: float) -> None:
    """Neither way of using the token works once it is unknown whether the session lasts, and it says so."""
    eventually(lambda: status_of(lambda: valid(person.app, person.access_token)) == "UNAVAILABLE", UNKNOWN_TIMEOUT)
    assert time.monotonic() - since < UNKNOWN_TIMEOUT + 1
    for call in (person.GetConversations, lambda: person.ValidateToken(token=person.access_token)):
        with refused("UNAVAILABLE", reason="SESSIONS_UNKNOWN"):
            call()
    with refused("UNAVAILABLE", reason="SESSIONS_UNKNOWN"):
        valid(person.app, person.access_token)
    with refused("UNAUTHENTICATED", reason="BAD_TOKEN"):
        person.app.logic.GetUserProfile(logic_pb2.GetUserProfileRequest(), metadata=bearer("x"), timeout=30)


def test_no_token_is_accepted_while_the_repo_is_frozen(halves: Deployment) -> None:
    person, leaver = halves.person(), halves.person()
    leaver.Logout()
    with frozen(halves.processes[-1].pid):
        assert_not_vouched_for(person, time.monotonic())
    eventually(lambda: status_of(person.GetConversations) == "OK", 10.0)
    assert valid(halves, person.access_token)
    assert not valid(halves, leaver.access_token)


def test_no_token_is_accepted_while_the_repo_is_down(halves: Deployment) -> None:
    person, leaver = halves.person(), halves.person()
    leaver.Logout()
    halves.processes[-1].kill()
    assert_not_vouched_for(person, time.monotonic())
    halves.restart_repo()
    eventually(lambda: status_of(person.GetConversations) == "OK", 10.0)
    assert valid(halves, person.access_token)
    assert not valid(halves, leaver.access_token)


def test_a_logic_half_that_was_suspended_accepts_no_session_ended_meanwhile(halves: Deployment) -> None:
    person = halves.person()
    (session,) = person.ListSessions().sessions
    with frozen(halves.processes[0].pid):
        halves.account.EndSession(
            account_pb2.EndSessionRequest(session_id=session.session_id, service=True),
            metadata=halves.service,
            timeout=30,
        )
        time.sleep(REVOCATION_TIMEOUT)  # it sleeps for longer than it may vouch for what it knew
        call = halves.logic.GetConversations.future(
            logic_pb2.GetConversationsRequest(), metadata=person.metadata, timeout=30
        )
    assert status_of(call.result) in ("UNAVAILABLE", "UNAUTHENTICATED")
    eventually(lambda: status_of(person.GetConversations) == "UNAUTHENTICATED", REVOCATION_TIMEOUT)


def test_sessions_ended_before_a_restart_stay_ended(halves: Deployment) -> None:
    person, leaver = halves.person(), halves.person()
    leaver.Logout()
    halves.kill()
    halves.start()
    assert not valid(halves, leaver.access_token)
    with refused("UNAUTHENTICATED", reason="BAD_TOKEN"):
        leaver.GetConversations()
    person.GetConversations()
    assert valid(halves, person.access_token)
