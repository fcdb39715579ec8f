"""The records of an export in order: users, channels with their members, and the messages of a channel by time. An
export may have them in any order and be larger than memory, so they go through a database file among the temporary
ones, which needs as much space as the export unpacked.
"""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

from gochat.imports.records import Channel, Member, Message, NotTaken, Reaction, Record, User

MAX_EXAMPLES = 3

_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE users (id TEXT PRIMARY KEY, username TEXT, name TEXT, email TEXT, is_active INTEGER);
CREATE TABLE channels (id TEXT PRIMARY KEY, kind TEXT, name TEXT, about TEXT, owner TEXT);
CREATE TABLE members (channel TEXT, user TEXT, is_admin INTEGER, PRIMARY KEY (channel, user)) WITHOUT ROWID;
CREATE TABLE messages (
    number INTEGER PRIMARY KEY, channel TEXT, id TEXT, sender TEXT, at INTEGER, text TEXT, edited_at INTEGER,
    parent TEXT, reactions TEXT, files INTEGER, UNIQUE (channel, id)
);
"""
_COLUMNS = "channel, id, sender, at, text, edited_at, parent, reactions, files"
_INSERT = {
    User: "INSERT OR IGNORE INTO users VALUES (?, ?, ?, ?, ?)",
    Channel: "INSERT OR IGNORE INTO channels VALUES (?, ?, ?, ?, ?)",
    Member: "INSERT OR IGNORE INTO members VALUES (?, ?, ?)",
    Message: f"INSERT OR IGNORE INTO messages ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
}
# (reason, table, which rows, how to name one)
_STRAY = (
    (
        "its channel is not in the export",
        "messages",
        "channel NOT IN (SELECT id FROM channels)",
        "channel || ' ' || id",
    ),
    ("its sender is not in the export", "messages", "sender NOT IN (SELECT id FROM users)", "channel || ' ' || id"),
    ("a member who is not in the export", "members", "user NOT IN (SELECT id FROM users)", "channel || ' ' || user"),
    (
        "members of a channel that is not there",
        "members",
        "channel NOT IN (SELECT id FROM channels)",
        "channel || ' ' || user",
    ),
)


class Report:
    """What was not taken: how often for which reason, with the first examples."""

    def __init__(self) -> None:
        self._examples = defaultdict[tuple[bool, str], list[str]](list)
        self._counts = Counter[tuple[bool, str]]()

    def add(self, what: NotTaken, number: int = 1) -> None:
        key = (what.is_error, what.reason)
        self._counts[key] += number
        if len(self._examples[key]) < MAX_EXAMPLES:
            self._examples[key].append(what.example)

    @property
    def has_errors(self) -> bool:
        return any(is_error for is_error, _ in self._counts)

    def lines(self) -> Iterator[str]:
        for wanted, title in ((False, "left out on purpose:"), (True, "not taken:")):
            reasons = [
                (reason, number) for (is_error, reason), number in self._counts.most_common() if is_error == wanted
            ]
            if reasons:
                yield title
            for reason, number in reasons:
                examples = "; ".join(each[:100] for each in self._examples[wanted, reason])
                yield f"{number:>9}  {_printable(reason)} ({_printable(examples)})"


class Spool:
    """now: Unix milliseconds, after which nothing was written."""

    def __init__(self, report: Report, now: int) -> None:
        self._report, self._now = report, now
        # A file without a name (sqlite.org/inmemorydb.html, "Temporary Databases"), of which a kill leaves nothing.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(_SCHEMA)

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._database.close()

    def fill(self, records: Iterable[Record]) -> None:
        """Takes all of an export, and then drops what refers to nothing."""
        self._database.execute("BEGIN")
        for record in records:
            if isinstance(record, NotTaken):
                self._report.add(record)
            elif isinstance(record, Message):
                self._add_message(record)
            else:
                self._add(record)
        self._database.execute("CREATE INDEX messages_by_time ON messages (channel, at, number)")
        for reason, table, where, name in _STRAY:
            ((number,),) = self._database.execute(f"SELECT COUNT(*) FROM {table} WHERE {where}")
            if number:
                examples = self._database.execute(f"SELECT {name} FROM {table} WHERE {where} LIMIT {MAX_EXAMPLES}")
                for index, (example,) in enumerate(examples.fetchall()):
                    self._report.add(NotTaken(reason, example, is_error=True), number if index == 0 else 0)
                self._database.execute(f"DELETE FROM {table} WHERE {where}")
        self._database.execute("COMMIT")

    def _add(self, record: User | Channel | Member) -> bool:
        values = [_storable(getattr(record, name)) for name in record.__slots__]
        return bool(self._database.execute(_INSERT[type(record)], values).rowcount)

    def _add_message(self, message: Message) -> None:
        where = f"{message.channel} {message.id}"
        if not 0 < message.at <= self._now or message.edited_at > self._now:
            self._report.add(NotTaken("a message from a time that was not", where, is_error=True))
        elif not message.text.strip():
            self._report.add(NotTaken("messages without text", where))
        else:
            reactions = json.dumps([(each.user, each.code, each.at) for each in message.reactions])
            values = [_storable(getattr(message, name)) for name in message.__slots__ if name != "reactions"]
            values.insert(-1, reactions)
            if self._database.execute(_INSERT[Message], values).rowcount:
                return
            # Of two programs' posts at one moment, or an export with an id twice.
            ((text,),) = self._database.execute("SELECT text FROM messages WHERE channel = ? AND id = ?", values[:2])
            values[1] = f"{values[1]}#2"
            if text == values[4] or not self._database.execute(_INSERT[Message], values).rowcount:
                self._report.add(NotTaken("messages that are there twice", where))

    def count(self, table: str) -> int:
        ((number,),) = self._database.execute(f"SELECT COUNT(*) FROM {table}")
        return int(number)

    def count_in(self, channel: str) -> int:
        ((number,),) = self._database.execute("SELECT COUNT(*) FROM messages WHERE channel = ?", (channel,))
        return int(number)

    def users(self) -> Iterator[User]:
        for user_id, username, name, email, is_active in self._database.execute("SELECT * FROM users ORDER BY id"):
            yield User(user_id, username, name, email, bool(is_active))

    def channels(self) -> Iterator[tuple[Channel, list[Member]]]:
        for row in self._database.execute("SELECT * FROM channels ORDER BY id").fetchall():
            channel = Channel(*row)
            members = self._database.execute("SELECT * FROM members WHERE channel = ? ORDER BY user", (channel.id,))
            yield channel, [Member(of, user, bool(is_admin)) for of, user, is_admin in members]

    def messages(self, channel: str) -> Iterator[Message]:
        """By time."""
        of_channel = f"SELECT {_COLUMNS} FROM messages WHERE channel = ? ORDER BY at, number"
        for row in self._database.execute(of_channel, (channel,)):
            fields = dict(zip(Message.__slots__, row, strict=True))
            yield Message(**fields | {"reactions": [Reaction(*each) for each in json.loads(fields["reactions"])]})

    def parents(self, channel: str) -> set[str]:
        """The messages that others say they answer."""
        found = self._database.execute("SELECT DISTINCT parent FROM messages WHERE channel = ?", (channel,))
        return {parent for (parent,) in found}


def _printable(text: str) -> str:
    """What an export holds may be made to write to the terminal of who reads the report."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


def _storable(value: Any) -> Any:
    """Text without NUL, and with a mark in place of halves of surrogate pairs, neither of which a database takes."""
    if not isinstance(value, str):
        return value
    if not value.isascii():
        value = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value.replace("\0", "")
