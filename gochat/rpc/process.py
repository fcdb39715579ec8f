"""What only the kernel can say or do about this process, by /proc/self."""

import os
import socket
from contextlib import suppress
from pathlib import Path
from stat import S_ISSOCK
from urllib.parse import unquote

_FUTEX = b"202"  # on x86-64; elsewhere the number is another's, and threads that wait for a lock look like others
_TASKS = Path("/proc/self/task")


def shut_down_connection(peer: str) -> None:
    """Ends a connection, which gRPC cannot do from the server's side: what reads or writes it finds that it is over.

    peer: as gRPC names it, ipv4:192.0.2.1:5000 or ipv6:[2001:db8::1]:5000. Looks through all open files, so not for the
    serving loop.
    """
    wanted = unquote(peer).partition(":")[2]
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if S_ISSOCK(os.fstat(int(name)).st_mode):
                with socket.socket(fileno=os.dup(int(name))) as shared:
                    if _name(shared.getpeername()) == wanted:
                        shared.shutdown(socket.SHUT_RDWR)
                        return


def _name(address: object) -> str:
    """HOST:PORT of a peer; IPv4 as such also where the socket is one of both kinds, as gRPC's are. "" for others."""
    if not isinstance(address, tuple):
        return ""
    host, port = str(address[0]).removeprefix("::ffff:"), address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def waits_for_a_device(thread: int) -> bool:
    """Is the thread (its native id) in a system call or a page fault that takes its time? One that runs, or waits
    for the processor or for a lock such as the interpreter's, is not. What is unknown is no."""
    try:
        call = (_TASKS / str(thread) / "syscall").read_bytes().split()
    except OSError:
        return False
    return bool(call) and call[0] not in (b"running", _FUTEX)
