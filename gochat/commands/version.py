"""gochat version."""

from argparse import Namespace
from importlib.metadata import version

from gochat.commands.arguments import Subparsers, add_command


def add_to(commands: Subparsers) -> None:
    add_command(commands, "version", run, "print the version")


def run(_: Namespace) -> int:
    print(text())
    return 0


def text() -> str:
    """Also what `gochat --version` prints."""
    return f"gochat {version('gochat')}"
