"""Whose limit a call counts against."""

import pytest

from gochat.config import Limits
from gochat.context import NOBODY, SERVICE, Caller
from gochat.domain.access import Rate
from gochat.errors import ChatError, denied, unauthorized
from gochat.serving.throttle import DEVICE_FACTOR, Throttle, _address_of

ALICE = Caller("u1", "user", "d1")
GUESS, OTHER = unauthorized("no", "BAD_CREDENTIALS"), denied("no", "OTHER")


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("ipv4:192.0.2.1:5000", "", "192.0.2.1"),
        ("ipv6:%5B2001:db8::1%5D:5000", "", "2001:db8::1"),
        ("ipv4:192.0.2.1:5000", "198.51.100.7", "192.0.2.1"),  # not a proxy of ours
        ("ipv4:10.0.0.1:5000", "198.51.100.7", "198.51.100.7"),
        ("ipv4:10.0.0.1:5000", "6.6.6.6, 198.51.100.7, 10.0.0.2", "198.51.100.7"),  # the first is what a client made up
        ("ipv4:10.0.0.1:5000", "6.6.6.6, nonsense\x1b", "10.0.0.1"),  # nor believed from there on
        ("ipv4:10.0.0.1:5000", "6.6.6.6, 198.51.100.7:4000", "198.51.100.7"),
        ("ipv4:10.0.0.1:5000", "6.6.6.6, [2001:db8::7]:4000", "2001:db8::7"),
        ("ipv4:10.0.0.1:5000", "", "10.0.0.1"),
        ("ipv6:%5B::ffff:10.0.0.1%5D:5000", "198.51.100.7", "198.51.100.7"),
        ("unix:", "198.51.100.7", ""),
    ],
)
def test_the_address_is_the_last_that_no_proxy_of_ours_has(peer: str, forwarded_for: str, address: str) -> None:
    assert Throttle(Limits(trusted_proxies="10.0.0.0/8")).address(peer, forwarded_for) == address


def taken(throttle: Throttle, rate: Rate, caller: Caller, address: str = "", most: int = 100) -> int:
    """How many calls pass before one is refused."""
    for number in range(most):
        try:
            throttle.admit(rate, caller, address)
        except ChatError as refusal:
            assert refusal.retry_after > 0
            return number
    return most


def test_users_have_a_limit_each_and_services_none() -> None:
    throttle = Throttle(Limits(calls_per_second=2, sends_per_second=1))
    assert taken(throttle, Rate.SEND, ALICE) == 5
    assert taken(throttle, Rate.NONE, ALICE) == 4  # 10 less the five sends and the one that was refused
    assert taken(throttle, Rate.NONE, Caller("u2", "user", "d2")) == 10
    for privileged in (SERVICE, Caller("u3", "admin", "d3")):
        assert taken(throttle, Rate.SEND, privileged) == 100


def test_each_of_many_messages_counts_as_a_send() -> None:
    throttle = Throttle(Limits(sends_per_second=2))
    throttle.admit_sends(ALICE, 7)
    with pytest.raises(ChatError) as refusal:
        throttle.admit_sends(ALICE, 4)
    assert (refusal.value.reason, refusal.value.retry_after) == ("SENDS_LIMITED", pytest.approx(0.5, abs=0.1))
    throttle.admit_sends(ALICE, 3)
    assert taken(throttle, Rate.SEND, ALICE) == 0, "one bucket for both"
    with pytest.raises(ChatError) as refusal:
        throttle.admit_sends(Caller("u2", "user", "d2"), 11)
    assert list(refusal.value.fields) == ["messages"], "waiting would not help"
    throttle.admit_sends(SERVICE, 1000)
    Throttle(Limits(sends_per_second=0)).admit_sends(ALICE, 1000)


def test_the_address_cache_does_not_grow_with_connections() -> None:
    limits, before = Throttle(Limits()), _address_of.cache_info().currsize
    assert {limits.address(f"ipv4:192.0.2.7:{port}", "") for port in range(1000, 1100)} == {"192.0.2.7"}
    assert _address_of.cache_info().currsize <= before + 1


def test_failed_sign_ins_count_against_the_address() -> None:
    throttle = Throttle(Limits(failed_sign_ins_per_minute=3))
    for _ in range(5):
        for error in (None, OTHER):
            throttle.admit(Rate.SIGN_IN, NOBODY, "192.0.2.1")
            throttle.refund(Rate.SIGN_IN, "192.0.2.1", error)
    for _ in range(3):
        throttle.admit(Rate.SIGN_IN, NOBODY, "192.0.2.1")
        throttle.refund(Rate.SIGN_IN, "192.0.2.1", GUESS)
    assert taken(throttle, Rate.SIGN_IN, NOBODY, "192.0.2.1") == 0
    assert taken(throttle, Rate.SIGN_IN, NOBODY, "192.0.2.2") == 3


def test_devices_of_an_address_without_failures_left_have_a_limit_too() -> None:
    throttle, address = Throttle(Limits(failed_sign_ins_per_minute=3)), "192.0.2.1"
    assert [throttle.admit_sign_in(address, "") for _ in range(3)] == [0] * 3
    for error in (None, OTHER):
        assert throttle.admit_sign_in(address, "phone") > 0
        throttle.refund(Rate.SIGN_IN, address, error, delayed=True)
    with pytest.raises(ChatError, match="your address"):
        throttle.admit_sign_in(address, "")
    for number in range(3 * DEVICE_FACTOR):
        assert 0 < throttle.admit_sign_in(address, f"invented {number}") <= 20
        throttle.refund(Rate.SIGN_IN, address, GUESS, delayed=True)
    with pytest.raises(ChatError, match="your address"):
        throttle.admit_sign_in(address, "phone")
    assert throttle.admit_sign_in("192.0.2.2", "") == 0


def test_registrations_count_whether_they_succeed_or_not() -> None:
    throttle = Throttle(Limits(failed_sign_ins_per_minute=3))
    for error in (None, GUESS, OTHER):
        throttle.admit(Rate.REGISTER, NOBODY, "192.0.2.1")
        throttle.refund(Rate.REGISTER, "192.0.2.1", error)
    assert taken(throttle, Rate.REGISTER, NOBODY, "192.0.2.1") == 0


def test_an_ipv6_subscriber_is_one_address() -> None:
    throttle = Throttle(Limits(failed_sign_ins_per_minute=3))
    assert sum(taken(throttle, Rate.SIGN_IN, NOBODY, f"2001:db8::{host}") for host in range(1, 9)) == 3
    assert taken(throttle, Rate.SIGN_IN, NOBODY, "2001:db8:0:1::1") == 3
