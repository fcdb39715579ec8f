"""Signing in, tokens, sessions."""

import time
from functools import partial

from gochat.api.logic.v1 import logic_pb2
from gochat.api.session.v1 import session_pb2
from tests.harness import PASSWORD, Deployment, as_service, bearer, fresh, refused
from tests.waiting import eventually, status_of


def sign_in(app: Deployment, username: str, password: str = PASSWORD, device_id: str = "") -> logic_pb2.AuthResponse:
    request = logic_pb2.AuthRequest(username=username, password=password, device_id=device_id)
    return app.logic.Authenticate(request)


def refresh(app: Deployment, token: str) -> session_pb2.RefreshTokenResponse:
    return app.session.RefreshToken(session_pb2.RefreshTokenRequest(refresh_token=token))


def test_sign_in_answers_with_tokens_and_the_profile(app: Deployment) -> None:
    username = fresh("Alice")
    user_id = app.create_user(username, nickname="Al")
    answer = sign_in(app, username.upper())
    assert answer.success
    assert answer.expires_in == 900
    assert (answer.user_info.user_id, answer.user_info.username) == (user_id, username)
    assert answer.user_info.nickname == "Al"
    assert app.logic.GetUserProfile(
        logic_pb2.GetUserProfileRequest(), metadata=bearer(answer.access_token)
    ).profile == (answer.user_info)


def test_sign_in_refuses_wrong_passwords_and_unknown_names_alike(app: Deployment) -> None:
    username = fresh()
    app.create_user(username)
    with refused("UNAUTHENTICATED", reason="BAD_CREDENTIALS") as wrong:
        sign_in(app, username, "wrong")
    with refused("UNAUTHENTICATED", reason="BAD_CREDENTIALS") as unknown:
        sign_in(app, fresh())
    assert wrong.message == unknown.message


def test_a_disabled_user_gets_no_tokens(app: Deployment) -> None:
    person = app.person(password=PASSWORD)
    as_service(app).repo.UpdateUser(user_id=person.id, status=2)
    with refused("UNAUTHENTICATED"):
        sign_in(app, person.username)
    with refused("UNAUTHENTICATED"):
        refresh(app, person.refresh_token)


def test_an_old_refresh_token_ends_the_session(app: Deployment) -> None:
    person = app.person(password=PASSWORD)
    second = refresh(app, person.refresh_token)
    third = refresh(app, second.refresh_token)
    assert app.logic.GetUserProfile(
        logic_pb2.GetUserProfileRequest(), metadata=bearer(third.access_token)
    ).profile.user_id == (person.id)
    with refused("UNAUTHENTICATED", reason="SESSION_ENDED"):
        refresh(app, person.refresh_token)
    with refused("UNAUTHENTICATED", reason="SESSION_ENDED"):
        refresh(app, third.refresh_token)


def test_access_and_refresh_tokens_are_not_interchangeable(app: Deployment) -> None:
    person = app.person(password=PASSWORD)
    with refused("UNAUTHENTICATED", reason="BAD_REFRESH_TOKEN"):
        refresh(app, person.access_token)
    with refused("UNAUTHENTICATED", reason="BAD_TOKEN"):
        app.logic.GetUserProfile(logic_pb2.GetUserProfileRequest(), metadata=bearer(person.refresh_token))
    assert not person.ValidateToken(token=person.refresh_token).valid


def test_a_device_has_one_session(app: Deployment) -> None:
    username = fresh()
    app.create_user(username)
    phone, laptop = sign_in(app, username, device_id="phone"), sign_in(app, username, device_id="laptop")
    nameless, another = sign_in(app, username), sign_in(app, username)
    again = sign_in(app, username, device_id="phone")
    with refused("UNAUTHENTICATED"):
        refresh(app, phone.refresh_token)
    for answer in (laptop, nameless, another, again):
        refresh(app, answer.refresh_token)


def test_logout_ends_the_session_of_that_device_alone(app: Deployment) -> None:
    username = fresh()
    app.create_user(username)
    phone, laptop = sign_in(app, username, device_id="phone"), sign_in(app, username, device_id="laptop")
    for _ in range(2):
        assert app.session.Logout(session_pb2.LogoutRequest(), metadata=bearer(phone.access_token)).success
    with refused("UNAUTHENTICATED"):
        refresh(app, phone.refresh_token)
    refresh(app, laptop.refresh_token)
    with refused("INVALID_ARGUMENT", "authorization"):
        app.session.Logout(session_pb2.LogoutRequest(), metadata=app.service)


def test_validate_token_names_the_owner_and_the_expiry(app: Deployment) -> None:
    person = app.person(password=PASSWORD)
    answer = person.ValidateToken(token=person.access_token)
    assert answer.valid
    assert answer.user_id == person.id
    assert 890_000 < answer.expires_at - time.time() * 1000 <= 900_000
    for bad in ("", "x", person.access_token[:-2], person.access_token + "."):
        assert person.ValidateToken(token=bad) == logic_pb2.ValidateTokenResponse(valid=False)


def test_an_expired_token_is_refused(app: Deployment) -> None:
    token = app.token("service", ttl=1)
    request = logic_pb2.GetUserProfileRequest(user_id="u")
    call = partial(app.logic.GetUserProfile, request, metadata=bearer(token))
    assert status_of(call) == "NOT_FOUND", "it was good"
    eventually(lambda: status_of(call) == "UNAUTHENTICATED")  # the leeway for clocks that differ is 5 s
    with refused("UNAUTHENTICATED", reason="BAD_TOKEN") as expired:
        call()
    assert "expired" in expired.message
