"""Accounts and their sessions: how many, refreshed again, registered in one go, and signed in while strangers guess."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gochat.api.logic.v1 import logic_pb2
from gochat.api.session.v1 import session_pb2
from gochat.domain.rates import FREE_FAILURES
from gochat.internal.account.v1 import account_pb2
from tests.conftest import Own
from tests.harness import PASSWORD, Deployment, Person, as_service, bearer, fresh, refused
from tests.waiting import eventually

NEW = "another password"


def sign_in(app: Deployment, name: str, password: str = PASSWORD, device_id: str = "") -> Any:
    request = logic_pb2.AuthRequest(username=name, password=password, device_id=device_id)
    return app.logic.Authenticate(request, timeout=30)


def refresh(app: Deployment, token: str) -> Any:
    return app.session.RefreshToken(session_pb2.RefreshTokenRequest(refresh_token=token), timeout=30)


def register(app: Deployment, name: str, **fields: Any) -> Any:
    request = session_pb2.RegisterRequest(username=name, **{"password": PASSWORD} | fields)
    return app.session.Register(request, timeout=30)


def guess_until_delayed(app: Deployment, name: str, device_id: str = "") -> None:
    for _ in range(FREE_FAILURES):
        with refused("UNAUTHENTICATED", reason="BAD_CREDENTIALS"):
            sign_in(app, name, "a guess", device_id)
    with refused("RESOURCE_EXHAUSTED", reason="ACCOUNT_DELAYED"):
        sign_in(app, name, "a guess", device_id)


def devices(person: Person) -> list[str]:
    return [session.device_id for session in person.ListSessions().sessions]


def test_the_least_recently_used_session_ends(own: Own, mode: str) -> None:
    app = own(mode, env={"GOCHAT_AUTH_SESSIONS_PER_USER": "3"})
    name = fresh()
    user_id = app.create_user(name)
    one, two, three = (app.signed_in(user_id, name, device_id=device) for device in ("1", "2", "3"))
    refresh(app, one.refresh_token)
    four = app.signed_in(user_id, name, device_id="4")
    assert devices(four) == ["4", "1", "3"]
    with refused("UNAUTHENTICATED", reason="SESSION_ENDED"):
        refresh(app, two.refresh_token)
    for _ in range(5):
        again = app.signed_in(user_id, name, device_id="4")
    assert devices(again) == ["4", "1", "3"]
    assert three.ListSessions().sessions


def test_however_many_sessions_there_are_they_end_by_the_same_statements(app: Deployment) -> None:
    person = app.person(password=PASSWORD)
    for number in range(7):
        app.signed_in(person.id, person.username, device_id=f"device{number}")
    person = app.signed_in(person.id, person.username)
    app.account.SetPassword(account_pb2.SetPasswordRequest(user_id=person.id, password=NEW), metadata=app.service)
    assert devices(app.signed_in(person.id, person.username, NEW, device_id="new")) == ["new"]


def test_a_refresh_is_repeated_after_a_lost_answer(app: Deployment) -> None:
    person = app.person(password=PASSWORD)
    first = refresh(app, person.refresh_token)
    time.sleep(1.1)  # tokens hold seconds
    again = refresh(app, person.refresh_token)
    assert (again.access_token, again.refresh_token) == (first.access_token, first.refresh_token)
    assert 0 < again.expires_in <= first.expires_in
    assert app.logic.GetUserProfile(logic_pb2.GetUserProfileRequest(), metadata=bearer(again.access_token))
    assert refresh(app, again.refresh_token).refresh_token != again.refresh_token
    assert [event.action for event in app.events(user_id=person.id, action="session.")] == ["session.begin"]


def test_two_tabs_that_refresh_together_have_the_same_pair(app: Deployment) -> None:
    person = app.person(password=PASSWORD)
    with ThreadPoolExecutor(4) as pool:
        pairs = list(pool.map(lambda _: refresh(app, person.refresh_token), range(4)))
    assert len({(pair.access_token, pair.refresh_token) for pair in pairs}) == 1
    refresh(app, pairs[0].refresh_token)


def test_a_registration_is_whole(own: Own, mode: str) -> None:
    app = own(mode, env={"GOCHAT_AUTH_REGISTRATION": "open"})
    name = fresh()
    guess_until_delayed(app, name)
    registered = register(app, name, device_id="phone", email="a@example.com", nickname="Nick")
    person = Person(app, registered.user_id, name, registered.access_token, registered.refresh_token)
    assert devices(person) == ["phone"]
    user = as_service(app).repo.GetUser(user_id=person.id).user
    assert (user.username, user.email, user.nickname) == (name, "a@example.com", "Nick")
    refresh(app, person.refresh_token)
    assert sign_in(app, name).user_info.user_id == person.id, "guesses at a name that nobody had are none at its owner"
    recorded = [event.action for event in app.events(user_id=person.id)]
    assert recorded[:2] == ["user.create", "session.begin"]
    with refused("ALREADY_EXISTS", "username", "USERNAME_TAKEN"):
        register(app, name)
    with refused("INVALID_ARGUMENT", "password"):
        register(app, fresh(), password="short")


def test_a_reset_and_a_success_clear_the_delay(app: Deployment) -> None:
    name = fresh()
    user_id = app.create_user(name)
    guess_until_delayed(app, name)
    request = account_pb2.SetPasswordRequest(user_id=user_id, password=NEW)
    app.account.SetPassword(request, metadata=app.service)
    assert sign_in(app, name, NEW).success
    guess_until_delayed(app, name)
    eventually(lambda: not_delayed(app, name), 20)
    guess_until_delayed(app, name)


def not_delayed(app: Deployment, name: str) -> bool:
    try:
        return bool(sign_in(app, name, NEW).success)
    except Exception:  # noqa: BLE001 - delayed
        return False


def test_a_known_device_is_not_held_up_by_strangers(app: Deployment) -> None:
    name = fresh()
    user_id = app.create_user(name)
    person = app.signed_in(user_id, name, device_id="phone")
    other = app.signed_in(user_id, name, device_id="tablet")
    other.Logout()
    for device_id in ("phone", "tablet"):
        guess_until_delayed(app, name)
        with refused("RESOURCE_EXHAUSTED", reason="ACCOUNT_DELAYED"):
            sign_in(app, name)
        with refused("RESOURCE_EXHAUSTED", reason="ACCOUNT_DELAYED"):
            sign_in(app, name, device_id="unknown")
        assert sign_in(app, name, device_id=device_id).user_info.user_id == person.id


def test_who_guesses_from_a_known_device_is_delayed_too(app: Deployment) -> None:
    name = fresh()
    app.signed_in(app.create_user(name), name, device_id="phone")
    guess_until_delayed(app, name, "phone")
    with refused("RESOURCE_EXHAUSTED", reason="ACCOUNT_DELAYED"):
        sign_in(app, name, device_id="phone")


@pytest.mark.parametrize("exists", [True, False])
def test_no_answer_shows_which_devices_a_name_has(app: Deployment, exists: bool) -> None:
    name = fresh()
    if exists:
        app.signed_in(app.create_user(name), name, device_id="phone")
    guess_until_delayed(app, name, "other")
    for device_id in ["phone"] * (FREE_FAILURES + 1):
        with refused("RESOURCE_EXHAUSTED", reason="ACCOUNT_DELAYED"):
            sign_in(app, name, "a guess", device_id)


def test_a_live_session_changes_its_password_while_strangers_guess(app: Deployment) -> None:
    person = app.person(password=PASSWORD)
    guess_until_delayed(app, person.username)
    assert person.ChangePassword(old_password=PASSWORD, new_password=NEW).access_token
    assert sign_in(app, person.username, NEW).success


def test_wrong_passwords_do_not_refuse_a_refresh(own: Own, mode: str) -> None:
    app = own(mode, env={"GOCHAT_LIMITS_FAILED_SIGN_INS_PER_MINUTE": "3"})
    person = app.person(password=PASSWORD)
    for _ in range(3):
        with refused("UNAUTHENTICATED"):
            sign_in(app, fresh("nobody"))
    with refused("RESOURCE_EXHAUSTED", reason="ADDRESS_LIMITED"):
        sign_in(app, fresh("nobody"))
    token = refresh(app, person.refresh_token).refresh_token
    for _ in range(5):
        token = refresh(app, token).refresh_token
    with refused("UNAUTHENTICATED", reason="SESSION_ENDED"):
        refresh(app, person.refresh_token)
    for _ in range(5):  # a client that goes on with a session that has ended does not refuse its neighbours' either
        with refused("UNAUTHENTICATED", reason="SESSION_ENDED"):
            refresh(app, person.refresh_token)
    for _ in range(3):
        with refused("UNAUTHENTICATED", reason="BAD_REFRESH_TOKEN"):
            refresh(app, "garbage")
    with refused("RESOURCE_EXHAUSTED", reason="ADDRESS_LIMITED"):
        refresh(app, "garbage")
