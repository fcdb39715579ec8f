"""The command line's grammar, and nothing else."""

import argparse
import logging
import os
import re
import resource
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gochat import app, bench, logs, workers
from gochat.commands import (
    audit,
    backup,
    check,
    config_of,
    copy,
    health,
    importer,
    key,
    metrics,
    migrate,
    token,
    top,
    users,
)
from gochat.config import LONGEST_TTL, Config
from gochat.monitoring.board import Memory
from gochat.repo.backup import BackupError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def main(arguments: Sequence[str] | None = None) -> int:
    os.umask(0o077)  # what GoChat writes is for its own user alone
    parsed = _parser().parse_args(arguments)
    logging.getLogger().addHandler(logging.NullHandler())  # `serve` alone logs; the others say what is wrong once
    try:
        return int(parsed.run(parsed))
    except (*app.STARTUP_ERRORS, workers.WorkerError, BackupError, copy.CopyError) as error:
        print(f"gochat: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _serve(arguments: argparse.Namespace) -> int:
    config = config_of(arguments).with_settings("server", listen=arguments.listen)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is an open file
    work = partial(_work, config, arguments.target, arguments.insecure)
    ready = partial(print, flush=True)
    settings = config.server
    if settings.workers == 1:
        work(settings.listen, None, lambda line, _: ready(line))
    else:
        logs.to_stderr(config.log)
        with app.shared_boards(config, arguments.target, ready) as (boards, all_serve):
            workers.run(settings.listen, settings.grace, work, boards, app.STARTUP_ERRORS, all_serve)
    return 0


def _work(
    config: Config,
    target: str | None,
    insecure: bool,
    listen: str,
    memory: Memory | None,
    serves: workers.Serves,
) -> None:
    """Serves, in this process."""
    logs.to_stderr(config.log)
    app.serve(config.with_settings("server", listen=listen), target, serves, insecure=insecure, memory=memory)


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
    _serving(commands, here)
    _watching(commands, here, there)
    _tokens(commands, here, there)
    _users(commands, there)
    _audit(commands, there)
    _import(commands, there)
    _bench(commands)
    _upkeep(commands, here)
    _copy(commands)
    _command(commands, "version", _version, "print the version")
    return parser


def _serving(commands: Any, here: argparse.ArgumentParser) -> None:
    serve = _command(commands, "serve", _serve, "run the server until SIGTERM", here)
    serve.add_argument("--listen", metavar="HOST:PORT", help="default 127.0.0.1:50051; port 0 takes a free one")
    serve.add_argument(
        "--target",
        choices=app.TARGETS,
        help="which half to serve (default: all, or logic if [repo] address is set)",
    )
    serve.add_argument(
        "--insecure", action="store_true", help="talk to other hosts without TLS: what lies between is yours"
    )


def _watching(commands: Any, here: argparse.ArgumentParser, there: argparse.ArgumentParser) -> None:
    _command(commands, "health", health.run, "ask the running server how it is; exit code 0 if it serves", there)

    watched = _command(commands, "top", top.run, "a live table of what a running server does, from its metrics", here)
    watched.add_argument(
        "--metrics", nargs="+", metavar="URL", help="or HOST:PORT, of one or more servers (default: [metrics] listen)"
    )
    watched.add_argument("--once", action="store_true", help="one table, of one second")

    told = _command(commands, "metrics", metrics.run, "print a Grafana dashboard, or alert rules for Prometheus")
    told.add_argument("what", choices=sorted(metrics.FILES))


def _tokens(commands: Any, here: argparse.ArgumentParser, there: argparse.ArgumentParser) -> None:
    signed = _command(commands, "token", token.run, "print a token signed with the server's key", here)
    signed.add_argument("--role", required=True, choices=("service", "admin"))
    signed.add_argument("--ttl", type=_duration, default=3600, help="30s, 15m, 1h, 7d (default: 1h)")

    keys = commands.add_parser("key", help="the key that signs tokens").add_subparsers(required=True, metavar="ACT")
    rotated = _command(
        keys, "rotate", key.run, "make a new signing key; tokens of the old one last until they expire", there
    )
    rotated.add_argument("--drop-old", action="store_true", help="refuse what older keys signed: one was stolen")


def _users(commands: Any, there: argparse.ArgumentParser) -> None:
    user = commands.add_parser("user", help="the users of a running server")
    acts = user.add_subparsers(required=True, metavar="ACT")
    created = _command(acts, "create", users.create, "create a user and print the id", there)
    created.add_argument("name", metavar="NAME")
    created.add_argument("--admin", action="store_true", help="may act for anyone")
    created.add_argument("--email", default="")
    created.add_argument("--nickname", default="", help="what others see (default: NAME)")
    created.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    _command(acts, "list", users.list_all, "print id, name and status of every user", there)
    for name, run, help_text in (
        ("disable", users.disable, "end a user's sessions and keep him from signing in"),
        ("enable", users.enable, "let a disabled user sign in again"),
        ("password", users.password, "set a new password for one who forgot it, and end his sessions"),
    ):
        of_one = _command(acts, name, run, help_text, there)
        of_one.add_argument("name", metavar="NAME")
    of_one.add_argument("--password-stdin", action="store_true", help="read the password from standard input")


def _audit(commands: Any, there: argparse.ArgumentParser) -> None:
    audited = _command(commands, "audit", audit.run, "print the audit log of a running server", there)
    audited.add_argument("--user", default="", metavar="ID", help="as who acts or who is acted on")
    audited.add_argument("--action", default="", help="such as session.begin; group. for all that begin so")
    audited.add_argument("--since", type=_duration, default=0, metavar="AGO", help="no older than 30m, 12h, 7d")
    audited.add_argument("--limit", type=_number(1_000_000), default=100, metavar="N", help="the last N (default: 100)")
    audited.add_argument("--json", action="store_true", help="JSON lines")


def _import(commands: Any, there: argparse.ArgumentParser) -> None:
    imported = _command(
        commands, "import", importer.run, "replay chat logs (JSON lines) through a running server", there
    )
    imported.add_argument("files", nargs="+", metavar="FILE")
    imported.add_argument("--owner", default="importer", metavar="NAME", help="owns the rooms (default: importer)")
    imported.add_argument(
        "--concurrency", type=_number(999), default=16, metavar="N", help="conversations at a time (default: 16)"
    )


def _bench(commands: Any) -> None:
    measured = _command(
        commands, "bench", bench.run, "measure on this machine (Linux), with servers and a database made for it"
    )
    measured.add_argument(
        "--database",
        default="sqlite",
        metavar="URL",
        help="an empty postgresql://user:password@host/NAME (default: sqlite); --growth makes NAME_small, NAME_large",
    )
    measured.add_argument(
        "--target", choices=("all", "split"), default="all", help="one process (default), or its two halves"
    )
    measured.add_argument(
        "--workers", type=_number(100), default=1, metavar="N", help="of [server] workers, on PostgreSQL (default: 1)"
    )
    measured.add_argument(
        "--rpc", nargs="+", choices=bench.NAMES, metavar="NAME", help=f"only these of {', '.join(bench.NAMES)}"
    )
    measured.add_argument(
        "--concurrency", type=_number(1000), default=16, metavar="N", help="calls in flight (default: 16)"
    )
    measured.add_argument(
        "--duration", type=_between(0.1, 600), default=5.0, metavar="SECONDS", help="of each RPC (default: 5)"
    )
    for name, number in (("users", 10_000), ("messages", 200_000), ("conversations", 1_000), ("members", 100)):
        of_what = "of a group" if name == "members" else "in all"
        measured.add_argument(
            f"--{name}", type=_number(10**8), default=number, metavar="N", help=f"{of_what} (default: {number:,})"
        )
    measured.add_argument(
        "--growth", action="store_true", help="instead: a small and a large database, one call at a time"
    )
    measured.add_argument(
        "--scale", type=_between(0.001, 1), default=1.0, help="of the large database of --growth, 0.001 to 1"
    )
    measured.add_argument("--data", metavar="DIR", help="keep the database here and use it again (default: removed)")
    measured.add_argument("--seed-only", action="store_true", help="make the database and no more")
    measured.add_argument("--json", action="store_true", help="one JSON object")


def _upkeep(commands: Any, here: argparse.ArgumentParser) -> None:
    _command(commands, "migrate", migrate.run, "bring the database of a stopped server to this program's schema", here)
    _command(
        commands, "check", check.run, "hold the database against its invariants; exit code 1 with what is wrong", here
    )
    for name, run, help_text in (
        ("backup", backup.run, "copy the SQLite database of a running or stopped server to a new file, and check it"),
        ("restore", backup.run_restore, "make such a file the database of a stopped server that has none"),
    ):
        _command(commands, name, run, help_text, here).add_argument("file", type=Path, metavar="FILE")


def _copy(commands: Any) -> None:
    moved = _command(
        commands, "copy", copy.run, "copy the database of a stopped server into an empty one; repeated, it goes on"
    )
    for name, destination in (("from", "source"), ("to", "target")):
        variable = f"GOCHAT_COPY_{name.upper()}"  # others can read a command line, and a password in it
        moved.add_argument(
            f"--{name}",
            dest=destination,
            default=os.environ.get(variable),
            required=variable not in os.environ,
            metavar="URL",
            help=f"sqlite:///FILE or postgresql://user:password@host/name (default: {variable})",
        )


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
    seconds = int(match[1]) * _UNITS[match[2]]
    if seconds > LONGEST_TTL:
        raise argparse.ArgumentTypeError(f"{text} is longer than {LONGEST_TTL // _UNITS['d']}d")
    return seconds


def _number(most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[1-9]\d{0,8}", text) or int(text) > most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {most}")
        return int(text)

    return parse


def _between(least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text) or not least <= float(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least:g} to {most:g}")
        return float(text)

    return parse
