"""What an error of the database means: one table of SQLSTATEs (PostgreSQL, appendix A) and one of SQLite's codes."""

import sqlite3
from enum import Enum
from typing import Any

import peewee


class Failure(Enum):
    """LOST: the connection or the server is gone; another connection may work. BUSY: another transaction was in the
    way, or time or room ran out; later it works. REFUSED: the database takes no such statement in the state that it is
    in (read-only, full, rights withdrawn), which an operator or a failover changes. BUG: the statement is wrong.

    All but BUG are UNAVAILABLE to a client.
    """

    LOST = "lost"
    BUSY = "busy"
    REFUSED = "refused"
    BUG = "a bug"


SQLSTATES = {
    "08": Failure.LOST,  # connection exceptions
    "57P": Failure.LOST,  # shut down, crashed, starting, database dropped, idle for too long
    "25P03": Failure.LOST,  # idle_in_transaction_session_timeout
    "25P04": Failure.LOST,  # transaction_timeout
    "57014": Failure.BUSY,  # canceled, by statement_timeout too
    "55P03": Failure.BUSY,  # lock_timeout
    "55006": Failure.BUSY,  # object in use
    "40": Failure.BUSY,  # serialization failures, deadlocks
    "53": Failure.BUSY,  # memory, connections, locks
    "53100": Failure.REFUSED,  # disk full
    "25006": Failure.REFUSED,  # read-only transaction: a standby, default_transaction_read_only
    "42501": Failure.REFUSED,  # rights
    "28": Failure.REFUSED,  # the role may not log in
    "3D000": Failure.REFUSED,  # there is no such database
    "3F000": Failure.REFUSED,  # there is no such schema
    "55000": Failure.REFUSED,  # not in the state for that
    "58": Failure.REFUSED,  # I/O errors, missing files
    "72": Failure.BUSY,  # snapshot too old
    "F0": Failure.REFUSED,  # configuration file
    "XX001": Failure.REFUSED,  # damaged data
    "XX002": Failure.REFUSED,  # damaged index
}
"""By the longest prefix of a SQLSTATE; any other is a BUG."""

SQLITE_CODES = {
    sqlite3.SQLITE_BUSY: Failure.BUSY,
    sqlite3.SQLITE_LOCKED: Failure.BUSY,
    sqlite3.SQLITE_NOMEM: Failure.BUSY,
    sqlite3.SQLITE_INTERRUPT: Failure.BUSY,
    sqlite3.SQLITE_PROTOCOL: Failure.BUSY,
    sqlite3.SQLITE_FULL: Failure.REFUSED,
    sqlite3.SQLITE_IOERR: Failure.REFUSED,
    sqlite3.SQLITE_READONLY: Failure.REFUSED,
    sqlite3.SQLITE_CANTOPEN: Failure.REFUSED,
    sqlite3.SQLITE_PERM: Failure.REFUSED,
    sqlite3.SQLITE_CORRUPT: Failure.REFUSED,
    sqlite3.SQLITE_NOTADB: Failure.REFUSED,
    sqlite3.SQLITE_NOLFS: Failure.REFUSED,
}
"""By the primary result code; any other is a BUG."""

RETRYABLE = {"40001", "40P01"}  # serialization_failure, deadlock_detected: nothing was written
DISK_FULL, READ_ONLY, NO_RIGHTS = "53100", "25006", "42501"


def driver_error(error: BaseException) -> Any:
    """The exception of the database driver that Peewee wrapped, or the error itself."""
    return getattr(error, "orig", None) or error


def sqlstate(error: BaseException) -> str:
    """ "" where there is none: not of PostgreSQL, or of its connection."""
    return getattr(driver_error(error), "pgcode", None) or ""


def failure(error: BaseException) -> Failure | None:
    """None for an error that is not the database's."""
    cause = driver_error(error)
    if (code := getattr(cause, "sqlite_errorcode", None)) is not None:
        return SQLITE_CODES.get(code & 0xFF, Failure.BUG)
    if state := sqlstate(error):
        return next((SQLSTATES[state[:length]] for length in (5, 3, 2) if state[:length] in SQLSTATES), Failure.BUG)
    if isinstance(error, (peewee.OperationalError, peewee.InterfaceError)):
        return Failure.LOST  # libpq's own: there is no connection, or it broke
    return Failure.BUG if isinstance(error, peewee.PeeweeException) else None


def describe(error: BaseException) -> str:
    """For the log: PostgreSQL's primary message and SQLSTATE, without DETAIL, HINT and CONTEXT, which hold values."""
    diagnostics = getattr(driver_error(error), "diag", None)
    primary = getattr(diagnostics, "message_primary", None)
    return f"{primary} ({sqlstate(error)})" if primary else " ".join(str(error).split())


def without_values(error: BaseException) -> None:
    """Takes DETAIL and the like out of an error's text, so that no traceback shows them."""
    cause = driver_error(error)
    if sqlstate(error):
        error.args = cause.args = (describe(error),)
