"""The invariants of users' own settings of conversations, as check.py judges them."""

from gochat.domain.limits import MAX_PINNED

# (table, sentence, a SELECT of the keys of the rows of which the sentence is true)
SETTINGS_RULES = (
    (
        "members",
        "a setting is none",
        "SELECT conversation_id, user_id FROM members WHERE quiet_until < 0 OR pinned_at < 0"
        " OR archived NOT IN (0, 1) OR marked_unread NOT IN (0, 1)",
    ),
    (
        "members",
        "joined_seq is below -1 or beyond last_seq",
        "SELECT member.conversation_id, member.user_id FROM members AS member"
        " JOIN conversations AS conversation ON conversation.conversation_id = member.conversation_id"
        " WHERE member.joined_seq < -1 OR member.joined_seq > conversation.last_seq",
    ),
    (
        "users",
        f"has pinned more than {MAX_PINNED} conversations",
        f"SELECT user_id FROM members WHERE pinned_at > 0 GROUP BY user_id HAVING COUNT(*) > {MAX_PINNED}",
    ),
)
