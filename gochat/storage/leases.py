"""That this process uses a PostgreSQL database: a row of the table processes, which it renews, and deletes at its end.

A session lock would say the same, but a pooler hands sessions around. Who comes reads the rows of others and writes
its own in one transaction, under an advisory lock of that transaction, so of two that come together the second one
sees the first. A process that was killed leaves a row that is not renewed any more: whoever comes waits until it is
LEASE seconds old, by the clock of the database's host. Who could not renew its own for so long, by the steady clock of
its own host, writes nothing more until it has it again.

Threads: `renew` may be called by several at once, since each statement stands alone; `_valid_until` is read and written
as a whole.
"""

import math
import os
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from gochat.background import ending, periodic
from gochat.context import SERVICE, Call, Lane, entered
from gochat.errors import ChatError, unavailable
from gochat.storage.database import DatabaseInUseError, Row, Tx
from gochat.storage.migrate import LOCK, is_migrated, tables

LEASE = 15.0  # seconds after which a row that was not renewed counts no more
RENEW_AFTER = 2.0  # seconds after which it is renewed; a server's probe does so before
CHECK_INTERVAL = 1.0  # seconds between two looks whether it is time to
TIMEOUT = 2.0  # seconds of a statement that renews or releases it
RENEWED_WITHIN = 4.0  # seconds after which that of a process that lives certainly was
LOOK_INTERVAL = 0.2  # seconds between two looks at the rows of others
LOCK_TIMEOUT = 3.0  # seconds that the advisory lock is tried
IN_USE_LOCK = 0x676F63686175  # its number: any but that of migrate.py
OLDER = "of an older version"  # each connection of which holds the lock

_TABLE = """
CREATE TABLE IF NOT EXISTS processes (
    process_id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    alone INTEGER NOT NULL,
    renewed_at BIGINT NOT NULL
)"""
_NOW = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
# A row of the future is one from before the clock was set back.
_DELETE_EXPIRED = f"DELETE FROM processes WHERE abs({_NOW} - renewed_at) >= ?"  # noqa: S608 - a constant
_LOCK = {True: "SELECT pg_try_advisory_xact_lock(?)", False: "SELECT pg_try_advisory_xact_lock_shared(?)"}
"""By whether it is for one process alone."""
_OTHERS = "SELECT process_id, name, renewed_at FROM processes WHERE process_id <> ? AND (alone = 1 OR ? = 1)"
_CLAIM = f"""
INSERT INTO processes (process_id, name, alone, renewed_at) VALUES (?, ?, ?, {_NOW})
ON CONFLICT (process_id) DO UPDATE SET renewed_at = excluded.renewed_at"""  # noqa: S608 - a constant
_RENEW = f"UPDATE processes SET renewed_at = {_NOW} WHERE process_id = ? RETURNING renewed_at"  # noqa: S608 - as above
_RELEASE = "DELETE FROM processes WHERE process_id = ?"


class DatabaseLease:
    """write: as of PostgresDatabase, whatever the lease. alone: no other process may use the database meanwhile."""

    def __init__(self, write: Callable[..., Any], *, alone: bool) -> None:
        self._write, self._alone = write, alone
        self._id, self._name = secrets.token_hex(8), f"{os.getpid()} on {socket.gethostname()}"
        self._valid_until = math.inf  # of the time of time.monotonic(); nothing is refused before there is a claim
        self._loops = ExitStack()
        self._claimed = self._released = False

    def must_hold(self) -> None:
        """Raises UNAVAILABLE where another process may have the database for itself."""
        if time.monotonic() > self._valid_until:
            raise unavailable("the database may be in use by another process: this one has not reached it for a while")

    def claim(self, show: Callable[[str], None]) -> None:
        """Does nothing in a database that has not GoChat's tables yet, nor when it is repeated. Where processes may be
        dead, waits until that is certain; show is given a line about it. Raises DatabaseInUseError for one that lives,
        which its row shows by being renewed."""
        if self._claimed:
            return
        began, shown, first_seen = time.monotonic(), False, dict[str, int]()
        while others := self._others():
            waited = time.monotonic() - began
            for other, name, renewed_at in others:
                longest = LEASE + LOOK_INTERVAL if other else LOCK_TIMEOUT
                if first_seen.setdefault(other, renewed_at) != renewed_at or waited > longest:
                    raise DatabaseInUseError(self._refusal(name))
            if waited > RENEWED_WITHIN and not shown:
                shown = True
                show(f"waiting {LEASE:g} s at most for a process that has the database and seems dead ({others[0][1]})")
            time.sleep(LOOK_INTERVAL)
        if self._claimed:
            self._loops.enter_context(periodic("lease of the database", self._keep, CHECK_INTERVAL))

    def renew(self) -> int:
        """Returns what the clock of the database's host shows, in Unix milliseconds. Raises ChatError."""
        asked_at = time.monotonic()
        renewed = self._write(lambda tx: tx.fetch_all(_RENEW, self._id), one_statement=True)
        if not renewed:  # it was lost, and may be another's
            if self._released:
                raise unavailable("the server is stopping")
            if others := self._others():
                self._valid_until = 0.0
                raise unavailable(self._refusal(others[0][1]))
            return self.renew()
        self._valid_until = asked_at + LEASE
        return int(renewed[0][0])

    def release(self) -> None:
        """Lets others in at once."""
        self._released = True
        self._loops.close()
        if self._claimed:
            with suppress(ChatError), _calling(ending(TIMEOUT)):
                self._write(lambda tx: tx.sql(_RELEASE, self._id), one_statement=True)

    def _keep(self) -> None:
        if time.monotonic() > self._valid_until - LEASE + RENEW_AFTER:
            with _calling(TIMEOUT):
                self.renew()

    def _others(self) -> list[Row]:
        """(id, name, when renewed) of those that are in the way. If there are none, this process has its row."""
        asked_at = time.monotonic()
        others: list[Row] | None = self._write(self._claim)
        if others == []:
            self._claimed, self._valid_until = True, asked_at + LEASE
        return others or []

    def _claim(self, tx: Tx) -> list[Row] | None:
        if not is_migrated(tx):
            return None
        ((locked,),) = tx.fetch_all(_LOCK[self._alone], IN_USE_LOCK)
        if not locked:
            return [("", OLDER, 0)]
        if "processes" not in tables(tx):
            tx.sql("SELECT pg_advisory_xact_lock(?)", LOCK)
            tx.sql(_TABLE)
        tx.sql(_DELETE_EXPIRED, int(LEASE * 1000))
        if others := tx.fetch_all(_OTHERS, self._id, int(self._alone)):
            return others
        tx.sql(_CLAIM, self._id, self._name, int(self._alone))
        return []

    def _refusal(self, name: str) -> str:
        user = "another gochat process" if self._alone else "gochat copy or gochat key rotate"
        return f"the database is in use by {user} ({name})"


def _calling(seconds: float) -> entered:
    return entered(Call(SERVICE, "-", time.monotonic() + seconds, SERVICE, lane=Lane.CONTROL))
