"""Encryption of connections: who is let onto the wire, with which version, on whose certificate."""

import re
import socket
import ssl
import threading
import warnings
from pathlib import Path

import grpc
import pytest

from tests.attacks.certificates import NAME, Authority, channel, healthy, opener, serves, settings
from tests.conftest import Own
from tests.harness import PASSWORD, Deployment, fresh
from tests.processes import begin, gochat
from tests.waiting import eventually

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"  # and an empty SETTINGS frame
TLS_1_0, TLS_1_1 = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Nobody trusts this one."""
    return Authority(tmp_path_factory.mktemp("certificates"), "theirs")


@pytest.fixture(scope="module")
def encrypted(own_of_module: Own, authority: Authority) -> Deployment:
    """A GoChat behind TLS."""
    return own_of_module(env=settings(authority.issue(), authority), open_channel=opener(authority))


def client(authority: Authority, least: ssl.TLSVersion = TLS_1_2, most: ssl.TLSVersion = TLS_1_3) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority.cert)
    context.set_alpn_protocols(["h2"])
    context.set_ciphers("ALL:@SECLEVEL=0")  # otherwise this client itself would refuse old versions
    with warnings.catch_warnings(action="ignore"):
        context.minimum_version, context.maximum_version = least, most
    return context


def handshake(address: str, context: ssl.SSLContext) -> tuple[str | None, bytes | None]:
    """The version agreed on and the certificate that the server showed."""
    host, port = address.split(":")
    plain = socket.create_connection((host, int(port)), timeout=30)
    with plain, context.wrap_socket(plain, server_hostname=NAME) as wrapped:
        return wrapped.version(), wrapped.getpeercert(binary_form=True)


def test_a_client_that_trusts_the_authority_signs_in_and_writes(encrypted: Deployment) -> None:
    alice, bob = encrypted.people(2, PASSWORD)
    alice.send(bob.id, "over TLS")
    assert bob.GetUnreadMessages().conversations[0].last_message.content == "over TLS"


def test_plain_text_is_refused_on_an_encrypted_port(encrypted: Deployment) -> None:
    assert not serves(grpc.insecure_channel(encrypted.address))
    host, port = encrypted.address.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as raw:
        raw.sendall(PREFACE)
        answer = b"".join(iter(lambda: raw.recv(4096), b""))
    assert not answer.startswith(b"\0"), "an HTTP/2 frame in the clear"
    assert encrypted.person(password=PASSWORD).GetUserProfile()


@pytest.mark.parametrize("version", [TLS_1_0, TLS_1_1], ids=lambda version: version.name)
def test_old_versions_of_tls_are_refused(encrypted: Deployment, authority: Authority, version: ssl.TLSVersion) -> None:
    old = client(authority, version, version)
    assert agreed(old, authority) == version.name.replace("_", "."), "this client speaks it with who takes it"
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        handshake(encrypted.address, old)
    assert healthy(encrypted.channel)


def agreed(context: ssl.SSLContext, authority: Authority) -> str | None:
    """What this client agrees on with a server that takes every version."""
    pair = authority.issue()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pair.cert, pair.key)
    server.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):
        server.minimum_version = TLS_1_0
    ours, theirs = socket.socketpair()

    def accept() -> None:
        server.wrap_socket(theirs, server_side=True).close()

    thread = threading.Thread(target=accept)
    thread.start()
    with context.wrap_socket(ours, server_hostname=NAME) as wrapped:
        thread.join()
        return wrapped.version()


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=lambda version: version.name)
def test_current_versions_of_tls_are_accepted(
    encrypted: Deployment, authority: Authority, version: ssl.TLSVersion
) -> None:
    assert handshake(encrypted.address, client(authority, version, version))[0] == version.name.replace("_", ".")


def test_a_client_refuses_the_certificate_of_another_authority(encrypted: Deployment, stranger: Authority) -> None:
    assert not serves(channel(encrypted.address, stranger))
    assert healthy(encrypted.channel)


def test_a_client_refuses_a_certificate_of_another_name(encrypted: Deployment, authority: Authority) -> None:
    assert not serves(channel(encrypted.address, authority, name="other.example"))


def test_a_renewed_certificate_is_loaded_without_a_restart(own: Own, authority: Authority) -> None:
    pair, second, third = authority.issue(), authority.issue(), authority.issue()

    def shown() -> bytes | None:
        return handshake(app.address, client(authority))[1]

    def of(cert: Path) -> bytes:
        return ssl.PEM_cert_to_DER_cert(re.sub("^[^-]*", "", cert.read_text()))

    app = own(env=settings(pair, authority), open_channel=opener(authority))
    old = app.person(password=PASSWORD)
    states: list[grpc.ChannelConnectivity] = []
    app.channel.subscribe(states.append)
    first_cert = of(pair.cert)
    assert shown() == first_cert
    pair.replace_by(second)
    assert shown() == of(second.cert) != first_cert
    assert old.GetUserProfile(), "who was connected stays so"
    assert serves(channel(app.address, authority))
    pair.key.write_text("no key")
    assert shown() == of(second.cert)
    refusal = "the certificate was not reread: tls.cert, tls.key: are not a certificate and its key"
    eventually(lambda: refusal in app.logs())
    pair.cert.unlink()
    assert shown() == of(second.cert)
    assert old.GetUserProfile()
    pair.replace_by(third)
    assert shown() == of(third.cert)
    assert old.GetUserProfile()
    assert set(states) <= {grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.IDLE}, "connected all along"
    assert len(states) <= 2, states
    assert "Traceback" not in app.logs()


def test_clients_without_a_trusted_certificate_are_refused_where_one_is_required(
    own: Own, authority: Authority, stranger: Authority
) -> None:
    ours, server = authority.issue("client.example"), authority.issue()
    env = settings(server, authority, client_ca=authority.cert)
    app = own(env=env, open_channel=opener(authority, ours))
    assert not serves(channel(app.address, authority))
    assert not serves(channel(app.address, authority, stranger.issue("client.example")))
    assert app.person(password=PASSWORD).GetUserProfile()
    # The commands show the server's own certificate.
    assert app.run("health", "--address", app.address).stdout == "SERVING\n"


COMMANDS = {
    "health": ("health",),
    "user create": ("user", "create", "--password-stdin", "NAME"),
    "audit": ("audit",),
    "key rotate": ("key", "rotate"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_reach_an_encrypted_server(encrypted: Deployment, name: str) -> None:
    arguments = [fresh() if word == "NAME" else word for word in COMMANDS[name]]
    done = encrypted.run(*arguments, "--address", encrypted.address, stdin=f"{PASSWORD}\n", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
    assert encrypted.person(password=PASSWORD).GetUserProfile(), "what they did left the server in order"


def test_a_token_of_the_command_is_accepted_by_an_encrypted_server(encrypted: Deployment) -> None:
    assert encrypted.create_user(fresh())  # with such a token


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_that_the_servers_name_is_not_the_one_expected(
    encrypted: Deployment, authority: Authority, name: str
) -> None:
    arguments = [fresh() if word == "NAME" else word for word in COMMANDS[name]]
    env = {"GOCHAT_TLS_CA": str(authority.cert)}
    address = ("--data", str(encrypted.data), "--address", encrypted.address)
    run = gochat(*arguments, *address, env=env, stdin="")
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert re.search("certificate|tls", run.stderr), run.stderr


def test_the_halves_speak_tls_with_a_certificate_on_both_sides(own: Own, authority: Authority) -> None:
    pair = authority.issue()
    env = settings(pair, authority, client_ca=authority.cert)
    app = own("sqlite-split", env=env, open_channel=opener(authority, pair))
    alice, bob = app.people(2, PASSWORD)
    group_id = alice.CreateGroup(name="Both halves", member_ids=[bob.id]).group_id
    alice.send(group_id, "across the seam")
    assert bob.GetMessageHistory(conversation_id=group_id).messages[0].content == "across the seam"
    for address in (app.address, app.repo_address):
        assert not serves(channel(address, authority)), "without a certificate"


def test_the_logic_half_waits_for_a_repo_that_it_trusts(
    encrypted: Deployment, authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    env = settings(authority.issue(), stranger) | {"GOCHAT_REPO_ADDRESS": encrypted.address}
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        arguments = ("serve", "--data", encrypted.data, "--listen", "127.0.0.1:0")
        process = begin(*arguments, env=env, stderr=stderr)
    try:
        eventually(lambda: log.read_text().count("waiting for the repo") > 1)
        process.terminate()
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out) == (0, ""), "it is not ready"
    ours = [line for line in log.read_text().splitlines() if " gochat." in line]
    assert any(re.search("certificate|tls", line) for line in ours), ours
