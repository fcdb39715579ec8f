"""The rate limits before a handler: by user, or by network address where nobody is signed in yet."""

import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import unquote

from gochat.api.common.v1 import common_pb2
from gochat.config import Limits, networks
from gochat.context import Caller
from gochat.domain.access import Rate
from gochat.domain.guesses import address_limited
from gochat.domain.rates import OWN_COUNTS, Buckets, Counts
from gochat.errors import ChatError, invalid, limited

MAX_ADDRESS = 64  # characters of an address and a port
BURST = 5.0  # seconds: a user may make the calls of so many seconds in one go
DEVICE_FACTOR = 10  # failures of devices that an address may have, for one of anybody
TYPING_PER_SECOND, TYPING_BURST = 2.0, 20.0  # typing notices of a user; clients send one in 3 s
_WRONG_GUESS = (common_pb2.ERROR_CODE_UNAUTHORIZED, common_pb2.ERROR_CODE_RATE_LIMIT)
_COUNTED: dict[Rate, Callable[[ChatError | None], bool]] = {
    Rate.SIGN_IN: lambda error: error is not None and error.code in _WRONG_GUESS,
    # Not one of a session that has ended: people are not to be signed out by a neighbour's old device.
    Rate.REFRESH: lambda error: error is not None and error.reason == "BAD_REFRESH_TOKEN",
    Rate.REGISTER: lambda _: True,
    Rate.EXCHANGE: lambda error: error is not None and error.reason == "BAD_EXTERNAL_TOKEN",
    Rate.GUEST: lambda error: error is None,
    Rate.ADDRESS: lambda _: True,
}
"""The rates of an address, and which outcomes they count."""


class Throttle:
    def __init__(self, limits: Limits, counts: Counts = OWN_COUNTS) -> None:
        def per_second(name: str, rate: float) -> Buckets:
            return counts.buckets(name, rate, max(1.0, rate * BURST))

        def per_minute(name: str, rate: float) -> Buckets:
            return counts.buckets(name, rate / 60, max(1.0, rate))

        self._calls = per_second("calls", limits.calls_per_second)
        self._sends = per_second("sends", limits.sends_per_second)
        self._typing = counts.buckets("typing", TYPING_PER_SECOND if limits.calls_per_second else 0, TYPING_BURST)
        failed = limits.failed_sign_ins_per_minute
        sign_ins, refreshes = per_minute("sign-ins", failed), per_minute("refreshes", failed)
        guests = limits.guests_per_address_per_hour
        # Apart, since wrong passwords of one client are not to sign out its neighbours, who have a token.
        self._by_address = {
            Rate.SIGN_IN: sign_ins,
            Rate.REGISTER: sign_ins,
            Rate.EXCHANGE: sign_ins,
            Rate.REFRESH: refreshes,
            Rate.GUEST: counts.buckets("guests", guests / 3600, max(1.0, guests)),
            Rate.ADDRESS: per_second("addresses", limits.calls_per_second),
        }
        # The sign-ins of devices after those of the address have run out.
        self._devices = per_minute("devices", failed * DEVICE_FACTOR)
        self._proxies = networks("limits.trusted_proxies", limits.trusted_proxies)

    def address(self, peer: str, forwarded_for: str) -> str:
        """The network address of the client. peer: as gRPC names it, ipv4:192.0.2.1:5000. forwarded_for: the metadata
        x-forwarded-for. If the peer is a trusted proxy, the client is the last entry that is not a trusted proxy."""
        host, _, _ = peer.rpartition(":")  # without the port, which differs for each connection
        if not self._proxies:
            return _address_of(host)
        address = _parsed(unquote(host.partition(":")[2]))
        hops = forwarded_for.split(",")
        while hops and address and any(address in network for network in self._proxies):
            before = _parsed(hops.pop())
            if before is None:  # not an address, so neither it nor the entries before it can be trusted
                break
            address = before
        return str(address or "")

    def admit(self, rate: Rate, caller: Caller, address: str) -> None:
        """Raises RATE_LIMIT. Services and admins have no limit."""
        if buckets := self._by_address.get(rate):
            if wait := buckets.take(_subscriber(address)):
                raise address_limited(wait)
        elif rate is Rate.TYPING and not caller.privileged:  # apart, so that a flood of them costs the user no sends
            _take(self._typing, caller.user_id, "too many typing notices", "TYPING_LIMITED")
        elif not caller.privileged:
            _take(self._calls, caller.user_id, "too many calls", "CALLS_LIMITED")
            if rate is Rate.SEND:
                _take(self._sends, caller.user_id, "too many messages", "SENDS_LIMITED")

    def admit_sends(self, caller: Caller, number: int) -> None:
        """Takes so many sends from the caller's limit, or none. Raises RATE_LIMIT; INVALID_PARAMS for more than the
        limit ever allows in one go."""
        if caller.privileged:
            return
        if number > self._sends.burst:
            rule = f"must have at most {self._sends.burst:g} items: your rate limit lets no more through at once"
            raise invalid("messages", rule, "SENDS_LIMITED")
        _take(self._sends, caller.user_id, "too many messages", "SENDS_LIMITED", number)

    def admit_sign_in(self, address: str, device_id: str) -> float:
        """Raises RATE_LIMIT. Above 0, it is the delay of the address, whose failures have run out: then only a device
        that has signed in before is to be heard, which is for the handler to find out. Each costs it a password hash,
        and clients may invent devices; hence a limit to them too."""
        subscriber = _subscriber(address)
        delay = self._by_address[Rate.SIGN_IN].take(subscriber)
        if delay and (not device_id or self._devices.take(subscriber)):
            raise address_limited(delay)
        return delay

    def refund(self, rate: Rate, address: str, error: ChatError | None, *, delayed: bool = False) -> None:
        """Gives back what a call took whose outcome does not count. `admit` takes it from every call, so that guesses
        made in parallel count too. delayed: it is a sign-in that was admitted with a delay."""
        if rate in _COUNTED and not _COUNTED[rate](error):
            (self._devices if delayed else self._by_address[rate]).give_back(_subscriber(address))


def _take(buckets: Buckets, key: str, message: str, reason: str, tokens: int = 1) -> None:
    if wait := buckets.take(key, tokens):
        raise limited(message, reason, wait)


@lru_cache(maxsize=1000)  # a client makes many calls
def _address_of(host: str) -> str:
    return str(_parsed(unquote(host.partition(":")[2])) or "")


@lru_cache(maxsize=1000)
def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address, with or without a port."""
    text = text.strip()
    if len(text) > MAX_ADDRESS:
        return None
    match = re.fullmatch(r"(?:\[([^\]]+)\](?::\d+)?|([^:]+)(?::\d+)?|([^\[\]]+))", text)
    try:
        address = ipaddress.ip_address(match[1] or match[2] or match[3]) if match else None
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _subscriber(host: str) -> str:
    """The network that one client is taken to have: of IPv6 a /64, which providers give to each customer."""
    return str(ipaddress.ip_network((host, 64), strict=False)) if ":" in host else host
