"""What is fetched from another login: bounded in time and size, from nowhere else, kept while it cannot be had."""

import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from threading import Event, Thread

import pytest

from gochat.errors import ChatError
from gochat.logic import fetching
from gochat.logic.fetching import FetchError, Kept, fetch
from tests.issuing import KeyServer, key_server, reply
from tests.waiting import eventually


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with key_server() as server:
        yield server


def drip_body(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    for _ in range(100):
        request.wfile.write(b" ")
        time.sleep(0.05)


def drip_headers(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for _ in range(100):
        request.wfile.write(b"x: y\r\n")
        time.sleep(0.05)


def lines(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000)


FAULTS: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {
    "not found": lambda request: reply(request, b"{}", 404),
    "an error": lambda request: reply(request, b"{}", 500),
    "a redirect": lambda request: reply(request, b"{}", 302, location="/elsewhere"),
    "a redirect that is kept": lambda request: reply(request, b"{}", 308, location="/elsewhere"),
    "huge": lambda request: reply(request, b"[" + b"1," * 200_000 + b"1]"),
    "no JSON": lambda request: reply(request, b"<html>"),
    "no UTF-8": lambda request: reply(request, b'"\xff"'),
    "deep": lambda request: reply(request, b"[" * 100_000 + b"]" * 100_000),
    "nothing": lambda _: None,
    "no HTTP": lambda request: request.wfile.write(b"hello\r\n\r\n") and None,
    "headers without end": lines,
    "silence": lambda _: time.sleep(3),
    "a body that comes slowly": drip_body,
    "headers that come slowly": drip_headers,
}


@pytest.mark.parametrize("answer", FAULTS.values(), ids=FAULTS)
def test_what_is_not_small_soon_and_json_is_an_error(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch, answer: Callable[[BaseHTTPRequestHandler], None]
) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT", 0.5)
    server.answer = answer
    began = time.monotonic()
    with pytest.raises(FetchError):
        fetch(server.url)
    assert time.monotonic() - began < 2
    assert server.asked == 1  # no redirect is followed


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://example.com/keys",
            "http://169.254.169.254/",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "//127.0.0.1/",
        ),
        *("http://localhost.example.com/", "http://user@127.0.0.1/", "https://user:pw@example.com/", "", "keys"),
        *("http://127.0.0.1:99999/", "http://127.0.0.1/a b", "http://127.0.0.1/\r\nx: y", "https:///keys"),
    ],
)
def test_only_https_or_this_machine_is_asked(url: str) -> None:
    with pytest.raises(FetchError, match="must be https"):
        fetch(url)


def test_a_server_that_is_down_is_an_error() -> None:
    with key_server() as server:
        url = server.url
    with pytest.raises(FetchError):
        fetch(url)


class Source:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.value, self.reads, self.now = "a", 0, 1000.0
        self.fails = False
        monkeypatch.setattr(fetching, "monotonic", lambda: self.now)

    def read(self) -> str:
        self.reads += 1
        if self.fails:
            raise FetchError("it is down")
        return self.value


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    return Source(monkeypatch)


def test_it_is_read_again_when_it_is_old(source: Source) -> None:
    kept = Kept("it", source.read)
    assert [kept.get() for _ in range(3)] == ["a"] * 3
    source.value = "b"
    source.now += fetching.KEPT + 1
    assert (kept.get(), source.reads) == ("b", 2)


def test_what_it_does_not_hold_has_it_read_again_at_most_once_in_a_while(source: Source) -> None:
    kept = Kept("it", source.read)
    assert kept.get() == "a"
    source.value = "b"
    assert kept.get(but="a") == "b"
    source.value = "c"
    assert [kept.get(but="b") for _ in range(100)] == ["b"] * 100
    assert source.reads == 2
    source.now += fetching.MIN_INTERVAL + 1
    assert (kept.get(but="b"), source.reads) == ("c", 3)


def test_it_is_kept_while_it_cannot_be_read_but_not_for_ever(source: Source) -> None:
    kept = Kept("it", source.read)
    kept.get()
    source.fails = True
    source.now += fetching.KEPT + 1
    assert kept.get() == "a"
    source.now += fetching.MAX_AGE
    with pytest.raises(ChatError) as error:
        kept.get()
    assert error.value.reason == "ISSUER_UNAVAILABLE"


def test_tries_become_rarer(source: Source) -> None:
    kept, source.fails = Kept("it", source.read), True
    for _ in range(600):  # ten minutes
        with pytest.raises(ChatError):
            kept.get()
        source.now += 1
    assert 10 < source.reads < 30
    source.fails = False
    source.now += fetching.MAX_PAUSE
    assert kept.get() == "a"


def test_while_one_thread_reads_the_others_have_what_there_was(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, reading = Event(), Event()

    def read() -> str:
        if reading.is_set():
            return "b"
        if first:
            first.pop()
            return "a"
        reading.set()
        assert gate.wait(10)
        return "b"

    first = [True]
    kept = Kept("it", read)
    kept.get()
    monkeypatch.setattr(fetching, "KEPT", -1.0)
    got: list[str] = []
    thread = Thread(target=lambda: got.append(kept.get()))
    thread.start()
    assert reading.wait(10)
    assert kept.get() == "a"
    gate.set()
    eventually(lambda: got == ["b"])
    thread.join()
