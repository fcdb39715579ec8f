"""The running server that a command calls: where it is, and a channel to it."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

from gochat import running
from gochat.config import Config, Tls
from gochat.domain.revocation import Revocations
from gochat.domain.tokens import Tokens
from gochat.keys import Key, signing_keys
from gochat.rpc.client import NetworkChannel, channel_to
from gochat.services import LOGIC, REPO


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
