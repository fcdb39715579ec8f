"""Which worker is which: the processes of a server, and the connections that the kernel gave to each, from /proc."""

import os
import socket
from pathlib import Path

import grpc

from tests.harness import Deployment, new_connection
from tests.processes import Process, children

TWO = {"GOCHAT_SERVER_WORKERS": "2"}
LISTENING, ESTABLISHED = "0A", "01"


def sockets_of_port(address: str, state: str) -> set[str]:
    """The inodes of the server's sockets in this state."""
    port, found = f"{int(address.rpartition(':')[2]):04X}", set()
    for file in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(file).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(f":{port}") and fields[3] == state:
                found.add(f"socket:[{fields[9]}]")
    return found


def listening(address: str) -> set[str]:
    return sockets_of_port(address, LISTENING)


def sockets_of(pid: int) -> set[str]:
    found = set()
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found.add(os.readlink(descriptor))
            except FileNotFoundError:
                continue
    except (FileNotFoundError, PermissionError):
        return set()
    return found


def workers(process: Process) -> set[int]:
    """The processes that listen for this parent."""
    there = listening(process.address)
    return {pid for pid in children(process.pid) if sockets_of(pid) & there}


def connect_to(app: Deployment, worker: int) -> grpc.Channel:
    """A connection that the kernel gave to this worker."""
    while True:
        before = sockets_of(worker)
        channel = new_connection(app.address)
        grpc.channel_ready_future(channel).result(timeout=30)
        if (sockets_of(worker) - before) & sockets_of_port(app.address, ESTABLISHED):
            return channel
        channel.close()


def is_free(address: str) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(address.rpartition(":")[2])))
            probe.listen()
        except OSError:
            return False
        return True
