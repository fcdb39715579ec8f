"""The SQLite database of a store, in a file or in memory: its tables, and how an older file gets them.

A file is one client's at a time: SQLite's own lock on it sees to that.
"""

import os
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gochat.api.common.v1.common_pb2 import Message
from gochat.api.message.v1.message_pb2 import MessageDetail
from gochat.client.errors import ChatError, closed

VERSION = 2
_SCHEMA = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE conversations (
    conversation_id TEXT PRIMARY KEY,
    delivered_seq INTEGER NOT NULL DEFAULT 0,  -- of the newest message that events() has handed over
    state BLOB  -- a ConversationState; NULL: not in the user's list
);
CREATE TABLE messages (
    number INTEGER PRIMARY KEY,
    conversation_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    detail BLOB NOT NULL,  -- a MessageDetail
    reply_seq INTEGER NOT NULL DEFAULT 0,  -- of the message that it answers; 0: none
    UNIQUE (conversation_id, seq)
);
CREATE TABLE outgoing (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    client_msg_id TEXT NOT NULL UNIQUE,
    request BLOB NOT NULL,  -- a SendMessageRequest
    failed TEXT NOT NULL DEFAULT ''  -- the error for which it is not tried again
);
"""
_SECOND = """
CREATE TABLE conversation_settings (conversation_id TEXT PRIMARY KEY, settings BLOB NOT NULL);
CREATE INDEX messages_replies ON messages (conversation_id, reply_seq) WHERE reply_seq > 0;
"""
_FROM_FIRST = """
ALTER TABLE messages RENAME COLUMN message TO detail;
ALTER TABLE messages ADD COLUMN reply_seq INTEGER NOT NULL DEFAULT 0;
UPDATE messages SET detail = as_detail(detail);
"""


class Database:
    """Thread-safe. path: of the file; None: in memory."""

    def __init__(self, path: str | Path | None) -> None:
        self._lock = threading.RLock()
        self._in_memory = path is None
        if path is not None:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # what SQLite puts beside it has the same mode
        self._database = sqlite3.connect(path or ":memory:", timeout=0, check_same_thread=False, isolation_level=None)
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            self._database.close()
            if "locked" not in str(error):
                raise _failed(error) from None
            message = f"{path} is in use by another client"
            raise ChatError("FAILED_PRECONDITION", message, "STORE_IN_USE") from None
        self.device_id = self.get("device_id") or str(uuid.uuid4())
        self.set("device_id", self.device_id)

    def _open(self) -> None:
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = NORMAL"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.execute("BEGIN IMMEDIATE")
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise ChatError("FAILED_PRECONDITION", "the store is of a newer version", "STORE_TOO_NEW")
        if version < VERSION:
            self._database.execute("COMMIT")
            self._database.create_function("as_detail", 1, _as_detail)
            steps = f"{_FROM_FIRST if version else _SCHEMA} {_SECOND}"
            self._database.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {VERSION};")
        self._database.execute("COMMIT")

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def _sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._database.execute(statement, values).fetchall()
            except sqlite3.IntegrityError:
                raise
            except sqlite3.ProgrammingError:
                raise closed() from None
            except sqlite3.DatabaseError as error:
                raise _failed(error) from None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._lock, self._database:
            self._sql("BEGIN IMMEDIATE")
            yield

    # Settings: device_id, user_id, refresh_token, cursor, has_settings (those of conversations were read).

    def get(self, name: str) -> str:
        found = self._sql("SELECT value FROM settings WHERE name = ?", name)
        return str(found[0][0]) if found else ""

    def set(self, name: str, value: str) -> None:
        self._sql("INSERT INTO settings VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", name, value)


def _failed(error: sqlite3.DatabaseError) -> ChatError:
    return ChatError("INTERNAL", f"the store: {error}", "STORE_FAILED")


def _as_detail(message: bytes) -> bytes:
    """Of a message that was stored by itself."""
    return MessageDetail(message=Message.FromString(message)).SerializeToString()
