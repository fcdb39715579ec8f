"""The commands, one in each file: `add_to(commands)` adds its grammar and the function that runs it, which takes the
parsed arguments and returns the exit code. All but `serve` are clients of the running server, or use repo/ directly
where the server must be stopped."""

import shutil
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import AbstractContextManager

from gochat import running
from gochat.config import Config, Tls, load
from gochat.domain.revocation import Revocations
from gochat.domain.tokens import Tokens
from gochat.keys import Key, signing_keys
from gochat.rpc.client import NetworkChannel, channel_to
from gochat.services import LOGIC, REPO


def config_of(arguments: Namespace) -> Config:
    """The configuration that a server started with the same options would have. Raises ConfigError."""
    return load(arguments.config).with_settings("server", data=arguments.data)


def connection(
    config: Config, half: str, address: str, keys: Sequence[Key] = ()
) -> AbstractContextManager[NetworkChannel]:
    """A channel to the running server, with the token of a service, which the command signs with the server's own key.

    half, address: as of server_of. keys: to sign with, if not the server's newest. Raises ConfigError, and ServerError
    where the server cannot be reached.
    """
    keys = keys or signing_keys(config, make=False)
    return channel_to(*server_of(config, half, address), Tokens(keys, Revocations(0)).for_service)


def server_of(config: Config, half: str, address: str) -> tuple[str, Tls]:
    """Where the running server's half is, and how to call it: at the address, if one is given; else at [repo] address,
    where the server of the data folder says that it is, or at [server] listen."""
    if half == REPO:
        address = address or config.repo.address
    if address:
        return address, config.tls
    if found := running.find(config, half):
        return found.address, found.tls
    return config.server.listen, config.tls


def found_halves(config: Config) -> list[running.Running]:
    """The servers of the data folder: both halves may be of one process."""
    return list(dict.fromkeys(found for half in (LOGIC, REPO) if (found := running.find(config, half))))


def show_line(text: str) -> None:
    """Shows a line, in place of one of progress."""
    show_progress("", 0)
    print(text, file=sys.stderr, flush=True)


def show_progress(text: str, share: float) -> None:
    """Shows a line of progress on a terminal, in place of the last one. A {} in the text becomes the bar."""
    if sys.stderr.isatty():
        width = min(40, shutil.get_terminal_size().columns - len(text) - 1)
        filled = round(width * share)
        print(f"\r\x1b[K{text.format('#' * filled + '-' * (width - filled))}", end="", file=sys.stderr, flush=True)
