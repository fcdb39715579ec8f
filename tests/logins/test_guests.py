"""Guests: users without an account, who may come to have one."""

import threading

import grpc
import pytest

from gochat.api.logic.v1 import logic_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.api.session.v1 import session_pb2 as pb
from gochat.domain import ids
from gochat.repo import guests
from gochat.repo.provisioning import Wanted, provision
from gochat.repo.sessions import replace_session
from gochat.storage.database import Database, Tx
from tests.conftest import Own
from tests.conversations import conversation_of
from tests.harness import PASSWORD, Deployment, Person, fresh, refused
from tests.issuing import SHARED_LOGIN, exchangeable
from tests.repo.logins import guest
from tests.waiting import eventually

SETTINGS = {"GOCHAT_AUTH_GUESTS": "on", "GOCHAT_LIMITS_GUESTS_PER_ADDRESS_PER_HOUR": "0", **SHARED_LOGIN}


@pytest.fixture(scope="module")
def open_to_guests(own_of_module: Own, mode: str) -> Deployment:
    return own_of_module(mode, env=SETTINGS)


def test_a_guest_is_a_user_as_any_other(open_to_guests: Deployment) -> None:
    ann, gus = open_to_guests.person(password=PASSWORD), guest(open_to_guests, "Gus")
    conversation = conversation_of(gus.send(ann.id, "hello"))
    ann.send(conversation, "welcome")
    assert [message.content for message in gus.GetMessageHistory(conversation_id=conversation).messages] == [
        *("welcome", "hello"),
    ]
    profile = ann.GetUserProfile(user_id=gus.id).profile
    assert profile.nickname == "Gus"
    assert profile.username.startswith("guest-")
    assert open_to_guests.session.RefreshToken(pb.RefreshTokenRequest(refresh_token=gus.refresh_token)).access_token


def test_no_password_signs_in_a_guest(open_to_guests: Deployment) -> None:
    gus = guest(open_to_guests)
    name = gus.GetUserProfile(user_id=gus.id).profile.username
    for password in ("", "x", PASSWORD):
        with pytest.raises(grpc.RpcError):
            open_to_guests.logic.Authenticate(logic_pb2.AuthRequest(username=name, password=password))


def test_a_guest_who_claims_an_account_keeps_what_they_wrote(open_to_guests: Deployment) -> None:
    ann, gus = open_to_guests.person(password=PASSWORD), guest(open_to_guests, device_id="phone")
    conversation = conversation_of(gus.send(ann.id, "hello"))
    name = fresh("gus")
    claimed = gus.ClaimAccount(username=name, password=PASSWORD)
    now = Person(open_to_guests, gus.id, name, claimed.access_token, claimed.refresh_token)
    assert [session.device_id for session in now.ListSessions().sessions] == ["phone"]
    with refused("UNAUTHENTICATED", reason="SESSION_ENDED"):
        open_to_guests.session.RefreshToken(pb.RefreshTokenRequest(refresh_token=gus.refresh_token))
    again = open_to_guests.signed_in(gus.id, name, PASSWORD)
    assert [message.from_user_id for message in again.GetMessageHistory(conversation_id=conversation).messages] == [
        gus.id,
    ]
    profile = ann.GetUserProfile(user_id=gus.id).profile
    assert (profile.username, profile.nickname) == (name, name)
    with refused("PERMISSION_DENIED", reason="NOT_A_GUEST"):
        again.ClaimAccount(username=fresh(), password=PASSWORD)
    assert again.GetUserProfile(user_id=gus.id).profile.username == name
    assert "user.claim" in [event.action for event in open_to_guests.events(user_id=gus.id)]


def test_a_guest_may_claim_an_account_by_the_operators_login(open_to_guests: Deployment) -> None:
    gus, name = guest(open_to_guests, "Gus"), fresh("gus")
    theirs = exchangeable(name=name)
    gus.ClaimAccount(token=theirs)
    answer = open_to_guests.session.ExchangeToken(pb.ExchangeTokenRequest(token=theirs))
    assert (answer.user_id, answer.created) == (gus.id, False)
    now = Person(open_to_guests, gus.id, name, answer.access_token, "")
    profile = now.GetUserProfile(user_id=gus.id).profile
    assert (profile.username, profile.nickname) == (name, "Gus")
    other = guest(open_to_guests)
    with refused("ALREADY_EXISTS", reason="EXTERNAL_ID_TAKEN"):
        other.ClaimAccount(token=theirs)
    other.GetConversations()  # their session stays


def test_a_claim_takes_nothing_from_anybody(open_to_guests: Deployment) -> None:
    ann, gus = open_to_guests.person(password=PASSWORD), guest(open_to_guests)
    with refused("ALREADY_EXISTS", reason="USERNAME_TAKEN"):
        gus.ClaimAccount(username=ann.username.upper(), password=PASSWORD)
    gus.ClaimAccount(token=exchangeable(name=ann.username))
    profile = ann.GetUserProfile(user_id=gus.id).profile
    assert profile.username.startswith("guest-")
    open_to_guests.signed_in(ann.id, ann.username, PASSWORD)
    with refused("PERMISSION_DENIED", reason="NOT_A_GUEST"):
        ann.ClaimAccount(token=exchangeable())
    ann.GetConversations()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "username"),
        ({"username": "gus"}, "password"),
        ({"password": PASSWORD}, "username"),
        ({"username": "gus", "password": "short"}, "password"),
        ({"username": "a b", "password": PASSWORD}, "username"),
        ({"username": "gus", "password": PASSWORD, "token": "x"}, "token"),
    ],
)
def test_a_claim_names_one_way_to_sign_in(open_to_guests: Deployment, fields: dict[str, str], named: str) -> None:
    with refused("INVALID_ARGUMENT", named):
        guest(open_to_guests).ClaimAccount(**fields)


def test_a_claim_with_a_bad_token_changes_nothing(open_to_guests: Deployment) -> None:
    gus = guest(open_to_guests)
    with refused("UNAUTHENTICATED", reason="BAD_EXTERNAL_TOKEN"):
        gus.ClaimAccount(token=exchangeable(exp=1))
    with refused("INVALID_ARGUMENT", "authorization"):
        open_to_guests.session.ClaimAccount(
            pb.ClaimAccountRequest(token=exchangeable()), metadata=open_to_guests.service
        )
    gus.GetConversations()


def test_two_claims_at_once_are_one(open_to_guests: Deployment) -> None:
    gus, names = guest(open_to_guests), [fresh("gus") for _ in range(4)]
    answers: list[str] = []

    def claim(name: str) -> None:
        try:
            gus.ClaimAccount(username=name, password=PASSWORD)
            answers.append(name)
        except grpc.RpcError as error:
            assert error.code() in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)

    threads = [threading.Thread(target=claim, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 1
    open_to_guests.signed_in(gus.id, answers[0], PASSWORD)


def test_a_guest_who_is_disabled_cannot_claim(open_to_guests: Deployment) -> None:
    gus = guest(open_to_guests)
    request = repo_pb2.UpdateUserRequest(user_id=gus.id, status=2)
    open_to_guests.repo.UpdateUser(request, metadata=open_to_guests.service)
    with refused("UNAUTHENTICATED"):
        gus.ClaimAccount(username=fresh(), password=PASSWORD)


def test_guests_are_off_unless_set(app: Deployment) -> None:
    with refused("PERMISSION_DENIED", reason="GUESTS_OFF"):
        guest(app)


def test_an_address_makes_so_many(own: Own) -> None:
    app = own(env=SETTINGS | {"GOCHAT_LIMITS_GUESTS_PER_ADDRESS_PER_HOUR": "3"})
    made = [guest(app) for _ in range(3)]
    with refused("RESOURCE_EXHAUSTED"):
        guest(app)
    made[0].GetConversations()
    app.session.ListSignInMethods(pb.ListSignInMethodsRequest())


DAY = 24 * 3600 * 1000


def add_guest(tx: Tx, *, expires_in: int, refreshed: int = 0) -> str:
    """Milliseconds, from now and ago."""
    user_id, _ = provision(tx, Wanted(username=fresh("guest"), is_guest=True))
    now = ids.now_ms()
    session_id = replace_session(tx, user_id, "", "refresh", now + expires_in)
    tx.sql("UPDATE sessions SET refreshed_at = ? WHERE session_id = ?", now - refreshed, session_id)
    return user_id


def test_guests_are_disabled_when_they_are_gone(database: Database) -> None:
    def work(tx: Tx) -> dict[str, str]:
        people = {
            "here": add_guest(tx, expires_in=DAY),
            "expired": add_guest(tx, expires_in=-1),
            "away": add_guest(tx, expires_in=30 * DAY, refreshed=8 * DAY),
            "signed out": add_guest(tx, expires_in=DAY),
            "no guest": provision(tx, Wanted(username=fresh("user")))[0],
        }
        tx.sql("DELETE FROM sessions WHERE user_id = ?", people["signed out"])
        return people

    people = database.write(work)
    number = database.write(lambda tx: guests.disable(tx, ids.now_ms(), ttl=7 * 24 * 3600))
    rows = dict(database.read(lambda tx: tx.fetch_all("SELECT user_id, status FROM users")))
    gone = {name for name, user_id in people.items() if rows[user_id] == 2}
    assert (number, gone) == (3, {"expired", "away", "signed out"})
    left = database.read(lambda tx: tx.fetch_all("SELECT user_id FROM sessions"))
    assert [user_id for (user_id,) in left] == [people["here"]]
    assert database.write(lambda tx: guests.disable(tx, ids.now_ms(), ttl=7 * 24 * 3600)) == 0


def test_a_guest_who_signed_out_is_disabled_in_the_background(own: Own) -> None:
    app = own(env=SETTINGS)
    gus = guest(app)
    gus.Logout()
    app.stop()
    app.start()  # it looks at the start, and then every minute
    ann = app.person(password=PASSWORD)
    eventually(lambda: ann.GetUserProfile(user_id=gus.id).profile.status == 2)
