"""TLS of connections (1.2 or newer, as gRPC requires), with or without client certificates."""

import logging
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc

from gochat.config import ConfigError, Tls
from gochat.keys import read_private

log = logging.getLogger(__name__)

_HANDSHAKE_STEPS = 3  # of each end, at most
_OTHERS = 0o007  # a key may be shared with a group, as system-wide ones are


def server_credentials(tls: Tls) -> grpc.ServerCredentials:
    """Credentials that follow the certificate files: at each handshake they are reread if they have changed. If the new
    ones do not fit together, that is logged and the old ones stay in use. Raises ConfigError if they do not fit now."""
    files = [Path(name) for name in (tls.cert, tls.key, tls.client_ca) if name]
    first = _configuration(tls)
    seen = _versions(files)

    def changed() -> Any:
        nonlocal seen
        try:
            now = _versions(files)
            if now == seen:
                return None
            seen = now
            configuration = _configuration(tls)
        except (ConfigError, OSError) as error:
            log.error("the certificate was not reread: %s", error)
            return None
        log.info("the certificate was reread")
        return configuration

    return grpc.dynamic_ssl_server_credentials(first, changed, require_client_authentication=bool(tls.client_ca))


def certificate_name(tls: Tls) -> str:
    """A name that the server's certificate has, by which commands on its machine may call it; "" where there is none.

    Python shows the names of a certificate only at the end of a handshake, so a client and a server shake hands here.
    """
    if not tls.cert:
        return ""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        server.load_cert_chain(tls.cert, tls.key)
        client.load_verify_locations(tls.cert)
        client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        client.check_hostname = False
        ends = client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)
        for _ in range(_HANDSHAKE_STEPS):
            for end in ends:
                with suppress(ssl.SSLWantReadError):
                    end.do_handshake()
        shown: Any = ends[0].getpeercert() or {}
    except (ssl.SSLError, OSError, ValueError):
        return ""
    return next((str(name).replace("*", "gochat") for _, name in shown.get("subjectAltName", ())), "")


def open_channel(address: str, tls: Tls, options: Sequence[tuple[str, Any]]) -> grpc.Channel:
    """An encrypted channel where [tls] cert or ca is set. Raises ConfigError."""
    if not tls.used:
        return grpc.insecure_channel(address, options=options)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=_read_roots("tls.ca" if tls.ca else "tls.cert", tls.ca or tls.cert),
        private_key=_read_key(tls) if tls.key else None,
        certificate_chain=_read("tls.cert", tls.cert) if tls.cert else None,
    )
    if tls.name:
        options = [*options, ("grpc.ssl_target_name_override", tls.name)]
    return grpc.secure_channel(address, credentials, options=options)


def _configuration(tls: Tls) -> "grpc.ServerCertificateConfiguration":
    key, chain = _read_key(tls), _read("tls.cert", tls.cert)
    roots = _read_roots("tls.client_ca", tls.client_ca) if tls.client_ca else None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.cert, tls.key, password="")
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"tls.cert, tls.key: are not a certificate and its key, without a password: {error}"
        ) from None
    return grpc.ssl_server_certificate_configuration([(key, chain)], root_certificates=roots)


def _read_roots(setting: str, file: str) -> bytes:
    roots = _read(setting, file)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except ssl.SSLError:
        raise ConfigError(f"{setting}: {file} holds no PEM certificates") from None
    return roots


def _read_key(tls: Tls) -> bytes:
    return _named("tls.key", lambda: read_private(Path(tls.key), "tls.key", _OTHERS))


def _read(setting: str, file: str) -> bytes:
    return _named(setting, Path(file).read_bytes)


def _named(setting: str, read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except OSError as error:
        raise ConfigError(f"{setting}: {error.filename}: {error.strerror}") from None


def _versions(files: Sequence[Path]) -> list[tuple[int, int, int]]:
    found = [file.stat() for file in files]
    return [(status.st_ino, status.st_mtime_ns, status.st_size) for status in found]
