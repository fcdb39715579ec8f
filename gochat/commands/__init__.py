"""The commands that are not `serve`, a file each: `run(arguments)` -> exit code. Each is a client of the running
server, or of repo/ where the server must be stopped."""

import shutil
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from gochat.config import Config, ConfigError, load
from gochat.domain import policy
from gochat.domain.revocation import Revocations
from gochat.domain.tokens import Tokens
from gochat.errors import ChatError
from gochat.keys import Key, signing_keys
from gochat.rpc.client import SEAM_FAILURES, NetworkChannel


def config_of(arguments: Namespace) -> Config:
    """The configuration that a server started with the same options would have. Raises ConfigError."""
    return load(arguments.config).with_settings("server", data=arguments.data)


def connection(config: Config, address: str, keys: Sequence[Key] = ()) -> AbstractContextManager[NetworkChannel]:
    """A channel to the running server, as a service: the command reads the keys that sign the server's tokens.

    address: "" for [server] listen. keys: others than the server's newest. Raises ConfigError where it is the address
    that is wrong.
    """
    keys = keys or signing_keys(config, make=False)
    return nameless_connection(config, address, Tokens(keys, Revocations(0)).for_service)


@contextmanager
def nameless_connection(
    config: Config, address: str, credential: Callable[[], str] = lambda: ""
) -> Iterator[NetworkChannel]:
    """The same without a token."""
    address = address or config.server.listen
    channel = NetworkChannel(
        address, config.tls, credential, repeatable=lambda _, request: policy.names_itself(request)
    )
    try:
        yield channel
    except ChatError as error:
        if error.reason not in SEAM_FAILURES:
            raise
        raise ConfigError(f"{address}: {SEAM_FAILURES[error.reason]}") from None
    finally:
        channel.close()


def show_progress(text: str, share: float) -> None:
    """One line of progress, over the one before, for who watches; a {} in it becomes the bar."""
    if sys.stderr.isatty():
        width = min(40, shutil.get_terminal_size().columns - len(text) - 1)
        filled = round(width * share)
        print(f"\r\x1b[K{text.format('#' * filled + '-' * (width - filled))}", end="", file=sys.stderr, flush=True)
