"""Profiles and the search for users."""

from typing import Any

import pytest

from tests.harness import Deployment, Person, as_service, fresh, refused


@pytest.fixture(scope="module")
def alice(app: Deployment) -> Person:
    return app.person("alice", email="alice@example.com")


@pytest.fixture(scope="module")
def bob(app: Deployment) -> Person:
    return app.person("bob", email="bob@example.com")


@pytest.fixture(scope="module")
def admin(app: Deployment) -> Person:
    return app.person("admin", admin=True)


def mark() -> str:
    """Text that only the users of one test bear; no other test's mark begins with it."""
    return fresh("m") + "z"


def found(seeker: Any, query: str, **pagination: int) -> list[str]:
    return [user.username for user in seeker.SearchUsers(query=query, pagination=pagination).users]


def test_an_empty_id_means_ones_own_profile(alice: Person) -> None:
    profile = alice.GetUserProfile().profile
    assert (profile.user_id, profile.username, profile.nickname) == (alice.id, alice.username, alice.username)
    assert (profile.avatar, profile.bio, profile.status) == ("", "", 1)
    assert 0 < profile.created_at <= profile.updated_at
    assert alice.GetUserProfile(user_id=alice.id).profile == profile


def test_anyone_signed_in_sees_anyones_profile(app: Deployment, alice: Person, bob: Person) -> None:
    own = bob.GetUserProfile().profile
    assert alice.GetUserProfile(user_id=bob.id).profile == own
    assert as_service(app).logic.GetUserProfile(user_id=bob.id).profile == own


def test_an_unknown_user_has_no_profile(alice: Person) -> None:
    with refused("NOT_FOUND", "user_id", "USER_NOT_FOUND"):
        alice.GetUserProfile(user_id="unknown")
    with refused("INVALID_ARGUMENT", "user_id"):
        alice.GetUserProfile(user_id="u" * 129)


def test_a_disabled_user_has_a_profile_and_a_deleted_one_has_none(app: Deployment, alice: Person) -> None:
    user_id = app.create_user()
    as_service(app).repo.UpdateUser(user_id=user_id, status=2)
    assert alice.GetUserProfile(user_id=user_id).profile.status == 2
    as_service(app).repo.UpdateUser(user_id=user_id, status=3)
    with refused("NOT_FOUND", "user_id"):
        alice.GetUserProfile(user_id=user_id)


def test_a_service_has_no_profile_and_must_name_the_user(app: Deployment) -> None:
    for rpc in ("GetUserProfile", "UpdateUserProfile"):
        with refused("INVALID_ARGUMENT", "user_id"):
            getattr(as_service(app).logic, rpc)()


def test_an_update_changes_what_is_not_empty(app: Deployment) -> None:
    person = app.person()
    changed = person.UpdateUserProfile(nickname="Nick", avatar="https://example.com/a.png", bio="Hi")
    assert changed.success
    assert (changed.profile.nickname, changed.profile.avatar, changed.profile.bio) == (
        "Nick",
        "https://example.com/a.png",
        "Hi",
    )
    changed = person.UpdateUserProfile(user_id=person.id, bio="你好")
    assert (changed.profile.nickname, changed.profile.bio) == ("Nick", "你好")
    assert changed.profile.avatar == "https://example.com/a.png"
    assert person.GetUserProfile().profile == changed.profile
    assert person.UpdateUserProfile().profile == changed.profile


def test_a_user_updates_only_their_own_profile(alice: Person, bob: Person) -> None:
    with refused("PERMISSION_DENIED", reason="NOT_YOURSELF"):
        alice.UpdateUserProfile(user_id=bob.id, bio="was here")
    with refused("PERMISSION_DENIED", reason="NOT_YOURSELF"):
        alice.UpdateUserProfile(user_id="unknown", bio="was here")
    assert bob.GetUserProfile().profile.bio == ""


def test_admins_and_services_update_anyone(app: Deployment, bob: Person, admin: Person) -> None:
    for caller, avatar in ((admin, "by an admin"), (as_service(app).logic, "by a service")):
        assert caller.UpdateUserProfile(user_id=bob.id, avatar=avatar).profile.user_id == bob.id
        assert bob.GetUserProfile().profile.avatar == avatar
        with refused("NOT_FOUND", "user_id"):
            caller.UpdateUserProfile(user_id="unknown", avatar=avatar)
    assert admin.UpdateUserProfile(avatar="own").profile.user_id == admin.id


@pytest.mark.parametrize(
    ("field", "longest"), [("nickname", "张" * 64), ("avatar", "a" * 2048), ("bio", "é" * 1000)], ids=lambda v: v[:8]
)
def test_profile_fields_have_limits(bob: Person, field: str, longest: str) -> None:
    before = getattr(bob.GetUserProfile().profile, field)
    for bad in (longest + "a", "a\0"):
        with refused("INVALID_ARGUMENT", field):
            bob.UpdateUserProfile(**{field: bad})
    assert getattr(bob.GetUserProfile().profile, field) == before
    assert getattr(bob.UpdateUserProfile(**{field: longest}).profile, field) == longest


@pytest.mark.parametrize(
    ("nickname", "queries"),
    [
        ("Großer ÄRGER {}", ["großer ärger {}", "GROSSER ÄRGER {}", "ärger {}", "a\u0308rger {}"]),
        ("{} Straße", ["{} STRASSE", "{} straße", "{} Stras"]),
        ("王小明{}", ["王小明{}", "小明{}", "明{}"]),
        ("Ὀδυσσεύς {}", ["ὈΔΥΣΣΕΎΣ {}", "ς {}", "Σ {}"]),
        ("ＦＵＬＬ {}", ["full {}", "ｆｕｌｌ {}"]),
    ],
    ids=["german", "sharp-s", "chinese", "greek", "fullwidth"],
)
def test_search_ignores_case_in_any_script(app: Deployment, alice: Person, nickname: str, queries: list[str]) -> None:
    own = mark()
    username = fresh()
    app.create_user(username, nickname=nickname.format(own))
    for query in queries:
        assert found(alice, query.format(own.upper())) == [username], query
    assert found(alice, f"ü{own}") == []


def test_search_finds_usernames_and_nicknames(app: Deployment, alice: Person) -> None:
    own = mark()
    username = f"Ünal{own}"
    app.create_user(username, nickname=f"The {own} one")
    for query in (username, f"üNAL{own}", own, f"the {own} ONE"):
        assert found(alice, query) == [username]


def test_search_follows_a_change_of_nickname(app: Deployment, alice: Person) -> None:
    person, before, after = app.person(), mark(), mark()
    person.UpdateUserProfile(nickname=f"Före {before}")
    person.UpdateUserProfile(nickname=f"ÄFTER {after}")
    assert found(alice, before) == []
    assert found(alice, f"äfter {after}") == [person.username]


@pytest.mark.parametrize("wild", ["%", "_", "\\", "*", "?", "'", "[a-z]"])
def test_search_takes_every_character_as_itself(app: Deployment, alice: Person, wild: str) -> None:
    own = mark()
    literal, decoy = f"{own}{wild}a", f"{own}ba"
    app.create_user(literal, nickname="L")
    app.create_user(decoy, nickname="D")
    for query in (f"{own}{wild}", f"{own}{wild}A", f"{wild}a"):
        assert decoy not in found(alice, query, limit=100)
        assert literal in found(alice, query, limit=100)


def test_exact_matches_come_first_then_prefixes_then_substrings_each_by_username(
    app: Deployment, alice: Person
) -> None:
    own = mark()
    users = {
        f"b{own}": "b",  # substring, by username
        f"{own}b": "b",  # prefix, by username
        f"C{fresh()}": f"Not {own} quite",  # substring, by nickname
        f"{own}A": "a",
        f"x{fresh()}": own.upper(),  # exact, by nickname
        f"A{fresh()}": f"{own} nearly",  # prefix, by nickname
        own: f"not {own}",  # exact by username, though only a substring by nickname
        f"a{own}": "a",
    }
    for username, nickname in users.items():
        app.create_user(username, nickname=nickname)
    b_sub, b_pre, c_sub, a_pre, exact_nick, nick_pre, exact_name, a_sub = users
    ranked = [exact_name, exact_nick, nick_pre, a_pre, b_pre, a_sub, b_sub, c_sub]
    assert found(alice, own) == ranked


def test_search_answers_in_pages(app: Deployment, alice: Person) -> None:
    own = mark()
    names = [f"{own}{letter}" for letter in "abcde"]
    for name in reversed(names):
        app.create_user(name)
    for page, expected in ((0, names[:2]), (1, names[:2]), (2, names[2:4]), (3, names[4:]), (4, []), (2**31 - 1, [])):
        answer = alice.SearchUsers(query=own, pagination={"page": page, "limit": 2})
        assert [user.username for user in answer.users] == expected
        assert (answer.pagination.total, answer.pagination.page, answer.pagination.limit) == (5, page or 1, 2)
    everything = alice.SearchUsers(query=own)
    assert len(everything.users) == 5
    assert (everything.pagination.page, everything.pagination.limit) == (1, 20)
    assert found(alice, own, limit=100) == names
    nobody = alice.SearchUsers(query=mark())
    assert (list(nobody.users), nobody.pagination.total) == ([], 0)


@pytest.mark.parametrize(
    ("field", "request_"),
    [
        ("query", {"query": ""}),
        ("query", {"query": "q" * 65}),
        ("query", {"query": "q\0"}),
        ("pagination.page", {"query": "q", "pagination": {"page": -1}}),
        ("pagination.limit", {"query": "q", "pagination": {"limit": -1}}),
        ("pagination.limit", {"query": "q", "pagination": {"limit": 101}}),
    ],
)
def test_search_refuses_bad_queries_and_pages(alice: Person, field: str, request_: dict[str, Any]) -> None:
    with refused("INVALID_ARGUMENT", field):
        alice.SearchUsers(**request_)


def test_a_query_of_64_characters_is_not_too_long(app: Deployment, alice: Person) -> None:
    username = (mark() + "张" * 64)[:64]
    app.create_user(username)
    assert found(alice, username) == [username]


def test_only_active_users_are_found(app: Deployment, alice: Person, admin: Person) -> None:
    own = mark()
    users = {name: app.create_user(name) for name in (f"{own}a", f"{own}b", f"{own}c")}
    for name, status in ((f"{own}a", 2), (f"{own}b", 3)):
        as_service(app).repo.UpdateUser(user_id=users[name], status=status)
    for seeker in (alice, admin, as_service(app).logic):
        answer = seeker.SearchUsers(query=own)
        assert [user.username for user in answer.users] == [f"{own}c"]
        assert answer.pagination.total == 1
    as_service(app).repo.UpdateUser(user_id=users[f"{own}a"], status=1)
    assert found(alice, own) == [f"{own}a", f"{own}c"]


def test_emails_are_masked_for_others_alone(app: Deployment, alice: Person, bob: Person, admin: Person) -> None:
    def email(seeker: Any) -> str:
        (user,) = (user for user in seeker.SearchUsers(query=alice.username).users if user.user_id == alice.id)
        return str(user.email)

    assert email(bob) == "a***@example.com"
    for seeker in (alice, admin, as_service(app).logic):
        assert email(seeker) == "alice@example.com"


def test_a_masked_email_hides_its_length_and_no_email_stays_empty(app: Deployment, bob: Person) -> None:
    own = mark()
    for name, email in ((f"{own}a", "a@x.example"), (f"{own}b", "ärger@x.example"), (f"{own}c", "")):
        app.create_user(name, email=email)
    emails = [user.email for user in bob.SearchUsers(query=own).users]
    assert emails == ["a***@x.example", "ä***@x.example", ""]


def test_the_search_does_not_look_into_emails(app: Deployment, bob: Person) -> None:
    own = mark()
    app.create_user(email=f"{own}@example.com")
    assert found(bob, own) == []
