"""The command line's grammar, and nothing else."""

import argparse
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gochat import app
from gochat.commands import config_of, health, importer, migrate, token, users
from gochat.context import current

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def main(arguments: Sequence[str] | None = None) -> int:
    os.umask(0o077)  # what GoChat writes is for its own user alone
    parsed = _parser().parse_args(arguments)
    logging.getLogger().addHandler(logging.NullHandler())  # `serve` alone logs; the others say what is wrong once
    try:
        return int(parsed.run(parsed))
    except app.STARTUP_ERRORS as error:
        print(f"gochat: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _serve(arguments: argparse.Namespace) -> int:
    config = config_of(arguments).with_settings("server", listen=arguments.listen)
    _log_to_stderr(config.log.level)
    app.serve(config, arguments.target, ready=lambda line: print(line, flush=True))
    return 0


def _version(_: argparse.Namespace) -> int:
    print(f"gochat {version('gochat')}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gochat", description="A chat backend that a small team hosts itself.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    here = argparse.ArgumentParser(add_help=False)
    here.add_argument("--config", type=Path, metavar="FILE", help="settings (default: gochat.toml, if it exists)")
    here.add_argument("--data", metavar="DIR", help="the data folder: database and signing key (default: ./data)")
    there = argparse.ArgumentParser(add_help=False, parents=[here])
    there.add_argument("--address", metavar="HOST:PORT", help="the running server (default: [server] listen)")

    serve = _command(commands, "serve", _serve, "run the server until SIGTERM", here)
    serve.add_argument("--listen", metavar="HOST:PORT", help="default 127.0.0.1:50051; port 0 takes a free one")
    serve.add_argument(
        "--target",
        choices=app.TARGETS,
        help="which half to serve (default: all, or logic if [repo] address is set)",
    )

    _command(commands, "health", health.run, "ask the running server how it is; exit code 0 if it serves", there)

    signed = _command(commands, "token", token.run, "print a token signed with the server's key", here)
    signed.add_argument("--role", required=True, choices=("service", "admin"))
    signed.add_argument("--ttl", type=_duration, default=3600, help="30s, 15m, 1h, 7d (default: 1h)")

    user = commands.add_parser("user", help="create, list and disable users of a running server")
    acts = user.add_subparsers(required=True, metavar="ACT")
    created = _command(acts, "create", users.create, "create a user and print the id", there)
    created.add_argument("name", metavar="NAME")
    created.add_argument("--admin", action="store_true", help="may act for anyone")
    created.add_argument("--email", default="")
    created.add_argument("--nickname", default="", help="what others see (default: NAME)")
    created.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    _command(acts, "list", users.list_all, "print id, name and status of every user", there)
    disabled = _command(acts, "disable", users.disable, "keep a user from signing in", there)
    disabled.add_argument("name", metavar="NAME")

    imported = _command(
        commands, "import", importer.run, "replay chat logs (JSON lines) through a running server", there
    )
    imported.add_argument("files", nargs="+", metavar="FILE")
    imported.add_argument("--owner", default="importer", metavar="NAME", help="owns the rooms (default: importer)")
    imported.add_argument(
        "--concurrency", type=_count, default=16, metavar="N", help="conversations at a time (default: 16)"
    )

    _command(commands, "migrate", migrate.run, "bring the database of a stopped server to this program's schema", here)

    _command(commands, "version", _version, "print the version")
    return parser


def _command(
    commands: Any,  # argparse keeps its type to itself
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


def _duration(text: str) -> int:
    match = re.fullmatch(r"([1-9]\d{0,8})([smhd])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration like 30s, 15m, 1h or 7d")
    return int(match[1]) * _UNITS[match[2]]


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,2}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 999")
    return int(text)


class _RequestId(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = current().request_id
        return True


def _log_to_stderr(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s [%(request_id)s] %(name)s: %(message)s"))
    handler.addFilter(_RequestId())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("peewee").setLevel(logging.INFO)  # at debug it logs every parameter: messages, hashes
