"""Requests to addresses that others choose: to public ones alone, as they were when they were checked."""

import ipaddress
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gochat import outbound

PUBLIC = ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
PRIVATE = [
    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
    *("255.255.255.255", "::1", "::", "fe80::1", "fd00::1", "ff02::1"),
    # What stands for an IPv4 address: mapped, 6to4, NAT64.
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "2002:c0a8:101::", "64:ff9b::7f00:1", "64:ff9b::a00:1"),
]


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """Answers each request with a redirect to itself, and counts them as `server.asked`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.headers["host"])
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{running.server_port}/again")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    asked = list[str]()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked = asked  # type: ignore[attr-defined]
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def names(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Has names resolve to these, one answer after the other; returns the names that are asked for."""
    asked, left = list[str](), list(answers)

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in left.pop(0)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def post(url: str, *, private: bool = False) -> outbound.Answer:
    return outbound.post(url, b"x", {}, timeout=5, private=private)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_public(address: str) -> None:
    assert outbound.is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_beside_the_server_are_not(address: str) -> None:
    assert not outbound.is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "2130706433", "0x7f.1", "127.1"])
def test_no_form_of_a_private_address_is_connected_to(host: str, server: ThreadingHTTPServer) -> None:
    with pytest.raises(outbound.OutboundError):
        post(f"http://{host}:{server.server_port}/")
    assert server.asked == []  # type: ignore[attr-defined]


def test_a_name_with_one_private_address_is_not_connected_to(
    monkeypatch: pytest.MonkeyPatch, server: ThreadingHTTPServer
) -> None:
    names(monkeypatch, ["93.184.216.34", "127.0.0.1"])
    with pytest.raises(outbound.ForbiddenError, match="not public"):
        post(f"http://both.example:{server.server_port}/")
    assert server.asked == []  # type: ignore[attr-defined]


def test_a_name_is_looked_up_once_and_no_redirect_is_followed(
    monkeypatch: pytest.MonkeyPatch, server: ThreadingHTTPServer
) -> None:
    """So a name that resolves to another address the next time has no effect."""
    asked = names(monkeypatch, ["127.0.0.1"])
    answer = post(f"http://rebinding.example:{server.server_port}/x", private=True)
    assert (answer.status, asked) == (302, ["rebinding.example"])
    assert server.asked == [f"rebinding.example:{server.server_port}"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("url", ["https://127.0.0.1:1/", "http://name.invalid/"])
def test_no_answer_is_an_error(url: str) -> None:
    with pytest.raises(outbound.OutboundError):
        post(url, private=True)
