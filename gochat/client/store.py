"""What a client keeps, in an SQLite file or in memory: messages to be sent, how far it has read, conversations,
messages.

In memory only the newest messages are kept. A file is one client's at a time: SQLite's own lock on it sees to that.
"""

import os
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gochat.api.common.v1.common_pb2 import Message
from gochat.api.event.v1.event_pb2 import ConversationState, Event
from gochat.api.logic.v1.logic_pb2 import SendMessageRequest
from gochat.client import ids
from gochat.client.errors import ChatError, closed
from gochat.client.state import RECALLED, applied, uncount

MAX_IN_MEMORY = 2_000  # messages
VERSION = 1
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
    message BLOB NOT NULL,
    UNIQUE (conversation_id, seq)
);
CREATE TABLE outgoing (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    client_msg_id TEXT NOT NULL UNIQUE,
    request BLOB NOT NULL,  -- a SendMessageRequest
    failed TEXT NOT NULL DEFAULT ''  -- the error for which it is not tried again
);
"""


class Store:
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
            self._database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {VERSION};")
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

    # Settings: device_id, user_id, refresh_token, cursor.

    def get(self, name: str) -> str:
        found = self._sql("SELECT value FROM settings WHERE name = ?", name)
        return str(found[0][0]) if found else ""

    def set(self, name: str, value: str) -> None:
        self._sql("INSERT INTO settings VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", name, value)

    # Conversations and messages.

    def delivered_seq(self, conversation_id: str) -> int | None:
        """None: of a conversation that it does not know."""
        found = self._sql("SELECT delivered_seq FROM conversations WHERE conversation_id = ?", conversation_id)
        return int(found[0][0]) if found else None

    def set_delivered(self, conversation_id: str, seq: int) -> None:
        self._sql(
            """INSERT INTO conversations (conversation_id, delivered_seq) VALUES (?, ?)
            ON CONFLICT DO UPDATE SET delivered_seq = excluded.delivered_seq""",
            *(conversation_id, seq),
        )

    def state(self, conversation_id: str) -> ConversationState | None:
        found = self._sql("SELECT state FROM conversations WHERE conversation_id = ?", conversation_id)
        return ConversationState.FromString(found[0][0]) if found and found[0][0] is not None else None

    def states(self) -> list[ConversationState]:
        """The latest activity first."""
        rows = self._sql("SELECT state FROM conversations WHERE state IS NOT NULL")
        states = [ConversationState.FromString(state) for (state,) in rows]
        return sorted(states, key=lambda state: -state.info.updated_at)

    def put_state(self, conversation_id: str, state: ConversationState | None) -> None:
        self._sql(
            """INSERT INTO conversations (conversation_id, state) VALUES (?, ?)
            ON CONFLICT DO UPDATE SET state = excluded.state""",
            *(conversation_id, None if state is None else state.SerializeToString()),
        )

    def put_states(self, states: Iterable[ConversationState]) -> None:
        """All conversations of the user, and no others."""
        with self.transaction():
            self._sql("UPDATE conversations SET state = NULL")
            for state in states:
                self.put_state(state.info.conversation_id, state)

    def messages(self, conversation_id: str, before_seq: int, limit: int) -> list[Message]:
        """Newest first. before_seq: exclusive; 0: from the newest."""
        rows = self._sql(
            """SELECT message FROM messages WHERE conversation_id = ? AND seq < ?
            ORDER BY seq DESC LIMIT ?""",
            *(conversation_id, before_seq or 2**62, limit),
        )
        return [Message.FromString(message) for (message,) in rows]

    def _message(self, message_id: str) -> Message | None:
        conversation_id, seq = ids.split(message_id)
        found = self.messages(conversation_id, seq + 1, 1)
        return found[0] if found and found[0].message_id == message_id else None

    def put_messages(self, messages: Iterable[Message]) -> None:
        with self.transaction():
            for message in messages:
                self._put_message(message)

    def _put_message(self, message: Message) -> None:
        conversation_id, seq = ids.split(message.message_id)
        with self._lock:
            self._sql(
                """INSERT INTO messages (conversation_id, seq, message) VALUES (?, ?, ?)
                ON CONFLICT (conversation_id, seq) DO UPDATE SET message = excluded.message""",
                *(conversation_id, seq, message.SerializeToString()),
            )
            if self._in_memory:
                self._sql("DELETE FROM messages WHERE number <= (SELECT MAX(number) FROM messages) - ?", MAX_IN_MEMORY)

    def forget(self, conversation_id: str) -> None:
        self._sql("DELETE FROM conversations WHERE conversation_id = ?", conversation_id)
        self.delete_messages(conversation_id, 0)

    def known(self) -> list[str]:
        return [str(row[0]) for row in self._sql("SELECT conversation_id FROM conversations")]

    def delete_messages(self, conversation_id: str, after_seq: int) -> None:
        self._sql("DELETE FROM messages WHERE conversation_id = ? AND seq > ?", conversation_id, after_seq)

    def apply(self, event: Event, user_id: str) -> None:
        """What an event says. user_id: whose store it is."""
        conversation_id = event.conversation_id
        if not conversation_id or event.HasField("typing"):
            return
        with self.transaction():
            gone = None
            if event.HasField("message_sent"):
                self._put_message(event.message_sent.message)
            elif event.HasField("message_updated"):
                message = event.message_updated.message
                if message.status == RECALLED:
                    unknown = Message(message_id=message.message_id, from_user_id=message.from_user_id)
                    gone = self._message(message.message_id) or unknown
                self._put_message(message)
            elif event.HasField("message_deleted"):
                gone = self._message(event.message_deleted.message_id)
                seq = ids.split(event.message_deleted.message_id)[1]
                self._sql("DELETE FROM messages WHERE conversation_id = ? AND seq = ?", conversation_id, seq)
            elif event.HasField("conversation_hidden"):
                self.delete_messages(conversation_id, 0)
            before = self.state(conversation_id)
            after = applied(before, event, user_id)
            if after is not None and gone is not None:
                uncount(after, gone, user_id)
                if event.HasField("message_deleted") and gone.message_id == after.info.last_message.message_id:
                    after.info.ClearField("last_message")
                    for newest in self.messages(conversation_id, 0, 1):
                        after.info.last_message.CopyFrom(newest)
            if after is not None or before is not None:
                self.put_state(conversation_id, after)

    # Outgoing messages.

    def put_outgoing(self, request: SendMessageRequest) -> None:
        """Raises ChatError where the key is in the queue already."""
        key = request.metadata["client_msg_id"]
        try:
            self._sql("INSERT INTO outgoing (client_msg_id, request) VALUES (?, ?)", key, request.SerializeToString())
        except sqlite3.IntegrityError:
            raise ChatError("ALREADY_EXISTS", "this client_msg_id is being sent", "CLIENT_MSG_ID_REUSED") from None

    def outgoing(self) -> list[tuple[SendMessageRequest, str]]:
        """(request, error for which it is not tried again), in the order in which they were put."""
        rows = self._sql("SELECT request, failed FROM outgoing ORDER BY number")
        return [(SendMessageRequest.FromString(request), str(failed)) for request, failed in rows]

    def set_failed(self, client_msg_id: str, error: str) -> None:
        """error: empty to try it again, at the end of the queue."""
        if error:
            self._sql("UPDATE outgoing SET failed = ? WHERE client_msg_id = ?", error, client_msg_id)
        else:
            self._sql(
                """UPDATE outgoing SET failed = '', number = (SELECT MAX(number) + 1 FROM outgoing)
                WHERE client_msg_id = ?""",
                client_msg_id,
            )

    def delete_outgoing(self, client_msg_id: str) -> None:
        self._sql("DELETE FROM outgoing WHERE client_msg_id = ?", client_msg_id)


def _failed(error: sqlite3.DatabaseError) -> ChatError:
    return ChatError("INTERNAL", f"the store: {error}", "STORE_FAILED")
