"""Certificate authorities and certificates of the tests' own, made with the openssl program."""

import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import grpc

from tests.health import SERVING, check
from tests.processes import missing
from tests.waiting import status_of

NAME = "chat.example"
"""In the certificates of servers: not the address that they are called by."""

_CONFIGURATION = """
[req]
distinguished_name = subject
prompt = no
[subject]
CN = {name}
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
[leaf]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = DNS:{name}
"""


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files."""

    cert: Path
    key: Path

    def replace_by(self, other: "Pair") -> None:
        """As a renewal does it: each file is replaced in one step."""
        for ours, theirs in ((self.cert, other.cert), (self.key, other.key)):
            beside = ours.with_suffix(".new")
            shutil.copy2(theirs, beside)
            os.replace(beside, ours)


class Authority:
    """Signs certificates, for servers and clients alike."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._issued = folder / name, 0
        self._folder.mkdir(mode=0o700)
        self._own = self._pair("authority")
        self._openssl("req", "-x509", "-days", "30", "-extensions", "authority", *self._request(name, self._own))

    @property
    def cert(self) -> Path:
        return self._own.cert

    @property
    def own(self) -> Pair:
        return self._own

    def issue(self, name: str = NAME, days: int = 30) -> Pair:
        """days: until it expires; negative: it has."""
        self._issued += 1
        pair = self._pair(f"{name}-{self._issued}")
        request = pair.cert.with_suffix(".csr")
        self._openssl("req", "-new", *self._request(name, Pair(request, pair.key)))
        self._openssl(
            *("x509", "-req", "-days", days, "-in", request, "-out", pair.cert, "-set_serial", self._issued),
            *("-CA", self._own.cert, "-CAkey", self._own.key),
            *("-extfile", self._folder / "openssl.cnf", "-extensions", "leaf"),
        )
        return pair

    def _pair(self, name: str) -> Pair:
        return Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")

    def _request(self, name: str, out: Pair) -> tuple[object, ...]:
        """The options of `openssl req` for a new key, in a file of its owner alone."""
        configuration = self._folder / "openssl.cnf"
        configuration.write_text(_CONFIGURATION.format(name=name))
        out.key.touch(mode=0o600)
        new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        return (*new_key, "-config", configuration, "-keyout", out.key, "-out", out.cert)

    @staticmethod
    def _openssl(*arguments: object) -> None:
        if shutil.which("openssl") is None:
            missing("no openssl program to make certificates with")
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def settings(pair: Pair, authority: Authority, **more: object) -> dict[str, str]:
    """The environment of a server with this certificate, and of the commands that call it."""
    given = {"cert": pair.cert, "key": pair.key, "ca": authority.cert, "name": NAME, **more}
    return {f"GOCHAT_TLS_{key.upper()}": str(value) for key, value in given.items()}


def channel(address: str, authority: Authority, pair: Pair | None = None, name: str = NAME) -> grpc.Channel:
    """An encrypted channel; pair: the client's own."""
    credentials = grpc.ssl_channel_credentials(
        authority.cert.read_bytes(),
        pair.key.read_bytes() if pair else None,
        pair.cert.read_bytes() if pair else None,
    )
    return grpc.secure_channel(address, credentials, options=[("grpc.ssl_target_name_override", name)])


def opener(authority: Authority, pair: Pair | None = None) -> Callable[[str], grpc.Channel]:
    """How a Deployment opens the channels of its stubs. pair: the certificate that they show."""
    return lambda address: channel(address, authority, pair)


def healthy(opened: grpc.Channel) -> bool:
    found = set()
    status = status_of(lambda: found.add(check(opened)))
    assert status in ("OK", "UNAVAILABLE")
    return found == {SERVING}


def serves(opened: grpc.Channel) -> bool:
    with closing(opened):
        return healthy(opened)
