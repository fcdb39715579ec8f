"""gochat key rotate: a new key to sign tokens with."""

from argparse import Namespace
from contextlib import closing

from gochat.api.audit.v1.audit_pb2 import RecordEventRequest
from gochat.api.audit.v1.audit_pb2_grpc import AuditServiceStub
from gochat.commands import config_of, connection
from gochat.commands.arguments import REMOTE, Subparsers, add_command
from gochat.config import ConfigError
from gochat.keys import rotate, signing_keys
from gochat.repo.audit import Audit
from gochat.storage.engine import DatabaseInUseError, open_database


def add_to(commands: Subparsers) -> None:
    keys = commands.add_parser("key", help="the key that signs tokens").add_subparsers(required=True, metavar="ACT")
    rotated = add_command(
        keys, "rotate", run, "make a new signing key; tokens of the old one last until they expire", REMOTE
    )
    rotated.add_argument("--drop-old", action="store_true", help="refuse what older keys signed: one was stolen")


def run(arguments: Namespace) -> int:
    """Prints the id of the new key. The audit entry is written by the running server, or directly if none runs."""
    config = config_of(arguments)
    before = signing_keys(config, make=False)
    key = rotate(config, drop_old=arguments.drop_old)
    print(key.id)
    event = RecordEventRequest(action="key.rotate", target_id=key.id)
    try:
        with connection(config, arguments.address or config.repo.address, before) as channel:
            AuditServiceStub(channel).RecordEvent(event)
    except ConfigError as unreachable:
        if config.repo.address:
            raise
        try:
            with closing(open_database(config)) as database:
                Audit(database).RecordEvent(event)
        except DatabaseInUseError:
            raise unreachable from None
    return 0
