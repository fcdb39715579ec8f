"""Who shares an address with those who guess passwords, as in an office or behind a carrier's NAT: a device that has
signed in before is heard, and the guessers gain nothing by that."""

import random
import statistics
import time
from itertools import count

import pytest

from gochat.api.logic.v1 import logic_pb2
from gochat.domain.rates import FREE_FAILURES
from gochat.serving.throttle import DEVICE_FACTOR
from tests.attacks.answers import OK, Answer, answer
from tests.attacks.test_guessing import rank_test
from tests.conftest import Own
from tests.harness import PASSWORD, Deployment, fresh

ALLOWED = 4  # failures a minute that an address has here: one more is given back every 15 seconds
_hosts = count(1)


@pytest.fixture(scope="module", params=["sqlite-colocated", "postgres-split"])
def proxied(own_of_module: Own, request: pytest.FixtureRequest) -> Deployment:
    limits = {"FAILED_SIGN_INS_PER_MINUTE": str(ALLOWED), "TRUSTED_PROXIES": "127.0.0.1"}
    return own_of_module(request.param, env={f"GOCHAT_LIMITS_{name}": value for name, value in limits.items()})


def sign_in(app: Deployment, address: str, name: str, device_id: str, password: str = "a guess") -> Answer:
    request = logic_pb2.AuthRequest(username=name, password=password, device_id=device_id)
    return answer(lambda: app.logic.Authenticate(request, metadata=[("x-forwarded-for", address)], timeout=30))


def office(app: Deployment) -> tuple[str, Answer]:
    """An address whose failures have run out, and what it is answered."""
    address = f"198.51.100.{next(_hosts)}"
    while (refusal := sign_in(app, address, fresh("nobody"), "")).status != "RESOURCE_EXHAUSTED":
        pass
    return address, refusal


def person(app: Deployment, *devices: str) -> str:
    """The name of one who has signed in on these devices."""
    name = fresh()
    app.create_user(name)
    for device in devices:
        assert sign_in(app, f"192.0.2.{next(_hosts)}", name, device, PASSWORD) == OK
    return name


def test_a_known_device_signs_in_beside_those_who_guess(proxied: Deployment) -> None:
    name, (address, refusal) = person(proxied, "phone", "tablet"), office(proxied)
    assert refusal.reason == "ADDRESS_LIMITED"
    for _ in range(3):
        for device in ("phone", "tablet"):
            assert sign_in(proxied, address, name, device, PASSWORD) == OK
    for device in ("", "other"):
        assert sign_in(proxied, address, name, device, PASSWORD) == refusal, "a guesser cannot see that it is right"
    assert sign_in(proxied, address, person(proxied), "phone", PASSWORD) == refusal, "it is another's device"
    assert 0 < refusal.delay <= 60 / ALLOWED


def test_no_answer_shows_which_names_exist_or_which_devices_they_have(proxied: Deployment) -> None:
    name, (address, refusal) = person(proxied, "phone"), office(proxied)
    for who, device in ((name, "phone"), (name, "other"), (fresh("nobody"), "phone")):
        tried = [sign_in(proxied, address, who, device) for _ in range(FREE_FAILURES + 2)]
        assert tried == [refusal] * len(tried)
        assert all(0 < each.delay <= 60 / ALLOWED for each in tried)


def test_who_guesses_from_a_known_device_at_their_address_is_delayed_too(proxied: Deployment) -> None:
    name, (address, refusal) = person(proxied, "phone"), office(proxied)
    for _ in range(FREE_FAILURES):
        sign_in(proxied, address, name, "phone")
    assert sign_in(proxied, address, name, "phone", PASSWORD) == refusal
    assert sign_in(proxied, f"192.0.2.{next(_hosts)}", name, "", PASSWORD) == OK, "it did not count for the name"


def test_invented_devices_gain_no_unlimited_comparisons(proxied: Deployment) -> None:
    name, (address, refusal) = person(proxied, "phone"), office(proxied)
    most, started = ALLOWED * DEVICE_FACTOR, time.monotonic()
    for number in range(most):
        assert sign_in(proxied, address, fresh("nobody"), f"invented {number}") == refusal
    made = most
    while made < most + (time.monotonic() - started) * most / 60 + 1:  # those that were given back meanwhile
        sign_in(proxied, address, fresh("nobody"), f"invented {made}")
        made += 1
    assert sign_in(proxied, address, name, "phone", PASSWORD) == refusal
    started = time.monotonic()
    for number in range(20):
        sign_in(proxied, address, name, f"invented once more {number}")
    assert (time.monotonic() - started) / 20 < 0.015, "no password is compared"


def test_the_response_time_does_not_show_which_devices_a_name_has(proxied: Deployment) -> None:
    name = person(proxied, "phone")
    times: dict[str, list[float]] = {"phone": [], "other": []}
    for _ in range(4):
        address, refusal = office(proxied)
        devices = [*times] * 14
        random.Random(7).shuffle(devices)
        for device in devices:
            started = time.perf_counter()
            assert sign_in(proxied, address, name, device) == refusal
            times[device].append(time.perf_counter() - started)
    known, unknown = (statistics.median(each) for each in times.values())
    p = rank_test(*times.values())
    # Both, so that neither noise nor a difference too small to use fails this.
    assert p > 0.0001 or abs(known - unknown) < 0.15 * max(known, unknown)
