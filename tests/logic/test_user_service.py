"""UserService: what backends do to users, in bulk and one by one."""

import threading
from typing import Any

import pytest

from gochat.api.event.v1 import event_pb2
from gochat.api.user.v1 import user_pb2 as pb
from tests.harness import PASSWORD, Deployment, as_service, bearer, fresh, refused
from tests.waiting import eventually


def upsert(app: Deployment, *users: dict[str, str]) -> Any:
    return as_service(app).user.UpsertUsers(users=[pb.UserUpsert(**user) for user in users]).results


def outcomes(results: Any) -> list[str]:
    return [each.error.details["reason"] or pb.Outcome.Name(each.outcome).removeprefix("OUTCOME_") for each in results]


def test_users_are_made_changed_and_left(app: Deployment) -> None:
    external_id, name = fresh("id-"), fresh("Anna")
    user = {"external_id": external_id, "username": name, "nickname": "Anna", "email": "a@example.com", "bio": "hi"}
    (made,) = upsert(app, user)
    assert outcomes([made]) == ["CREATED"]
    assert outcomes(upsert(app, user, user | {"nickname": "Ann"}, user | {"nickname": "Ann"})) == [
        *("UNCHANGED", "UPDATED", "UNCHANGED")
    ]
    (detail,) = as_service(app).user.GetUsers(ids=[f"external:{external_id}"]).users
    assert (detail.user.user_id, detail.user.username, detail.user.nickname) == (made.user_id, name, "Ann")
    assert (detail.external_id, detail.role, detail.bio, detail.user.email) == (
        external_id,
        "user",
        "hi",
        "a@example.com",
    )
    assert not detail.has_password
    assert not detail.is_guest


def test_all_may_be_refused(app: Deployment) -> None:
    (result,) = upsert(app, {"external_id": fresh("id"), "username": "two words"})
    assert (result.outcome, result.user_id) == (pb.OUTCOME_REFUSED, "")


def test_each_that_is_refused_says_why_and_the_others_are_done(app: Deployment) -> None:
    taken, gone = app.person(password=PASSWORD), app.person(password=PASSWORD)
    as_service(app).user.DeleteUser(user_id=gone.id)
    results = upsert(
        app,
        {"external_id": fresh("id-"), "username": taken.username},
        {"user_id": "nobody"},
        {"external_id": "x" * 129},
        {"external_id": "tab\t"},
        {"nickname": "whose?"},
        {"external_id": fresh("id-"), "username": "with space"},
        {"external_id": fresh("id-"), "email": "none"},
        {"external_id": fresh("id-"), "nickname": "\n"},
        {"user_id": gone.id, "nickname": "x"},
        {"user_id": "external:nobody"},
        {"external_id": fresh("id-"), "password": "\0"},
        {"external_id": fresh("id-")},
    )
    assert outcomes(results) == [
        *("USERNAME_TAKEN", "USER_NOT_FOUND", *["INVALID_FIELD"] * 6, "USER_DELETED", "NO_USER_ID", "INVALID_FIELD"),
        "CREATED",
    ]
    assert all(each.outcome == pb.OUTCOME_REFUSED and not each.user_id for each in results[:-1])


def test_who_has_no_password_signs_in_by_none(app: Deployment) -> None:
    name = fresh("nopass")
    upsert(app, {"username": name})
    for password in ("", PASSWORD):
        with refused("INVALID_ARGUMENT" if not password else "UNAUTHENTICATED"):
            app.signed_in("", name, password)
    (result,) = upsert(app, {"username": name, "password": PASSWORD})
    assert outcomes([result]) == ["UPDATED"]
    person = app.signed_in(result.user_id, name)
    assert outcomes(upsert(app, {"username": name, "password": PASSWORD})) == ["UNCHANGED"]  # and ends no session
    person.GetUserProfile()
    assert outcomes(upsert(app, {"username": name, "password": "another horse"})) == ["UPDATED"]
    assert not app.signed_in(result.user_id, name, "another horse").ListSessions().sessions[1:]
    actions = [event.action for event in app.events(user_id=result.user_id)]
    assert actions.count("user.password") == 2
    assert app.run("check", "--help").returncode == 0


def test_the_external_id_of_a_deleted_user_is_free(app: Deployment) -> None:
    external_id = fresh("id-")
    (first,) = upsert(app, {"external_id": external_id, "nickname": "First"})
    as_service(app).user.DeleteUser(user_id=f"external:{external_id}")
    assert not as_service(app).user.GetUsers(ids=[f"external:{external_id}"]).users
    (second,) = upsert(app, {"external_id": external_id, "nickname": "Second"})
    assert outcomes([second]) == ["CREATED"]
    assert second.user_id != first.user_id
    assert as_service(app).user.EnableUser(user_id=first.user_id).user.external_id == ""


def test_a_request_that_is_too_large(app: Deployment) -> None:
    with refused("INVALID_ARGUMENT", "users"):
        upsert(app, *[{"username": "x"}] * 1001)
    with refused("INVALID_ARGUMENT", "users"):
        upsert(app, *[{"username": "x", "password": "y"}] * 101)
    with refused("INVALID_ARGUMENT", "users"):
        upsert(app)
    with refused("INVALID_ARGUMENT", "ids"):
        as_service(app).user.GetUsers(ids=["x"] * 1001)


def test_the_same_users_made_at_the_same_time_are_made_once(app: Deployment) -> None:
    prefix = fresh("race-")
    users = [{"external_id": f"{prefix}{number}"} for number in range(50)]
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda part=part: found.append(upsert(app, *part)))
        for part in (users, users[::-1], users, users[::-1])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    ids = {each.user_id for results in found for each in results}
    assert len(ids) == 50
    assert "" not in ids
    assert (
        sorted(outcome for results in found for outcome in outcomes(results)) == ["CREATED"] * 50 + ["UNCHANGED"] * 150
    )


def test_renames_to_the_same_name_at_the_same_time(app: Deployment) -> None:
    people = app.people(4, PASSWORD)
    name, external_id = fresh("wanted"), fresh("id-")
    found: list[Any] = []
    threads = [
        threading.Thread(
            target=lambda p=p: found.append(
                upsert(app, {"user_id": p.id, "username": name, "external_id": external_id})
            )
        )
        for p in people
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcome for results in found for outcome in outcomes(results)) == ["UPDATED"] + ["USERNAME_TAKEN"] * 3


def test_get_users_by_either_id(app: Deployment) -> None:
    alice, bob = app.people(2, PASSWORD)
    external_id = fresh("id-")
    service = as_service(app).user
    service.SetExternalId(user_id=alice.id, external_id=external_id)
    wanted = [bob.id, "nobody", f"external:{external_id}", "external:nobody", alice.id, bob.id]
    found = [each.user.user_id for each in service.GetUsers(ids=wanted).users]
    assert found == [bob.id, alice.id, alice.id]
    assert not service.GetUsers().users


def test_users_are_listed_by_page(app: Deployment) -> None:
    people, service = app.people(5, PASSWORD), as_service(app).user
    service.DisableUser(user_id=people[0].id)
    seen, token = list[str](), ""
    while True:
        page = service.ListUsers(limit=2, page_token=token)
        assert len(page.users) <= 2
        seen += [each.user.user_id for each in page.users]
        token = page.next_page_token
        if not token:
            break
    assert seen == sorted(set(seen))
    assert {person.id for person in people} <= set(seen)
    disabled = service.ListUsers(status=2, limit=200).users
    assert people[0].id in [each.user.user_id for each in disabled]
    assert {each.user.status for each in disabled} == {2}
    assert people[1].id not in [each.user.user_id for each in service.ListUsers(role="admin", limit=200).users]
    other = service.ListUsers(limit=1).next_page_token
    for bad in (other[:-2], "x", other):
        with refused("INVALID_ARGUMENT", "page_token", "BAD_CURSOR"):
            service.ListUsers(status=1, page_token=bad)


def test_acts_on_one_user(app: Deployment) -> None:
    alice, bob, service = app.person(password=PASSWORD), app.person(password=PASSWORD), as_service(app).user
    assert service.SetRole(user_id=alice.id, role="admin").user.role == "admin"
    eventually(lambda: _is_refused(alice), seconds=8)
    assert service.SetRole(user_id=alice.id, role="user").user.role == "user"
    name = fresh("renamed")
    assert service.ChangeUsername(user_id=alice.id, username=name).user.user.username == name
    with refused("ALREADY_EXISTS", "username", "USERNAME_TAKEN"):
        service.ChangeUsername(user_id=alice.id, username=bob.username)
    with refused("ALREADY_EXISTS", "external_id", "EXTERNAL_ID_TAKEN"):
        service.SetExternalId(user_id=alice.id, external_id="the same")
        service.SetExternalId(user_id=bob.id, external_id="the same")
    assert service.SetExternalId(user_id=alice.id, external_id="").user.external_id == ""
    assert service.SetExternalId(user_id=bob.id, external_id="the same").user.external_id == "the same"
    assert service.ChangeEmail(user_id=alice.id, email="new@example.com").user.user.email == "new@example.com"
    assert service.ChangeEmail(user_id=alice.id, email="").user.user.email == ""
    with refused("INVALID_ARGUMENT", "email"):
        service.ChangeEmail(user_id=alice.id, email="none")
    app.signed_in(alice.id, name).UpdateUserProfile(nickname="Al", avatar="https://a", bio="hi")
    cleared = service.ClearProfile(user_id=alice.id, fields=["nickname", "avatar", "bio"]).user
    assert (cleared.user.nickname, cleared.user.avatar, cleared.bio) == (name, "", "")
    with refused("INVALID_ARGUMENT", "fields[0]"):
        service.ClearProfile(user_id=alice.id, fields=["username"])
    assert service.DeleteUser(user_id=alice.id).user.user.status == 3
    details = {(event.action, event.detail) for event in app.events(user_id=alice.id)}
    assert {
        *(("user.role", "admin"), ("user.role", "user"), ("user.change", "username"), ("user.change", "external_id")),
        *(("user.change", "email"), ("user.change", "nickname,avatar,bio"), ("user.status", "deleted")),
    } <= details
    for rpc in ("DisableUser", "EnableUser", "DeleteUser", "ChangeEmail", "SetExternalId"):
        with refused("NOT_FOUND", "user_id"):
            getattr(service, rpc)(user_id="nobody")
    assert service.DisableUser(user_id="external:the same").user.user.user_id == bob.id


def test_who_may_call(app: Deployment) -> None:
    alice, request = app.person(password=PASSWORD), pb.GetUsersRequest(ids=["x"])
    with refused("PERMISSION_DENIED", reason="NOT_A_SERVICE"):
        app.user.GetUsers(request, metadata=alice.metadata)
    for metadata in (app.service, bearer(app.token("admin")), app.person(admin=True).metadata):
        assert not app.user.GetUsers(request, metadata=metadata).users


@pytest.mark.parametrize("name", ["nickname", "username"])
def test_streams_are_told_of_a_new_name(app: Deployment, name: str) -> None:
    alice, bob = app.people(2, PASSWORD)
    alice.send(bob.id)
    stream = app.event.Subscribe(event_pb2.SubscribeRequest(), metadata=bob.metadata, timeout=60)
    next(stream)
    new = fresh("new")
    upsert(app, {"user_id": alice.id, name: new})
    for response in stream:
        profiles = [each.profile_updated.profile for each in response.batch.events if each.HasField("profile_updated")]
        if profiles:
            assert getattr(profiles[0], name) == new
            break
    stream.cancel()


def _is_refused(person: Any) -> bool:
    try:
        person.GetUserProfile()
    except Exception:  # noqa: BLE001 - whichever
        return True
    return False
