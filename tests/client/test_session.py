"""Signing in: one renewal for all who wait, token providers, kept sessions, TLS."""

import re
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from gochat.api.logic.v1 import logic_pb2
from gochat.client import ChatError, Client
from gochat.client.session import Session, Tokens
from tests.attacks.certificates import Authority, channel, settings
from tests.client.clients import FAST, TIMEOUT, client_of, program
from tests.conftest import Own
from tests.harness import PASSWORD, Deployment, bearer, fresh
from tests.processes import free_address
from tests.waiting import eventually, started, status_of

WAITERS = 20


@pytest.fixture(scope="module")
def server(own_of_module: Own) -> Deployment:
    return own_of_module(env={"GOCHAT_AUTH_REGISTRATION": "open"})


def all_at_once(work: Callable[[], Any]) -> list[Any]:
    together = threading.Barrier(WAITERS)

    def run() -> Any:
        together.wait(TIMEOUT)
        return work()

    with ThreadPoolExecutor(WAITERS) as pool:
        return [each.result(TIMEOUT) for each in [pool.submit(run) for _ in range(WAITERS)]]


def test_20_calls_whose_token_has_expired_renew_it_once(own: Own) -> None:
    app = own(env={"GOCHAT_AUTH_ACCESS_TTL": "3"})
    ann, (process,) = app.person(password=PASSWORD), app.processes
    with client_of(app, ann) as client, program(client) as running:
        assert all_at_once(client.profile)[0].user_id == ann.id
        assert started(process, "Authenticate") == 2, "of the person and of the client"
        old = bearer(client._token())
        request = logic_pb2.GetUserProfileRequest()
        eventually(lambda: status_of(lambda: app.logic.GetUserProfile(request, metadata=old)) == "UNAUTHENTICATED")
        assert started(process, "RefreshToken") == 0
        assert {profile.user_id for profile in all_at_once(client.profile)} == {ann.id}
        assert started(process, "RefreshToken") == 1
        client.send("to myself and others", conversation_id=client.create_group("x").group_id)
        running.until(lambda each: each.contents)


def test_20_calls_whose_token_is_rejected_ask_the_provider_once(server: Deployment) -> None:
    ann, tokens = server.person(password=PASSWORD), ["not.a.token"]
    asked = []

    def provide() -> str:
        asked.append(tokens[-1])
        return tokens[-1]

    with Client(server.address, token_provider=provide, backoff=FAST) as client:
        with pytest.raises(ChatError) as refused:
            client.profile()
        assert (refused.value.code, refused.value.reason) == ("UNAUTHENTICATED", "BAD_TOKEN")
        tokens.append(ann.access_token)
        asked.clear()
        assert {profile.user_id for profile in all_at_once(client.profile)} == {ann.id}
        assert len(asked) == 1
        assert client.user_id == ann.id
        with program(client) as running:
            client.send("x", conversation_id=client.create_group("x").group_id)
            running.until(lambda each: each.contents == ["x"])


def test_a_stream_whose_token_has_expired_asks_for_another(own: Own) -> None:
    app = own(env={"GOCHAT_AUTH_ACCESS_TTL": "2"}, listen=free_address())
    ann, asked = app.person(password=PASSWORD), []

    def provide() -> str:
        asked.append(app.signed_in(ann.id, ann.username).access_token)
        return asked[-1]

    with Client(app.address, token_provider=provide, backoff=FAST) as client, program(client) as running:
        eventually(lambda: running.iterator.is_connected)
        old, request = bearer(asked[-1]), logic_pb2.GetUserProfileRequest()
        eventually(lambda: status_of(lambda: app.logic.GetUserProfile(request, metadata=old)) == "UNAUTHENTICATED")
        app.kill()
        app.start()
        eventually(lambda: running.iterator.is_connected)
        assert len(asked) == 2
        app.signed_in(ann.id, ann.username).send(client.create_group("x").group_id, "hello")
        running.until(lambda each: each.contents == ["hello"])


def test_a_provider_that_fails_delays_what_is_queued(server: Deployment) -> None:
    ann, ben = server.people(2, PASSWORD)
    works = threading.Event()

    def provide() -> str:
        if not works.is_set():
            raise OSError("the login service is away")
        return ann.access_token

    with Client(server.address, token_provider=provide, backoff=FAST) as client:
        with pytest.raises(ChatError, match=r"TOKEN_PROVIDER_FAILED.*the login service is away"):
            client.profile()
        outgoing = client.send("x", to=ben.id)
        eventually(lambda: outgoing.error)
        works.set()
        assert outgoing.result(TIMEOUT)


def test_wrong_credentials(server: Deployment) -> None:
    ann = server.person(password=PASSWORD)
    with client_of(server, ann, password=fresh("wrong")) as client:
        with pytest.raises(ChatError) as refused:
            client.sign_in()
        assert (refused.value.code, refused.value.reason) == ("UNAUTHENTICATED", "BAD_CREDENTIALS")
        assert refused.value.request_id
        with pytest.raises(ChatError, match="BAD_CREDENTIALS"):
            client.events()
    with Client(server.address) as client, pytest.raises(ChatError, match="NO_CREDENTIALS"):
        client.sign_in()
    with client_of(server, ann) as client, pytest.raises(ChatError, match="BAD_CREDENTIALS"):
        client.change_password(fresh("wrong"), "another horse")


def test_registering(server: Deployment) -> None:
    with Client(server.address, username=fresh("new"), password=PASSWORD) as client:
        user_id = client.register(nickname="新")
        assert (client.user_id, client.profile().nickname) == (user_id, "新")
        assert len(client.sessions()) == 1
        with pytest.raises(ChatError, match="ALREADY_EXISTS"):
            client.register()
        client.sign_out()
        with pytest.raises(ChatError, match="SIGNED_OUT"):
            client.profile()


def test_a_session_is_kept_if_asked(server: Deployment, tmp_path: Path) -> None:
    ann, path = server.person(password=PASSWORD), tmp_path / "chat.db"
    with client_of(server, ann, store=path, keep_session=True) as client:
        client.sign_in()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with Client(server.address, store=path, keep_session=True) as client:
        assert client.profile().user_id == ann.id
        assert len(client.sessions()) == 2, "the person's, and one of this device"
        client.sign_out()
    with Client(server.address, store=path, keep_session=True) as client, pytest.raises(ChatError, match="CREDENTIALS"):
        client.sign_in()
    with client_of(server, ann, store=path, keep_session=True) as client:
        client.sign_in()


def test_a_kept_session_that_was_revoked_is_replaced(server: Deployment, tmp_path: Path) -> None:
    ann, path = server.person(password=PASSWORD), tmp_path / "chat.db"
    with client_of(server, ann, store=path, keep_session=True) as client:
        client.sign_in()
    for session in ann.ListSessions().sessions:
        if not session.current:
            ann.RevokeSession(session_id=session.session_id)
    with client_of(server, ann, store=path, keep_session=True) as client:
        assert client.profile().user_id == ann.id


def test_nothing_secret_is_kept_unless_asked(server: Deployment, tmp_path: Path) -> None:
    ann, path = server.person(password=PASSWORD), tmp_path / "chat.db"
    with client_of(server, ann, store=path) as client:
        client.sign_in()
        written = b"".join(file.read_bytes() for file in tmp_path.glob("chat.db*"))
    assert ann.id.encode() in written
    assert not re.search(rb"eyJ[\w-]+\.|" + PASSWORD.encode(), written)
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob("chat.db*")} == {0o600}
    with pytest.raises(ValueError, match="store"):
        client_of(server, ann, keep_session=True)


def test_tls(own: Own, tmp_path: Path) -> None:
    authority, other = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    pair = authority.issue("localhost")
    app = own(
        env=settings(pair, authority, name="localhost"),
        open_channel=lambda address: channel(address, authority, name="localhost"),
    )
    ann, address = app.person(password=PASSWORD), app.address.replace("127.0.0.1", "localhost")
    with client_of(app, ann, address=address, tls=authority.cert) as client:
        assert client.profile().user_id == ann.id
    for wrong in (other.cert, True, False):
        with client_of(app, ann, address=address, tls=wrong, timeout=1.0) as client:
            with pytest.raises(ChatError) as refused:
                client.profile()
            assert refused.value.code == "UNAVAILABLE"


def test_no_thread_has_a_token_before_the_store_has_agreed() -> None:
    asked, answered = threading.Event(), threading.Event()

    def refuse(_: Tokens) -> None:
        asked.set()
        assert answered.wait(TIMEOUT)
        raise ChatError("FAILED_PRECONDITION", "the store is of another user", "STORE_OF_ANOTHER_USER")

    session = Session(lambda: Tokens("access", "refresh", 100, "u2"), lambda _: Tokens(""), "", refuse)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(session.token)
        assert asked.wait(TIMEOUT)
        second = threads.submit(session.token)
        try:
            assert not wait([second], timeout=0.2).done
        finally:
            answered.set()
        for each in (first, second):
            with pytest.raises(ChatError, match="STORE_OF_ANOTHER_USER"):
                each.result(TIMEOUT)
