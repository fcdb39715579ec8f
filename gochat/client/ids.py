"""Message ids: `<conversation_id>-<seq>`, as proto/README.md says."""


def split(message_id: str) -> tuple[str, int]:
    """(conversation_id, seq)"""
    conversation_id, _, seq = message_id.rpartition("-")
    return conversation_id, int(seq)


def join(conversation_id: str, seq: int) -> str:
    return f"{conversation_id}-{seq:012d}"
