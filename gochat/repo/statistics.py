"""Numbers for operators, counted by scans that read no message."""

from gochat.domain import ids
from gochat.domain.webhooks import PARKED, PENDING
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
# Of the log, about: positions and ids have few gaps. Its first row may only say from where on it is complete, without a
# time.
_CHANGES = {
    False: "SELECT MAX(position) - MIN(position) + 1 FROM changes",
    True: """
SELECT (SELECT id FROM changes ORDER BY position DESC, id DESC LIMIT 1)
    - (SELECT id FROM changes ORDER BY position, id LIMIT 1) + 1""",
}
_OLDEST_CHANGE = """
SELECT MAX(first.at) / 1000 FROM (SELECT at FROM changes ORDER BY position LIMIT 2) AS first"""
_HELD_BACK = {
    False: "SELECT 0",
    True: """
SELECT EXTRACT(EPOCH FROM clock_timestamp() - MIN(xact_start))
FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND datname = current_database()""",
}
_WEBHOOKS = f"""
SELECT COUNT(*) FILTER (WHERE state = '{PENDING}'), COUNT(*) FILTER (WHERE state = '{PARKED}')
FROM webhook_deliveries"""
_NAMES = (
    *("users_active", "users_disabled", "users_deleted", "active_day", "active_month", "messages_sent"),
    *("singles_created", "groups_created", "groups", "singles_active", "groups_active", "group_members"),
    *("changes", "changes_since", "changes_held_back"),
    *("webhooks_pending", "webhooks_parked"),
)


def count(database: Database) -> dict[str, int]:
    """By the names of gochat.monitoring.families."""
    now = ids.now_ms()
    day, month = now - DAY, now - MONTH

    def work(tx: Tx) -> list[Row | None]:
        return [
            tx.fetch_one(_USERS),
            tx.fetch_one(_ACTIVE, day, month),
            tx.fetch_one(_CONVERSATIONS, day, day),
            tx.fetch_one(_CHANGES[tx.postgres]),
            tx.fetch_one(_OLDEST_CHANGE),
            tx.fetch_one(_HELD_BACK[tx.postgres]),
            tx.fetch_one(_WEBHOOKS),
        ]

    numbers = [int(number or 0) for row in database.read(work) for number in row or ()]
    return dict(zip(_NAMES, numbers, strict=True))
