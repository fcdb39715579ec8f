"""Hostile bytes: what is no request, too large, too slow, or never read ends at its limit and harms nobody else."""

import gzip
import json
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from gochat.serving.endpoints import MAX_REQUEST, REQUEST_TIMEOUT
from gochat.web.connection import MAX_PIPELINED
from gochat.web.parsing import MAX_HEAD, MAX_HEADERS, MAX_RECEIVED
from tests.harness import Deployment, Person
from tests.processes import memory
from tests.waiting import eventually
from tests.web.client import Web, bearer, enveloped, path

ORDINARY = 2.0  # seconds that an ordinary call may take meanwhile


@pytest.fixture(scope="module")
def ann(server: Deployment) -> Person:
    return server.person("ann")


@pytest.fixture(autouse=True)
def others_are_served(server: Deployment, web: Web, ann: Person) -> Iterator[None]:
    yield
    began = time.monotonic()
    assert web.call("GetUserProfile", {}, ann).status == 200
    assert time.monotonic() - began < ORDINARY
    eventually(lambda: server.processes[0].metrics()("grpc_server_in_flight") == 0)
    assert "Traceback" not in server.logs()


def received(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    data = b""
    with suppress(ConnectionResetError):
        while more := connection.recv(65536):
            data += more
    return data


def sent(web: Web, data: bytes) -> bytes:
    with web.connect() as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # where it is refused before all was sent
            connection.sendall(data)
        return received(connection)


def request(target: str = "/healthz", headers: str = "", body: bytes = b"", method: str = "GET") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nhost: x\r\n{headers}\r\n".encode() + body


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64,  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\n : y\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        b"GET / HTTP/1.1\r\nhost: x\x00y\r\n\r\n",
    ],
)
def test_what_is_no_request(web: Web, data: bytes) -> None:
    answer = sent(web, data)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n"), answer
    assert b"connection: close" in answer


@pytest.mark.parametrize(
    "headers",
    [
        "x: " + "y" * MAX_HEAD + "\r\n",
        "".join(f"x{number}: y\r\n" for number in range(MAX_HEADERS + 1)),
        "x: " + "y" * 1_000_000,
    ],
)
def test_too_large_a_head(web: Web, headers: str) -> None:
    assert sent(web, request(headers=headers)).startswith(b"HTTP/1.1 431 ")


def test_too_long_a_target(web: Web) -> None:
    assert sent(web, request("/" + "x" * MAX_HEAD)).startswith(b"HTTP/1.1 431 ")


def test_too_large_a_message(web: Web, ann: Person) -> None:
    body = json.dumps({"content": "x" * MAX_REQUEST}).encode()
    answer = web.call("SendMessage", body, ann)
    assert (answer.status, answer.json["code"]) == (429, "resource_exhausted")
    with web.stream("Event.Subscribe", body, ann) as stream:
        assert stream.json()["error"]["code"] == "resource_exhausted"


def test_a_body_without_end_is_cut_off(server: Deployment, web: Web, ann: Person) -> None:
    before = memory(server.processes[0].pid)
    head = f"authorization: {bearer(ann)['authorization']}\r\ncontent-type: application/json\r\n"
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    data = request(
        path("SendMessage"), head + "transfer-encoding: chunked\r\n", chunk * (2 * MAX_RECEIVED // 65536), "POST"
    )
    answer = sent(web, data)
    assert answer.startswith(b"HTTP/1.1 413 ") or not answer  # a client that goes on sending may lose it
    assert memory(server.processes[0].pid) - before < 40_000


def test_a_gzip_bomb(server: Deployment, web: Web, ann: Person) -> None:
    before = memory(server.processes[0].pid)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(b"x" * 1_000_000) for _ in range(100)) + packer.flush()
    assert len(bomb) < MAX_REQUEST
    answer = web.call("SendMessage", bomb, ann, content_encoding="gzip")
    assert (answer.status, answer.json["code"]) == (429, "resource_exhausted")
    cut = gzip.compress(b"{}")[:-4]
    assert web.call("SendMessage", cut, ann, content_encoding="gzip").json["code"] == "invalid_argument"
    assert memory(server.processes[0].pid) - before < 40_000


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 500_000,
        b'{"metadata":' * 50_000,
        b'{"content":' + b"9" * 900_000 + b"}",
        b'{"content":"' + b"\\ud800" * 100_000 + b'"}',
        b'{"a":1,' * 100_000,
        b"\xff" * 1000,
        b"",
    ],
)
def test_json_that_is_none(web: Web, ann: Person, body: bytes) -> None:
    answer = web.call("SendMessage", body, ann)
    assert (answer.status, answer.json["code"]) == (400, "invalid_argument")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0",
        enveloped(b"{}") + b"x",
        enveloped(b"{}")[:-1],
        enveloped(b"{}", 2),
        enveloped(b"{}", 0x80),
        b"\xff" * 9,
    ],
)
def test_envelopes_that_are_none(web: Web, ann: Person, body: bytes) -> None:
    headers = {"content-type": "application/connect+json"} | bearer(ann)
    answer = web.request("POST", path("Event.Subscribe"), body, headers)
    assert answer.status == 200
    assert b'"error":{"code":' in answer.body
    by_web = web.request("POST", path("GetUserProfile"), body, headers | {"content-type": "application/grpc-web"})
    assert b"grpc-status: " in by_web.body
    assert b"grpc-status: 0" not in by_web.body


def test_trailers_of_a_request_are_no_headers(web: Web, ann: Person) -> None:
    """A proxy that checks headers does not see these."""
    head = "content-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: close\r\n"
    body = f"2\r\n{{}}\r\n0\r\nauthorization: {bearer(ann)['authorization']}\r\n\r\n".encode()
    assert sent(web, request(path("GetUserProfile"), head, body, "POST")).startswith(b"HTTP/1.1 401 ")


def test_two_tokens_are_none(web: Web, ann: Person) -> None:
    token = f"authorization: {bearer(ann)['authorization']}\r\n"
    head = f"content-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n{token}{token}"
    assert sent(web, request(path("GetUserProfile"), head, b"{}", "POST")).startswith(b"HTTP/1.1 401 ")


def test_pipelined_requests_are_answered_in_their_order(web: Web, ann: Person) -> None:
    head = f"content-type: application/json\r\ncontent-length: 2\r\nauthorization: {bearer(ann)['authorization']}\r\n"
    number = MAX_PIPELINED // 2
    calls = [
        request(path("GetUserProfile"), f"{head}x-request-id: n{each}\r\n", b"{}", "POST") for each in range(number)
    ]
    answer = sent(web, b"".join(calls) + request(headers="connection: close\r\n"))
    assert answer.count(b"HTTP/1.1 200 OK") == number + 1
    places = [answer.index(f"x-request-id: n{each}\r\n".encode()) for each in range(number)]
    assert places == sorted(places)
    assert answer.endswith(b"SERVING\n")


def test_too_many_pipelined_requests_end_the_connection(web: Web, ann: Person) -> None:
    head = f"content-type: application/json\r\ncontent-length: 2\r\nauthorization: {bearer(ann)['authorization']}\r\n"
    call = request(path("GetUserProfile"), head, b"{}", "POST")
    assert sent(web, call * (10 * MAX_PIPELINED)).count(b"HTTP/1.1") < 10 * MAX_PIPELINED


def test_an_expected_continue(web: Web, ann: Person) -> None:
    head = f"content-type: application/json\r\ncontent-length: 2\r\nauthorization: {bearer(ann)['authorization']}\r\n"
    with web.connect() as connection:
        connection.sendall(request(path("GetUserProfile"), head + "expect: 100-continue\r\n", method="POST"))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_an_upgrade_is_not_made(web: Web) -> None:
    answer = sent(web, request(headers="connection: upgrade\r\nupgrade: websocket\r\n"))
    assert answer.startswith(b"HTTP/1.1 200 OK")


def test_http_1_0(web: Web, ann: Person) -> None:
    assert sent(web, b"GET /healthz HTTP/1.0\r\n\r\n").endswith(b"SERVING\n")
    body = enveloped(b"{}")
    head = f"content-type: application/connect+json\r\nconnect-timeout-ms: 200\r\ncontent-length: {len(body)}\r\n"
    head += f"authorization: {bearer(ann)['authorization']}\r\n"
    data = request(path("Event.Subscribe"), head, body, "POST").replace(b"HTTP/1.1", b"HTTP/1.0")
    answer = sent(web, data)
    assert b"transfer-encoding" not in answer
    assert b"deadline_exceeded" in answer


@contextmanager
def many(connect: Callable[[], socket.socket], number: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as opened:
        yield [opened.enter_context(connect()) for _ in range(number)]


@pytest.mark.parametrize(
    "first",
    [
        b"GET /heal",
        b"GET / HTTP/1.1\r\nhost: x\r\nx: y",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nx",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nff\r\nx",
    ],
)
def test_slow_requests_are_ended(server: Deployment, web: Web, ann: Person, first: bytes) -> None:
    """A byte a second keeps no connection open beyond the time for a request."""
    dropped = server.processes[0].metrics()("gochat_calls_dropped_total")
    with many(web.connect, 200) as slow:
        began = time.monotonic()
        for connection in slow:
            connection.sendall(first)
        while time.monotonic() - began < REQUEST_TIMEOUT - 2:
            time.sleep(1)
            slow[0].sendall(b"z")
            assert web.call("GetUserProfile", {}, ann).status == 200
        for connection in slow:
            assert received(connection).startswith(b"HTTP/1.1 408 ")
        assert REQUEST_TIMEOUT - 1 < time.monotonic() - began < REQUEST_TIMEOUT + 10
    eventually(lambda: server.processes[0].metrics()("gochat_calls_dropped_total") >= dropped + 200)
