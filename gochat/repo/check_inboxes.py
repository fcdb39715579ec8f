"""What members repeat of their conversations, as check.py judges it."""

from gochat.storage.models import LOOKED_UP, MAX_INBOX_MEMBERS

# Of a row t of members and c of its conversation. A large one is looked up, up to date, or known to have moved.
ASTRAY = f"""CASE
    WHEN c.member_count <= {MAX_INBOX_MEMBERS} THEN t.last_seq <> c.last_seq OR t.active_at <> c.updated_at
    WHEN t.active_at = {LOOKED_UP} THEN t.last_seq <> {LOOKED_UP}
    ELSE NOT EXISTS (
        SELECT 1 FROM inboxes own
        WHERE own.user_id = t.user_id AND (
            c.position >= own.position OR (t.last_seq, t.active_at) = (c.last_seq, c.updated_at)
        )
    )
END"""
