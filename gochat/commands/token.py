"""gochat token: signs a token for a service or an operator."""

from argparse import Namespace

from gochat.commands import config_of
from gochat.context import Caller
from gochat.domain.revocation import Revocations
from gochat.domain.tokens import SERVICE_KIND, Tokens
from gochat.keys import signing_keys


def run(arguments: Namespace) -> int:
    keys = signing_keys(config_of(arguments), make=True)
    print(Tokens(keys, Revocations(0)).sign(SERVICE_KIND, Caller(role=arguments.role), arguments.ttl))
    return 0
