"""Message ids: `<conversation_id>-<seq>`, as proto/README.md says."""


def split(message_id: str) -> tuple[str, int]:
    """(conversation_id, seq)"""
    conversation_id, _, seq = message_id.rpartition("-")
    return conversation_id, int(seq)


def is_one(text: str) -> bool:
    """Metadata may hold any text."""
    conversation_id, _, seq = text.rpartition("-")
    return bool(conversation_id) and seq.isascii() and seq.isdecimal()


def join(conversation_id: str, seq: int) -> str:
    return f"{conversation_id}-{seq:012d}"


def before(message_id: str) -> str:
    """The id before this one; empty if it is the first."""
    conversation_id, seq = split(message_id)
    return join(conversation_id, seq - 1) if seq > 1 else ""
