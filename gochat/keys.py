"""The keys that sign tokens: [auth] secret, or the file signing.key in the data folder with a key in each line, the
newest first."""

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

from gochat.config import MAX_TTL, Config, ConfigError
from gochat.folders import give_to_owner, make_folder

KEY_FILE = "signing.key"
_LINE = re.compile(r"([^ \ufffd]{32,})(?: ([0-9]{1,12}))?")  # U+FFFD stands for bytes that are not UTF-8


@dataclass(frozen=True)
class Key:
    """made_at: Unix seconds; 0 where that is not known."""

    secret: bytes = field(repr=False)
    made_at: int = 0

    @cached_property
    def id(self) -> str:
        """The key id in the header of tokens (kid). It does not reveal the secret."""
        return hashlib.sha256(self.secret).hexdigest()[:16]


def signing_keys(config: Config, *, make: bool) -> list[Key]:
    """All keys, by which tokens are verified; the first one, the newest, signs. Both halves of a split server need the
    same keys. make: makes the key file if it is missing. Raises ConfigError."""
    if config.auth.secret:
        return [Key(secret.encode()) for secret in (config.auth.secret, config.auth.previous_secret) if secret]
    file = key_file(config)
    try:
        if make and not file.exists():
            make_folder(file.parent)
            _write_once(file, _lines([_new()]))
        return _parse(file, read_private(file, "server.data"))
    except FileNotFoundError:
        raise ConfigError(f"server.data: {file} is missing: is {file.parent} the server's data folder?") from None
    except OSError as error:
        raise ConfigError(f"server.data: {error.filename}: {error.strerror}") from None


class KeyFile:
    """Notices changes of the keys, which another process makes. keys: the ones at the start, made if there were
    none."""

    def __init__(self, config: Config) -> None:
        self._config = config
        signing_keys(config, make=True)
        self._seen = self._version()  # taken before the keys are read, so that no change is missed
        self.keys = signing_keys(config, make=False)

    def changed(self) -> list[Key]:
        """The keys if they have changed since the last call, else an empty list. Raises ConfigError while they are
        invalid."""
        version = self._version()
        if version == self._seen:
            return []
        keys = signing_keys(self._config, make=False)
        self._seen = version
        return keys

    def _version(self) -> tuple[int, int, int] | None:
        """None where the keys are a setting and not a file."""
        if self._config.auth.secret:
            return None
        try:
            status = key_file(self._config).stat()
        except OSError:
            return (0, 0, 0)
        return status.st_ino, status.st_mtime_ns, status.st_ctime_ns  # st_ctime also changes with the mode


def rotate(config: Config, *, drop_old: bool) -> Key:
    """Makes a new key and returns it; a running server signs with it within a second. Tokens that older keys signed
    stay valid until they expire, unless drop_old. Raises ConfigError."""
    check_rotatable(config)
    keys = [_new(), *([] if drop_old else signing_keys(config, make=False))]
    # A key signs nothing after the next one was made, so MAX_TTL later all its tokens have expired.
    kept = [key for newer, key in pairwise(keys) if newer.made_at + MAX_TTL > time.time()]
    file = key_file(config)
    try:
        temporary = _write_temporary(file, _lines([keys[0], *kept]))
        os.replace(temporary, file)
    except OSError as error:
        raise ConfigError(f"server.data: {error.filename}: {error.strerror}") from None
    return keys[0]


def check_rotatable(config: Config) -> None:
    """Raises ConfigError where the keys are settings."""
    if config.auth.secret:
        raise ConfigError("auth.secret: is set: put a new one there and this one into auth.previous_secret")


def key_file(config: Config) -> Path:
    return Path(config.server.data) / KEY_FILE


def read_private(file: Path, setting: str, forbidden: int = 0o077) -> bytes:
    """Reads a file. Raises ConfigError, which names the setting, if the file's mode has one of the forbidden bits; and
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
    """Creates the complete file, unless another process has created it first."""
    temporary = _write_temporary(file, content)
    try:
        os.link(temporary, file)
    except FileExistsError:
        return
    finally:
        os.unlink(temporary)


def _write_temporary(file: Path, content: bytes) -> str:
    """Writes a temporary file beside the file, with mode 0600 and synced to disk; returns its path."""
    try:
        handle, temporary = tempfile.mkstemp(dir=file.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file.parent)) from None  # in place of a random name
    with os.fdopen(handle, "wb") as out:
        give_to_owner(handle, file.parent)
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    return temporary
