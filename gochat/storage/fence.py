"""Keeps a process off an old primary of PostgreSQL: one that hung or was cut off while its standby was promoted, and is
back. It still takes writes, which nobody else sees and which are lost.

A server that is promoted counts its timeline up. Of the connections that a process makes, and of the servers that its
URL names, the newest timeline counts: no connection to a server of an older one is used. A server that alone is left is
taken as it is, and what was written before a process has looked is written; so this does not take the place of fencing
the old primary, which whoever promotes the standby has to see to.

Threads: any may call the methods.
"""

import logging
import threading
from collections.abc import Sequence
from contextlib import closing
from weakref import WeakKeyDictionary

import peewee

from gochat.storage.connecting import Server

LOOK_INTERVAL = 5.0  # seconds between two looks at all servers of the URL

TIMELINE = "left(pg_walfile_name(pg_current_wal_lsn()), 8)"
"""SQL: that of a server which is no standby, in eight hexadecimal digits."""

_TIMELINE = f"SELECT CASE WHEN pg_is_in_recovery() THEN '' ELSE {TIMELINE} END"

log = logging.getLogger(__name__)


class Fence:
    """servers: those that the URL names, each by itself."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self.servers = servers
        self._lock = threading.Lock()
        self._newest = ""  # timeline; "" of a standby
        self._of = WeakKeyDictionary[peewee.Database, str]()
        self._said = ""

    def admits(self, database: peewee.Database) -> bool:
        """Of a new connection."""
        timeline = _timeline(database)
        with self._lock:
            self._newest = max(self._newest, timeline)
            self._of[database] = timeline
        return self.is_current(database)

    def is_current(self, database: peewee.Database) -> bool:
        """Of one that was admitted."""
        with self._lock:
            return self._of[database] in ("", self._newest)

    def look(self) -> None:
        """Looks at all servers, and says if several take writes."""
        found = {}
        for server in self.servers:
            try:
                with closing(server.connect({})) as database:
                    if timeline := _timeline(database):
                        found[server.name] = timeline
            except peewee.OperationalError:
                continue
        with self._lock:
            self._newest = max(self._newest, *found.values(), "")
        old = ", ".join(name for name, timeline in found.items() if timeline < self._newest)
        if old and old != self._said:
            log.error("a server takes writes that is the primary no more, and is not written to: stop %s", old)
        self._said = old


def _timeline(database: peewee.Database) -> str:
    return str(database.execute_sql(_TIMELINE).fetchone()[0])
