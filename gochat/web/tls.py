"""TLS of the HTTP listener, by the files of [tls] that gRPC has too (TLS 1.2 or newer)."""

import logging
import os
import ssl

from gochat.config import ConfigError, Tls

log = logging.getLogger(__name__)


class Certificate:
    """context: for new connections. It follows the files: `renew`, called now and then, rereads them if they have
    changed; if the new ones do not fit together, that is logged and the old ones stay in use."""

    def __init__(self, tls: Tls) -> None:
        """Raises ConfigError."""
        self._tls = tls
        self._seen = self._versions()
        self.context = self._loaded()

    def renew(self) -> None:
        try:
            if (now := self._versions()) == self._seen:
                return
            self._seen = now
            self._loaded()  # a context that was loaded by half would be used
            self._load(self.context)
        except (ConfigError, OSError) as error:
            log.error("the certificate was not reread: %s", error)

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        tls = self._tls
        try:
            context.load_cert_chain(tls.cert, tls.key, password="")
            if tls.client_ca:
                context.load_verify_locations(tls.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(f"tls.cert, tls.key, tls.client_ca: {error}") from None

    def _versions(self) -> list[tuple[int, int, int]]:
        """Raises ConfigError."""
        try:
            found = [os.stat(name) for name in (self._tls.cert, self._tls.key, self._tls.client_ca) if name]
        except OSError as error:
            raise ConfigError(f"tls: {error.filename}: {error.strerror}") from None
        return [(status.st_ino, status.st_mtime_ns, status.st_size) for status in found]
