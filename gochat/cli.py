"""The program `gochat`: its commands, and what becomes of their errors."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from gochat import app, workers
from gochat.commands import (
    audit,
    backup,
    bench,
    check,
    copy,
    health,
    importer,
    key,
    metrics,
    migrate,
    serve,
    token,
    top,
    users,
    version,
)
from gochat.repo.backup import BackupError
from gochat.repo.copying import CopyError

COMMANDS = (
    serve,
    health,
    top,
    metrics,
    token,
    key,
    users,
    audit,
    importer,
    bench,
    migrate,
    check,
    backup,
    copy,
    version,
)
"""In the order of the help."""

ERRORS = (*app.STARTUP_ERRORS, workers.WorkerError, BackupError, CopyError)
"""What a command ends with for a reason that a person can act on."""


def main(arguments: Sequence[str] | None = None) -> int:
    os.umask(0o077)  # what GoChat writes is for its own user alone
    parsed = _parser().parse_args(arguments)
    logging.getLogger().addHandler(logging.NullHandler())  # `serve` alone logs; the others say what is wrong once
    try:
        return int(parsed.run(parsed))
    except ERRORS as error:
        print(f"gochat: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gochat", description="A chat backend that a small team hosts itself.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    return parser
