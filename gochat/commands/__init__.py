"""The commands, one in each file: `add_to(commands)` adds its grammar and the function that runs it, which takes the
parsed arguments and returns the exit code. All but `serve` are clients of the running server, or use repo/ directly
where the server must be stopped."""

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
    """A channel to the running server, with the token of a service, which the command signs with the server's own key.

    address: "" for [server] listen. keys: to sign with, if not the server's newest. Raises ConfigError where the server
    cannot be reached.
    """
    keys = keys or signing_keys(config, make=False)
    return channel_to(address or config.server.listen, config.tls, Tokens(keys, Revocations(0)).for_service)


def show_progress(text: str, share: float) -> None:
    """Shows a line of progress on a terminal, in place of the last one. A {} in the text becomes the bar."""
    if sys.stderr.isatty():
        width = min(40, shutil.get_terminal_size().columns - len(text) - 1)
        filled = round(width * share)
        print(f"\r\x1b[K{text.format('#' * filled + '-' * (width - filled))}", end="", file=sys.stderr, flush=True)
