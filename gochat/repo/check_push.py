"""The invariants of push tokens and of who is to be notified, as check.py judges them."""

# (table, sentence, a SELECT of the keys of the rows of which the sentence is true)
PUSH_RULES = (
    (
        "push_tokens",
        "platform is unknown",
        "SELECT token_id FROM push_tokens WHERE platform NOT IN ('apns', 'fcm', 'webpush', 'custom')",
    ),
    (
        "push_tokens",
        "session_id is of another user, or in no session",
        "SELECT token_id FROM push_tokens AS token WHERE session_id IS NOT NULL AND NOT EXISTS ("
        "SELECT 1 FROM sessions WHERE sessions.session_id = token.session_id AND sessions.user_id = token.user_id)",
    ),
    (
        "push_pending",
        "its messages are not in the conversation",
        "SELECT pending.conversation_id, pending.user_id FROM push_pending AS pending"
        " JOIN conversations AS conversation ON conversation.conversation_id = pending.conversation_id"
        " WHERE pending.first_seq > pending.seq OR pending.first_seq < 0 OR pending.seq > conversation.last_seq",
    ),
)
