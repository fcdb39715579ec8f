"""Calls of other servers: which addresses may be called, and that nothing leads around that."""

import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gochat import outbound
from gochat.outbound import OutboundError, judge, post
from tests.waiting import polled
from tests.webhooks.receiver import receiving

PRIVATE = (
    *("127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
    *("192.0.0.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
    *("::1", "::", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "fec0::1", "ff02::1"),
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::ffff:0:127.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1"),  # NAT64
    *("2002:7f00:1::", "2002:a9fe:a9fe::1"),  # 6to4
    *("2001:0:7f00:1::", "2001:0:808:808::80ff:fffe"),  # Teredo: of the server, of the client
    *("2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a00:1", "fe80::5efe:808:808"),  # ISATAP
    *("4000::1", "1::1", "fe00::1"),  # of no allocation
)
PUBLIC = (
    *("8.8.8.8", "192.0.1.1", "192.88.98.1", "198.17.255.255", "223.255.255.255", "100.63.255.255", "172.32.0.1"),
    *("2606:4700:4700::1111", "2001:200::1", "2003::1", "2a00:1450::1", "3ffe::1"),
    *("::ffff:8.8.8.8", "64:ff9b::808:808", "2606:4700::5efe:808:808"),
)

SPECIAL = """
0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.0.0/29
192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24
192.88.99.0/24 192.88.99.2/32 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4
255.255.255.255/32 224.0.0.0/4
::1/128 ::/128 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001::/32 2001:1::1/128 2001:1::2/128 2001:1::3/128
2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28 2001:20::/28 2001:30::/28 2001:db8::/32 2002::/16
2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7 fe80::/10 ff00::/8
"""
"""The rows of IANA's special-purpose registries of IPv4 and IPv6, and multicast. Not ::ffff:0:0/96 and 64:ff9b::/96, in
which the address of IPv4 counts."""


@pytest.mark.parametrize("network", SPECIAL.split())
def test_no_address_of_a_special_purpose_is_public(network: str) -> None:
    """Whatever the `ipaddress` of this Python says."""
    row = ipaddress.ip_network(network)
    for address in (row[0], row[-1]):
        with pytest.raises(OutboundError, match="not a public one"):
            judge(str(address), ())


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(OutboundError):
        judge(address, ())


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_called_by_tls_alone(address: str) -> None:
    judge(address, ())
    with pytest.raises(OutboundError, match="https"):
        judge(address, (), is_tls=False)


def test_networks_that_are_allowed_are_and_no_others() -> None:
    allowed = (ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/8"))
    for address in ("10.1.2.3", "fd00::1", "::ffff:10.1.2.3"):
        judge(address, allowed)
        judge(address, allowed, is_tls=False)
    for address in ("10.2.0.1", "127.0.0.1", "::1"):
        with pytest.raises(OutboundError):
            judge(address, allowed)


LOOPBACK = (ipaddress.ip_network("127.0.0.1/32"),)


def test_the_address_that_was_judged_is_the_one_that_is_called() -> None:
    """A name that means another address a moment later (DNS rebinding) changes nothing: it is asked for once."""
    asked = []
    with receiving() as receiver:
        port = int(receiver.url.split(":")[2].split("/")[0])

        def resolve(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
            asked.append(host)
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1" if len(asked) == 1 else "127.0.0.2", port))
            ]

        url = f"http://rebinding.example:{port}/"
        assert post(url, b"{}", {"webhook-id": "1"}, 5, LOOPBACK, resolve).status == 204
        assert asked == ["rebinding.example"]
        (received,) = receiver.taken
        assert received.headers["host"] == f"rebinding.example:{port}"
        with pytest.raises(OutboundError, match=r"127\.0\.0\.2 is not a public one"):
            post(url, b"{}", {"webhook-id": "1"}, 5, LOOPBACK, resolve)


def test_a_resolver_that_is_silent_is_waited_for_no_longer_than_anything_else() -> None:
    """Nor by a thread for each call."""
    go_on, asked = threading.Event(), []

    def resolve(host: str, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        asked.append(host)
        go_on.wait(20)
        return []

    try:
        for _ in range(3):
            with pytest.raises(OutboundError, match="was not found out in time"):
                post("https://silent.example/", b"", {}, 0.05, (), resolve)
        assert asked == ["silent.example"]
    finally:
        go_on.set()
    assert polled(lambda: not [each for each in threading.enumerate() if each.name == "resolving"])
    with pytest.raises(OutboundError, match="has no address"):
        post("https://silent.example/", b"", {}, 5, (), resolve)


def test_one_address_of_many_that_is_not_public_refuses_all() -> None:
    def resolve(_: str, port: int, **__: Any) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in ("8.8.8.8", "127.0.0.1")]

    with pytest.raises(OutboundError, match=r"127\.0\.0\.1"):
        post("https://two.example/", b"", {}, 5, (), resolve)


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "[::1]", "0"])
def test_no_form_of_a_host_hides_its_address(host: str) -> None:
    with pytest.raises(OutboundError, match=r"not a public one|no address"):
        post(f"https://{host}/", b"", {}, 5, ())


def test_a_host_without_an_address_is_said_to_have_none() -> None:
    with pytest.raises(OutboundError, match=r"hook\.invalid has no address"):
        post("https://hook.invalid/", b"", {}, 5, ())


@contextmanager
def answering(*parts: bytes) -> Iterator[str]:
    """A server that answers one request so, a part every tenth of a second, and then holds the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ended = threading.Event()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                for part in parts:
                    try:
                        connection.sendall(part)
                    except OSError:
                        return
                    if ended.wait(0.1):
                        return
                ended.wait(30)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        ended.set()
        thread.join()


def test_an_answer_that_comes_in_drops_has_a_time_for_all_of_it() -> None:
    with answering(*[b"HTTP/1.1 200 OK\r\n", *[b"x-%d: y\r\n" % number for number in range(60)]]) as url:
        began = time.monotonic()
        with pytest.raises(OutboundError, match="did not answer in time"):
            post(url, b"", {}, 0.5, LOOPBACK)
        assert time.monotonic() - began < 5


def test_of_an_answer_only_so_much_is_read() -> None:
    body = b"x" * (outbound.MAX_ANSWER + 1)
    with answering(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % 10**9, body) as url:
        assert len(post(url, b"", {}, 5, LOOPBACK).body) == outbound.MAX_ANSWER


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n", b"\r\n\r\n", b"HTTP/1.1 teapot\r\n\r\n"])
def test_what_is_not_http_is_a_failure(answer: bytes) -> None:
    with answering(answer) as url, pytest.raises(OutboundError):
        post(url, b"", {}, 1, LOOPBACK)


def test_a_certificate_of_nobody_is_refused() -> None:
    with receiving() as receiver, pytest.raises(OutboundError):
        post(receiver.url.replace("http://", "https://"), b"", {}, 5, LOOPBACK)


def test_a_server_may_say_when_it_wants_to_be_asked_again() -> None:
    with answering(b"HTTP/1.1 503 Busy\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n") as url:
        assert post(url, b"", {}, 5, LOOPBACK)[::2] == (503, 120)
    with answering(b"HTTP/1.1 503 Busy\r\nretry-after: tomorrow\r\ncontent-length: 0\r\n\r\n") as url:
        assert post(url, b"", {}, 5, LOOPBACK)[::2] == (503, 0)
