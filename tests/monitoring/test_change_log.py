"""The size and the age of the log of changes, as operators see them."""

import time

from gochat.context import SERVICE, Call, entered
from gochat.domain.changes import Kind
from gochat.repo import statistics
from gochat.repo.changes import add_change
from gochat.storage.database import Database


def test_the_log_of_changes_is_counted(database: Database) -> None:
    before = statistics.count(database)
    with entered(Call(SERVICE, "-", time.monotonic() + 10, SERVICE)):
        database.write(lambda tx: [add_change(tx, Kind.PROFILE_UPDATED, user_id="u1") for _ in range(3)])
    after = statistics.count(database)
    assert (before["changes"], after["changes"]) == (1, 4)
    assert abs(after["changes_since"] - time.time()) < 60
    assert after["changes_held_back"] == 0
