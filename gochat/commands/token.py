"""gochat token: signs a token for a service or an operator."""

from argparse import Namespace

from gochat.commands import config_of
from gochat.config import signing_key
from gochat.context import Caller
from gochat.domain.tokens import ACCESS, Tokens


def run(arguments: Namespace) -> int:
    key = signing_key(config_of(arguments), make=True)
    print(Tokens(key).sign(ACCESS, Caller(role=arguments.role), arguments.ttl))
    return 0
