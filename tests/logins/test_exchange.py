"""ExchangeToken: a token of the operator's own login becomes a session."""

import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from gochat.api.repo.v1 import repo_pb2
from gochat.api.session.v1 import session_pb2 as pb
from tests.conftest import Own
from tests.harness import PASSWORD, Deployment, Person, fresh, refused
from tests.issuing import ALGORITHMS, AUDIENCE, KeyServer, SigningKey, claims_of, key_server, token_of

ISSUER = "https://login.example.com"
SECRET = "s" * 40
SHARED = "https://backend.example.com"


def hs256(**claims: Any) -> str:
    """Of the issuer with a secret."""
    header = {"alg": "HS256", "typ": "JWT"}
    claims = claims_of(SHARED, **claims)
    return token_of(
        SigningKey("EdDSA"), claims, header, sign=lambda data: ALGORITHMS["HS256"].sign(data, SECRET.encode())
    )


@pytest.fixture(scope="module")
def keys() -> Iterator[KeyServer]:
    with key_server() as server:
        server.keys = [SigningKey("RS256"), SigningKey("ES256"), SigningKey("EdDSA")]
        yield server


@pytest.fixture(scope="module")
def login(own_of_module: Own, keys: KeyServer, mode: str) -> Deployment:
    settings = {
        "MAIN_ISSUER": ISSUER,
        "MAIN_AUDIENCE": AUDIENCE,
        "MAIN_JWKS_URL": keys.url,
        "MAIN_USERNAME_CLAIM": "preferred_username",
        "MAIN_NICKNAME_CLAIM": "name",
        "MAIN_EMAIL_CLAIM": "email",
        "MAIN_AVATAR_CLAIM": "picture",
        "MAIN_PREFIX": "main:",
        "BACKEND_ISSUER": SHARED,
        "BACKEND_AUDIENCE": AUDIENCE,
        "BACKEND_SECRET": SECRET,
        "BACKEND_CREATE": "false",
        "BACKEND_PREFIX": "backend:",
    }
    return own_of_module(mode, env={f"GOCHAT_AUTH_ISSUERS_{key}": value for key, value in settings.items()})


def exchanged(app: Deployment, token: str, device_id: str = "") -> pb.ExchangeTokenResponse:
    return app.session.ExchangeToken(pb.ExchangeTokenRequest(token=token, device_id=device_id), timeout=30)


def person_of(app: Deployment, answer: Any) -> Person:
    return Person(app, answer.user_id, "", answer.access_token, answer.refresh_token)


def test_the_first_token_makes_the_user_and_later_ones_find_them(login: Deployment, keys: KeyServer) -> None:
    name = fresh("ann")
    more = {"preferred_username": name, "name": "Ann B.", "email": "ann@example.com", "picture": "data:,a"}
    claims = claims_of(ISSUER, **more)
    first = exchanged(login, token_of(keys.key, claims))
    again = exchanged(login, token_of(keys.key, claims | {"name": "Another", "preferred_username": fresh()}))
    assert (first.created, again.created, again.user_id) == (True, False, first.user_id)
    profile = person_of(login, again).GetUserProfile(user_id=first.user_id).profile
    assert (profile.username, profile.nickname, profile.avatar) == (name, "Ann B.", "data:,a")


@pytest.mark.parametrize("index", range(3))
def test_a_key_of_each_kind_is_taken_and_may_sign_without_its_name(
    login: Deployment, keys: KeyServer, index: int
) -> None:
    key = keys.keys[index]
    assert exchanged(login, token_of(key, claims_of(ISSUER))).created
    assert exchanged(login, token_of(key, claims_of(ISSUER), {"alg": key.algorithm})).created


def test_its_session_is_one_as_of_authenticate(login: Deployment, keys: KeyServer) -> None:
    claims = claims_of(ISSUER, aud=["other", AUDIENCE])
    first = exchanged(login, token_of(keys.key, claims), device_id="phone")
    ann, other = person_of(login, first), person_of(login, exchanged(login, token_of(keys.key, claims)))
    assert login.session.RefreshToken(pb.RefreshTokenRequest(refresh_token=other.refresh_token)).access_token
    person_of(login, exchanged(login, token_of(keys.key, claims), device_id="phone"))
    listed = other.ListSessions().sessions
    assert sorted(session.device_id == "phone" for session in listed) == [False, True]
    with refused("UNAUTHENTICATED", reason="SESSION_ENDED"):
        login.session.RefreshToken(pb.RefreshTokenRequest(refresh_token=ann.refresh_token))


def test_a_username_that_is_taken_is_made_another(login: Deployment, keys: KeyServer) -> None:
    taken = login.person(password=PASSWORD)
    answer = exchanged(login, token_of(keys.key, claims_of(ISSUER, preferred_username=taken.username)))
    profile = taken.GetUserProfile(user_id=answer.user_id).profile
    assert answer.user_id != taken.id
    assert profile.username != taken.username


@pytest.mark.parametrize("value", ["a b", "", 7, None, "x" * 65, "\ud800", ["a"], "\u202eevil"])
def test_claims_of_another_form_keep_nobody_out(login: Deployment, keys: KeyServer, value: Any) -> None:
    more = dict.fromkeys(("preferred_username", "name", "email", "picture"), value)
    assert exchanged(login, token_of(keys.key, claims_of(ISSUER, **more))).created


def test_users_who_were_not_made_before_are_let_in_only_where_that_is_set(login: Deployment) -> None:
    with refused("PERMISSION_DENIED", reason="NO_ACCOUNT"):
        exchanged(login, hs256())


def test_who_is_disabled_is_refused(login: Deployment, keys: KeyServer) -> None:
    token = token_of(keys.key, claims_of(ISSUER))
    user_id = exchanged(login, token).user_id
    login.repo.UpdateUser(repo_pb2.UpdateUserRequest(user_id=user_id, status=2), metadata=login.service)
    with refused("UNAUTHENTICATED", reason="USER_NOT_ACTIVE"):
        exchanged(login, token)


def test_who_was_deleted_comes_as_a_new_user(login: Deployment, keys: KeyServer) -> None:
    token = token_of(keys.key, claims_of(ISSUER))
    first = exchanged(login, token)
    login.repo.UpdateUser(repo_pb2.UpdateUserRequest(user_id=first.user_id, status=3), metadata=login.service)
    second = exchanged(login, token)
    assert second.created
    assert second.user_id != first.user_id


def test_who_is_not_let_in_is_in_the_audit_log(login: Deployment, keys: KeyServer) -> None:
    token = token_of(keys.key, claims_of(ISSUER))
    user_id = exchanged(login, token).user_id
    login.repo.UpdateUser(repo_pb2.UpdateUserRequest(user_id=user_id, status=2), metadata=login.service)
    refusals = [
        ("main", token_of(keys.key, claims_of(ISSUER, exp=1))),  # expired
        ("main", token),  # whose user is disabled
        ("backend", hs256()),  # whose user is not there
        ("", "a.b.c"),
    ]
    for issuer, each in refusals:
        with pytest.raises(grpc.RpcError):
            exchanged(login, each)
        event = login.events(action="session.begin")[-1]
        assert (event.outcome, event.actor_id, event.target_id, event.detail) == ("refused", "", "", issuer)
        assert event.peer


def test_two_first_tokens_at_once_make_one_user(login: Deployment, keys: KeyServer) -> None:
    token = token_of(keys.key, claims_of(ISSUER, preferred_username=fresh("both")))
    answers: list[pb.ExchangeTokenResponse] = []
    threads = [threading.Thread(target=lambda: answers.append(exchanged(login, token))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(answers), len({answer.user_id for answer in answers})) == (8, 1)
    assert [answer.created for answer in answers].count(True) == 1


def test_without_issuers_no_token_is_taken(app: Deployment) -> None:
    with refused("UNAUTHENTICATED", reason="BAD_EXTERNAL_TOKEN"):
        exchanged(app, token_of(SigningKey("EdDSA"), claims_of(ISSUER)))
    methods = app.session.ListSignInMethods(pb.ListSignInMethodsRequest())
    assert (methods.password, methods.registration, methods.guests, len(methods.issuers)) == (True, False, False, 0)


def test_passwords_can_be_turned_off(own: Own) -> None:
    app = own(env={"GOCHAT_AUTH_PASSWORDS": "false", "GOCHAT_AUTH_REGISTRATION": "open"})
    with refused("PERMISSION_DENIED", reason="PASSWORDS_OFF"):
        app.person(password=PASSWORD)
    methods = app.session.ListSignInMethods(pb.ListSignInMethodsRequest())
    assert (methods.password, methods.registration) == (False, False)
    with refused("PERMISSION_DENIED", reason="PASSWORDS_OFF"):
        app.session.Register(pb.RegisterRequest(username=fresh(), password="long enough"))
