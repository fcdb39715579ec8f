"""Hosts of their own for server processes: Linux network namespaces on two bridges. Needs root."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

PORT = 50051


@cache
def permitted() -> bool:
    """May namespaces and bridges be made here?"""
    try:
        with network(()):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


class Network:
    """A bridge where hosts are reached by all, and another, the seam, by which they reach each other.

    host: this machine's own address on the first.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        tag, self._net = f"gc{os.getpid()}", os.getpid() % 250 + 1
        self._bridges = {10: f"{tag}m", 11: f"{tag}s"}
        self._spaces = {name: f"{tag}{name}" for name in names}
        self.host = self._address(10, 1)

    def _address(self, bridge: int, number: int) -> str:
        return f"10.{bridge + 70}.{self._net}.{number}"

    def _number(self, name: str) -> int:
        return 10 + list(self._spaces).index(name)

    def address(self, name: str) -> str:
        return self._address(10, self._number(name))

    def seam_address(self, name: str) -> str:
        return self._address(11, self._number(name))

    def within(self, name: str) -> tuple[str, ...]:
        """What a command begins with to run on that host."""
        return ("ip", "netns", "exec", self._spaces[name])

    def set_up(self) -> None:
        for bridge in self._bridges.values():
            _ip("link", "add", bridge, "type", "bridge")
            _ip("link", "set", bridge, "up")
        _ip("address", "add", f"{self.host}/24", "dev", self._bridges[10])
        for name, space in self._spaces.items():
            _ip("netns", "add", space)
            _ip("-n", space, "link", "set", "lo", "up")
            for bridge, device in self._bridges.items():
                port = f"{space}{bridge}"
                _ip("link", "add", port, "type", "veth", "peer", "name", f"e{bridge}", "netns", space)
                _ip("link", "set", port, "master", device, "up")
                address = f"{self._address(bridge, self._number(name))}/24"
                _ip("-n", space, "address", "add", address, "dev", f"e{bridge}")
                _ip("-n", space, "link", "set", f"e{bridge}", "up")

    def cut_seam(self, name: str = "") -> None:
        """From now on what is sent over the seam is lost without a word; or what is sent to and from one host."""
        _ip("link", "set", self._seam(name), "down")

    def mend_seam(self, name: str = "") -> None:
        _ip("link", "set", self._seam(name), "up")

    def cut_off(self, name: str) -> None:
        """From now on whatever is sent to and from this host is lost without a word."""
        for bridge in self._bridges:
            _ip("link", "set", f"{self._spaces[name]}{bridge}", "down")

    def mend(self, name: str) -> None:
        for bridge in self._bridges:
            _ip("link", "set", f"{self._spaces[name]}{bridge}", "up")

    def is_quiet(self, name: str) -> bool:
        """Has this host sent all that it was given to send by TCP, and read all that has come?"""
        found = subprocess.run([*self.within(name), "ss", "-tanH"], check=True, capture_output=True, text=True)
        sockets = [line.split() for line in found.stdout.splitlines()]
        return all(state == "LISTEN" or queued == ["0", "0"] for state, *queued in (each[:3] for each in sockets))

    def signal(self, name: str, number: int) -> None:
        """To all processes of this host."""
        found = subprocess.run(["ip", "netns", "pids", self._spaces[name]], check=True, capture_output=True, text=True)
        for pid in found.stdout.split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), number)

    def _seam(self, name: str) -> str:
        return f"{self._spaces[name]}11" if name else self._bridges[11]

    def remove(self) -> None:
        for space in self._spaces.values():
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", space)
        for bridge in self._bridges.values():
            with suppress(subprocess.CalledProcessError):
                _ip("link", "delete", bridge)


@contextmanager
def network(names: tuple[str, ...]) -> Iterator[Network]:
    """Raises CalledProcessError, OSError where it is not permitted."""
    made = Network(names)
    try:
        made.set_up()
        yield made
    finally:
        made.remove()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
