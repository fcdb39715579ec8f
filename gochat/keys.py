"""The keys that sign tokens: [auth] secret, or the file signing.key in the data folder, a line a key, newest first."""

import hashlib
import os
import re
import secrets
import tempfile
import time
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from gochat.config import LONGEST_TTL, Config, ConfigError

KEY_FILE = "signing.key"
_LINE = re.compile(r"([^ \ufffd]{32,})(?: ([0-9]{1,12}))?")  # U+FFFD stands for bytes that are not UTF-8


@dataclass(frozen=True)
class Key:
    """made_at: Unix seconds."""

    secret: bytes = field(repr=False)
    made_at: int = 0

    @cached_property
    def id(self) -> str:
        """What the header of a token names its key by (kid). Tells nothing of the secret."""
        return hashlib.sha256(self.secret).hexdigest()[:16]


def signing_keys(config: Config, *, make: bool) -> list[Key]:
    """The newest signs, all verify. Both halves of a split server must have the same ones.

    make: a data folder without a key file gets one. Raises ConfigError.
    """
    if config.auth.secret:
        return [Key(secret.encode()) for secret in (config.auth.secret, config.auth.previous_secret) if secret]
    file = key_file(config)
    try:
        if make and not file.exists():
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_once(file, _lines([_new()]))
        return _parse(file, read_private(file, "server.data"))
    except FileNotFoundError:
        raise ConfigError(f"server.data: {file} is missing: is {file.parent} the server's data folder?") from None
    except OSError as error:
        raise ConfigError(f"server.data: {error.filename}: {error.strerror}") from None


class KeyFile:
    """keys: as they are at first, made if there are none. Tells when they changed: another process rotates them."""

    def __init__(self, config: Config) -> None:
        self._config = config
        signing_keys(config, make=True)
        self._seen = self._version()  # before they are read for good, so that no change is missed
        self.keys = signing_keys(config, make=False)

    def changed(self) -> list[Key]:
        """The keys if they changed since last asked; else none. Raises ConfigError for as long as they are refused."""
        version = self._version()
        if version == self._seen:
            return []
        keys = signing_keys(self._config, make=False)
        self._seen = version
        return keys

    def _version(self) -> tuple[int, int, int] | None:
        """None where no file holds the keys."""
        if self._config.auth.secret:
            return None
        try:
            status = key_file(self._config).stat()
        except OSError:
            return (0, 0, 0)
        return status.st_ino, status.st_mtime_ns, status.st_ctime_ns  # the last changes with the mode too


def rotate(config: Config, *, drop_old: bool) -> Key:
    """Makes a new key, with which a running server signs within a second. What older keys signed stays valid until it
    expires, unless drop_old. Returns the new key. Raises ConfigError."""
    if config.auth.secret:
        raise ConfigError("auth.secret: is set: put a new one there and this one into auth.previous_secret")
    keys = [_new(), *([] if drop_old else signing_keys(config, make=True))]
    # A key signed nothing after the next one was made, so all that it signed has expired LONGEST_TTL later.
    kept = [key for newer, key in pairwise(keys) if newer.made_at + LONGEST_TTL > time.time()]
    file = key_file(config)
    temporary = _written(file, _lines([keys[0], *kept]))
    os.replace(temporary, file)
    return keys[0]


def key_file(config: Config) -> Path:
    return Path(config.server.data) / KEY_FILE


def read_private(file: Path, setting: str, forbidden: int = 0o077) -> bytes:
    """The content of a file whose mode has none of the forbidden bits. Raises ConfigError that names the setting, and
    OSError."""
    with file.open("rb") as opened:
        mode = os.fstat(opened.fileno()).st_mode & 0o777
        if mode & forbidden:
            raise ConfigError(f"{setting}: {file} is open to other users (mode {mode:04o}); chmod 600 it")
        return opened.read()


def _new() -> Key:
    return Key(secrets.token_hex(32).encode(), int(time.time()))


def _lines(keys: list[Key]) -> bytes:
    return b"".join(b"%s %d\n" % (key.secret, key.made_at) for key in keys)


def _parse(file: Path, content: bytes) -> list[Key]:
    keys = []
    for line in content.decode(errors="replace").splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise ConfigError(f"server.data: {file} is not a file of signing keys")
        keys.append(Key(match[1].encode(), int(match[2] or 0)))
    if not keys:
        raise ConfigError(f"server.data: {file} is empty")
    return keys


def _write_once(file: Path, content: bytes) -> None:
    """Creates the file whole, or leaves the one that another process made first."""
    temporary = _written(file, content)
    try:
        os.link(temporary, file)
    except FileExistsError:
        return
    finally:
        os.unlink(temporary)


def _written(file: Path, content: bytes) -> str:
    """A temporary file beside this one, with mode 0600, on disk."""
    handle, temporary = tempfile.mkstemp(dir=file.parent)
    with os.fdopen(handle, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    return temporary
