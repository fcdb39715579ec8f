"""What only the kernel knows or can do about this process, through /proc/self. For the watchdog of the serving loop."""

import os
import platform
import socket
from contextlib import suppress
from pathlib import Path
from stat import S_ISSOCK
from urllib.parse import unquote

_FUTEX = {"x86_64": b"202", "aarch64": b"98"}.get(platform.machine(), b"")  # the number of the system call
_TASKS = Path("/proc/self/task")


def shut_down_connections(peers: set[str]) -> None:
    """Shuts down the sockets of connections, which gRPC offers no way to do on a server: gRPC's next read or write of
    one fails, and gRPC closes it.

    peers: as gRPC names them, ipv4:192.0.2.1:5000 or ipv6:[2001:db8::1]:5000. Goes through all open files, which takes
    too long for the serving thread. Raises OSError.
    """
    wanted = {unquote(peer).partition(":")[2] for peer in peers}
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if S_ISSOCK(os.fstat(int(name)).st_mode):
                with socket.socket(fileno=os.dup(int(name))) as shared:
                    if _name(shared.getpeername()) in wanted:
                        shared.shutdown(socket.SHUT_RDWR)


def _name(address: object) -> str:
    """HOST:PORT of a peer's address, "" if it has none. gRPC's sockets are IPv6 and name IPv4 peers as
    ::ffff:192.0.2.1."""
    if not isinstance(address, tuple):
        return ""
    host, port = str(address[0]).removeprefix("::ffff:"), address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def waits_for_a_device(thread: int) -> bool:
    """Is the thread (a native id) blocked in a system call or a page fault? False if it runs, or waits for the
    processor or for a lock such as the GIL; and where the kernel does not say."""
    try:
        call = (_TASKS / str(thread) / "syscall").read_bytes().split()
    except OSError:
        return False
    return bool(call and _FUTEX) and call[0] not in (b"running", _FUTEX)
