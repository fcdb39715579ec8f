"""A user's membership of a conversation: the facts that rules are judged on, read within the transaction that acts; and
the one place where memberships, and the row of a conversation that they repeat, are written. Sends do that themselves,
in sending.py and sql/routines.postgres.sql.

Code that changes a conversation locks its row first (`locked_conversation`, `locked_group`, the first statement of a
send), then reads members: so acts on one conversation happen one after the other, and a rule judged is a rule kept.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import peewee

from gochat.domain import ids, policy
from gochat.domain.changes import DECLINED, FOUNDING, LEFT, REMOVED, Kind
from gochat.domain.text import casefold_key
from gochat.errors import ChatError, not_found
from gochat.repo.audit import record
from gochat.repo.changes import add_change, add_changes_of
from gochat.repo.users import ACTIVE, must_exist
from gochat.storage.database import Tx, placeholders
from gochat.storage.models import LOOKED_UP, MAX_INBOX_MEMBERS, Conversation, Member

_MEMBERSHIP = """
SELECT conversation.type, conversation.last_seq, conversation.member_count, member.role, member.hidden_seq,
    member.marked_unread
FROM conversations AS conversation
LEFT JOIN members AS member ON member.conversation_id = conversation.conversation_id AND member.user_id = ?
    AND member.role <> ?
WHERE conversation.conversation_id = ? AND conversation.dissolved_at = 0"""
SHOWN, HIDDEN_UNTIL_A_MESSAGE = -1, 0  # hidden_seq of members of an empty conversation

_SUCCESSOR = """
SELECT member.user_id
FROM members AS member
JOIN users ON users.user_id = member.user_id
WHERE member.conversation_id = ? AND member.user_id <> ?
ORDER BY CASE users.status WHEN ? THEN 0 ELSE 1 END, CASE member.role WHEN ? THEN 0 ELSE 1 END, member.joined_at,
    member.user_id
LIMIT 1"""


_KEEP_HIDDEN = """
INSERT INTO former_members (conversation_id, user_id, hidden_seq)
SELECT conversation_id, user_id, hidden_seq FROM members
WHERE conversation_id = ? AND user_id = ? AND hidden_seq > 0
ON CONFLICT (conversation_id, user_id) DO UPDATE SET hidden_seq = excluded.hidden_seq"""
# While the change that says so is kept: streams that resume before it are sent what came until then.
_KEEP_MEMBERS = """
INSERT INTO former_members (conversation_id, user_id, hidden_seq)
SELECT conversation_id, user_id, hidden_seq FROM members WHERE conversation_id = ?"""
_FORGET_NAMES = """
UPDATE member_details SET title = '', group_nickname = '', group_nickname_key = ''
WHERE conversation_id = ? AND user_id = ?"""
_END_INVITATIONS = "DELETE FROM invitations WHERE conversation_id = ? AND created_by = ?"
_UNMUTE = "UPDATE member_details SET muted_until = 0 WHERE conversation_id = ? AND user_id = ?"

_UNMARK = """
UPDATE members SET marked_unread = 0
WHERE conversation_id = ? AND user_id = ? AND marked_unread = 1"""


class Membership(NamedTuple):
    """type, last_seq, member_count: of the conversation. role: "" for the service itself, which is in no conversation
    and may see all of it."""

    type: str
    last_seq: int
    role: str
    hidden_seq: int
    member_count: int = 0
    marked_unread: bool = False


def no_conversation() -> ChatError:
    return not_found("conversation", "conversation_id")


def membership(tx: Tx, conversation_id: str, user_id: str) -> Membership:
    """user_id: "" for the service itself. Raises NOT_FOUND for the conversation, PERMISSION_DENIED for a user who is
    not in it."""
    row = tx.fetch_one(_MEMBERSHIP, user_id, policy.DELETED, conversation_id)
    if row is None:
        raise no_conversation()
    kind, last_seq, member_count, role, hidden_seq, marked_unread = row
    if role is None and user_id:
        raise policy.not_participant()
    hidden_seq = SHOWN if hidden_seq is None else hidden_seq
    return Membership(kind, last_seq, role or "", hidden_seq, member_count, bool(marked_unread))


def locked_conversation(tx: Tx, conversation_id: str) -> Conversation:
    """The conversation, which no other transaction changes until this one ends. Raises NOT_FOUND."""
    lock_conversation(tx, conversation_id)
    row: Conversation | None = tx.model_one(
        Conversation.select().where(Conversation.conversation_id == conversation_id, Conversation.dissolved_at == 0)
    )
    if row is None:
        raise no_conversation()
    return row


def locked_group(tx: Tx, group_id: str) -> Conversation:
    """The group, which no other transaction changes until this one ends. Raises NOT_FOUND."""
    lock_conversation(tx, group_id)
    return group(tx, group_id)


def lock_conversation(tx: Tx, conversation_id: str) -> None:
    """By a statement of its own: the next one sees what was committed before the lock was had."""
    tx.sql(f"SELECT 1 FROM conversations WHERE conversation_id = ?{tx.lock}", conversation_id)


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
    """None for a user who is not a member."""
    row = tx.fetch_one("SELECT role FROM members WHERE conversation_id = ? AND user_id = ?", conversation_id, user_id)
    return row[0] if row else None


def acting_role(tx: Tx, group_id: str, user_id: str) -> str | None:
    """The role of one who acts; None for the service itself (user_id ""). Raises PERMISSION_DENIED for who is not a
    member."""
    return must_be_member(tx, group_id, user_id) if user_id else None


def must_be_member(tx: Tx, group_id: str, user_id: str) -> str:
    """The role of one who acts. Raises PERMISSION_DENIED for who is not a member."""
    role = role_of(tx, group_id, user_id)
    if role is None:
        raise policy.not_participant()
    return role


def viewed_group(tx: Tx, group_id: str, user_id: str) -> tuple[Conversation, str | None]:
    """The group and acting_role(), for one who reads. Raises NOT_FOUND, PERMISSION_DENIED."""
    return group(tx, group_id), acting_role(tx, group_id, user_id)


def target_role(tx: Tx, group_id: str, user_id: str) -> str:
    """The role of one who is acted on. Raises NOT_FOUND for who is not a member."""
    role = role_of(tx, group_id, user_id)
    if role is None:
        raise not_found("member", "user_id")
    return role


# Where the log is, of a transaction that writes: see inboxes.py.
POSITION = {False: "(SELECT MAX(position) + 1 FROM changes)", True: "pg_current_xact_id()::TEXT::BIGINT"}


def inbox_columns(member_count: int, last_seq: int, updated_at: int) -> tuple[int, int]:
    """last_seq and active_at of the members of a conversation with these: see sql/README.md."""
    return (last_seq, updated_at) if member_count <= MAX_INBOX_MEMBERS else (LOOKED_UP, LOOKED_UP)


def update_inbox(tx: Tx, conversation_id: str, columns: tuple[int, int]) -> None:
    """columns: inbox_columns()."""
    tx.sql("UPDATE members SET last_seq = ?, active_at = ? WHERE conversation_id = ?", *columns, conversation_id)


def update_conversation(tx: Tx, conversation: Conversation, **changes: Any) -> None:
    """Changes a locked conversation, its row and this object, and what its members repeat of it."""
    if "name" in changes and conversation.search_key:
        changes["search_key"] = search_key(changes["name"])
    fewest = min(conversation.member_count, changes.get("member_count", conversation.member_count))
    for name, value in changes.items():
        setattr(conversation, name, value)
    if "updated_at" in changes and conversation.member_count > MAX_INBOX_MEMBERS:
        changes["position"] = peewee.SQL(POSITION[tx.postgres])
    tx.run(Conversation.update(changes).where(Conversation.conversation_id == conversation.conversation_id))
    if fewest <= MAX_INBOX_MEMBERS:  # else the members repeat nothing, neither before nor after
        update_inbox(tx, conversation.conversation_id, _inbox_columns_of(conversation))


def search_key(name: str) -> str:
    """By which a searchable group is found; never empty."""
    return casefold_key(name) or name


def _inbox_columns_of(conversation: Conversation) -> tuple[int, int]:
    return inbox_columns(conversation.member_count, conversation.last_seq, conversation.updated_at)


def insert_members(
    tx: Tx, conversation: Conversation, user_ids: Sequence[str], role: str, *, read_seq: int, hidden_seq: int = SHOWN
) -> None:
    """Those who are members already stay as they are. conversation: its member_count has them in it."""
    now = ids.now_ms()
    last_seq, active_at = _inbox_columns_of(conversation)
    rows = [
        {
            "conversation_id": conversation.conversation_id,
            "user_id": user_id,
            "role": role,
            "read_seq": read_seq,
            "hidden_seq": hidden_seq,
            "joined_at": now,
            "joined_seq": conversation.last_seq,
            "last_seq": last_seq,
            "active_at": active_at,
        }
        for user_id in user_ids
    ]
    if rows:
        tx.run(Member.insert_many(rows).on_conflict_ignore())


def delete_member(tx: Tx, left: Conversation, user_id: str, action: str) -> None:
    """Of a locked group, which is dissolved without members. What the member had hidden stays so if they come back, and
    so does a mute. Their invitations end. action: group.leave, group.remove or group.ban."""
    tx.sql(_KEEP_HIDDEN, left.conversation_id, user_id)
    tx.run(Member.delete().where(Member.conversation_id == left.conversation_id, Member.user_id == user_id))
    tx.sql(_FORGET_NAMES, left.conversation_id, user_id)
    tx.sql(_END_INVITATIONS, left.conversation_id, user_id)
    count = left.member_count - 1
    update_conversation(tx, left, member_count=count, dissolved_at=0 if count else ids.now_ms())
    record(tx, action, left.conversation_id, user_id)
    how = LEFT if action == "group.leave" else REMOVED
    add_change(tx, Kind.MEMBER_LEFT, left.conversation_id, user_id, detail=how)
    if not count:
        add_change(tx, Kind.GROUP_DISSOLVED, left.conversation_id)
        clear_dissolved(tx, left)


def dissolve(tx: Tx, ended: Conversation) -> None:
    """Ends a locked group with all its members, by one change for all of them."""
    group_id = ended.conversation_id
    add_change(tx, Kind.GROUP_DISSOLVED, group_id)
    clear_dissolved(tx, ended)
    tx.sql(_KEEP_MEMBERS, group_id)
    tx.sql("DELETE FROM members WHERE conversation_id = ?", group_id)
    update_conversation(tx, ended, member_count=0, dissolved_at=ids.now_ms())
    record(tx, "group.dissolve", group_id)


def clear_dissolved(tx: Tx, ended: Conversation) -> None:
    """What belongs to a group that has ended: who had asked to join is sent that it is declined."""
    group_id = ended.conversation_id
    end_requests(tx, group_id, None, DECLINED)
    for table in ("bans", "invitations", "member_details", "former_members"):
        tx.sql(f"DELETE FROM {table} WHERE conversation_id = ?", group_id)
    if ended.search_key:
        update_conversation(tx, ended, search_key="")


def end_requests(tx: Tx, group_id: str, user_ids: Sequence[str] | None, state: str) -> None:
    """Of these users, or of all, those who had asked to join a locked group: the request ends so."""
    of_these = "" if user_ids is None else f" AND user_id IN ({placeholders(user_ids)})"
    ended = tx.fetch_all(
        f"DELETE FROM join_requests WHERE conversation_id = ?{of_these} RETURNING user_id", group_id, *(user_ids or ())
    )
    asked = [user_id for (user_id,) in ended]
    add_changes_of(tx, Kind.JOIN_REQUEST_CHANGED, group_id, asked, state)


def set_role(tx: Tx, changed: Conversation, user_id: str, role: str) -> None:
    """Of a member of a locked group."""
    group_id = changed.conversation_id
    tx.run(Member.update(role=role).where(Member.conversation_id == group_id, Member.user_id == user_id))
    record(tx, f"group.role.{role}", group_id, user_id)
    add_change(tx, Kind.MEMBER_UPDATED, group_id, user_id, detail=role)
    if role == policy.OWNER:
        tx.sql(_UNMUTE, group_id, user_id)  # nobody could
        update_conversation(tx, changed, owner_id=user_id)
        add_change(tx, Kind.GROUP_UPDATED, group_id)


def transfer(tx: Tx, changed: Conversation, user_id: str) -> None:
    """Makes another member the owner of a locked group; the owner becomes an admin."""
    set_role(tx, changed, changed.owner_id, policy.ADMIN)
    set_role(tx, changed, user_id, policy.OWNER)


def hand_over(tx: Tx, left: Conversation) -> None:
    """Makes another member the owner of a locked group whose owner goes: the longest-serving admin, else the
    longest-serving member; of people who are disabled only where nobody else is left."""
    successor = tx.fetch_one(_SUCCESSOR, left.conversation_id, left.owner_id, ACTIVE, policy.ADMIN)
    if successor:
        set_role(tx, left, successor[0], policy.OWNER)


def move_read(tx: Tx, conversation_id: str, user_id: str, seq: int) -> bool:
    """Forward only; where it moves, nothing is marked as unread any more. Has it moved?"""
    moved = tx.sql(
        "UPDATE members SET read_seq = ?, marked_unread = 0 WHERE conversation_id = ? AND user_id = ? AND read_seq < ?",
        *(seq, conversation_id, user_id, seq),
    )
    return bool(moved.rowcount)


def mark_read(tx: Tx, conversation_id: str, user_id: str, seq: int, member: Membership) -> None:
    """As move_read(), with a change for others. (Of one's own messages all know that they are read.) What the user has
    marked as unread is not marked any more, also where the position stays. member: of the user."""
    if member.marked_unread and tx.sql(_UNMARK, conversation_id, user_id).rowcount:
        add_change(tx, Kind.SETTINGS_UPDATED, conversation_id, user_id)
    if move_read(tx, conversation_id, user_id, seq):
        add_change(tx, Kind.READ, conversation_id, user_id, seq=seq)


def open_single(tx: Tx, pair_key: bytes, *users: tuple[str, str], name: str = "", avatar: str = "") -> str:
    """Finds or makes the one-to-one conversation of two users; returns its id. While it is empty, it is listed only for
    a user who opened it.

    users: (user id, the request field that names them); the first opens it. Raises NOT_FOUND.
    """
    (opener, _), (other, _) = users
    for user_id, field in users:
        must_exist(tx, [user_id], field)
    now = ids.now_ms()
    opened = Conversation(
        conversation_id=ids.single(opener, other, pair_key),
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
    )
    if tx.run(Conversation.insert(opened.__data__).on_conflict_ignore().as_rowcount()):
        insert_members(tx, opened, [opener], policy.MEMBER, read_seq=0)
        insert_members(tx, opened, [other], policy.MEMBER, read_seq=0, hidden_seq=HIDDEN_UNTIL_A_MESSAGE)
        add_changes_of(tx, Kind.MEMBER_JOINED, opened.conversation_id, [opener, other], FOUNDING)
        add_change(tx, Kind.CONVERSATION_UPDATED, opened.conversation_id, opener)
    elif show_empty(tx, opened.conversation_id, opener):
        add_change(tx, Kind.CONVERSATION_UPDATED, opened.conversation_id, opener)
    return str(opened.conversation_id)


def show_empty(tx: Tx, conversation_id: str, user_id: str | None = None) -> bool:
    """Lists a conversation for this user, or for all members, where it was hidden while it was empty. Was it?"""
    of_one = "" if user_id is None else " AND user_id = ?"
    shown = tx.sql(
        f"UPDATE members SET hidden_seq = ? WHERE conversation_id = ? AND hidden_seq = ?{of_one}",
        *(SHOWN, conversation_id, HIDDEN_UNTIL_A_MESSAGE),
        *([] if user_id is None else [user_id]),
    )
    return bool(shown.rowcount)
