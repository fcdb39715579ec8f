"""Addresses to listen on: all that a host name has on this machine, or none."""

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from gochat.config import parse_address

PORT_ATTEMPTS = 20  # for a free port that is free on all addresses
BACKLOG = 1024  # connections that the kernel has taken and the program has not
_NOT_HERE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}

SocketAddress = tuple[str | int | bytes, ...]
Found = tuple[socket.AddressFamily, SocketAddress]


class ListenError(Exception):
    """The address cannot be listened on; the message names it and its setting."""

    def __init__(self, listen: str, key: str = "server.listen") -> None:
        super().__init__(f"cannot listen on {listen}: is the port of {key} taken, or the address not this host's?")


def resolve(listen: str, key: str) -> list[Found]:
    """The addresses of HOST:PORT that this machine has, with one port: where there are several addresses, a free one in
    place of 0. (localhost may stand for ::1 too where there is no IPv6.) Raises ListenError."""
    host, port = parse_address(key, listen)
    try:
        every = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except OSError:
        raise ListenError(listen, key) from None
    each: dict[Found, None] = dict.fromkeys((family, address) for family, _, _, _, address in every)
    found = [one for one in each if _is_here(one)]
    if not found:
        raise ListenError(listen, key)
    if len(found) == 1 or port:
        return found
    for _ in range(PORT_ATTEMPTS):
        with suppress(OSError), ExitStack() as probes:
            port = 0
            for family, address in found:
                probe = probes.enter_context(socket.socket(family))
                probe.bind(_with_port(address, port))
                port = probe.getsockname()[1]
            return [(family, _with_port(address, port)) for family, address in found]
    raise ListenError(listen, key)


def as_text(found: Found) -> str:
    """HOST:PORT, as gRPC reads it."""
    family, (host, port, *_) = found
    return f"[{host!s}]:{port!s}" if family == socket.AF_INET6 else f"{host!s}:{port!s}"


def listening_sockets(listen: str, key: str, *, shared_port: bool) -> list[socket.socket]:
    """One for each address of the host. shared_port: other workers of this program listen there too. Raises
    ListenError."""
    sockets: list[socket.socket] = []
    try:
        for family, address in resolve(listen, key):
            sockets.append(each := socket.socket(family))
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # despite connections in TIME_WAIT
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared_port)
            if family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            each.bind(address)
            each.listen(BACKLOG)
    except OSError:
        for each in sockets:
            each.close()
        raise ListenError(listen, key) from None
    return sockets


@contextmanager
def reserve_port(listen: str, key: str = "server.listen") -> Iterator[str]:
    """Reserves a port for the workers of this program (server.workers): no other program can listen on it meanwhile.

    Yields HOST:PORT, with a free port in place of 0. Raises ListenError.
    """
    host, _ = parse_address(key, listen)
    with ExitStack() as reserved:
        try:
            for family, address in resolve(listen, key):
                last = reserved.enter_context(_reserved_socket(family, address))
        except OSError:
            raise ListenError(listen, key) from None
        yield f"{host}:{last.getsockname()[1]}"


def _reserved_socket(family: socket.AddressFamily, address: SocketAddress) -> socket.socket:
    """A socket that is bound, but does not listen, so that only sockets of this user with SO_REUSEPORT can listen on
    its port. Raises OSError.

    A second socket, the probe, first listens on the port without SO_REUSEPORT. That fails if the port is taken, also by
    another reservation, whose socket shares it only with sockets that have SO_REUSEPORT. The probe gets that option
    only then, so that the reserving socket can be bound beside it. SO_REUSEADDR lets both be bound despite connections
    of an earlier server in TIME_WAIT; a reserving socket that kept it would let others listen.
    """
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen()
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved = socket.socket(family)
        try:
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            reserved.bind(probe.getsockname())
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        except OSError:
            reserved.close()
            raise
        return reserved


def _is_here(found: Found) -> bool:
    """Does this machine have the address?"""
    family, address = found
    try:
        with socket.socket(family) as probe:
            probe.bind(_with_port(address, 0))
    except OSError as error:
        return error.errno not in _NOT_HERE
    return True


def _with_port(address: SocketAddress, port: int) -> SocketAddress:
    return (address[0], port, *address[2:])
