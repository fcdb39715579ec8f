"""Arguments that several commands share."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gochat.config import MAX_TTL, UNITS, Config, load, seconds_of

Subparsers = Any
"""What add_subparsers() returns; argparse keeps its type to itself."""

LOCAL = argparse.ArgumentParser(add_help=False)
"""A parent parser: the options of commands that read the settings or the data folder."""
LOCAL.add_argument("--config", type=Path, metavar="FILE", help="settings (default: gochat.toml, if it exists)")
LOCAL.add_argument("--data", metavar="DIR", help="the data folder: database and signing key (default: ./data)")

REMOTE = argparse.ArgumentParser(add_help=False, parents=[LOCAL])
"""A parent parser: the options of commands that call the running server."""
REMOTE.add_argument("--address", metavar="HOST:PORT", help="the running server (default: that of the data folder)")


def add_command(
    commands: Subparsers,
    name: str,
    run: Callable[[argparse.Namespace], int],
    help_text: str,
    *parents: argparse.ArgumentParser,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=help_text, description=f"{help_text[0].upper()}{help_text[1:]}.", parents=parents
    )
    parser.set_defaults(run=run)
    return parser


def config_of(arguments: argparse.Namespace) -> Config:
    """The configuration that a server started with the same options would have. Raises ConfigError."""
    return load(arguments.config).with_settings("server", data=arguments.data)


def duration(text: str) -> int:
    """Parses a duration; returns seconds."""
    seconds = seconds_of(text)
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration like 30s, 15m, 1h or 7d")
    if seconds > MAX_TTL:
        raise argparse.ArgumentTypeError(f"{text} is longer than {MAX_TTL // UNITS['d']}d")
    return seconds


def number(maximum: int) -> Callable[[str], int]:
    """A parser of numbers from 1 to the maximum."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[1-9]\d{0,8}", text) or int(text) > maximum:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {maximum}")
        return int(text)

    return parse


def between(minimum: float, maximum: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text) or not minimum <= float(text) <= maximum:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {minimum:g} to {maximum:g}")
        return float(text)

    return parse
