"""The keys of another login: rotated, removed, out of reach, in a file."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from gochat.api.logic.v1 import logic_pb2
from gochat.api.session.v1 import session_pb2 as pb
from tests.conftest import Own
from tests.harness import PASSWORD, Deployment, fresh, refused
from tests.issuing import AUDIENCE, KeyServer, SigningKey, claims_of, key_server, reply, token_of
from tests.processes import refused_start
from tests.waiting import eventually

ISSUER = "https://login.example.com"


@pytest.fixture
def keys() -> Iterator[KeyServer]:
    with key_server() as server:
        yield server


def settings(**more: str) -> dict[str, str]:
    named = {"ISSUER": ISSUER, "AUDIENCE": AUDIENCE} | more
    return {f"GOCHAT_AUTH_ISSUERS_MAIN_{key}": value for key, value in named.items()}


def exchange(app: Deployment, key: SigningKey) -> pb.ExchangeTokenResponse:
    return app.session.ExchangeToken(pb.ExchangeTokenRequest(token=token_of(key, claims_of(ISSUER))), timeout=30)


def test_a_new_key_is_taken_at_once_and_one_that_was_removed_no_more(own: Own, keys: KeyServer) -> None:
    app = own(env=settings(JWKS_URL=keys.url))
    old, new = keys.key, SigningKey("ES256")
    exchange(app, old)
    keys.keys = [new]
    assert exchange(app, old).created  # it is kept for minutes
    assert exchange(app, new).created
    with refused("UNAUTHENTICATED", reason="BAD_EXTERNAL_TOKEN"):
        exchange(app, old)


def test_keys_that_are_not_known_have_it_asked_seldom(own: Own, keys: KeyServer) -> None:
    app = own(env=settings(JWKS_URL=keys.url))
    exchange(app, keys.key)
    for _ in range(20):
        with refused("UNAUTHENTICATED", reason="BAD_EXTERNAL_TOKEN"):
            exchange(app, SigningKey("EdDSA"))
    assert keys.asked == 2


def test_while_it_was_never_read_the_client_is_to_try_again(own: Own, keys: KeyServer) -> None:
    app = own(env=settings(JWKS_URL=keys.url))
    keys.answer = lambda request: reply(request, b"", 503)
    with refused("UNAVAILABLE", reason="ISSUER_UNAVAILABLE"):
        exchange(app, keys.key)
    keys.answer = None

    def is_taken() -> bool:
        try:
            return exchange(app, keys.key).created
        except grpc.RpcError:
            return False

    eventually(is_taken)


def test_a_login_that_is_down_keeps_nobody_out_whose_key_is_known(own: Own, keys: KeyServer) -> None:
    app = own(env=settings(JWKS_URL=keys.url))
    exchange(app, keys.key)
    keys.answer = lambda request: reply(request, b"", 500)
    with refused("UNAUTHENTICATED", reason="BAD_EXTERNAL_TOKEN"):
        exchange(app, SigningKey("EdDSA"))  # has it asked again
    assert exchange(app, keys.key).created


def test_a_slow_login_delays_no_password(own: Own, keys: KeyServer) -> None:
    app = own(env=settings(JWKS_URL=keys.url))
    username = fresh()
    app.create_user(username)
    keys.answer = lambda _: time.sleep(4)
    waiting = [
        app.session.ExchangeToken.future(pb.ExchangeTokenRequest(token=token_of(keys.key, claims_of(ISSUER))))
        for _ in range(50)
    ]
    eventually(lambda: keys.asked > 0)
    began = time.monotonic()
    app.logic.Authenticate(logic_pb2.AuthRequest(username=username, password=PASSWORD), timeout=30)
    assert time.monotonic() - began < 2
    for call in waiting:
        call.cancel()


def test_keys_may_be_in_a_file_which_is_read_again(own: Own, tmp_path: Path) -> None:
    one, two = SigningKey("EdDSA"), SigningKey("RS256")
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [one.public]}))
    app = own(env=settings(JWKS_FILE=str(file)))
    assert exchange(app, one).created
    file.write_text(json.dumps({"keys": [one.public, two.public]}))
    assert exchange(app, two).created


@pytest.mark.parametrize(
    ("content", "says"), [(None, "No such file"), ("{", "Expecting"), ("{}", "no JSON Web Key Set")]
)
def test_a_file_without_keys_stops_the_start(tmp_path: Path, content: str | None, says: str) -> None:
    file = tmp_path / "keys.json"
    if content is not None:
        file.write_text(content)
    said = refused_start("--data", tmp_path / "data", **settings(JWKS_FILE=str(file)))
    assert "auth.issuers.main.jwks_file" in said
    assert says in said
