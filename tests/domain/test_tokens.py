"""Tokens."""

import time

import jwt
import pytest

from gochat.context import Caller
from gochat.domain.revocation import Revocations
from gochat.domain.tokens import ACCESS, CACHE_INTERVAL, REFRESH, SERVICE_KIND, BadTokenError, Claims, Tokens, _Cache
from gochat.errors import ChatError
from gochat.keys import Key

KEY = b"k" * 64
ALICE = Caller("u1", "user", "d1")


def signer(*secrets: bytes) -> Tokens:
    """Tokens of these keys, newest first, where it is known that no session ended."""
    revocations = Revocations(keep=900)
    revocations.update([], 0, time.monotonic())
    return Tokens([Key(secret) for secret in secrets or (KEY,)], revocations)


def test_a_token_names_its_caller() -> None:
    claims = signer().verify(signer().sign(ACCESS, ALICE, 60), ACCESS)
    assert claims.caller == ALICE


def test_a_refresh_token_carries_its_id() -> None:
    assert signer().verify(signer().sign(REFRESH, ALICE, 60, "r1"), REFRESH).token_id == "r1"


def test_kinds_are_not_interchangeable() -> None:
    tokens = signer()
    for signed, wanted in ((ACCESS, REFRESH), (REFRESH, ACCESS)):
        with pytest.raises(BadTokenError):
            tokens.verify(tokens.sign(signed, ALICE, 60), wanted)


def test_a_cached_token_still_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = signer()
    token = tokens.sign(ACCESS, ALICE, 60)
    expires_at = tokens.verify(token, ACCESS).expires_at
    monkeypatch.setattr("gochat.domain.tokens.clock.now", lambda: expires_at + 5.0)
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
        {"typ": "other"},
        {"typ": "service"},
        {"role": "service"},
        {"role": "root"},
        {"sid": ""},
        {"uid": ""},
        {"uid": 1},
        {"sub": "u2"},
        {"exp": 4e9},
    ],
)
def test_a_wrong_or_missing_claim_is_refused(change: dict[str, object]) -> None:
    right = jwt.decode(signer().sign(ACCESS, ALICE, 60), KEY, ["HS256"], audience="gochat")
    claims = {name: value for name, value in (right | change).items() if value is not None}
    with pytest.raises(BadTokenError):
        signer().verify(jwt.encode(claims, KEY, "HS256"), ACCESS)


@pytest.mark.parametrize("algorithm", ["none", "HS384", "HS512"])
def test_only_one_algorithm_is_taken(algorithm: str) -> None:
    right = jwt.decode(signer().sign(ACCESS, ALICE, 60), KEY, ["HS256"], audience="gochat")
    with pytest.raises(BadTokenError):
        signer().verify(jwt.encode(right, KEY if algorithm != "none" else None, algorithm), ACCESS)


def test_another_key_is_refused() -> None:
    with pytest.raises(BadTokenError):
        signer().verify(signer(b"x" * 64).sign(ACCESS, ALICE, 60), ACCESS)


def test_the_service_token_is_reused_and_renewed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, now = signer(), [1000.0]
    monkeypatch.setattr("gochat.domain.tokens.time.monotonic", lambda: now[0])
    first = tokens.for_service()
    assert tokens.verify(first, SERVICE_KIND).caller.role == "service"
    now[0] += 59
    assert tokens.for_service() == first
    now[0] += 1
    assert tokens.for_service() != first


def test_tokens_of_an_older_key_verify_until_it_is_dropped() -> None:
    old, new = b"o" * 64, b"n" * 64
    token = signer(old).sign(ACCESS, ALICE, 60)
    both = signer(new, old)
    assert both.verify(token, ACCESS).caller == ALICE
    assert signer(new).verify(both.sign(ACCESS, ALICE, 60), ACCESS).caller == ALICE
    both._changed = lambda: [Key(new)]
    both.renew()
    with pytest.raises(BadTokenError):
        both.verify(token, ACCESS)


@pytest.mark.parametrize("header", [{"kid": "0" * 16}, {"crit": ["x"], "x": 1}, {"jku": "http://x"}])
def test_headers_that_name_another_key_are_refused(header: dict[str, object]) -> None:
    right = jwt.decode(signer().sign(ACCESS, ALICE, 60), KEY, ["HS256"], audience="gochat")
    with pytest.raises(BadTokenError):
        signer().verify(jwt.encode(right, KEY, "HS256", headers={"kid": Key(KEY).id} | header), ACCESS)


def test_access_tokens_of_an_ended_session_are_refused() -> None:
    revocations = Revocations(keep=900)
    tokens = Tokens([Key(KEY)], revocations)
    access, refresh = (tokens.sign(kind, ALICE, 60) for kind in (ACCESS, REFRESH))
    with pytest.raises(ChatError) as unknown:
        tokens.verify(access, ACCESS)
    assert unknown.value.reason == "SESSIONS_UNKNOWN"
    revocations.update(["d0"], 1000, time.monotonic())
    tokens.verify(access, ACCESS)
    revocations.update(["d1"], 2000, time.monotonic())
    with pytest.raises(BadTokenError, match="ended"):
        tokens.verify(access, ACCESS)
    tokens.verify(refresh, REFRESH)  # of that the repo judges


def test_ended_sessions_are_forgotten_once_no_token_can_name_them(monkeypatch: pytest.MonkeyPatch) -> None:
    revocations, now = Revocations(keep=900), [1000.0]
    monkeypatch.setattr("gochat.domain.revocation.time.monotonic", lambda: now[0])
    revocations.update(["d1"], 1, now[0])
    now[0] += 899
    revocations.update([], 1, now[0])
    assert revocations.has("d1")
    now[0] += 2
    revocations.update([], 1, now[0])
    assert not revocations.has("d1")
    now[0] += 4.1
    with pytest.raises(ChatError):
        revocations.has("d2")


def test_the_token_cache_forgets_unused_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded, now = [], [0.0]
    monkeypatch.setattr("gochat.domain.tokens.time.monotonic", lambda: now[0])
    claims = Claims(Caller("u", "user", "s"), "access", "", 0)
    recent = _Cache(lambda token: (decoded.append(token), claims)[1])
    for at, tokens in (
        (0, "ab"),
        (200, "a"),
        (CACHE_INTERVAL, "ac"),
        (1.9 * CACHE_INTERVAL, "a"),
        (2.1 * CACHE_INTERVAL, "da"),
    ):
        now[0] = at
        for token in tokens:
            assert recent.of(token) is claims
    assert decoded == list("abcd"), "what is in use is decoded once"
    recent.of("b")
    assert decoded == list("abcdb")
    assert not {"b"} & recent._old.keys()
