"""The commands, a file each: `add_to(commands)` adds its grammar, with a function of the arguments that returns the
exit code. But for `serve`, each is a client of the running server, or of repo/ where the server must be stopped."""

import shutil
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import AbstractContextManager

from gochat.config import Config, load
from gochat.domain.revocation import Revocations
from gochat.domain.tokens import Tokens
from gochat.keys import Key, signing_keys
from gochat.rpc.client import NetworkChannel, channel_to


def config_of(arguments: Namespace) -> Config:
    """The configuration that a server started with the same options would have. Raises ConfigError."""
    return load(arguments.config).with_settings("server", data=arguments.data)


def connection(config: Config, address: str, keys: Sequence[Key] = ()) -> AbstractContextManager[NetworkChannel]:
    """A channel to the running server, as a service: the command reads the keys that sign the server's tokens.

    address: "" for [server] listen. keys: others than the server's newest. Raises ConfigError where it is the address
    that is wrong.
    """
    keys = keys or signing_keys(config, make=False)
    return channel_to(address or config.server.listen, config.tls, Tokens(keys, Revocations(0)).for_service)


def show_progress(text: str, share: float) -> None:
    """One line of progress, over the one before, for who watches; a {} in it becomes the bar."""
    if sys.stderr.isatty():
        width = min(40, shutil.get_terminal_size().columns - len(text) - 1)
        filled = round(width * share)
        print(f"\r\x1b[K{text.format('#' * filled + '-' * (width - filled))}", end="", file=sys.stderr, flush=True)
