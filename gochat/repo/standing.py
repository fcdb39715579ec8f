"""A user's standing in a conversation: the facts that rules are judged on, read within the transaction that acts.

Who changes a conversation locks its row first (`locked_group`, or the UPDATE of a send), then reads members: so acts
on one conversation happen one after the other, and a rule judged is a rule kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gochat.domain import ids, policy
from gochat.errors import not_found
from gochat.repo.users import must_exist
from gochat.storage.database import Tx
from gochat.storage.models import Conversation, Member


@dataclass(frozen=True, slots=True)
class Standing:
    """role: "" for the service itself, which is in no conversation and may see all of it."""

    type: str
    last_seq: int
    role: str
    hidden_seq: int


def standing(tx: Tx, conversation_id: str, user_id: str) -> Standing:
    """user_id: "" for the service itself. Raises NOT_FOUND for the conversation, PERMISSION_DENIED for who is not in
    it."""
    row = tx.fetch_one(
        "SELECT c.type, c.last_seq, m.role, m.hidden_seq FROM conversations c LEFT JOIN members m"
        " ON m.conversation_id = c.conversation_id AND m.user_id = ?"
        " WHERE c.conversation_id = ? AND c.dissolved_at = 0",
        user_id,
        conversation_id,
    )
    if row is None:
        raise not_found("conversation", "conversation_id")
    kind, last_seq, role, hidden_seq = row
    if role is None and user_id:
        raise policy.not_participant()
    return Standing(kind, last_seq, role or "", -1 if hidden_seq is None else hidden_seq)


def locked_group(tx: Tx, group_id: str) -> Conversation:
    """The group, which no other transaction changes until this one ends. Raises NOT_FOUND."""
    tx.sql(f"SELECT 1 FROM conversations WHERE conversation_id = ?{tx.lock}", group_id)
    return group(tx, group_id)


def group(tx: Tx, group_id: str) -> Conversation:
    row: Conversation | None = tx.model_one(
        Conversation.select().where(
            Conversation.conversation_id == group_id, Conversation.type == "group", Conversation.dissolved_at == 0
        )
    )
    if row is None:
        raise not_found("group", "group_id")
    return row


def role_of(tx: Tx, conversation_id: str, user_id: str) -> str | None:
    """None for who is not a member."""
    row = tx.fetch_one("SELECT role FROM members WHERE conversation_id = ? AND user_id = ?", conversation_id, user_id)
    return row[0] if row else None


def enter(tx: Tx, conversation_id: str, user_ids: Sequence[str], role: str, *, read_seq: int) -> None:
    """Inserts members; those who are there stay as they are."""
    now = ids.now_ms()
    rows = [
        {
            "conversation_id": conversation_id,
            "user_id": user_id,
            "role": role,
            "read_seq": read_seq,
            "hidden_seq": -1,
            "joined_at": now,
        }
        for user_id in user_ids
    ]
    if rows:
        tx.run(Member.insert_many(rows).on_conflict_ignore())


def open_single(tx: Tx, pair_key: bytes, *users: tuple[str, str], name: str = "", avatar: str = "") -> str:
    """Finds or makes the one-to-one conversation of two users; returns its id.

    users: (user id, the request field that names them). Raises NOT_FOUND.
    """
    (one, _), (other, _) = users
    conversation_id = ids.single(one, other, pair_key)
    for user_id, field in users:
        must_exist(tx, [user_id], field)
    now = ids.now_ms()
    tx.run(
        Conversation.insert(
            conversation_id=conversation_id,
            type="single",
            name=name,
            description="",
            avatar=avatar,
            owner_id="",
            max_members=2,
            member_count=2,
            last_seq=0,
            created_at=now,
            updated_at=now,
            dissolved_at=0,
        ).on_conflict_ignore()
    )
    enter(tx, conversation_id, [one, other], policy.MEMBER, read_seq=0)
    return conversation_id
