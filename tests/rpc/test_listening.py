"""`localhost` listens on all its addresses or not at all."""

import socket
import subprocess
from contextlib import closing
from pathlib import Path
from urllib.request import urlopen

import grpc
import pytest

from tests.commands.program import gochat
from tests.postgres import Postgres
from tests.processes import Process

BOTH = ("127.0.0.1", "::1")


@pytest.fixture(scope="module")
def within(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Words before a command, for which localhost has both addresses then."""
    hosts = tmp_path_factory.mktemp("etc") / "hosts"
    hosts.write_text("127.0.0.1 localhost\n::1 localhost\n")
    words = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts))
    try:
        subprocess.run([*words, "true"], check=True, capture_output=True)
        with closing(socket.socket(socket.AF_INET6)) as probe:
            probe.bind(("::1", 0))
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs root, and IPv6 on loopback")
    return words


def serves(host: str, port: str) -> bool:
    with grpc.insecure_channel(f"[{host}]:{port}" if ":" in host else f"{host}:{port}") as channel:
        try:
            grpc.channel_ready_future(channel).result(20)
        except grpc.FutureTimeoutError:
            return False
    return True


@pytest.mark.parametrize("workers", [1, 2])
def test_each_address_serves(postgres: Postgres, tmp_path: Path, within: tuple[str, ...], workers: int) -> None:
    env = {"GOCHAT_METRICS_LISTEN": "localhost:0"}
    if workers > 1:
        env |= {"GOCHAT_SERVER_WORKERS": str(workers), "GOCHAT_DATABASE_URL": postgres.create_database()}
    data = ("--data", str(tmp_path / "data"))
    process = Process("serve", "--listen", "localhost:0", *data, env=env, log=tmp_path / "log", within=within)
    try:
        port = process.address.rpartition(":")[2]
        assert [host for host in BOTH if serves(host, port)] == [*BOTH]
        for host in ("127.0.0.1", "[::1]"):
            url = process.metrics_url.replace("localhost", host)
            with urlopen(url, timeout=30) as answer:
                assert b"gochat_build_info" in answer.read()
        assert gochat("health", *data, within=within).stdout == "SERVING\n"
    finally:
        process.kill()


@pytest.mark.parametrize("taken", BOTH)
@pytest.mark.parametrize("of", ["server", "metrics", "workers"])
def test_one_address_that_is_taken_stops_the_start(
    postgres: Postgres, tmp_path: Path, within: tuple[str, ...], of: str, taken: str
) -> None:
    family = socket.AF_INET6 if ":" in taken else socket.AF_INET
    with closing(socket.socket(family)) as other:
        other.bind((taken, 0))
        other.listen()
        address = f"localhost:{other.getsockname()[1]}"
        env = {"GOCHAT_METRICS_LISTEN": "127.0.0.1:0", "GOCHAT_SERVER_LISTEN": "localhost:0"}
        env["GOCHAT_METRICS_LISTEN" if of == "metrics" else "GOCHAT_SERVER_LISTEN"] = address
        if of == "workers":
            env |= {"GOCHAT_SERVER_WORKERS": "2", "GOCHAT_DATABASE_URL": postgres.create_database()}
        run = gochat("serve", "--data", str(tmp_path / "data"), env=env, within=within)
    said = [line for line in run.stderr.splitlines() if line.startswith("gochat: ")]
    assert (run.returncode, run.stdout) == (1, "")
    assert said == [
        f"gochat: cannot listen on {address}: is the port of {'metrics' if of == 'metrics' else 'server'}.listen taken,"
        " or the address not this host's?"
    ]


def test_a_name_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    run = gochat("serve", "--data", str(tmp_path / "data"), "--listen", "nowhere.invalid:0", "--insecure")
    assert "cannot listen on nowhere.invalid:0" in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr
