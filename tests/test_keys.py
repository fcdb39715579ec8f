"""The keys that sign tokens: made, read, rotated."""

import stat
import time
from pathlib import Path

import pytest

from gochat.config import MAX_TTL, Config, ConfigError, load
from gochat.keys import KeyFile, rotate, signing_keys


def test_the_key_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    config = Config().with_settings("server", data=str(tmp_path / "new"))
    (key,) = signing_keys(config, make=True)
    assert len(key.secret) >= 32
    assert signing_keys(config, make=True) == [key]
    assert stat.S_IMODE((tmp_path / "new" / "signing.key").stat().st_mode) == 0o600
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["signing.key"]


def test_a_client_command_makes_no_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"signing\.key is missing"):
        signing_keys(Config().with_settings("server", data=str(tmp_path / "new")), make=False)
    assert list(tmp_path.iterdir()) == []


def test_a_configured_secret_is_the_key(tmp_path: Path) -> None:
    secrets = {"GOCHAT_AUTH_SECRET": "s" * 32, "GOCHAT_AUTH_PREVIOUS_SECRET": "p" * 32}
    environment = secrets | {"GOCHAT_SERVER_DATA": str(tmp_path)}
    config = load(None, environment)
    assert [key.secret for key in signing_keys(config, make=True)] == [b"s" * 32, b"p" * 32]
    assert list(tmp_path.iterdir()) == []


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"server\.data"):
        signing_keys(Config().with_settings("server", data=str(tmp_path / "file" / "data")), make=True)


def test_rotation_keeps_what_older_keys_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config().with_settings("server", data=str(tmp_path))
    file = KeyFile(config)
    (first,) = file.keys
    second = rotate(config, drop_old=False)
    assert file.changed() == [second, first]
    assert file.changed() == []
    later = time.time() + MAX_TTL + 60
    monkeypatch.setattr("gochat.keys.time.time", lambda: later)
    third = rotate(config, drop_old=False)
    assert signing_keys(config, make=False) == [third, second]  # all that the first signed has expired
    fourth = rotate(config, drop_old=True)
    assert signing_keys(config, make=False) == [fourth]
    assert stat.S_IMODE((tmp_path / "signing.key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["signing.key"]


def test_a_configured_secret_is_not_rotated_for_the_operator(tmp_path: Path) -> None:
    config = load(None, {"GOCHAT_AUTH_SECRET": "s" * 32, "GOCHAT_SERVER_DATA": str(tmp_path)})
    with pytest.raises(ConfigError, match=r"auth\.previous_secret"):
        rotate(config, drop_old=False)


def test_a_key_file_is_refused_until_it_is_put_right(tmp_path: Path) -> None:
    config = Config().with_settings("server", data=str(tmp_path))
    file = KeyFile(config)
    (tmp_path / "signing.key").chmod(0o644)
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"signing\.key is open to other users"):
            file.changed()
    (tmp_path / "signing.key").chmod(0o600)
    assert file.changed() == file.keys
    assert file.changed() == []


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_key_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    config = Config().with_settings("server", data=str(tmp_path))
    signing_keys(config, make=True)
    (tmp_path / "signing.key").chmod(mode)
    with pytest.raises(ConfigError, match=r"signing\.key is open to other users"):
        signing_keys(config, make=True)


UNFIT = [
    "",
    "short 1\n",
    "short",
    "\n",
    *("k" * 64 + made_at for made_at in (" soon\n", " ²\n", " ", " " + "9" * 5000)),
]


@pytest.mark.parametrize("content", [*(text.encode() for text in UNFIT), b"\xff" * 64])
def test_a_file_that_holds_no_keys_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "signing.key"
    file.touch(mode=0o600)
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"signing\.key is"):
        signing_keys(Config().with_settings("server", data=str(tmp_path)), make=True)


def test_keys_are_not_shown(tmp_path: Path) -> None:
    (key,) = signing_keys(Config().with_settings("server", data=str(tmp_path)), make=True)
    assert key.secret.decode() not in repr(key)
    assert key.id not in key.secret.decode()
