"""The program `gochat`: the list of its commands, and their exit codes."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from gochat.commands import version

COMMANDS = {
    "serve": "serve",
    "health": "health",
    "top": "top",
    "metrics": "metrics",
    "token": "token",
    "key": "key",
    "user": "users",
    "webhook": "webhooks",
    "audit": "audit",
    "import": "importer",
    "chat": "chat",
    "bench": "bench",
    "migrate": "migrate",
    "distribute": "distribute",
    "check": "check",
    "backup": "backup",
    "restore": "backup",
    "copy": "copy",
    "proto": "proto",
    "version": "version",
}
"""Each with its module, in the order of the help."""


def _errors() -> tuple[type[Exception], ...]:
    """The errors of commands whose message is enough for the user; others show a traceback."""
    from gochat import app, workers
    from gochat.repo.backup import BackupError
    from gochat.repo.copying import CopyError
    from gochat.storage.distributed import ClusterError

    return (*app.STARTUP_ERRORS, workers.WorkerError, BackupError, CopyError, ClusterError)


def main(arguments: Sequence[str] | None = None) -> int:
    os.umask(0o077)  # only the user who runs GoChat may read its files
    arguments = sys.argv[1:] if arguments is None else arguments
    parsed = _parser(arguments[:1]).parse_args(arguments)
    logging.getLogger().addHandler(logging.NullHandler())  # only `serve` logs; other commands print one error
    try:
        return int(parsed.run(parsed))
    except KeyboardInterrupt:
        print("gochat: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of the output has closed it, such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # a full disk, a folder that may not be read
        print(f"gochat: {error.filename or 'the system says'}: {error.strerror or error}", file=sys.stderr)
        return 1
    except _errors() as error:
        print(f"gochat: {error}", file=sys.stderr)
        return 1


def _parser(name: Sequence[str]) -> argparse.ArgumentParser:
    """name: of the command, as far as there is one. Only its module is imported: all together take most of a second."""
    parser = argparse.ArgumentParser(prog="gochat", description="A chat backend that a small team hosts itself.")
    parser.add_argument("--version", action="version", version=version.text())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    modules = [COMMANDS[one] for one in name if one in COMMANDS] or dict.fromkeys(COMMANDS.values())
    for module in modules:
        import_module(f"gochat.commands.{module}").add_to(commands)
    return parser
