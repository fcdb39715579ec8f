"""The invariants of what groups let people do, as check.py judges them."""

from collections.abc import Iterator

from gochat.repo.membership import search_key
from gochat.storage.database import Tx

_PAGE = 10_000  # rows in memory
_KEYS = {
    "bans": ("conversation_id", "user_id"),
    "join_requests": ("conversation_id", "user_id"),
    "member_details": ("conversation_id", "user_id"),
    "invitations": ("conversation_id", "token"),
    "conversations": ("conversation_id",),
}
_IS_MEMBER = "EXISTS (SELECT 1 FROM members m WHERE m.conversation_id = t.conversation_id AND m.user_id = t.{})"
_HAS_GROUP = (
    "EXISTS (SELECT 1 FROM conversations c WHERE c.conversation_id = t.conversation_id AND c.type = 'group'"
    " AND c.dissolved_at = 0)"
)
_IS_USER = "EXISTS (SELECT 1 FROM users u WHERE u.user_id = t.user_id AND u.status < {})"
_WORDS = " OR ".join(f"t.{column} NOT IN ('everyone', 'managers')" for column in ("posting", "adding", "editing"))

# (table, sentence, a condition on a row t of it)
_RULES = (
    (
        "conversations",
        "a setting is none",
        f"{_WORDS} OR t.joining NOT IN ('open', 'approval', 'invitation', 'closed')"
        " OR t.slow_mode_seconds NOT BETWEEN 0 AND 86400",
    ),
    ("conversations", "is searchable and no living group", f"t.search_key <> '' AND NOT {_HAS_GROUP}"),
    ("member_details", "muted_until or last_sent_at is below 0", "t.muted_until < 0 OR t.last_sent_at < 0"),
    (
        "member_details",
        "is muted beyond muted_until of the conversation",
        "EXISTS (SELECT 1 FROM conversations c WHERE c.conversation_id = t.conversation_id"
        " AND c.muted_until < t.muted_until)",
    ),
    (
        "member_details",
        "has a title or a name and is no member",
        f"(t.title <> '' OR t.group_nickname <> '') AND NOT {_IS_MEMBER.format('user_id')}",
    ),
    *((table, "conversation_id is not a living group", f"NOT {_HAS_GROUP}") for table in (*_KEYS,)[:4]),
    ("bans", "user_id is not in users", f"NOT {_IS_USER.format(9)}"),
    ("bans", "is a member nevertheless", _IS_MEMBER.format("user_id")),
    ("join_requests", "user_id is not in users, or deleted", f"NOT {_IS_USER.format(3)}"),
    ("join_requests", "is a member nevertheless", _IS_MEMBER.format("user_id")),
    (
        "invitations",
        "is not of a member",
        f"t.created_by <> '' AND {_HAS_GROUP} AND NOT {_IS_MEMBER.format('created_by')}",
    ),
    ("invitations", "was used more often than it may be", "t.max_uses > 0 AND t.uses > t.max_uses"),
)


def group_rules() -> list[tuple[str, str, str]]:
    """(table, sentence, a SELECT of the keys of the rows of which the sentence is true)"""
    return [
        (table, sentence, f"SELECT {', '.join(f't.{key}' for key in _KEYS[table])} FROM {table} t WHERE {condition}")
        for table, sentence, condition in _RULES
    ]


def wrong_search_keys(tx: Tx) -> Iterator[tuple[str]]:
    """The ids of searchable groups that are not found by the name that they have."""
    last = ""
    text = (
        "SELECT conversation_id, name, search_key FROM conversations"
        f" WHERE search_key <> '' AND conversation_id > ? ORDER BY conversation_id LIMIT {_PAGE}"
    )
    while rows := tx.fetch_all(text, last):
        yield from ((group_id,) for group_id, name, key in rows if key != search_key(name))
        last = rows[-1][0]
