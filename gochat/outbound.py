"""Calls of other servers by HTTP: small, soon, and to addresses that they may have.

Whoever may name a URL could otherwise have this server call what only it can reach: itself, its neighbours, the
metadata service of a cloud. So a host is resolved once, each of its addresses is judged, and the connection is made to
an address that was; a name that resolves to another one meanwhile changes nothing. No redirect is followed.
"""

import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from functools import cache
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import urlsplit

MAX_ANSWER = 128 * 1024  # bytes of its body that are read: the longest message, however JSON spells it, and some more

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Networks = Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]
Resolve = Callable[..., Sequence[tuple[Any, ...]]]
"""As socket.getaddrinfo."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_ISATAP = 0x5EFE  # before the address of IPv4 (RFC 5214, 6.1), but for a bit that says whether that is unique
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # all that is given out (iana.org/assignments/ipv6-address-space)
_SPECIAL = tuple(
    ipaddress.ip_network(each)
    for each in (
        # iana.org/assignments/iana-ipv4-special-registry. Also what it calls globally reachable: such as 192.0.0.9 is
        # whichever server is nearest, which may be one's own router.
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private use
        "100.64.0.0/10",  # shared by customers of a provider
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link local, and the metadata service of clouds
        "172.16.0.0/12",  # private use
        "192.0.0.0/24",  # protocol assignments, of 192.0.0.0/29, .8, .9, .10, .170 and .171
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # relays of 6to4, and .2 of 6a44
        "192.168.0.0/16",  # private use
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast (iana.org/assignments/multicast-addresses)
        "240.0.0.0/4",  # reserved, and limited broadcast
        # iana.org/assignments/iana-ipv6-special-registry: those of 2000::/3. Of the others, none is public but those of
        # IPv4 in 64:ff9b::/96 and ::ffff:0:0/96.
        "2001::/23",  # protocol assignments: Teredo, PCP, TURN, DNS-SD, benchmarking, AMT, AS112, ORCHID, drones
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, whose relays are gone
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)


_lookups: dict[tuple[str, int, Resolve], Future[Sequence[tuple[Any, ...]]]] = {}
_looking_up = threading.Lock()  # guards them


class OutboundError(Exception):
    """There is no answer; the text says why, to operators."""


class Answer(NamedTuple):
    """retry_after: seconds that the server asks to wait; 0 where it does not."""

    status: int
    body: bytes
    retry_after: int = 0


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    timeout: float,
    networks: Networks | None,
    resolve: Resolve = socket.getaddrinfo,
) -> Answer:
    """What the server says. timeout: seconds for all of it. networks: which may be called beside the public Internet,
    by http too; None: any address. Raises OutboundError."""
    until = monotonic() + timeout
    parts = urlsplit(url)
    assert parts.hostname
    is_tls = parts.scheme == "https"
    port = parts.port or (443 if is_tls else 80)
    addresses = _resolved(parts.hostname, port, resolve, until)
    if networks is not None:
        for _, address in addresses:
            judge(address[0], networks, is_tls=is_tls)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    # Not of HTTPSConnection, which would read all certificate authorities for each.
    connection = http.client.HTTPConnection(parts.hostname, port)
    try:
        connected = _connected(addresses, until)
        if is_tls:
            connected = tls().wrap_socket(connected, server_hostname=parts.hostname, do_handshake_on_connect=False)
        with closing(connected), cut_after(connected, until - monotonic()):
            if isinstance(connected, ssl.SSLSocket):
                connected.do_handshake()
            connection.sock = connected
            connection.request("POST", target, body, {"host": parts.netloc, "connection": "close", **headers})
            with connection.getresponse() as response:
                answer = Answer(response.status, response.read(MAX_ANSWER), _retry_after(response))
        if monotonic() >= until:  # what was cut looks like an end
            raise TimeoutError
        return answer
    except (OSError, http.client.HTTPException, ValueError) as error:
        if monotonic() >= until or isinstance(error, TimeoutError):
            raise OutboundError("it did not answer in time") from None
        raise OutboundError(_reason(error)) from None


def judge(address: str, networks: Networks, *, is_tls: bool = True) -> None:
    """Raises OutboundError for one that may not be called, or not in clear."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if all(_is_in(each, networks) for each in _meant(found)):
        return
    if not all(_is_in(each, networks) or _is_public(each) for each in _meant(found)):
        raise OutboundError(f"its address {found} is not a public one")
    if not is_tls:
        raise OutboundError("it must be https: http is for the networks of [webhooks] allow")


def _resolved(host: str, port: int, resolve: Resolve, until: float) -> list[tuple[Any, tuple[Any, ...]]]:
    """(family, socket address) of each address. The C library has no time limit of ours, so a thread of its own waits
    for it: one for each name, whose answer all get who wait for it then."""
    asked = host, port, resolve
    with _looking_up:
        if (lookup := _lookups.get(asked)) is None:
            lookup = _lookups[asked] = Future()
            threading.Thread(target=_look_up, args=(asked, lookup), name="resolving", daemon=True).start()
    try:
        found = lookup.result(max(0.0, until - monotonic()))
    except TimeoutError:
        raise OutboundError(f"the address of {host} was not found out in time") from None
    if not found:
        raise OutboundError(f"{host} has no address")
    return [(family, address) for family, _, _, _, address in found]


def _look_up(asked: tuple[str, int, Resolve], lookup: Future[Sequence[tuple[Any, ...]]]) -> None:
    host, port, resolve = asked
    found: Sequence[tuple[Any, ...]] = ()
    try:
        with suppress(OSError, UnicodeError):
            found = resolve(host, port, type=socket.SOCK_STREAM)
    finally:
        with _looking_up:
            del _lookups[asked]
        lookup.set_result(found)


def _meant(address: Address) -> list[Address]:
    """The address, and that of IPv4 in it to which a translator or a tunnel would pass a packet on."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.ipv4_mapped or address in _NAT64:
        return [inner]
    is_isatap = int(address) >> 32 & 0xFDFFFFFF == _ISATAP
    return [address, inner] if is_isatap else [address]


def _is_in(address: Address, networks: Networks) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _is_public(address: Address) -> bool:
    return not _is_in(address, _SPECIAL) and (address.version == 4 or address in _GLOBAL_UNICAST)


def _connected(addresses: Sequence[tuple[Any, tuple[Any, ...]]], until: float) -> socket.socket:
    """To the first of them that answers. Raises OSError."""
    failure: OSError = TimeoutError()
    for family, address in addresses:
        if (left := until - monotonic()) <= 0:
            break
        connecting = socket.socket(family, socket.SOCK_STREAM)
        try:
            connecting.settimeout(left)
            connecting.connect(address)
        except OSError as error:
            connecting.close()
            failure = error
        else:
            connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connecting
    raise failure


def _retry_after(response: http.client.HTTPResponse) -> int:
    """RFC 9110, 10.2.3: seconds; a date counts as none."""
    said = response.headers.get("retry-after", "").strip()
    return int(said) if said.isascii() and said.isdigit() and len(said) < 7 else 0


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate does not hold: {error.verify_message}"
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    return f"its answer is not HTTP: {type(error).__name__}"


@cache
def tls() -> ssl.SSLContext:
    return ssl.create_default_context()


@contextmanager
def cut_after(connected: socket.socket, seconds: float) -> Iterator[None]:
    """Ends a connection that is not done by then. Its own timeout is of each read: a server that sends a byte now and
    then would have the thread for ever."""

    def cut() -> None:
        with suppress(OSError):  # it is closed
            connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, seconds), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
