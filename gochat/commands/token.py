"""gochat token: signs a token for a service or an operator."""

from argparse import Namespace

from gochat.commands.arguments import LOCAL, Subparsers, add_command, config_of, duration
from gochat.context import Caller
from gochat.domain.revocation import Revocations
from gochat.domain.tokens import SERVICE_KIND, Tokens
from gochat.keys import signing_keys


def add_to(commands: Subparsers) -> None:
    signed = add_command(commands, "token", run, "print a token signed with the server's key", LOCAL)
    signed.add_argument("--role", required=True, choices=("service", "admin"))
    signed.add_argument("--ttl", type=duration, default=3600, help="30s, 15m, 1h, 7d (default: 1h)")


def run(arguments: Namespace) -> int:
    keys = signing_keys(config_of(arguments), make=False)
    print(Tokens(keys, Revocations(0)).sign(SERVICE_KIND, Caller(role=arguments.role), arguments.ttl))
    return 0
