"""Accounts, and who may call RepoService at all."""

import pytest

from gochat.api.logic.v1 import logic_pb2
from gochat.api.repo.v1 import repo_pb2
from tests.harness import PASSWORD, Deployment, Person, as_service, bearer, caller, fresh, refused

RPCS = sorted(repo_pb2.DESCRIPTOR.services_by_name["RepoService"].methods_by_name)


@pytest.fixture(scope="module")
def person(app: Deployment) -> Person:
    return app.person(password=PASSWORD)


def test_a_created_user_is_answered_as_it_is_kept(app: Deployment) -> None:
    repo, username = as_service(app).repo, fresh("Anna")
    created = repo.CreateUser(username=username, email="anna@example.com", password=PASSWORD, nickname="Anna B. 安娜")
    user = created.user
    assert created.user_id == user.user_id
    assert (user.username, user.email, user.nickname) == (username, "anna@example.com", "Anna B. 安娜")
    assert (user.avatar, user.status) == ("", 1)
    assert 0 < user.created_at == user.updated_at
    assert repo.GetUser(user_id=created.user_id).user == user


def test_the_nickname_is_the_username_unless_given(app: Deployment) -> None:
    user = as_service(app).repo.CreateUser(username=fresh("ＷＩＤＥ"), password=PASSWORD).user
    assert user.nickname == user.username
    assert user.email == ""


def test_usernames_are_kept_as_typed_in_nfc(app: Deployment) -> None:
    end = fresh("x")
    user = as_service(app).repo.CreateUser(username=f"Ｊose\u0301ﬁ{end}", password=PASSWORD).user
    assert user.username == f"Ｊoséﬁ{end}"
    assert app.logic.Authenticate(logic_pb2.AuthRequest(username=f"ＪOSÉFI{end}", password=PASSWORD)).success


@pytest.mark.parametrize(
    ("taken", "wanted"),
    [
        ("Name{}", "Name{}"),
        ("Name{}", "nAME{}"),
        ("Ärger{}", "ÄRGER{}"),
        ("Ärger{}", "a\u0308rger{}"),
        ("Straße{}", "STRASSE{}"),
        ("name{}", "ｎａｍｅ{}"),
        ("Ὀδυσσεύς{}", "ὈΔΥΣΣΕΎΣ{}"),
        ("fish{}", "ﬁsh{}"),
        ("paypal{}", "pаypаl{}"),
    ],
)
def test_a_username_is_unique_regardless_of_case_and_spelling(app: Deployment, taken: str, wanted: str) -> None:
    end = fresh("x")
    app.create_user(taken.format(end))
    with refused("ALREADY_EXISTS", "username", "USERNAME_TAKEN"):
        app.create_user(wanted.format(end))
    app.create_user(wanted.format(fresh("x")))


def test_the_username_of_a_deleted_user_stays_taken(app: Deployment) -> None:
    username = fresh()
    as_service(app).repo.UpdateUser(user_id=app.create_user(username), status=3)
    with refused("ALREADY_EXISTS", "username"):
        app.create_user(username)


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("username", ""),
        ("username", "u" * 65),
        ("username", " "),
        ("username", "two words"),
        ("username", " padded"),
        ("username", "ideographic\u3000space"),
        ("username", "no-break\u00a0space"),
        ("username", "line\nbreak"),
        ("username", "bell\x07"),
        ("username", "c1\x85"),
        ("username", "invisible\u200b"),
        ("username", "reversed\u202e"),
        ("username", "nul\0"),
        ("email", "nobody"),
        ("email", "nobody@"),
        ("email", "@example.com"),
        ("email", "some body@example.com"),
        ("email", "a@b@example.com"),
        ("email", "a@example.com\n"),
        ("email", "nul\0@example.com"),
        ("email", "a" * 243 + "@example.com"),
        ("password", ""),
        ("password", "p" * 1025),
        ("password", "é" * 513),
        ("password", "nul\0"),
        ("nickname", "n" * 65),
        ("nickname", "nul\0"),
    ],
)
def test_create_user_names_the_bad_field(app: Deployment, field: str, bad: str) -> None:
    good = {"username": fresh(), "email": "a@example.com", "password": PASSWORD, "nickname": "nick"}
    with refused("INVALID_ARGUMENT", field) as refusal:
        as_service(app).repo.CreateUser(**(good | {field: bad}))
    assert set(refusal.fields or ()) == {field}


def test_a_username_may_be_long_where_it_is_compared(app: Deployment) -> None:
    username = (fresh("x") + "㌕" * 64)[:64]  # six letters each in NFKC
    user_id = app.create_user(username)
    assert (
        app.logic.Authenticate(logic_pb2.AuthRequest(username=username, password=PASSWORD)).user_info.user_id == user_id
    )


def test_each_field_may_be_as_long_as_its_limit(app: Deployment) -> None:
    username = (fresh("名") + "字" * 64)[:64]
    password, email, nickname = "é" * 512, "a" * 242 + "@example.com", "昵" * 64
    user = as_service(app).repo.CreateUser(username=username, email=email, password=password, nickname=nickname).user
    assert (user.username, user.email, user.nickname) == (username, email, nickname)
    assert app.logic.Authenticate(logic_pb2.AuthRequest(username=username, password=password)).success
    with refused("UNAUTHENTICATED"):
        app.logic.Authenticate(logic_pb2.AuthRequest(username=username, password=password[:-1]))


def test_the_limit_of_an_email_is_in_characters(app: Deployment) -> None:
    email = "é" * 242 + "@example.com"
    assert as_service(app).repo.CreateUser(username=fresh(), password=PASSWORD, email=email).user.email == email


def test_get_user_shows_deleted_users_and_refuses_unknown_ids(app: Deployment) -> None:
    repo, user_id = as_service(app).repo, app.create_user()
    repo.UpdateUser(user_id=user_id, status=3)
    assert repo.GetUser(user_id=user_id).user.status == 3
    with refused("NOT_FOUND", "user_id", "USER_NOT_FOUND"):
        repo.GetUser(user_id="unknown")
    with refused("INVALID_ARGUMENT", "user_id"):
        repo.GetUser()


def test_update_user_changes_what_is_not_empty(app: Deployment) -> None:
    repo, user_id = as_service(app).repo, app.create_user(email="a@example.com")
    first = repo.GetUser(user_id=user_id).user
    changed = repo.UpdateUser(user_id=user_id, nickname="Neu", avatar="pic")
    assert changed.success
    assert (changed.user.nickname, changed.user.avatar, changed.user.status) == ("Neu", "pic", 1)
    assert (changed.user.username, changed.user.email) == (first.username, first.email)
    assert changed.user.created_at == first.created_at <= changed.user.updated_at
    changed = repo.UpdateUser(user_id=user_id, status=2)
    assert (changed.user.nickname, changed.user.avatar, changed.user.status) == ("Neu", "pic", 2)
    assert repo.UpdateUser(user_id=user_id).user == changed.user == repo.GetUser(user_id=user_id).user


@pytest.mark.parametrize(
    ("field", "bad"),
    [("user_id", ""), ("nickname", "n" * 65), ("avatar", "a" * 2049), ("avatar", "\0"), ("status", 4), ("status", -1)],
)
def test_update_user_names_the_bad_field(app: Deployment, person: Person, field: str, bad: str | int) -> None:
    with refused("INVALID_ARGUMENT", field):
        as_service(app).repo.UpdateUser(**({"user_id": person.id} | {field: bad}))


def test_update_user_refuses_an_unknown_id(app: Deployment) -> None:
    for fields in ({}, {"nickname": "n"}):
        with refused("NOT_FOUND", "user_id"):
            as_service(app).repo.UpdateUser(user_id="unknown", **fields)


def test_get_users_answers_in_request_order_without_duplicates_and_skips_unknown_ids(app: Deployment) -> None:
    repo = as_service(app).repo
    one, two, gone = (app.create_user(email="x@example.com") for _ in range(3))
    repo.UpdateUser(user_id=gone, status=3)
    users = repo.GetUsers(user_ids=[two, "unknown", gone, two, one, "unknown", gone]).users
    assert [(user.user_id, user.status, user.email) for user in users] == [
        (two, 1, "x@example.com"),
        (gone, 3, "x@example.com"),
        (one, 1, "x@example.com"),
    ]
    assert list(repo.GetUsers().users) == list(repo.GetUsers(user_ids=["unknown"]).users) == []


def test_get_users_takes_a_thousand_ids(app: Deployment, person: Person) -> None:
    repo = as_service(app).repo
    many = [f"unknown{number}" for number in range(999)]
    assert [user.user_id for user in repo.GetUsers(user_ids=[*many, person.id]).users] == [person.id]
    with refused("INVALID_ARGUMENT", "user_ids"):
        repo.GetUsers(user_ids=[*many, person.id, person.id])
    with refused("INVALID_ARGUMENT", "user_ids[1]"):
        repo.GetUsers(user_ids=[person.id, ""])


@pytest.mark.parametrize("rpc", RPCS)
def test_repo_service_refuses_users_and_callers_without_a_token(app: Deployment, person: Person, rpc: str) -> None:
    with refused("PERMISSION_DENIED", reason="NOT_A_SERVICE"):
        caller(app.repo, repo_pb2, "RepoService", rpc, person.metadata)()
    with refused("UNAUTHENTICATED", reason="NO_TOKEN"):
        caller(app.repo, repo_pb2, "RepoService", rpc, ())()


def test_repo_service_takes_tokens_of_admins_and_of_admin_users(app: Deployment, person: Person) -> None:
    admin = app.person(admin=True)
    for metadata in (bearer(app.token("admin")), admin.metadata, app.service):
        found = app.repo.GetUser(repo_pb2.GetUserRequest(user_id=person.id), metadata=metadata)
        assert found.user.user_id == person.id
    with refused("UNAUTHENTICATED", reason="BAD_TOKEN"):
        app.repo.GetUser(repo_pb2.GetUserRequest(user_id=person.id), metadata=bearer(admin.refresh_token))
