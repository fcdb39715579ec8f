"""The program `gochat`: the list of its commands, and their exit codes."""

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
    chat,
    check,
    copy,
    health,
    importer,
    key,
    metrics,
    migrate,
    proto,
    serve,
    token,
    top,
    users,
    version,
    webhooks,
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
    webhooks,
    audit,
    importer,
    chat,
    bench,
    migrate,
    check,
    backup,
    copy,
    proto,
    version,
)
"""In the order of the help."""

ERRORS = (*app.STARTUP_ERRORS, workers.WorkerError, BackupError, CopyError)
"""The errors of commands whose message is enough for the user; others show a traceback."""


def main(arguments: Sequence[str] | None = None) -> int:
    os.umask(0o077)  # only the user who runs GoChat may read its files
    parsed = _parser().parse_args(arguments)
    logging.getLogger().addHandler(logging.NullHandler())  # only `serve` logs; other commands print one error
    try:
        return int(parsed.run(parsed))
    except ERRORS as error:
        print(f"gochat: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("gochat: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of the output has closed it, such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # a full disk, a folder that may not be read
        print(f"gochat: {error.filename or 'the system says'}: {error.strerror or error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gochat", description="A chat backend that a small team hosts itself.")
    parser.add_argument("--version", action="version", version=version.text())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    return parser
