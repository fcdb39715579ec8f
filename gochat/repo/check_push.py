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
        "session_id is of another user",
        "SELECT token.token_id FROM push_tokens AS token"
        " JOIN sessions AS session ON session.session_id = token.session_id WHERE session.user_id <> token.user_id",
    ),
    (
        "push_pending",
        "its messages are not in the conversation",
        "SELECT pending.conversation_id, pending.user_id FROM push_pending AS pending"
        " JOIN conversations AS conversation ON conversation.conversation_id = pending.conversation_id"
        " WHERE pending.first_seq > pending.seq OR pending.first_seq < 0 OR pending.seq > conversation.last_seq",
    ),
)
