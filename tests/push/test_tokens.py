"""Push tokens: whose they are, and with what they end."""

import pytest

from tests.harness import PASSWORD, Deployment, Person, as_service, fresh, refused
from tests.push.service import Subscription

KEYS = {name: value for name, value in Subscription("").fields.items() if name in ("p256dh", "auth")}


def tokens(person: Person) -> list[str]:
    return [each.token for each in person.ListPushTokens().tokens]


def test_a_token_is_of_the_device_of_the_session(app: Deployment) -> None:
    ann = app.person()
    phone = app.signed_in(ann.id, ann.username, device_id="phone")
    registered = phone.RegisterPushToken(platform="fcm", token="one").token
    assert (registered.platform, registered.token, registered.device_id) == ("fcm", "one", "phone")
    assert list(ann.ListPushTokens().tokens) == [registered]
    with refused("PERMISSION_DENIED", reason="NOT_YOURSELF"):
        phone.RegisterPushToken(platform="fcm", token="one", device_id="tablet")
    phone.UnregisterPushToken(platform="apns", token="one")
    assert tokens(ann) == ["one"], "it is another token"
    ann.UnregisterPushToken(platform="fcm", token="one")
    assert tokens(ann) == []


def test_a_token_moves_to_who_registers_it_last(app: Deployment) -> None:
    ann, ben = app.people(2)
    token = fresh("token")
    for _ in range(2):
        ann.RegisterPushToken(platform="apns", token=token)
    assert tokens(ann) == [token]
    ben.RegisterPushToken(platform="apns", token=token)
    assert (tokens(ann), tokens(ben)) == ([], [token])
    ann.UnregisterPushToken(platform="apns", token=token)
    assert tokens(ben) == [token], "it is not hers any more"


def test_of_more_than_20_tokens_the_oldest_ends(app: Deployment) -> None:
    ann = app.person()
    names = [fresh("token") for _ in range(22)]
    for name in names:
        ann.RegisterPushToken(platform="custom", token=name)
    assert sorted(tokens(ann)) == sorted(names[2:])


def test_a_token_ends_with_its_session(app: Deployment) -> None:
    ann = app.person(password=PASSWORD)
    for end in ("logout", "revoked", "again", "password"):
        phone = app.signed_in(ann.id, ann.username, device_id="phone")
        phone.RegisterPushToken(platform="fcm", token=fresh("token"))
        assert len(tokens(ann)) == 1
        if end == "logout":
            phone.Logout()
        elif end == "revoked":
            ann.RevokeSession(
                session_id=next(each for each in ann.ListSessions().sessions if not each.current).session_id
            )
        elif end == "again":
            app.signed_in(ann.id, ann.username, device_id="phone")
        else:
            ann.ChangePassword(old_password=PASSWORD, new_password=f"{PASSWORD} 2")
            break
        assert tokens(ann) == [], end
    assert not as_service(app).push.ListPushTokens(user_id=ann.id).tokens


@pytest.mark.parametrize("act", ["DisableUser", "DeleteUser"])
def test_who_is_not_active_has_no_tokens(app: Deployment, act: str) -> None:
    service, ann = as_service(app), app.person()
    ann.RegisterPushToken(platform="fcm", token=fresh("token"))
    service.push.RegisterPushToken(user_id=ann.id, platform="fcm", token=fresh("token"))
    assert len(tokens(ann)) == 2
    getattr(service.user, act)(user_id=ann.id)
    service.user.EnableUser(user_id=ann.id)
    assert not service.push.ListPushTokens(user_id=ann.id).tokens


def test_a_service_registers_for_a_user_with_or_without_a_session(app: Deployment) -> None:
    service, ann = as_service(app), app.person()
    phone = app.signed_in(ann.id, ann.username, device_id="phone")
    for device, token in (("phone", "with"), ("unknown", "unknown"), ("", "without")):
        service.push.RegisterPushToken(user_id=ann.id, platform="custom", token=token, device_id=device)
    app.acting(ann).RegisterPushToken(platform="custom", token="acting")
    phone.Logout()
    assert sorted(tokens(ann)) == ["acting", "unknown", "without"]
    with refused("INVALID_ARGUMENT", "user_id"):
        service.push.RegisterPushToken(platform="custom", token="x")
    with refused("NOT_FOUND"):
        service.push.ListPushTokens(user_id="unobody")


WRONG: list[tuple[dict[str, str], str]] = [
    ({"platform": "", "token": "x"}, "platform must not be empty"),
    ({"platform": "pager", "token": "x"}, "platform must be one of apns, fcm, webpush, custom"),
    ({"platform": "fcm", "token": ""}, "token must not be empty"),
    ({"platform": "fcm", "token": "a b"}, "token must be printable ASCII"),
    ({"platform": "fcm", "token": "x" * 4097}, "token must have at most 4096 bytes"),
    ({"platform": "fcm", "token": "x", **KEYS}, "p256dh must be empty unless platform is webpush"),
    ({"platform": "webpush", "token": "https://push.example.com/x"}, "p256dh must not be empty"),
    ({"platform": "webpush", "token": "https://a.example/x", **KEYS, "p256dh": KEYS["auth"]}, "p256dh must be a point"),
    ({"platform": "webpush", "token": "https://a.example/x", **KEYS, "auth": "short"}, "auth must be 16 bytes"),
    ({"platform": "webpush", "token": "http://push.example.com/x", **KEYS}, "token must be the https URL"),
]


def test_a_token_that_is_none_is_refused(app: Deployment) -> None:
    ann = app.person()
    for fields, message in WRONG:
        with refused("INVALID_ARGUMENT") as refusal:
            ann.RegisterPushToken(**fields)
        assert refusal.message.startswith(message)
    assert tokens(ann) == []


def test_all_pages_are_given_the_same_key(app: Deployment) -> None:
    ann, ben = app.people(2)
    assert ann.GetWebPushKey().public_key == ben.GetWebPushKey().public_key
    assert len(ann.GetWebPushKey().public_key) == 87
