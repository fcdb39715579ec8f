"""Guessing passwords and names: at one account or many, from one address or behind a proxy, by answer or by time."""

import random
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
from google.protobuf.json_format import MessageToJson

from gochat.api.logic.v1 import logic_pb2
from gochat.api.session.v1 import session_pb2
from tests.attacks.answers import OK, Answer, answer, wait_as_asked
from tests.conftest import Own
from tests.harness import PASSWORD, Deployment, as_service, fresh

FREE = 5  # failures that cost no delay
ALLOWED = 10  # failures a minute that an address has here: one more is given back every 6 seconds
_hosts = count(1)


@pytest.fixture(scope="module")
def alone(own_of_module: Own) -> Deployment:
    """Without limits by address: only the delay by name is on."""
    return own_of_module()


@pytest.fixture(scope="module")
def proxied(own_of_module: Own) -> Deployment:
    """Behind a proxy, which these tests are: each comes from addresses of its alone."""
    return own_of_module(
        env={
            "GOCHAT_LIMITS_FAILED_SIGN_INS_PER_MINUTE": str(ALLOWED),
            "GOCHAT_LIMITS_TRUSTED_PROXIES": "127.0.0.1, 192.0.2.0/24",
            "GOCHAT_AUTH_REGISTRATION": "open",
        }
    )


def host() -> str:
    """An address that no other test calls from."""
    return f"198.51.100.{next(_hosts)}"


def sign_in(app: Deployment, name: str, password: str = "a guess", *forwarded: str) -> Answer:
    request = logic_pb2.AuthRequest(username=name, password=password)
    metadata = [("x-forwarded-for", hops) for hops in forwarded]
    return answer(lambda: app.logic.Authenticate(request, metadata=metadata, timeout=30))


def guess_until_delayed(guess: Callable[[], Answer]) -> tuple[int, Answer, Answer]:
    """The number of guesses that were heard, the answer to them and that to the first which was not."""
    heard: list[Answer] = []
    while (last := guess()).status == "UNAUTHENTICATED":
        heard.append(last)
        assert heard[0] == last
        assert len(heard) < 20, "nothing holds the guesses back"
    return len(heard), heard[0], last


def account(app: Deployment, kind: str) -> str:
    """The name of an account that exists, or does not, or no more."""
    name = fresh("victim")
    if kind != "missing":
        user_id = app.create_user(name)
        if status := {"existing": 0, "disabled": 2, "deleted": 3}[kind]:
            as_service(app).repo.UpdateUser(user_id=user_id, status=status)
    return name


KINDS = ("existing", "missing", "disabled", "deleted")


def test_guesses_at_one_name_are_slowed_down_whether_or_not_it_exists(alone: Deployment) -> None:
    def attack(name: str) -> tuple[Answer, list[Answer]]:
        heard, wrong, delayed = guess_until_delayed(lambda: sign_in(alone, name))
        assert FREE <= heard <= FREE + 1
        refusals, last = [], 0.0
        for failures in range(heard, heard + 3):
            delay = 2.0 ** (failures - FREE)
            refusals.append(delayed)
            assert 0 < delayed.delay <= delay
            if failures > heard:  # the time of the last failure is known, so how much of the delay has passed
                assert delayed.delay + time.monotonic() - last >= delay, "each failure doubles the delay"
            if failures < heard + 2:
                wait_as_asked(delayed)
                last = time.monotonic()
                assert sign_in(alone, name) == wrong
                delayed = sign_in(alone, name)
        return wrong, refusals

    with ThreadPoolExecutor(len(KINDS)) as pool:
        attacks = list(pool.map(attack, [account(alone, kind) for kind in KINDS]))
    wrong, refusals = attacks[0]
    assert all(attack == attacks[0] for attack in attacks), "no answer reveals which names exist"
    assert (wrong.status, wrong.reason, wrong.delay) == ("UNAUTHENTICATED", "BAD_CREDENTIALS", 0)
    assert (refusals[0].status, refusals[0].reason) == ("RESOURCE_EXHAUSTED", "ACCOUNT_DELAYED")
    assert len(set(refusals)) == 1


def test_the_right_password_is_delayed_too_and_then_clears_the_count(alone: Deployment) -> None:
    name, other = account(alone, "existing"), account(alone, "existing")
    guess_until_delayed(lambda: sign_in(alone, name))
    delayed = sign_in(alone, name, PASSWORD)
    assert delayed.reason == "ACCOUNT_DELAYED", "a guesser cannot see that this one is right"
    assert sign_in(alone, other, PASSWORD) == OK, "another account is not delayed"
    wait_as_asked(delayed)
    assert sign_in(alone, name, PASSWORD) == OK
    assert guess_until_delayed(lambda: sign_in(alone, name))[0] >= FREE


def full_width(name: str) -> str:
    return "".join(chr(ord(letter) + 0xFEE0) for letter in name)


def test_spellings_of_one_name_share_one_count(alone: Deployment) -> None:
    name = account(alone, "existing")
    spellings = [name, name.upper(), name.title(), full_width(name), full_width(name.upper())]
    tries = iter(range(100))
    heard, _, delayed = guess_until_delayed(lambda: sign_in(alone, spellings[next(tries) % len(spellings)]))
    assert heard <= FREE + 1
    assert delayed.reason == "ACCOUNT_DELAYED"


def test_concurrent_guesses_are_counted_like_sequential_ones(alone: Deployment) -> None:
    name = account(alone, "existing")
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: sign_in(alone, name).reason, range(20)))
    assert set(answers) == {"BAD_CREDENTIALS", "ACCOUNT_DELAYED"}
    assert FREE <= answers.count("BAD_CREDENTIALS") <= FREE + 3


def test_guesses_at_the_old_password_count_as_well(alone: Deployment) -> None:
    person = alone.person(password=PASSWORD)

    def change(old: str) -> Answer:
        return answer(lambda: person.ChangePassword(old_password=old, new_password="a new password"))

    assert guess_until_delayed(lambda: change("a guess"))[0] <= FREE + 1
    assert change(PASSWORD).reason == "ACCOUNT_DELAYED"
    delayed = sign_in(alone, person.username, PASSWORD)
    assert delayed.reason == "ACCOUNT_DELAYED", "one count for both ways"
    wait_as_asked(delayed)
    assert sign_in(alone, person.username, PASSWORD) == OK, "the password is as it was"


@pytest.mark.parametrize("error_mode", ["status", "body"])
def test_no_answer_reveals_which_names_exist(alone: Deployment, error_mode: str) -> None:
    def answered(kind: str) -> Any:
        request = logic_pb2.AuthRequest(username=account(alone, kind), password="a guess")
        metadata = (("x-gochat-error-mode", error_mode),)
        if error_mode == "status":
            return answer(lambda: alone.logic.Authenticate(request, metadata=metadata, timeout=30))
        response, call = alone.logic.Authenticate.with_call(request, metadata=metadata, timeout=30)
        return response, sorted(key for key, _ in call.trailing_metadata() or ())

    first, *others = [answered(kind) for kind in KINDS]
    assert "BAD_CREDENTIALS" in str(first)
    assert others == [first] * len(others)


def rank_test(one: list[float], other: list[float]) -> float:
    """The p-value of Mann and Whitney's U, by its normal approximation: how likely two samples of one distribution
    differ as much."""
    n, m = len(one), len(other)
    ranked = sorted([(value, 1) for value in one] + [(value, 0) for value in other])
    u = sum(rank for rank, (_, ours) in enumerate(ranked, 1) if ours) - n * (n + 1) / 2
    z = (u - n * m / 2) / (n * m * (n + m + 1) / 12) ** 0.5
    return 2 * (1 - statistics.NormalDist().cdf(abs(z)))


def test_the_response_time_does_not_reveal_which_names_exist(alone: Deployment) -> None:
    kinds = ("existing", "missing")
    guesses = [
        (kind, name) for kind in kinds for name in [account(alone, kind) for _ in range(20)] for _ in range(FREE)
    ]
    random.Random(7).shuffle(guesses)
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for kind, name in guesses:
        started = time.perf_counter()
        reason = sign_in(alone, name).reason
        times[kind].append(time.perf_counter() - started)
        assert reason == "BAD_CREDENTIALS"
    existing, missing = (statistics.median(times[kind]) for kind in kinds)
    p = rank_test(*times.values())
    print(f"medians: existing {existing * 1e3:.1f} ms, missing {missing * 1e3:.1f} ms, p = {p:.4f}")  # noqa: T201
    # Both, so that neither noise nor a difference too small to use fails this.
    assert p > 0.0001 or abs(existing - missing) < 0.15 * max(existing, missing)


def test_guesses_are_slowed_down_and_recorded_in_every_mode(app: Deployment) -> None:
    name, password = account(app, "existing"), fresh("secret")
    user_id = app.logic.Authenticate(logic_pb2.AuthRequest(username=name, password=PASSWORD)).user_info.user_id
    heard, _, delayed = guess_until_delayed(lambda: sign_in(app, name, password))
    assert (delayed.status, delayed.reason) == ("RESOURCE_EXHAUSTED", "ACCOUNT_DELAYED")
    assert 0 < delayed.delay <= 2
    events = [event for event in app.events(user_id=user_id, action="session.begin") if event.outcome == "refused"]
    assert len(events) == heard
    assert {(event.peer, event.actor_id, event.target_id) for event in events} == {("127.0.0.1", "", user_id)}
    missing = fresh("nobody")
    sign_in(app, missing, password)
    recorded = [event for event in app.events(action="session.begin") if not event.target_id]
    assert recorded[-1].outcome == "refused"
    assert recorded[-1].peer == "127.0.0.1"
    written = "".join(map(MessageToJson, [*events, *recorded])) + app.logs()
    for hidden in (name, missing, password):
        assert hidden not in written


def test_clients_cannot_set_the_address_in_the_audit_log(alone: Deployment) -> None:
    request = logic_pb2.AuthRequest(username=fresh("nobody"), password="a guess")
    metadata = (("x-gochat-actor", "u1|admin|203.0.113.66"), ("x-forwarded-for", "203.0.113.67"))
    assert answer(lambda: alone.logic.Authenticate(request, metadata=metadata)).reason == "BAD_CREDENTIALS"
    last = alone.events(action="session.begin")[-1]
    assert (last.peer, last.actor_id, last.actor_role) == ("127.0.0.1", "", "")


def refresh(app: Deployment, *forwarded: str) -> Answer:
    request = session_pb2.RefreshTokenRequest(refresh_token="garbage")
    metadata = [("x-forwarded-for", hops) for hops in forwarded]
    return answer(lambda: app.session.RefreshToken(request, metadata=metadata, timeout=30))


def register(app: Deployment, *forwarded: str) -> Answer:
    request = session_pb2.RegisterRequest(username=fresh("new"), password=PASSWORD)
    metadata = [("x-forwarded-for", hops) for hops in forwarded]
    return answer(lambda: app.session.Register(request, metadata=metadata, timeout=30))


def heard_from(call: Callable[[], Answer]) -> tuple[int, Answer]:
    """The number of calls until the address is refused, and the refusal."""
    for heard in range(3 * ALLOWED):
        if (refusal := call()).status == "RESOURCE_EXHAUSTED":
            return heard, refusal
    return 3 * ALLOWED, OK


SPENT: dict[str, Callable[[Deployment, str], Answer]] = {
    "guesses at many names": lambda app, address: sign_in(app, fresh("nobody"), "a guess", address),
    "guesses at refresh tokens": refresh,
    "registrations": register,
}


@pytest.mark.parametrize("how", SPENT)
def test_failed_attempts_of_an_address_are_limited_per_minute(proxied: Deployment, how: str) -> None:
    name, address = account(proxied, "existing"), host()
    started = time.monotonic()
    heard, refusal = heard_from(lambda: SPENT[how](proxied, address))
    assert ALLOWED <= heard <= ALLOWED + 1 + (time.monotonic() - started) // (60 / ALLOWED)
    assert refusal.reason == "ADDRESS_LIMITED"
    assert 0 < refusal.delay <= 60 / ALLOWED
    if how == "guesses at refresh tokens":
        assert sign_in(proxied, name, PASSWORD, address) == OK, "tokens and passwords are counted apart"
        assert register(proxied, address) == OK
    else:
        for attempt in (register, lambda *where: sign_in(proxied, name, PASSWORD, *where[1:])):
            assert attempt(proxied, address) == refusal, "whatever they try next"
        assert refresh(proxied, address).reason == "BAD_REFRESH_TOKEN", "tokens and passwords are counted apart"
    assert sign_in(proxied, name, PASSWORD, host()) == OK, "another address has its own"


def test_successful_sign_ins_do_not_count_against_the_limit(proxied: Deployment) -> None:
    name, address = account(proxied, "existing"), host()
    assert {sign_in(proxied, name, PASSWORD, address) for _ in range(30)} == {OK}
    assert heard_from(lambda: refresh(proxied, address))[0] >= ALLOWED


TWO_SPELLINGS = "an IPv4 address in IPv6"
SPOOFS = {
    "a first hop of their own": lambda n, real: (f"203.0.113.{n}, {real}",),
    "a header of their own": lambda n, real: (f"203.0.113.{n}", real),
    "a trusted hop behind": lambda n, real: (f"203.0.113.{n}, {real}, 192.0.2.7, 127.0.0.1",),
    "words that are no address": lambda n, real: (f"unknown, {n}, {real}",),
    TWO_SPELLINGS: lambda n, real: (f"203.0.113.{n}, {f'::ffff:{real}' if n % 2 else real}",),
    "addresses of one IPv6 network": lambda n, real: (f"2001:db8:{real.rpartition('.')[2]}::{n}",),
}


@pytest.mark.parametrize("spoof", SPOOFS)
def test_a_client_behind_a_proxy_cannot_pass_for_others(proxied: Deployment, spoof: str) -> None:
    real, numbers = host(), count(1)
    hops = SPOOFS.get(spoof, lambda n, real: (f"203.0.113.{n}, {real}:4711",))
    heard, refusal = heard_from(lambda: refresh(proxied, *hops(next(numbers), real)))
    assert ALLOWED <= heard <= ALLOWED + 2
    assert refusal.reason == "ADDRESS_LIMITED"


def test_the_audit_log_names_the_client_behind_the_proxy(proxied: Deployment) -> None:
    address = host()
    sign_in(proxied, fresh("nobody"), "a guess", f"203.0.113.1, {address}")
    assert proxied.events(action="session.begin")[-1].peer == address


def test_clients_that_are_no_proxy_cannot_choose_their_address(own: Own) -> None:
    env = {"GOCHAT_LIMITS_FAILED_SIGN_INS_PER_MINUTE": str(ALLOWED), "GOCHAT_LIMITS_TRUSTED_PROXIES": "192.0.2.1"}
    app = own(env=env)
    heard, refusal = heard_from(lambda: refresh(app, host()))
    assert ALLOWED <= heard <= ALLOWED + 2
    assert refusal.reason == "ADDRESS_LIMITED"
