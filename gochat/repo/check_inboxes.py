"""What members repeat of their conversations, as check.py judges it."""

from gochat.storage.models import LOOKED_UP, MAX_INBOX_MEMBERS

# Of a row t of members and c of its conversation. A large one is looked up, up to date, or known to have moved; on a
# Citus cluster nobody has an inbox, so all large ones are looked up.
_NOT_CARRIED = """NOT EXISTS (
        SELECT 1 FROM inboxes own
        WHERE own.user_id = t.user_id AND (
            c.position >= own.position OR (t.last_seq, t.active_at) = (c.last_seq, c.updated_at)
        )
    )"""
_CASES = f"""CASE
    WHEN c.member_count <= {MAX_INBOX_MEMBERS} THEN t.last_seq <> c.last_seq OR t.active_at <> c.updated_at
    WHEN t.active_at = {LOOKED_UP} THEN t.last_seq <> {LOOKED_UP}
    ELSE %s
END"""
ASTRAY, _ASTRAY_OF_NODES = _CASES % _NOT_CARRIED, _CASES % "TRUE"


def inbox_rules(*, distributed: bool) -> list[tuple[str, str, str]]:
    """(table, sentence, a SELECT of the keys of the rows of which the sentence is true)"""
    astray = _ASTRAY_OF_NODES if distributed else ASTRAY
    offenders = f"""
SELECT t.conversation_id, t.user_id FROM members t WHERE EXISTS (
    SELECT 1 FROM conversations c WHERE c.conversation_id = t.conversation_id AND {astray}
)"""
    return [("members", "last_seq or active_at is not what it is to carry (sql/README.md)", offenders)]
