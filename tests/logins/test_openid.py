"""Sign-in by OpenID Connect: the half of the server, against a real provider."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest

from gochat.api.session.v1 import session_pb2 as pb
from tests.conftest import Own
from tests.harness import Deployment, Person, fresh, refused
from tests.openid import OpenId, installed_provider, provider, signed_in_at
from tests.processes import free_address
from tests.waiting import eventually

PAGE = "https://chat.example.com"
REDIRECT = f"{PAGE}/"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed_provider(tmp_path_factory.mktemp("openid") / "npm")


@pytest.fixture(scope="module")
def example(node: Path) -> Iterator[OpenId]:
    with provider(node, REDIRECT) as started:
        yield started


@pytest.fixture(scope="module")
def site(own_of_module: Own, example: OpenId, mode: str) -> Deployment:
    return own_of_module(mode, env={"GOCHAT_HTTP_ORIGINS": PAGE, **example.settings()})


def begun(app: Deployment, issuer: str = "example", redirect_uri: str = REDIRECT) -> pb.BeginSignInResponse:
    return app.session.BeginSignIn(pb.BeginSignInRequest(issuer=issuer, redirect_uri=redirect_uri), timeout=30)


def finish(app: Deployment, **fields: Any) -> pb.FinishSignInResponse:
    return app.session.FinishSignIn(
        pb.FinishSignInRequest(**{"issuer": "example", "redirect_uri": REDIRECT} | fields), timeout=30
    )


def answered(app: Deployment, name: str) -> dict[str, str]:
    """What a client has in its hand after somebody has signed in at the provider."""
    begin = begun(app)
    query = signed_in_at(begin.authorization_url, name)
    assert query["state"] == begin.state
    return {"code": query["code"], "state": query["state"], "code_verifier": begin.code_verifier}


def test_who_signs_in_at_the_provider_is_signed_in(site: Deployment) -> None:
    name = fresh("ann")
    first = finish(site, **answered(site, name), device_id="phone")
    again = finish(site, **answered(site, name))
    assert (first.created, again.created, again.user_id) == (True, False, first.user_id)
    ann = Person(site, again.user_id, name, again.access_token, again.refresh_token)
    assert ann.GetUserProfile().profile.nickname == f"{name} of the provider"
    assert "phone" in [session.device_id for session in ann.ListSessions().sessions]


def test_a_form_offers_it(site: Deployment) -> None:
    methods = site.session.ListSignInMethods(pb.ListSignInMethodsRequest())
    assert [(issuer.name, issuer.label) for issuer in methods.issuers] == [("example", "Example")]


def test_each_sign_in_has_secrets_of_its_own(site: Deployment) -> None:
    queries = [parse_qs(urlsplit(begun(site).authorization_url).query) for _ in range(2)]
    for name in ("state", "nonce", "code_challenge"):
        assert queries[0][name] != queries[1][name]
    assert queries[0]["code_challenge_method"] == ["S256"]
    assert queries[0]["response_type"] == ["code"]
    assert queries[0]["scope"] == ["openid profile"]


def test_a_code_is_taken_once(site: Deployment) -> None:
    fields = answered(site, fresh())
    finish(site, **fields)
    with refused("UNAUTHENTICATED", reason="BAD_EXTERNAL_TOKEN"):
        finish(site, **fields)


def test_what_belongs_to_two_sign_ins_does_not_go_together(site: Deployment) -> None:
    one, other = answered(site, fresh()), answered(site, fresh())
    for name in ("code", "state", "code_verifier"):
        with refused("UNAUTHENTICATED", reason="BAD_EXTERNAL_TOKEN"):
            finish(site, **(one | {name: other[name]}))
        one = answered(site, fresh())
    # The nonce binds the ID token to its state also where verifier and state are the thief's, and the code is not.
    thief = begun(site)
    with refused("UNAUTHENTICATED", reason="BAD_EXTERNAL_TOKEN"):
        finish(site, code=one["code"], state=thief.state, code_verifier=thief.code_verifier)


@pytest.mark.parametrize("change", ["", "x", "a.b.c"])
def test_a_state_of_another_server_is_refused(site: Deployment, change: str) -> None:
    fields = answered(site, fresh())
    forged = jwt.encode(jwt.decode(fields["state"], options={"verify_signature": False}), "k" * 32, algorithm="HS256")
    for state in (fields["state"] + "x", change or forged, site.token("service")):
        with refused("UNAUTHENTICATED", reason="BAD_EXTERNAL_TOKEN"):
            finish(site, **(fields | {"state": state}))
    finish(site, **fields)


def test_a_state_is_no_token(site: Deployment) -> None:
    request = pb.RefreshTokenRequest(refresh_token=begun(site).state)
    with refused("UNAUTHENTICATED", reason="BAD_REFRESH_TOKEN"):
        site.session.RefreshToken(request)
    with refused("UNAUTHENTICATED", reason="BAD_EXTERNAL_TOKEN"):
        site.session.ExchangeToken(pb.ExchangeTokenRequest(token=begun(site).state))


@pytest.mark.parametrize(
    "uri",
    [
        *("https://evil.example.com/", "https://chat.example.com.evil.com/", "https://chat.example.com@evil.com/"),
        *("https://chat.example.com:8443/", "http://chat.example.com/", "HTTPS://chat.example.com/", "//evil.com/"),
        *("https://chat.example.com\\@evil.com/", "https://chat.example.com/\\evil", "https://chat.example.com/#x"),
        *(
            "https://chat.example.com/\r\nx",
            "javascript:alert(1)",
            "/",
            "https://chat.example.comx",
            "http://127.0.0.1/",
        ),
    ],
)
def test_only_the_servers_own_pages_are_returned_to(site: Deployment, uri: str) -> None:
    with refused("INVALID_ARGUMENT", "redirect_uri", reason="REDIRECT_NOT_ALLOWED"):
        begun(site, redirect_uri=uri)


def test_another_redirect_uri_than_at_the_begin_is_refused(site: Deployment) -> None:
    fields = answered(site, fresh())
    with refused("UNAUTHENTICATED", reason="BAD_EXTERNAL_TOKEN"):
        finish(site, **fields, redirect_uri=f"{PAGE}/other")


def test_an_issuer_that_is_none_is_not_found(site: Deployment) -> None:
    for issuer in ("other", "http://127.0.0.1:1", "../example"):
        with refused("NOT_FOUND", "issuer"):
            begun(site, issuer=issuer)
        with refused("NOT_FOUND", "issuer"):
            finish(site, issuer=issuer, code="c", state="s", code_verifier="v")


def test_the_clients_secret_must_be_right(own: Own, example: OpenId) -> None:
    wrong = own(env={"GOCHAT_HTTP_ORIGINS": PAGE, **example.settings(CLIENT_SECRET="another secret")})
    with refused("UNAUTHENTICATED", reason="BAD_EXTERNAL_TOKEN"):
        finish(wrong, **answered(wrong, fresh()))
    assert "another secret" not in wrong.logs()


def test_a_provider_that_is_down_is_tried_again(own: Own, node: Path) -> None:
    address = free_address()
    app = own(env={"GOCHAT_HTTP_ORIGINS": PAGE, **OpenId(f"http://{address}").settings()})
    with refused("UNAVAILABLE", reason="ISSUER_UNAVAILABLE"):
        begun(app)
    with provider(node, REDIRECT, address=address):

        def is_there() -> bool:
            try:
                return bool(begun(app).state)
            except Exception:  # noqa: BLE001 - it is awaited
                return False

        eventually(is_there)
        assert finish(app, **answered(app, fresh())).created


def test_a_discovery_document_of_another_issuer_is_refused(own: Own, example: OpenId) -> None:
    app = own(env={"GOCHAT_HTTP_ORIGINS": PAGE, **OpenId(example.issuer.replace("127.0.0.1", "localhost")).settings()})
    with refused("UNAVAILABLE", reason="ISSUER_UNAVAILABLE"):
        begun(app)
    assert "another issuer's" in app.logs()
