"""PostgreSQL: a pool of connections to one server."""

from typing import cast

import peewee
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from gochat.repo.database import Pool, T, Tx, Undo, Work, driver_error, failures_named, is_lost

ATTEMPTS = 3
REPEATABLE = {"40001", "40P01"}  # serialization_failure, deadlock_detected: nothing was written
OPTIONS = "-c statement_timeout=30s -c idle_in_transaction_session_timeout=60s"


class PostgresDatabase:
    """url: postgresql://user:password@host:port/name, as libpq reads it."""

    def __init__(self, url: str, pool_min: int, pool_max: int) -> None:
        self._url = url
        with failures_named():
            self._pool = Pool(self._connect, _idle, warm=pool_min, most=pool_max)

    def _connect(self) -> peewee.Database:
        database = peewee.PostgresqlDatabase(
            self._url, thread_safe=False, connect_timeout=5, application_name="gochat", options=OPTIONS
        )
        database.connect()
        return database

    def read(self, work: Work[T]) -> T:
        return self._transact("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", work)

    def write(self, work: Work[T]) -> T:
        # READ COMMITTED: a statement that waited for a row's lock sees what the lock's holder committed.
        return self._transact("BEGIN", work)

    def _transact(self, begin: str, work: Work[T]) -> T:
        with failures_named():
            for _ in range(ATTEMPTS - 1):
                try:
                    return self._once(begin, work)
                except _Again:
                    continue
            return self._once(begin, work)

    def _once(self, begin: str, work: Work[T]) -> T:
        """Raises _Again, which carries the error, where nothing can have been written."""
        committing = False
        with self._pool.lent() as database:
            try:
                database.execute_sql(begin)
                answer = work(Tx(database))
                committing = True
                database.execute_sql("COMMIT")
                return answer
            except Undo as undo:
                database.execute_sql("ROLLBACK")
                return cast("T", undo.answer)
            except Exception as error:
                lost = bool(database.connection().closed)
                if lost:
                    self._pool.close()
                else:
                    database.execute_sql("ROLLBACK")
                # After a COMMIT without an answer nobody knows whether it happened: that is not repeated.
                if (lost and not committing and is_lost(error)) or _sqlstate(error) in REPEATABLE:
                    raise _Again(*error.args) from error
                raise

    def close(self) -> None:
        self._pool.close()


class _Again(peewee.OperationalError):
    """The transaction was taken back by no fault of its own and may be run again."""


def _idle(database: peewee.Database) -> bool:
    connection = database.connection()
    return not connection.closed and connection.get_transaction_status() == TRANSACTION_STATUS_IDLE


def _sqlstate(error: Exception) -> str:
    return getattr(driver_error(error), "pgcode", None) or ""
