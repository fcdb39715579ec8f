"""Numbers for operators, counted by scans that read no message."""

from gochat.domain import ids
from gochat.storage.database import Database, Row, Tx

DAY = 24 * 3600 * 1000  # milliseconds
MONTH = 30 * DAY

_USERS = """
SELECT COUNT(*) FILTER (WHERE status = 1), COUNT(*) FILTER (WHERE status = 2), COUNT(*) FILTER (WHERE status = 3)
FROM users"""
_ACTIVE = "SELECT COUNT(*) FILTER (WHERE active_at >= ?), COUNT(*) FROM activity WHERE active_at >= ?"
_CONVERSATIONS = """
SELECT SUM(last_seq), COUNT(*) FILTER (WHERE type = 'single'), COUNT(*) FILTER (WHERE type = 'group'),
    COUNT(*) FILTER (WHERE type = 'group' AND dissolved_at = 0),
    COUNT(*) FILTER (WHERE type = 'single' AND updated_at >= ?),
    COUNT(*) FILTER (WHERE type = 'group' AND dissolved_at = 0 AND updated_at >= ?),
    SUM(member_count) FILTER (WHERE type = 'group' AND dissolved_at = 0)
FROM conversations"""
_NAMES = (
    *("users_active", "users_disabled", "users_deleted", "active_day", "active_month", "messages_sent"),
    *("singles_created", "groups_created", "groups", "singles_active", "groups_active", "group_members"),
)


def count(database: Database) -> dict[str, int]:
    """By the names of gochat.monitoring.families."""
    now = ids.now_ms()
    day, month = now - DAY, now - MONTH

    def work(tx: Tx) -> list[Row | None]:
        return [tx.fetch_one(_USERS), tx.fetch_one(_ACTIVE, day, month), tx.fetch_one(_CONVERSATIONS, day, day)]

    numbers = [int(number or 0) for row in database.read(work) for number in row or ()]
    return dict(zip(_NAMES, numbers, strict=True))
