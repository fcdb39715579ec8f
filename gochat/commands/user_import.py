"""gochat user import: users from a file, made or changed by the running server.

A line of JSON, or a row of CSV, for each user, with the fields of UserUpsert. Repeating an import changes nothing.
"""

import csv
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from gochat.api.user.v1 import user_pb2
from gochat.commands.arguments import config_of
from gochat.commands.progress import show_progress
from gochat.commands.server import connection
from gochat.internal.user.v1.user_pb2_grpc import UserStoreServiceStub
from gochat.jsontext import loads
from gochat.services import REPO

BATCH = 1000
BATCH_WITH_PASSWORDS = 100  # each is a hash
_FIELDS = frozenset(field.name for field in user_pb2.UserUpsert.DESCRIPTOR.fields)
_DONE = (user_pb2.OUTCOME_CREATED, user_pb2.OUTCOME_UPDATED, user_pb2.OUTCOME_UNCHANGED)

Entry = tuple[int, user_pb2.UserUpsert | str]
"""(number of the line, the user, or why it is none)"""


def run(arguments: Namespace) -> int:
    """Prints a line for each user who is refused, then what was done. Returns 1 if any was refused."""
    path, done = Path(arguments.file), Counter[int]()
    entries = (_csv if path.suffix.lower() == ".csv" else _json_lines)(path)
    with connection(config_of(arguments), REPO, arguments.address) as channel:
        users = UserStoreServiceStub(channel)
        while some := _batch(entries):
            for number, outcome, reason in _imported(users, some):
                done[outcome] += 1
                if reason:
                    show_progress("", 0)
                    print(f"{path}:{number}: refused: {reason}")
            show_progress(f"{sum(done.values())} users", 0)
    show_progress("", 0)
    words = [f"{done[outcome]} {user_pb2.Outcome.Name(outcome).removeprefix('OUTCOME_').lower()}" for outcome in _DONE]
    refused = done[user_pb2.OUTCOME_REFUSED]
    print(", ".join([*words, f"{refused} refused"]))
    return 1 if refused else 0


def _batch(entries: Iterator[Entry]) -> list[Entry]:
    some: list[Entry] = []
    passwords = 0
    for entry in islice(entries, BATCH):
        some.append(entry)
        passwords += isinstance(entry[1], user_pb2.UserUpsert) and entry[1].password != ""
        if passwords == BATCH_WITH_PASSWORDS:
            break
    return some


def _imported(users: UserStoreServiceStub, some: list[Entry]) -> Iterator[tuple[int, int, str]]:
    """(number of the line, outcome, why it was refused)"""
    wanted = [user for _, user in some if isinstance(user, user_pb2.UserUpsert)]
    results = iter(users.UpsertUsers(user_pb2.UpsertUsersRequest(users=wanted)).results if wanted else ())
    for number, user in some:
        if isinstance(user, str):
            yield number, user_pb2.OUTCOME_REFUSED, user
        else:
            result = next(results)
            yield number, result.outcome, result.error.message


def _json_lines(path: Path) -> Iterator[Entry]:
    with _opened(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield number, _user(loads(line))
                except ValueError as error:
                    yield number, str(error) if isinstance(error, _NoUserError) else "is not JSON"


def _csv(path: Path) -> Iterator[Entry]:
    with _opened(path) as file:
        rows = csv.DictReader(file, restkey="a column without a name", restval="")
        try:
            for row in rows:
                try:
                    yield rows.line_num, _user(row)
                except _NoUserError as error:
                    yield rows.line_num, str(error)
        except csv.Error as error:
            raise SystemExit(f"gochat: {path}:{rows.line_num}: {error}") from None


def _opened(path: Path) -> Any:
    """Spreadsheets begin their files with a mark."""
    try:
        return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="" if path.suffix else None)
    except OSError as error:
        raise SystemExit(f"gochat: {path}: {error.strerror}") from None


class _NoUserError(ValueError):
    """The text says why."""


def _user(fields: Any) -> user_pb2.UserUpsert:
    """Raises _NoUserError."""
    if not isinstance(fields, Mapping):
        raise _NoUserError("is not an object")
    if unknown := sorted(map(str, fields.keys() - _FIELDS)):
        raise _NoUserError(f"there is no field {', '.join(unknown)}: there are {', '.join(sorted(_FIELDS))}")
    for name, value in fields.items():
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise _NoUserError(f"{name} is not text")
    try:
        return user_pb2.UserUpsert(**{name: str(value) for name, value in fields.items()})
    except ValueError:
        raise _NoUserError("is not UTF-8") from None
