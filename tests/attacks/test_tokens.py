"""Forged, malformed and borrowed tokens let nobody in, wherever they are presented."""

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from gochat.api.audit.v1 import audit_pb2
from gochat.api.logic.v1 import logic_pb2, logic_pb2_grpc
from gochat.api.repo.v1 import repo_pb2
from gochat.api.session.v1 import session_pb2, session_pb2_grpc
from gochat.internal.account.v1 import account_pb2
from gochat.services import REPO, rpcs, served_by
from tests.attacks.forging import BAD, Forge, forge_of, now
from tests.conftest import Own
from tests.harness import PASSWORD, Deployment, Person, as_service, bearer, fresh, new_connection, refused

Metadata = tuple[tuple[str, str | bytes], ...]
SAID = {
    "the token is malformed or not signed by this server",
    "the token has expired",
    "a token of kind refresh does not do here",
}


@pytest.fixture(scope="module")
def alone(own_of_module: Own) -> Deployment:
    return own_of_module()


@pytest.fixture(scope="module")
def person(alone: Deployment) -> Person:
    return alone.person(password=PASSWORD)


@pytest.fixture(scope="module")
def forge(alone: Deployment, person: Person) -> Forge:
    return forge_of(alone, person.access_token)


@pytest.fixture
def attacker(alone: Deployment) -> Iterator[logic_pb2_grpc.LogicServiceStub]:
    """On a connection of their own."""
    with new_connection(alone.address) as channel:
        yield logic_pb2_grpc.LogicServiceStub(channel)


def profile(logic: logic_pb2_grpc.LogicServiceStub, metadata: Any) -> logic_pb2.GetUserProfileResponse:
    return logic.GetUserProfile(logic_pb2.GetUserProfileRequest(), metadata=metadata, timeout=30)


def validated(logic: logic_pb2_grpc.LogicServiceStub, token: str, app: Deployment) -> logic_pb2.ValidateTokenResponse:
    request = logic_pb2.ValidateTokenRequest(token=token)
    return logic.ValidateToken(request, metadata=app.service, timeout=30)


@pytest.mark.parametrize(
    "good",
    [
        lambda f: f.genuine,
        lambda f: f(),
        lambda f: f(exp=now(-3)),
        lambda f: f(iat=now(3)),
        lambda f: f(more="claims"),
    ],
    ids=["as it is", "signed again", "expired within the leeway", "issued within the leeway", "with one claim more"],
)
def test_a_token_signed_with_the_key_is_accepted(
    alone: Deployment, person: Person, forge: Forge, good: Callable[[Forge], str]
) -> None:
    # So what is refused below is refused for what is wrong with it.
    assert profile(alone.logic, bearer(good(forge))).profile.user_id == person.id
    assert validated(alone.logic, good(forge), alone).user_id == person.id


@pytest.mark.parametrize("name", BAD)
def test_a_bad_token_is_refused(
    attacker: logic_pb2_grpc.LogicServiceStub, person: Person, forge: Forge, name: str
) -> None:
    with refused("UNAUTHENTICATED", reason="BAD_TOKEN") as refusal:
        profile(attacker, bearer(BAD[name](forge)))
    assert refusal.message in SAID
    assert profile(attacker, person.metadata).profile.user_id == person.id


@pytest.mark.parametrize("name", BAD)
def test_validate_token_says_that_a_bad_token_is_not_valid(
    attacker: logic_pb2_grpc.LogicServiceStub, alone: Deployment, forge: Forge, name: str
) -> None:
    assert validated(attacker, BAD[name](forge), alone) == logic_pb2.ValidateTokenResponse(valid=False)


def test_bad_tokens_do_not_use_a_connection_up(attacker: logic_pb2_grpc.LogicServiceStub, person: Person) -> None:
    for _ in range(200):
        with refused("UNAUTHENTICATED", reason="BAD_TOKEN"):
            profile(attacker, bearer("x"))
    assert profile(attacker, person.metadata).profile.user_id == person.id


def test_a_forged_refresh_token_is_refused_and_the_genuine_one_still_works(alone: Deployment) -> None:
    person = alone.person(password=PASSWORD)
    forge = forge_of(alone, person.refresh_token)
    forged = {name: bad(forge) for name, bad in BAD.items() if name != "a refresh token"}
    forged["an access token"] = person.access_token
    for name, token in forged.items():
        request = session_pb2.RefreshTokenRequest(refresh_token=token)
        with new_connection(alone.address) as channel, refused("UNAUTHENTICATED", reason="BAD_REFRESH_TOKEN"):
            assert not session_pb2_grpc.SessionServiceStub(channel).RefreshToken(request, timeout=30), name
    alone.session.RefreshToken(session_pb2.RefreshTokenRequest(refresh_token=person.refresh_token))


NO_TOKEN: dict[str, Callable[[str], Metadata]] = {
    "nothing": lambda _: (),
    "no value": lambda _: (("authorization", ""),),
    "the scheme alone": lambda _: (("authorization", "Bearer"),),
    "the token alone": lambda token: (("authorization", token),),
    "no space": lambda token: (("authorization", "Bearer" + token),),
    "a space before": lambda token: (("authorization", " Bearer " + token),),
    "basic": lambda token: (("authorization", "Basic " + token),),
    "basic with a password": lambda _: (("authorization", "Basic YWRtaW46YWRtaW4="),),
    "another scheme": lambda token: (("authorization", "Token " + token),),
    "the header twice": lambda token: bearer(token) * 2,
    "a bad one behind a good one": lambda token: (*bearer(token), *bearer("x")),
    "a good one behind an empty one": lambda token: (("authorization", ""), *bearer(token)),
    "a binary header": lambda token: (("authorization-bin", b"Bearer " + token.encode()),),
    "other headers": lambda token: tuple(
        (name, "Bearer " + token) for name in ("x-authorization", "proxy-authorization", "cookie", "access_token")
    ),
}
MALFORMED: dict[str, Callable[[str], str]] = {
    "the scheme and a space": lambda _: "Bearer ",
    "two spaces": lambda token: "Bearer  " + token,
    "a space behind": lambda token: f"Bearer {token} ",
    "two tokens": lambda token: f"Bearer {token} {token}",
    "two tokens and a comma": lambda token: f"Bearer {token}, Bearer {token}",
    "the scheme twice": lambda token: f"Bearer Bearer {token}",
    "8 KiB": lambda _: "Bearer " + "x" * 8192,
}


@pytest.mark.parametrize("name", NO_TOKEN)
def test_a_call_without_exactly_one_bearer_token_is_refused(alone: Deployment, person: Person, name: str) -> None:
    with refused("UNAUTHENTICATED", reason="NO_TOKEN"):
        profile(alone.logic, NO_TOKEN[name](person.access_token))


@pytest.mark.parametrize("name", MALFORMED)
def test_an_authorization_with_a_malformed_token_is_refused(alone: Deployment, person: Person, name: str) -> None:
    with refused("UNAUTHENTICATED", reason="BAD_TOKEN"):
        profile(alone.logic, (("authorization", MALFORMED[name](person.access_token)),))


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEaReR"])
def test_the_bearer_scheme_is_case_insensitive(alone: Deployment, person: Person, scheme: str) -> None:
    metadata = (("authorization", f"{scheme} {person.access_token}"),)
    assert profile(alone.logic, metadata).profile.user_id == person.id


def test_a_token_of_100_kib_is_refused_before_it_is_read(alone: Deployment, person: Person) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        profile(alone.logic, bearer("x" * 102_400))
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert profile(alone.logic, person.metadata).profile.user_id == person.id


@pytest.mark.parametrize("token", ["", "x" * 8192, "\u00e9", "\u202e", "\U0001f511", " ", "\n", "a.\u00e9.c"])
def test_validate_token_accepts_any_text_as_input(alone: Deployment, token: str) -> None:
    assert validated(alone.logic, token, alone) == logic_pb2.ValidateTokenResponse(valid=False)


@pytest.mark.parametrize("token", ["x" * 8193, "x" * 102_400, "x\0"], ids=["over 8 KiB", "100 KiB", "NUL"])
def test_validate_token_reports_oversized_tokens_and_nul_as_invalid(alone: Deployment, token: str) -> None:
    assert validated(alone.logic, token, alone) == logic_pb2.ValidateTokenResponse(valid=False)


def heard_by_raw_call(app: Deployment, authorization: bytes) -> bytes:
    """Of GetUserProfile in bare HTTP/2: gRPC clients do not send values that are no ASCII."""
    headers = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": b"/gochat.api.logic.v1.LogicService/GetUserProfile",
        b":authority": b"localhost",
        b"content-type": b"application/grpc",
        b"te": b"trailers",
        b"authorization": authorization,
    }
    block = b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(text)]) + text for name, text in headers.items())
    frames = ((4, 0, 0, b""), (1, 4, 1, block), (0, 1, 1, b"\0" * 5))  # SETTINGS, HEADERS, DATA
    sent = b"".join(
        len(data).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + data for kind, flags, stream, data in frames
    )
    host, _, port = app.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + sent)
        heard = b""
        while b"grpc-message" not in heard and (more := connection.recv(65536)):
            heard += more
    return heard


@pytest.mark.parametrize("value", [b"\xe9", "\u00e9".encode(), b"\xff\xfe", b"\0", b"a.\xf0\x9f\x94\x91.c", b"\r\n"])
def test_authorization_bytes_that_are_not_ascii_are_refused(alone: Deployment, person: Person, value: bytes) -> None:
    heard = heard_by_raw_call(alone, b"BEARER " + value)
    assert b"\x0bgrpc-status\x0216\x00" in heard  # UNAUTHENTICATED
    assert profile(alone.logic, person.metadata).profile.user_id == person.id


def test_a_token_with_a_stray_byte_stays_out_of_the_log(alone: Deployment) -> None:
    heard_by_raw_call(alone, b"BEARER let-me-in\xe9")
    assert "let-me-in" not in alone.logs()


# What follows runs in every mode.

RPCS = rpcs(served_by(REPO))
IMPOSTURES: dict[str, Callable[[str], Metadata]] = {
    "nothing": lambda _: (),
    "an actor": lambda _: (("x-gochat-actor", "u00000000000000000000000000|service|127.0.0.1"),),
    "a role": lambda _: tuple((f"x-gochat-{name}", "service") for name in ("role", "caller", "service", "internal")),
    "a request id": lambda _: (("x-request-id", "internal"),),
    "a service's token in other headers": lambda token: (
        ("authorization-bin", b"Bearer " + token.encode()),
        ("x-authorization", f"Bearer {token}"),
        ("proxy-authorization", f"Bearer {token}"),
        ("x-gochat-authorization", f"Bearer {token}"),
    ),
    "what looks like gRPC's own": lambda _: (("grpc-internal-role", "service"), ("grpc-caller", "service")),
    "the address of this host": lambda _: (("x-forwarded-for", "127.0.0.1"), ("x-real-ip", "127.0.0.1")),
}


@pytest.fixture(scope="module")
def member(app: Deployment) -> Person:
    return app.person(password=PASSWORD)


@pytest.mark.parametrize("name", ["alg none without a signature", "another server's key", "expired 8 s ago"])
def test_a_forged_token_is_refused_by_both_halves(app: Deployment, member: Person, name: str) -> None:
    forged = BAD[name](forge_of(app, member.access_token))
    with refused("UNAUTHENTICATED", reason="BAD_TOKEN"):
        profile(app.logic, bearer(forged))
    assert validated(app.logic, forged, app) == logic_pb2.ValidateTokenResponse(valid=False)
    of_service = forge_of(app, app.service[0][1].split()[1])
    app.repo.GetUser(repo_pb2.GetUserRequest(user_id=member.id), metadata=bearer(of_service()))
    with refused("UNAUTHENTICATED", reason="BAD_TOKEN"):
        app.repo.GetUser(repo_pb2.GetUserRequest(user_id=member.id), metadata=bearer(BAD[name](of_service)))


def test_tokens_of_another_deployment_are_refused_by_both_halves(
    app: Deployment, alone: Deployment, person: Person, member: Person
) -> None:
    for metadata in (person.metadata, alone.service):
        with refused("UNAUTHENTICATED", reason="BAD_TOKEN"):
            profile(app.logic, metadata)
        with refused("UNAUTHENTICATED", reason="BAD_TOKEN"):
            app.repo.GetUser(repo_pb2.GetUserRequest(user_id=member.id), metadata=metadata)
    with refused("UNAUTHENTICATED", reason="BAD_REFRESH_TOKEN"):
        app.session.RefreshToken(session_pb2.RefreshTokenRequest(refresh_token=person.refresh_token))


@pytest.mark.parametrize("name", IMPOSTURES)
def test_a_user_cannot_pass_as_a_service(app: Deployment, member: Person, name: str) -> None:
    metadata = (*member.metadata, *IMPOSTURES[name](app.service[0][1].split()[1]))
    for path in RPCS:
        with refused("PERMISSION_DENIED", reason="NOT_A_SERVICE"):
            app.repo_channel.unary_unary(path)(b"", metadata=metadata, timeout=30)


def test_a_user_cannot_call_rpcs_of_services(app: Deployment, member: Person) -> None:
    victim, name = app.person(password=PASSWORD), fresh()
    session_id = victim.ListSessions().sessions[0].session_id
    since = int(time.time() * 1000)
    for call, request in (
        (app.account.SetUserRole, account_pb2.SetUserRoleRequest(user_id=member.id, role="admin")),
        (app.account.SetPassword, account_pb2.SetPasswordRequest(user_id=victim.id, password="stolen password")),
        (app.account.EndSession, account_pb2.EndSessionRequest(session_id=session_id, service=True)),
        (app.repo.UpdateUser, repo_pb2.UpdateUserRequest(user_id=victim.id, status=2)),
        (app.repo.CreateUser, repo_pb2.CreateUserRequest(username=name, password=PASSWORD)),
        (app.audit.RecordEvent, audit_pb2.RecordEventRequest(action="key.rotate", target_id="x")),
    ):
        with refused("PERMISSION_DENIED", reason="NOT_A_SERVICE"):
            call(request, metadata=member.metadata, timeout=30)
    assert not [
        event for event in app.events(since=since) if event.target_id in (member.id, victim.id, "x", session_id)
    ]
    assert as_service(app).repo.GetUser(user_id=victim.id).user.status == 1
    app.signed_in(victim.id, victim.username, PASSWORD)
    with refused("UNAUTHENTICATED", reason="BAD_CREDENTIALS"):
        app.signed_in("", name, PASSWORD)


def test_a_forged_actor_header_is_ignored_and_the_caller_recorded(app: Deployment) -> None:
    person, victim, admin = app.person(password=PASSWORD), app.person(password=PASSWORD), app.person(admin=True)
    session_id = person.ListSessions().sessions[0].session_id
    forged = (("x-gochat-actor", f"{victim.id}|admin|192.0.2.66"), ("x-forwarded-for", "192.0.2.66"))
    sent = logic_pb2.SendMessageRequest(to_user_id=victim.id, content="I am you")
    app.logic.SendMessage(sent, metadata=(*person.metadata, *forged))
    (message,) = victim.GetUnreadMessages().conversations
    assert message.last_message.from_user_id == person.id
    request = logic_pb2.CreateGroupRequest(name="Mine")
    group = app.logic.CreateGroup(request, metadata=(*person.metadata, *forged)).group_id
    theirs = app.logic.CreateGroup(request, metadata=(*admin.metadata, *forged)).group_id
    mine = session_pb2.RevokeSessionRequest(session_id=session_id)
    app.session.RevokeSession(mine, metadata=(*person.metadata, *forged))
    nobody = logic_pb2.AuthRequest(username=person.username, password="wrong")
    with refused("UNAUTHENTICATED", reason="BAD_CREDENTIALS"):
        app.logic.Authenticate(nobody, metadata=forged)
    seen = [
        (event.action, event.outcome, event.actor_id, event.actor_role, event.peer)
        for event in app.events()
        if {event.target_id, event.detail} & {group, theirs, session_id}
        or (event.target_id == person.id and event.outcome == "refused")
    ]
    assert seen == [
        ("session.begin", "ok", "", "", "127.0.0.1"),
        ("group.create", "ok", person.id, "user", "127.0.0.1"),
        ("group.create", "ok", admin.id, "admin", "127.0.0.1"),
        ("session.end", "ok", person.id, "user", "127.0.0.1"),
        ("session.begin", "refused", "", "", "127.0.0.1"),
    ]
