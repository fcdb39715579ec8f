"""What the tests of gochat copy share: running it, and reading both databases without GoChat's own code."""

import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2

from tests.processes import UNDER_WAY, begin

Rows = dict[str, list[tuple[Any, ...]]]
PASSING = re.compile(
    r"(copied|compared) [\d,]+ of [\d,]+ rows\n"
    r"|waiting \d+ s at most for a process .*\n"  # which was killed just now
    rf"|{UNDER_WAY.pattern}"
)
"""What it says on the way."""
TABLES = {
    "users",
    "sessions",
    "devices",
    "ended_sessions",
    "conversations",
    "members",
    "removed_members",
    "former_members",
    "member_details",
    "bans",
    "invitations",
    "join_requests",
    "sends",
    "messages",
    "message_versions",
    "reactions",
    "mentions",
    "own_deletions",
    "webhooks",
    "webhook_deliveries",
    "secrets",
    "activity",
    "push_tokens",
    "push_pending",
    "push_deliveries",
    "audit_log",
}
_OWN = {"schema_migrations", "changes", "outgoing_changes", "log_readers", "inboxes", "processes"}  # of each database

_OF_LOG = {"conversations": {"position"}}  # which is not copied


def begin_copy(source: str, target: str, **env: str) -> "subprocess.Popen[str]":
    """source: "" for the one that the environment names."""
    return begin("copy", *(["--from", source] if source else []), "--to", target, env=env, program=sys.executable)


def copied(source: str, target: str, **env: str) -> list[str]:
    """Copies to the end; returns the lines that it prints."""
    process = begin_copy(source, target, **env)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, PASSING.sub("", err)) == (0, ""), out + err
    return out.splitlines()


def refused(source: str, target: str) -> str:
    """Tries to copy; returns why not."""
    process = begin_copy(source, target)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, ""), err
    err = PASSING.sub("", err)
    assert err.startswith("gochat: "), err
    assert err.count("\n") == 1, err
    return err.removeprefix("gochat: ").rstrip("\n")


@contextmanager
def opened(url: str) -> Iterator[Any]:
    """A DB-API cursor, whose changes are committed at the end."""
    connection: Any
    if url.startswith("postgresql"):
        connection = psycopg2.connect(url)
    else:
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30)
    with closing(connection):
        yield connection.cursor()
        connection.commit()


def rows_of(url: str) -> Rows:
    """Every row of every table that is not an index, but for the log of changes, which is not copied, and its epoch."""
    found: Rows = {}
    with opened(url) as cursor:
        cursor.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            if url.startswith("postgresql")
            else "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'user_search%'"
        )
        for table in sorted(name for (name,) in cursor.fetchall() if name not in _OWN):
            cursor.execute(f"SELECT * FROM {table} LIMIT 0")
            names = {column[0] for column in cursor.description} - _OF_LOG.get(table, set())
            columns = ", ".join(sorted(names))
            cursor.execute(f"SELECT {columns} FROM {table}")
            found[table] = sorted(tuple(row) for row in cursor.fetchall() if row[0] != "epoch")
    return found
