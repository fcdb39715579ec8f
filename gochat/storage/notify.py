"""NOTIFY of PostgreSQL: messages between the processes that have one database, on a connection of its own.

One thread has the connection. It waits for notifications and, by a pipe that `send` writes to, for messages to send.
Each of these is a transaction of its own, since a NOTIFY takes a lock of the whole server at the commit: within the
transaction of a send it would have all sends wait for each other.
"""

import os
import select
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import peewee
import psycopg2

from gochat.background import periodic
from gochat.errors import unavailable
from gochat.storage.failures import describe

CHANNEL = "gochat_signals"
RETRY_INTERVAL = 1.0  # seconds until the next attempt to connect
WAIT = 0.4  # seconds that the thread waits at most before it looks whether it is to stop
MAX_QUEUED = 1000  # messages that were not sent yet; older ones are lost


class NotifyLink:
    """A Link (gochat/events/links.py). connect(): a new connection; raises peewee's OperationalError."""

    def __init__(self, connect: Callable[[], peewee.Database]) -> None:
        self._connect = connect
        self._connection: Any = None  # of the thread
        self._messages = deque[bytes](maxlen=MAX_QUEUED)
        self._readable, self._writable = os.pipe()
        for end in (self._readable, self._writable):
            os.set_blocking(end, False)
        self._loops = ExitStack()

    def start(self, heard: Callable[[bytes], None], connected: Callable[[], None]) -> None:
        self._loops.enter_context(
            periodic("notifications", lambda: self._step(heard, connected), 0, retry=RETRY_INTERVAL)
        )

    def send(self, data: bytes) -> None:
        self._messages.append(data)
        with suppress(BlockingIOError):  # the pipe is full, so the thread wakes in any case
            os.write(self._writable, b"!")

    def stop(self) -> None:
        self._loops.close()

    def _step(self, heard: Callable[[bytes], None], connected: Callable[[], None]) -> None:
        try:
            if self._connection is None:
                self._connection = self._connect().connection()
                self._connection.autocommit = True
                self._connection.cursor().execute(f"LISTEN {CHANNEL}")
                connected()
            self._exchange(heard)
        except (psycopg2.Error, peewee.PeeweeException, OSError) as error:
            broken, self._connection = self._connection, None
            if broken is not None:
                broken.close()
            raise unavailable(f"the connection for NOTIFY does not work: {describe(error)}") from None

    def _exchange(self, heard: Callable[[bytes], None]) -> None:
        connection = self._connection
        readable, _, _ = select.select([connection, self._readable], [], [], WAIT)
        if self._readable in readable:
            os.read(self._readable, 4096)
        for _ in range(len(self._messages)):
            text = b64encode(self._messages.popleft()).decode()
            connection.cursor().execute("SELECT pg_notify(%s, %s)", (CHANNEL, text))
        connection.poll()
        # Those of this process too, which the server sends to all that listen; others of its channel are not base64.
        for _ in range(len(connection.notifies)):
            notification = connection.notifies.pop(0)
            if notification.pid != connection.info.backend_pid:
                with suppress(ValueError):
                    heard(b64decode(notification.payload, validate=True))
