"""The invariants of the change log, as check.py judges them: what streams that read it rely on."""

from gochat.domain import ids
from gochat.domain.changes import Kind

_CLOCK = 60_000  # milliseconds by which the clocks of two processes may differ
_KINDS = ", ".join(str(int(kind)) for kind in Kind)

# Of messages that are newer than the log there must be a row; of older ones there may be none any more.
_NOT_AT_THE_END = f"""
SELECT conversation.conversation_id
FROM conversations AS conversation
LEFT JOIN (
    SELECT conversation_id, MAX(seq) AS seq FROM changes WHERE kind = {int(Kind.MESSAGES_SENT)} GROUP BY conversation_id
) AS sent ON sent.conversation_id = conversation.conversation_id
WHERE sent.seq <> conversation.last_seq OR (sent.seq IS NULL AND EXISTS (
    SELECT 1 FROM messages AS newest
    WHERE newest.conversation_id = conversation.conversation_id AND newest.seq = conversation.last_seq
        AND newest.created_at > (SELECT at FROM changes ORDER BY position LIMIT 1) + {_CLOCK}
))"""
# On a Citus cluster, which joins the log with its nodes' tables as the result of a statement. What they have not handed
# over yet counts; nodes and log are not read in one moment, so the latest minute is left out.
_NOT_AT_THE_END_OF_NODES = f"""
WITH sent AS MATERIALIZED (
    SELECT conversation_id, MAX(seq) AS seq FROM changes WHERE kind = {int(Kind.MESSAGES_SENT)} GROUP BY conversation_id
), log AS MATERIALIZED (
    SELECT at FROM changes ORDER BY position LIMIT 1
)
SELECT conversation.conversation_id
FROM conversations AS conversation
JOIN log ON TRUE
LEFT JOIN sent ON sent.conversation_id = conversation.conversation_id
LEFT JOIN messages AS newest ON newest.conversation_id = conversation.conversation_id
    AND newest.seq = conversation.last_seq
LEFT JOIN (
    SELECT conversation_id, MAX(seq) AS seq FROM outgoing_changes
    WHERE kind = {int(Kind.MESSAGES_SENT)} GROUP BY conversation_id
) AS outgoing ON outgoing.conversation_id = conversation.conversation_id
WHERE (
    COALESCE(outgoing.seq, sent.seq) <> conversation.last_seq
    OR COALESCE(outgoing.seq, sent.seq) IS NULL AND newest.created_at > log.at + {_CLOCK}
) AND newest.created_at < {{now}} - {_CLOCK}"""
_ELSEWHERE_OF_NODES = """
WITH there AS MATERIALIZED (SELECT conversation_id FROM conversations)
SELECT {key} FROM changes
WHERE conversation_id <> '' AND conversation_id NOT IN (SELECT conversation_id FROM there)"""
_GAPS = """
SELECT position FROM (
    SELECT position, LAG(position) OVER (ORDER BY position) AS before FROM changes
) AS change
WHERE position <> before + 1"""
_UNDELIVERED = """
SELECT member.conversation_id, member.user_id
FROM members AS member
JOIN conversations AS conversation ON conversation.conversation_id = member.conversation_id
WHERE member.delivered_seq < 0 OR member.delivered_seq > conversation.last_seq"""
_ELSEWHERE = """
SELECT {key} FROM changes
WHERE conversation_id <> '' AND conversation_id NOT IN (SELECT conversation_id FROM conversations)"""


def log_rules(*, postgres: bool, distributed: bool) -> list[tuple[str, str, str]]:
    """(table, sentence, a SELECT of the keys of the rows of which the sentence is true)"""
    key = "position, id" if postgres else "position"
    elsewhere, not_at_the_end = _ELSEWHERE, _NOT_AT_THE_END
    if distributed:
        elsewhere, not_at_the_end = _ELSEWHERE_OF_NODES, _NOT_AT_THE_END_OF_NODES.format(now=ids.now_ms())
    rules = [
        ("changes", "kind is unknown", f"SELECT {key} FROM changes WHERE kind NOT IN ({_KINDS})"),
        ("changes", "conversation_id is not in conversations", elsewhere.format(key=key)),
        ("conversations", "the newest message in the log of changes is not that of last_seq", not_at_the_end),
        ("members", "delivered_seq is below 0 or beyond last_seq", _UNDELIVERED),
        (
            "secrets",
            "is missing: the log of changes has no epoch",
            "SELECT 'epoch' AS name WHERE NOT EXISTS (SELECT 1 FROM secrets WHERE name = 'epoch')",
        ),
        ("changes", "there is no row", "SELECT 'none' AS position WHERE NOT EXISTS (SELECT 1 FROM changes)"),
    ]
    # On PostgreSQL positions are transactions, of which most change nothing that clients see.
    return rules if postgres else [*rules, ("changes", "the position before is missing", _GAPS)]
