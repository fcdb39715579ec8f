"""Requests of this server to addresses that others choose: only to public ones, so that nobody reaches by it what is
beside the server. The address is checked after the name was resolved, and connected to as it was checked."""

import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import cache
from typing import NamedTuple
from urllib.parse import urlsplit

MAX_ANSWER = 4096  # bytes that are read of an answer's body
_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class OutboundError(Exception):
    """No answer. Its text is for the log."""


class ForbiddenError(OutboundError):
    """The address is none that this server may connect to."""


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    """By lower-case names."""


def is_public(address: _Address) -> bool:
    """Also of what an IPv6 address stands for: mapped, 6to4, Teredo and NAT64 ones hold an IPv4 address."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if any(address in network for network in _NAT64):
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if not all(is_public(each) for each in inner if each is not None):
            return False
        if address.ipv4_mapped is not None:
            return True
    return address.is_global and not address.is_multicast


def post(url: str, body: bytes, headers: Mapping[str, str], *, timeout: float, private: bool = False) -> Answer:
    """Posts to the URL; no redirect is followed. timeout: seconds to connect, and then for the rest. private: to any
    address. Raises OutboundError."""
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        with closing(connection):
            connected = _connected(host, port, timeout, private=private)
            if secure:
                connected = _tls().wrap_socket(connected, server_hostname=host, do_handshake_on_connect=False)
            connection.sock = connected
            with cut_after(connected, timeout):
                if isinstance(connected, ssl.SSLSocket):
                    connected.do_handshake()
                name = f"[{host}]" if ":" in host else host
                given = {"host": name if parts.port is None else f"{name}:{port}", **headers}
                connection.request("POST", target, body, given)
                answer = connection.getresponse()
                answer.read(MAX_ANSWER)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise OutboundError(f"{type(error).__name__}: {error}") from None
    return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()})


def _connected(host: str, port: int, timeout: float, *, private: bool) -> socket.socket:
    """To the first address of the host that takes a connection. Where one of them is not public none is tried. Raises
    ForbiddenError, OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if not private:
        for *_, address in found:
            if not is_public(ipaddress.ip_address(str(address[0]).partition("%")[0])):
                raise ForbiddenError(f"{host} has an address that is not public")
    failure = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in found:
        connected = socket.socket(family, kind, protocol)
        try:
            connected.settimeout(timeout)
            connected.connect(address)
        except OSError as error:
            connected.close()
            failure = error
        else:
            return connected
    raise failure


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


@contextmanager
def cut_after(connected: socket.socket, seconds: float) -> Iterator[None]:
    """Ends a connection that is not done by then. Its own timeout is of each read: a server that sends a byte now and
    then would have the thread for ever."""

    def cut() -> None:
        with suppress(OSError):  # it is closed
            connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
