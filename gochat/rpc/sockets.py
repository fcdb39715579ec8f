"""Connections of this process, by the address of their peer: gRPC cannot close one from the server's side."""

import logging
import os
import socket
from contextlib import suppress
from urllib.parse import unquote

log = logging.getLogger(__name__)


def shut_down_connection(peer: str) -> None:
    """peer: as gRPC names it, ipv4:192.0.2.1:5000 or ipv6:[2001:db8::1]:5000. What reads or writes the connection finds
    that it is over. Looks through all open files, so not for the serving loop."""
    wanted = unquote(peer).partition(":")[2]
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError), socket.socket(fileno=os.dup(int(name))) as shared:
            host, port = shared.getpeername()[:2]
            if wanted in (f"{host}:{port}", f"[{host}]:{port}"):
                shared.shutdown(socket.SHUT_RDWR)
                return
