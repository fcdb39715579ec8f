"""Tokens of another login, where only keys and the time count; what is hostile is in tests/logins/test_forged.py."""

import time
from typing import Any

import pytest

from gochat.domain import external
from gochat.domain.external import BadLoginError, Subject
from gochat.issuers import Issuer
from gochat.issuers import check as check_issuers
from tests.issuing import AUDIENCE, SHARED, exchangeable

ISSUER = Issuer(issuer=SHARED, audience=AUDIENCE, secret="a secret of at least thirty-two bytes", prefix="p:")
TWO = Issuer(issuer="https://two.example.com", audience=AUDIENCE, secret="b" * 40, prefix="q:")


def verified(text: str, nonce: str = "", later: float = 0, key: bytes = ISSUER.secret.encode()) -> Subject:
    token = external.parse(text)
    external.check_header(token, ISSUER)
    return external.verify(token, ISSUER, key, time.time() + later, audience=AUDIENCE, nonce=nonce)


def test_a_token_is_good_until_it_expires_and_a_little_longer() -> None:
    text = exchangeable(sub="ann")
    assert verified(text).external_id == "p:ann"
    assert verified(text, later=300).external_id == "p:ann"
    with pytest.raises(BadLoginError, match="expired"):
        verified(text, later=307)


@pytest.mark.parametrize("claims", [{}, {"nonce": "other"}, {"nonce": ["n"]}, {"nonce": "n", "azp": "other"}])
def test_an_id_token_is_of_the_sign_in_that_asked_for_it(claims: dict[str, Any]) -> None:
    with pytest.raises(BadLoginError, match="nonce"):
        verified(exchangeable(**claims), nonce="n")
    assert verified(exchangeable(sub="ann", nonce="n", azp=AUDIENCE), nonce="n").external_id == "p:ann"


@pytest.mark.parametrize(
    ("one", "other"), [("", ""), ("", "a:"), ("a:", "a:"), ("a:", "a:b:"), ("a:b:", "a:"), ("x", "x:")]
)
def test_prefixes_of_which_one_begins_another_stop_the_start(one: str, other: str) -> None:
    issuers = {"one": _with(ISSUER, prefix=one), "two": _with(TWO, prefix=other)}
    with pytest.raises(ValueError, match="prefix"):
        check_issuers(issuers)
    check_issuers({"one": ISSUER, "two": TWO})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"issuer": ""}, "issuer"),
        ({"issuer": "gochat"}, "issuer"),
        ({"audience": ""}, "audience"),
        ({"secret": "short"}, "secret"),
        ({"secret": ""}, "secret"),
        ({"secret": "-----BEGIN PUBLIC KEY-----" + "x" * 40}, "secret"),
        ({"jwks_url": "https://login.example.com/keys"}, "secret"),
        ({"secret": "", "jwks_url": "http://login.example.com/keys"}, "jwks_url"),
        ({"secret": "", "jwks_url": "file:///etc/passwd"}, "jwks_url"),
        ({"algorithms": ("RS256",)}, "algorithms"),
        ({"algorithms": ("none",)}, "algorithms"),
        ({"secret": "", "jwks_url": "https://a.example.com", "algorithms": ("RS256", "HS256")}, "algorithms"),
        ({"client_id": "chat", "issuer": "http://login.example.com"}, "issuer"),
        ({"client_secret": "x"}, "client_secret"),
        ({"scopes": ("profile",)}, "scopes"),
        ({"subject_claim": ""}, "subject_claim"),
        ({"prefix": "a\nb"}, "prefix"),
        ({"prefix": "p" * 65}, "prefix"),
    ],
)
def test_settings_that_are_not_safe_stop_the_start(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=rf"^auth\.issuers\.one\.{named}: "):
        check_issuers({"one": _with(ISSUER, **changes)})


def _with(issuer: Issuer, /, **changes: Any) -> Issuer:
    return Issuer(**(vars(issuer) | changes))
