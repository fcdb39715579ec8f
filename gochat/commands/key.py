"""gochat key rotate: a new key to sign tokens with."""

import time
from argparse import Namespace
from collections.abc import Sequence
from contextlib import closing

from gochat import running
from gochat.api.audit.v1.audit_pb2 import RecordEventRequest
from gochat.api.audit.v1.audit_pb2_grpc import AuditServiceStub
from gochat.api.logic.v1.logic_pb2 import ValidateTokenRequest
from gochat.api.logic.v1.logic_pb2_grpc import LogicServiceStub
from gochat.commands.arguments import REMOTE, Subparsers, add_command, config_of
from gochat.commands.progress import show_line
from gochat.commands.server import connection, server_of
from gochat.config import Config, ConfigError
from gochat.internal.account.v1.account_pb2 import ListEndedSessionsRequest
from gochat.internal.account.v1.account_pb2_grpc import AccountServiceStub
from gochat.keys import Key, check_rotatable, key_file, rotate, signing_keys
from gochat.repo.audit import Audit
from gochat.rpc.client import ServerError
from gochat.services import LOGIC, REPO
from gochat.storage.engine import DatabaseInUseError, open_database, sqlite_file

TAKE_TIMEOUT = 5.0  # seconds within which a running server takes a new key
TAKE_INTERVAL = 0.2  # seconds between two looks


def add_to(commands: Subparsers) -> None:
    keys = commands.add_parser("key", help="the key that signs tokens").add_subparsers(required=True, metavar="ACT")
    rotated = add_command(
        keys, "rotate", run, "make a new signing key; tokens of the old one last until they expire", REMOTE
    )
    rotated.add_argument("--drop-old", action="store_true", help="refuse what older keys signed: one was stolen")


def run(arguments: Namespace) -> int:
    """Prints the id of the new key, and returns when the running server signs with it. What stands in the way is found
    before the key is made, so that nothing has changed then. The audit entry is written by the running server, or
    directly if none runs."""
    config = config_of(arguments)
    check_rotatable(config)
    old = signing_keys(config, make=False)
    if _is_running(config, arguments.address, old):
        key = _rotated(config, arguments)
        try:
            for half in _halves(config):
                _wait_until_taken(config, half, arguments.address, key)
        except ConfigError:
            _record(config, arguments.address, old, key)
            raise
        _record(config, arguments.address, [key], key)
    else:
        _rotate_without_server(config, arguments)
    return 0


def _rotated(config: Config, arguments: Namespace) -> Key:
    key = rotate(config, drop_old=arguments.drop_old)
    print(key.id, flush=True)
    return key


def _is_running(config: Config, address: str, keys: Sequence[Key]) -> bool:
    """Raises ConfigError for a server that does not take these keys, or that was named and does not answer."""
    try:
        _ask(config, REPO, address, keys)
    except ServerError as error:
        if error.reason != "UNREACHABLE" or address or config.repo.address:
            raise
        return False
    return True


def _halves(config: Config) -> tuple[str, ...]:
    return (REPO, LOGIC) if running.find(config, LOGIC) else (REPO,)


def _ask(config: Config, half: str, address: str, keys: Sequence[Key]) -> None:
    """Anything, with a token that the first key signs. Raises ServerError."""
    with connection(config, half, address if half == REPO else "", keys) as channel:
        if half == REPO:
            AccountServiceStub(channel).ListEndedSessions(ListEndedSessionsRequest(position=2**62))
        else:
            LogicServiceStub(channel).ValidateToken(ValidateTokenRequest(token="-"))  # noqa: S106 - none


def _wait_until_taken(config: Config, half: str, address: str, key: Key) -> None:
    """A server that is shown a token of a key that it does not know reads the key file. Raises ConfigError."""
    until = time.monotonic() + TAKE_TIMEOUT
    while True:
        try:
            return _ask(config, half, address, [key])
        except ServerError as error:
            if error.reason != "CREDENTIAL_REFUSED":
                raise
        if time.monotonic() > until:
            at, _ = server_of(config, half, address if half == REPO else "")
            raise ConfigError(
                f"the key is made, but the running server at {at} has not taken it within {TAKE_TIMEOUT:g} s: can it"
                f" read {key_file(config).absolute()}? Its log says"
            )
        time.sleep(TAKE_INTERVAL)


def _record(config: Config, address: str, keys: Sequence[Key], key: Key) -> None:
    with connection(config, REPO, address, keys) as channel:
        AuditServiceStub(channel).RecordEvent(_event(key))


def _event(key: Key) -> RecordEventRequest:
    return RecordEventRequest(action="key.rotate", target_id=key.id)


def _rotate_without_server(config: Config, arguments: Namespace) -> None:
    """Holds the database meanwhile, so that no server starts, and none runs somewhere else. Raises ConfigError."""
    if not (config.database.is_postgres or sqlite_file(config).exists()):
        raise ConfigError(
            f"server.data: no server answers, and there is no database {sqlite_file(config).absolute()}: name the"
            " server with --address, or its database with database.url"
        )
    try:
        database = open_database(config, show_line, exclusive=True)
    except DatabaseInUseError as error:
        at, _ = server_of(config, REPO, "")
        raise ConfigError(f"{error}, but none answers at {at}: name the running server with --address") from None
    with closing(database):
        Audit(database).RecordEvent(_event(_rotated(config, arguments)))
