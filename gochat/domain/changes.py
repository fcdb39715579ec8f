"""The kinds of changes that the log has, as both halves know them."""

from enum import IntEnum


class Kind(IntEnum):
    """What happened, and which columns say of what."""

    BEGIN = 0  # of the log
    MESSAGES_SENT = 1  # conversation_id, first_seq to seq
    MESSAGE_UPDATED = 2  # conversation_id, seq
    MESSAGE_DELETED = 3  # conversation_id, seq
    READ = 4  # conversation_id, user_id, seq
    DELIVERED = 5  # conversation_id, user_id, seq
    CONVERSATION_UPDATED = 6  # conversation_id; user_id: if it is news for them alone
    CONVERSATION_HIDDEN = 7  # conversation_id, user_id
    MEMBER_JOINED = 8  # conversation_id, user_id; detail: the role, or FOUNDING of those with whom it was made
    MEMBER_LEFT = 9  # conversation_id, user_id; detail: LEFT or REMOVED
    MEMBER_UPDATED = 10  # conversation_id, user_id; detail: the role
    GROUP_UPDATED = 11  # conversation_id
    GROUP_DISSOLVED = 12  # conversation_id
    PROFILE_UPDATED = 13  # user_id
    SESSION_ENDED = 14  # user_id; detail: the session


FOUNDING, LEFT, REMOVED = "founding", "left", "removed"  # details
