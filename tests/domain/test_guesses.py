"""Which guesses are heard, and what becomes of a refresh token that comes again."""

from types import SimpleNamespace

import pytest

from gochat.domain import policy
from gochat.domain.guesses import Attempt, Guesses, changing, signing_in
from gochat.domain.rates import FREE_FAILURES, Failures

STRANGER = signing_in("ann", "hash", "", is_known_device=False)
KNOWN = signing_in("ann", "hash", "phone", is_known_device=True)
UNKNOWN = signing_in("ann", "hash", "phone", is_known_device=False)


def fail(guesses: Guesses, attempt: Attempt, number: int = FREE_FAILURES) -> None:
    for _ in range(number):
        guesses.failed(attempt)


def test_strangers_hold_up_neither_a_known_device_nor_a_session() -> None:
    guesses = Guesses(Failures(lambda: 0.0))
    fail(guesses, STRANGER)
    wait = guesses.admit(STRANGER)[0]
    assert guesses.admit(STRANGER) == guesses.admit(UNKNOWN) == (wait, False)
    assert guesses.admit(KNOWN) == (wait, True), "what it is answered is the same"
    assert guesses.admit(changing("ann", "hash", "session")) == (0, True)
    assert guesses.admit(signing_in("ann", "new hash", "", is_known_device=False)) == (0, True)
    fail(guesses, KNOWN)
    assert guesses.admit(KNOWN) == (wait, False)
    guesses.succeeded(KNOWN)
    assert guesses.admit(STRANGER) == (0, True)


def test_guesses_from_its_address_do_not_hold_up_a_known_device() -> None:
    guesses = Guesses(Failures(lambda: 0.0))
    stranger, unknown, known = (
        signing_in("ann", "hash", device, is_known_device=device == "phone", address_delay=2.0)
        for device in ("", "other", "phone")
    )
    assert guesses.admit(stranger) == guesses.admit(unknown) == (2.0, False)
    assert guesses.admit(known) == (2.0, True), "what it is answered is the same"
    fail(guesses, unknown)
    assert guesses.admit(STRANGER) == (0, True), "what was not heard does not count for the name"
    fail(guesses, known)
    assert guesses.admit(known) == (2.0, False)
    assert guesses.admit(STRANGER) == (0, True)


def test_guesses_of_a_session_count_for_the_name_too() -> None:
    guesses = Guesses(Failures(lambda: 0.0))
    change = changing("ann", "hash", "session")
    fail(guesses, change)
    assert not guesses.admit(change)[1]
    assert not guesses.admit(STRANGER)[1]


@pytest.mark.parametrize(
    ("presented", "age", "verdict"),
    [
        ("now", 10**9, policy.ROTATE),
        ("before", policy.REPEAT_WINDOW, policy.REPEAT),
        ("before", -policy.REPEAT_WINDOW, policy.REPEAT),
        ("before", policy.REPEAT_WINDOW + 1, policy.END),
        ("long ago", 0, policy.END),
        ("", 10**9, policy.END),
    ],
)
def test_a_refresh_token_that_comes_again(presented: str, age: int, verdict: str) -> None:
    session = SimpleNamespace(refresh_id="now", previous_refresh_id="before", refreshed_at=10**12)
    assert policy.rotation(session, presented, 10**12 + age) == verdict
