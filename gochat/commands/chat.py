"""gochat chat: a person's terminal, on gochat.client alone."""

import asyncio
import getpass
import sys
from argparse import Namespace

from gochat.client import AsyncClient, ChatError
from gochat.commands.arguments import Subparsers, add_command

ADDRESS = "127.0.0.1:50051"


def add_to(commands: Subparsers) -> None:
    chat = add_command(commands, "chat", run, "chat in this terminal; /help lists what can be typed")
    chat.add_argument("user", nargs="?", metavar="USER", help="who signs in (default: is asked for)")
    chat.add_argument("--address", default=ADDRESS, metavar="HOST:PORT", help=f"the server (default: {ADDRESS})")
    chat.add_argument("--tls", action="store_true", help="the server has a certificate that this system trusts")
    chat.add_argument("--ca", metavar="FILE", help="the server has a certificate that this PEM file trusts")
    chat.add_argument("--store", metavar="FILE", help="keep messages that wait to be sent, and what was read, here")
    chat.add_argument("--register", action="store_true", help="make the account, where the server is open to that")


def run(arguments: Namespace) -> int:
    try:
        from gochat.commands.terminal import converse
    except ModuleNotFoundError as missing:
        if missing.name != "prompt_toolkit":
            raise
        return _failed("the terminal needs prompt_toolkit: pip install 'gochat[chat]'")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return _failed("no terminal to chat in")
    try:
        user = arguments.user or input("User: ")
        password = getpass.getpass("Password: ")
    except (EOFError, KeyboardInterrupt):
        print(file=sys.stderr)
        return _failed("nobody signed in")

    async def main() -> None:
        client = AsyncClient(
            arguments.address,
            username=user,
            password=password,
            tls=arguments.ca or arguments.tls,
            store=arguments.store,
        )
        async with client:
            if arguments.register:
                await client.register()
            await converse(client)

    try:
        asyncio.run(main())
    except ChatError as error:
        return _failed(error.message)
    return 0


def _failed(sentence: str) -> int:
    print(f"gochat: {sentence}", file=sys.stderr)
    return 1
