"""Where the server listens for HTTP: ports, loopback, workers, halves, TLS, health, the end."""

import http.client
import json
import os
import signal
import socket
import ssl
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from gochat.config import Http
from tests.attacks.certificates import Authority, opener, settings
from tests.conftest import Own
from tests.harness import locked
from tests.processes import Process, free_address, frozen, memory, refused_start
from tests.rpc.workers import workers
from tests.waiting import eventually, in_flight
from tests.web.client import ON, Web, web_of

CALLS = 40


def test_the_line_follows_the_ready_line(own: Own) -> None:
    app = own(env=ON)
    web = web_of(app)
    assert web.url.startswith("http://127.0.0.1:")
    answer = web.request("GET", "/healthz")
    assert (answer.status, answer.body) == (200, b"SERVING\n")


def test_the_default_port_is_replaced_and_another_is_not(tmp_path: Path) -> None:
    host, port = Http().listen.split(":")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((host, int(port)))
            taken.listen()
        except OSError:
            pass  # another program has it
        arguments = ("serve", "--listen", "127.0.0.1:0", "--data")
        env = {"GOCHAT_HTTP_LISTEN": Http().listen}
        with Process(*arguments, str(tmp_path / "a"), env=env, log=tmp_path / "log") as process:
            assert process.web_url != f"http://{Http().listen}"
            assert Web(process.web_url).request("GET", "/healthz").status == 200
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = refused_start(*arguments[1:], str(tmp_path / "b"), GOCHAT_HTTP_LISTEN=address)
        assert "http.listen" in said


def test_beyond_loopback_it_needs_tls_or_a_word(tmp_path: Path) -> None:
    arguments = ("serve", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "data"))
    assert "http.listen: other hosts" in refused_start(*arguments[1:], GOCHAT_HTTP_LISTEN="0.0.0.0:0")
    env = {"GOCHAT_HTTP_LISTEN": "0.0.0.0:0"}
    with Process(*arguments, "--insecure", env=env, log=tmp_path / "log") as process:
        assert process.web_url.startswith("http://0.0.0.0:")


def test_none_is_none(own: Own) -> None:
    process = own(env={"GOCHAT_HTTP_LISTEN": ""}).processes[0]
    process.stop()
    assert "gochat web" not in process.log.read_text()
    assert "web" not in process.ready_line


def test_the_logic_half_alone_serves_it(own: Own) -> None:
    app = own("sqlite-split", env=ON)
    person = app.person()
    answer = web_of(app).call("GetUserProfile", {}, person)
    assert answer.json["profile"]["userId"] == person.id
    assert "gochat web" not in app.processes[1].ready_line


def test_workers_share_the_port(own: Own) -> None:
    app = own("postgres", env=ON | {"GOCHAT_SERVER_WORKERS": "2", "GOCHAT_DATABASE_POOL_MIN": "1"})
    process, web, person = app.processes[0], web_of(app), app.person()
    for _ in range(CALLS):
        assert web.call("GetUserProfile", {}, person).status == 200
    labels = {"grpc_method": "GetUserProfile", "transport": "http"}
    eventually(lambda: process.metrics()("grpc_server_handled_total", **labels) == CALLS)
    found = sorted(workers(process))
    assert len(found) == 2
    with frozen(found[0]):  # the kernel gives half of the connections to the other one
        assert eventually(lambda: _answers(web, timeout=0.5))
    os.kill(found[0], signal.SIGKILL)
    assert eventually(lambda: all(_answers(web, timeout=5) for _ in range(10)))


def _answers(web: Web, timeout: float) -> bool:
    connection = http.client.HTTPConnection(*web.address, timeout=timeout)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def test_tls_and_a_certificate_that_is_replaced(own: Own, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    pair, later = authority.issue(), authority.issue()
    app = own(env=ON | settings(pair, authority), open_channel=opener(authority))
    context = ssl.create_default_context(cafile=str(authority.cert))
    context.check_hostname = False
    web = web_of(app, context)
    assert web.url.startswith("https://")
    assert web.request("GET", "/healthz").status == 200
    before = _serial(web, context)
    pair.replace_by(later)
    eventually(lambda: _serial(web, context) != before)
    with pytest.raises(OSError):  # noqa: PT011 - plain HTTP to TLS
        Web(web.url.replace("https", "http")).request("GET", "/healthz")
    old = ssl.create_default_context(cafile=str(authority.cert))
    old.check_hostname = False
    with warnings.catch_warnings(action="ignore"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError):  # noqa: PT011 - an alert, or the end of the connection
        Web(web.url, old).request("GET", "/healthz")


def test_those_who_shake_hands_count_as_connections(own: Own, tmp_path: Path) -> None:
    """Beyond the limit the oldest goes; whoever has something to say is served all the same."""
    authority = Authority(tmp_path, "authority")
    limits = {"GOCHAT_LIMITS_CONNECTIONS": "20"}
    app = own(env=ON | limits | settings(authority.issue(), authority), open_channel=opener(authority))
    context = ssl.create_default_context(cafile=str(authority.cert))
    context.check_hostname = False
    web = web_of(app, context)
    with ExitStack() as silent:
        connections = [silent.enter_context(web.connect()) for _ in range(100)]
        assert web.request("GET", "/healthz").status == 200
        eventually(lambda: 0 < sum(map(_is_open, connections)) < 20)
        assert not _is_open(connections[0])
    with silent:
        opened = [silent.enter_context(context.wrap_socket(silent.enter_context(web.connect()))) for _ in range(30)]
        eventually(lambda: sum(map(_is_open, opened)) <= 20)
        assert web.request("GET", "/healthz").status == 200


def test_a_connection_over_tls_costs_little_more_than_another(own: Own, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    app = own(env=ON | settings(authority.issue(), authority), open_channel=opener(authority))
    context = ssl.create_default_context(cafile=str(authority.cert))
    context.check_hostname = False
    web = web_of(app, context)
    with ExitStack() as opened:

        def open_some(count: int) -> int:
            for _ in range(count):
                opened.enter_context(context.wrap_socket(opened.enter_context(web.connect())))
            assert web.request("GET", "/healthz").status == 200
            return memory(app.processes[0].pid)

        before = open_some(50)
        assert (open_some(400) - before) / 400 < 100  # KiB


def _is_open(connection: socket.socket) -> bool:
    """Has the server, which sends nothing, not ended it?"""
    connection.settimeout(0.0)
    try:
        return bool(connection.recv(1))
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False


def _serial(web: Web, context: ssl.SSLContext) -> object:
    with web.connect() as plain, context.wrap_socket(plain) as wrapped:
        shown = wrapped.getpeercert()
        assert shown
        return shown["serialNumber"]


def test_health_is_that_of_the_database(own: Own) -> None:
    app = own("sqlite-split", env=ON)
    web = web_of(app)
    app.processes[1].kill()
    eventually(lambda: web.request("GET", "/healthz").status == 503)
    app.restart_repo()
    eventually(lambda: web.request("GET", "/healthz").status == 200)


def test_what_runs_is_answered_and_what_comes_is_refused(own: Own) -> None:
    app = own(env=ON | {"GOCHAT_SERVER_GRACE": "30"})
    ann, bob, process, web = app.person(), app.person(), app.processes[0], web_of(app)
    idle = http.client.HTTPConnection(*web.address, timeout=30)
    idle.request("GET", "/healthz")
    idle.getresponse().read()
    with ThreadPoolExecutor() as pool:
        with locked(app):
            sending = pool.submit(web.call, "SendMessage", {"toUserId": bob.id, "content": "x"}, ann)
            in_flight(process)
            stopping = pool.submit(process.stop)

            def is_refused() -> bool:
                try:
                    web.connect().close()
                except OSError:
                    return True
                return False

            eventually(is_refused)
            assert not stopping.done()
        answer = sending.result()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert json.loads(answer.body)["messageId"]
        assert stopping.result() == 0
    idle.auto_open = False
    with pytest.raises((OSError, http.client.HTTPException)):
        _ask(idle)


def _ask(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/healthz")
    connection.getresponse()


def test_more_connections_than_allowed_close_the_idle_ones(own: Own) -> None:
    app = own(env=ON | {"GOCHAT_LIMITS_CONNECTIONS": "5"})
    web = web_of(app)
    opened = [web.connect() for _ in range(20)]
    assert web.request("GET", "/healthz").status == 200
    for connection in opened:
        connection.settimeout(1)
    closed = sum(_is_closed(connection) for connection in opened)
    assert closed >= 15
    for connection in opened:
        connection.close()


def _is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_an_explicit_port_is_taken(tmp_path: Path) -> None:
    address = free_address()
    arguments = ("serve", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "data"))
    with Process(*arguments, env={"GOCHAT_HTTP_LISTEN": address}, log=tmp_path / "log") as process:
        assert process.web_url == f"http://{address}"
