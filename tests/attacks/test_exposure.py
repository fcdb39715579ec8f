"""What must not lie open: ports, files, settings that would send secrets in the clear, secrets in what is said."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.attacks.certificates import Authority, channel, healthy, serves, settings
from tests.processes import Process, refused_start


def serving(folder: Path, *arguments: str, **env: str) -> Process:
    return Process("serve", "--data", str(folder / "data"), *arguments, env=env, log=folder / "log")


def refused_in(folder: Path, *arguments: str, **env: str) -> str:
    """What a server says that must not start with its data there."""
    return refused_start("--data", folder / "data", "--listen", "127.0.0.1:0", *arguments, **env)


def lan_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "192.0.2.1"
        return str(probe.getsockname()[0])


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "LAN", "0", "127.0.0.1,0.0.0.0", "127.0.0.1.example", "*"])
def test_other_hosts_are_not_served_without_tls(tmp_path: Path, host: str) -> None:
    said = refused_in(tmp_path, "--listen", f"{lan_address() if host == 'LAN' else host}:0")
    assert "server.listen" in said
    assert "--insecure" in said
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
@pytest.mark.parametrize("how", ["--insecure", "TLS"])
def test_other_hosts_are_served_with_tls_or_insecure(authority: Authority, tmp_path: Path, host: str, how: str) -> None:
    if host == "[::]" and not Path("/proc/net/if_inet6").exists():
        pytest.skip("no IPv6 here")
    env = settings(authority.issue(), authority) if how == "TLS" else {}
    with serving(tmp_path, "--listen", f"{host}:0", *([how] if not env else []), **env) as process:
        address = f"127.0.0.1:{process.address.rpartition(':')[2]}"
        assert serves(channel(address, authority) if env else grpc.insecure_channel(address))
        with grpc.insecure_channel(address) as opened:
            database = ProtoReflectionDescriptorDatabase(opened)
            with pytest.raises(grpc.RpcError):
                database.get_services()


def test_reflection_beyond_loopback_is_answered_only_when_it_is_switched_on(tmp_path: Path) -> None:
    on = {"GOCHAT_SERVER_REFLECTION": "true"}
    for number, (listen, env) in enumerate({"127.0.0.1:0": {}, "0.0.0.0:0": on}.items()):
        (tmp_path / str(number)).mkdir()
        started = serving(tmp_path / str(number), "--listen", listen, "--insecure", **env)
        with started as process, grpc.insecure_channel(process.address.replace("0.0.0.0", "127.0.0.1")) as opened:
            names = ProtoReflectionDescriptorDatabase(opened).get_services()
        assert "gochat.api.logic.v1.LogicService" in names


@pytest.mark.parametrize(
    "address",
    [
        *("dns:///repo.example:50051", "10.0.0.1:1", "ipv4:10.0.0.1:1", "dns://127.0.0.1/repo.example:1"),
        *("ipv4:127.0.0.1:1,10.0.0.1:1", "repo.example", "DNS:///10.0.0.1:1"),
        "xds:///127.0.0.1:1",
    ],
)
def test_other_hosts_are_not_called_without_tls(tmp_path: Path, address: str) -> None:
    said = refused_in(tmp_path, GOCHAT_REPO_ADDRESS=address)
    assert "repo.address" in said
    assert "--insecure" in said


@pytest.mark.parametrize("mode", [0o644, 0o602], ids=oct)
def test_a_key_that_others_can_read_stops_the_start(authority: Authority, tmp_path: Path, mode: int) -> None:
    pair, signing_key = authority.issue(), tmp_path / "data" / "signing.key"
    signing_key.parent.mkdir()
    signing_key.write_text("k" * 64 + " 1\n")
    pair.key.chmod(mode)
    signing_key.chmod(0o600)
    said = refused_in(tmp_path, **settings(pair, authority))
    assert "tls.key" in said
    assert str(pair.key) in said
    pair.key.chmod(0o600)
    signing_key.chmod(mode)
    said = refused_in(tmp_path, **settings(pair, authority))
    assert "server.data" in said
    assert str(signing_key) in said
    assert "k" * 8 not in said


# What is wrong -> the settings that differ, NONE a file that is missing, GARBAGE one that is no PEM, OTHER another
# pair; and what the message must name.
WRONG_TLS: dict[str, tuple[dict[str, str], str]] = {
    "a certificate without its key": ({"KEY": ""}, "tls.key"),
    "a key without its certificate": ({"CERT": ""}, "tls.cert"),
    "authorities of clients without a certificate": ({"KEY": "", "CERT": "", "CLIENT_CA": "GARBAGE"}, "client_ca"),
    "the key of another certificate": ({"KEY": "OTHER"}, "tls.key"),
    "no certificate": ({"CERT": "NONE"}, "tls.cert"),
    "no key": ({"KEY": "NONE"}, "tls.key"),
    "no authorities of clients": ({"CLIENT_CA": "NONE"}, "tls.client_ca"),
    "a certificate that is none": ({"CERT": "GARBAGE"}, "tls.cert"),
    "a key that is none": ({"KEY": "GARBAGE"}, "tls.key"),
    "authorities of clients that are none": ({"CLIENT_CA": "GARBAGE"}, "tls.client_ca"),
    "no authorities to trust": ({"CA": "NONE", "repo": "127.0.0.1:1"}, "tls.ca"),
    "authorities to trust that are none": ({"CA": "GARBAGE", "repo": "127.0.0.1:1"}, "tls.ca"),
}


@pytest.mark.parametrize(
    ("changes", "named"),
    [pytest.param(*case, id=what) for what, case in WRONG_TLS.items()],
)
def test_certificates_that_do_not_fit_stop_the_start(
    authority: Authority, tmp_path: Path, changes: dict[str, str], named: str
) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.touch(mode=0o600)
    garbage.write_text("-----BEGIN CERTIFICATE-----\nnothing\n")
    files = {"NONE": tmp_path / "none.pem", "GARBAGE": garbage, "OTHER": authority.issue().key, "": ""}
    env = settings(authority.issue(), authority)
    env |= {f"GOCHAT_TLS_{key}": str(files[file]) for key, file in changes.items() if key != "repo"}
    if "repo" in changes:
        env["GOCHAT_REPO_ADDRESS"] = changes["repo"]
    assert named in refused_in(tmp_path, **env)


@pytest.mark.parametrize("umask", [0o000, 0o022], ids=oct)
def test_nobody_else_can_read_what_the_server_writes(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        data = tmp_path / "data"
        with serving(tmp_path, "--listen", "127.0.0.1:0"):
            files = {file.name: file.stat().st_mode & 0o777 for file in data.iterdir()}
            assert data.stat().st_mode & 0o777 == 0o700
        database = ("gochat.db", "gochat.db-wal", "gochat.db-shm", "gochat.db.lock")
        expected = (*database, "signing.key", "server.logic", "server.repo")
        assert files == dict.fromkeys(expected, 0o600)
    finally:
        os.umask(before)


@contextmanager
def postgres_that_refuses() -> Iterator[int]:
    """A port where PostgreSQL's protocol is spoken just enough to ask for a password and call it wrong."""

    def answer() -> None:
        try:
            while True:
                client, _ = listening.accept()
                with client:
                    client.recv(4096)  # SSLRequest, or the startup message itself
                    client.sendall(b"N")
                    client.recv(4096)
                    client.sendall(b"R\0\0\0\x08\0\0\0\x03")  # AuthenticationCleartextPassword
                    client.recv(4096)
                    fields = b"SFATAL\0C28P01\0Mpassword authentication failed\0\0"
                    client.sendall(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
        except OSError:
            return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=answer, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


SECRET = "SesameOpen"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://gochat:{secret}@127.0.0.1:{port}/gochat",
        "postgresql://gochat:{secret}@127.0.0.1:1/gochat",
        "postgresql://gochat:{secret}@127.0.0.1:port/gochat",
        "mysql://gochat:{secret}@127.0.0.1/gochat",
        "postgresql://gochat:100%{secret}@127.0.0.1:1/gochat",
        "postgresql://gochat:{secret}@127.0.0.1:1/gochat?ssl=1",
    ],
)
def test_the_password_of_the_database_is_never_shown(tmp_path: Path, url: str) -> None:
    with postgres_that_refuses() as port:
        env = {"GOCHAT_DATABASE_URL": url.format(secret=SECRET, port=port), "GOCHAT_LOG_LEVEL": "debug"}
        said = refused_in(tmp_path, **env)
    assert "database" in said
    assert SECRET not in said


def test_the_signing_secret_is_never_shown(tmp_path: Path) -> None:
    secret = SECRET * 4
    env = {"GOCHAT_AUTH_SECRET": secret, "GOCHAT_AUTH_PREVIOUS_SECRET": secret[::-1], "GOCHAT_LOG_LEVEL": "debug"}
    with serving(tmp_path, "--listen", "127.0.0.1:0", **env) as process, grpc.insecure_channel(process.address) as it:
        assert healthy(it)
        process.stop()
        said = process.ready_line + process.log.read_text()
    said += refused_in(tmp_path, GOCHAT_AUTH_SECRET=SECRET)  # too short
    assert SECRET not in said
    assert SECRET[::-1] not in said
