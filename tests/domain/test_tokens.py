"""Tokens."""

import jwt
import pytest

from gochat.context import Caller
from gochat.domain.tokens import ACCESS, REFRESH, BadTokenError, Tokens

KEY = b"k" * 64
ALICE = Caller("u1", "user", "d1")


def test_a_token_tells_who_calls() -> None:
    claims = Tokens(KEY).verify(Tokens(KEY).sign(ACCESS, ALICE, 60), ACCESS)
    assert claims.caller == ALICE


def test_a_refresh_token_carries_its_id() -> None:
    assert Tokens(KEY).verify(Tokens(KEY).sign(REFRESH, ALICE, 60, "r1"), REFRESH).token_id == "r1"


def test_kinds_are_not_interchangeable() -> None:
    tokens = Tokens(KEY)
    for signed, wanted in ((ACCESS, REFRESH), (REFRESH, ACCESS)):
        with pytest.raises(BadTokenError):
            tokens.verify(tokens.sign(signed, ALICE, 60), wanted)


def test_a_cached_token_still_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens(KEY)
    token = tokens.sign(ACCESS, ALICE, 60)
    expires_at = tokens.verify(token, ACCESS).expires_at
    monkeypatch.setattr("gochat.domain.tokens.time.time", lambda: expires_at + 5.0)
    with pytest.raises(BadTokenError, match="expired"):
        tokens.verify(token, ACCESS)


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "other"},
        {"aud": "other"},
        {"exp": None},
        {"sub": None},
        {"typ": None},
        {"exp": 1},
        {"iat": 4_000_000_000},
    ],
)
def test_a_wrong_or_missing_claim_is_refused(change: dict[str, object]) -> None:
    right = jwt.decode(Tokens(KEY).sign(ACCESS, ALICE, 60), KEY, ["HS256"], audience="gochat")
    claims = {name: value for name, value in (right | change).items() if value is not None}
    with pytest.raises(BadTokenError):
        Tokens(KEY).verify(jwt.encode(claims, KEY, "HS256"), ACCESS)


@pytest.mark.parametrize("algorithm", ["none", "HS384", "HS512"])
def test_only_one_algorithm_is_taken(algorithm: str) -> None:
    right = jwt.decode(Tokens(KEY).sign(ACCESS, ALICE, 60), KEY, ["HS256"], audience="gochat")
    with pytest.raises(BadTokenError):
        Tokens(KEY).verify(jwt.encode(right, KEY if algorithm != "none" else None, algorithm), ACCESS)


def test_another_key_is_refused() -> None:
    with pytest.raises(BadTokenError):
        Tokens(KEY).verify(Tokens(b"x" * 64).sign(ACCESS, ALICE, 60), ACCESS)


def test_the_service_token_is_reused_and_renewed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, now = Tokens(KEY), [1000.0]
    monkeypatch.setattr("gochat.domain.tokens.time.monotonic", lambda: now[0])
    first = tokens.for_service()
    assert tokens.verify(first, ACCESS).caller.role == "service"
    now[0] += 59
    assert tokens.for_service() == first
    now[0] += 1
    assert tokens.for_service() != first
