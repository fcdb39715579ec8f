"""The rules of who may do what: functions of facts, without I/O. A refusal is a raised ChatError.

Which caller may call which RPC is in access.py, with the names of the conditions that are judged here.
"""

import hashlib
from typing import Any

from gochat.context import Caller
from gochat.domain.limits import MAX_PINNED, MAX_PINS
from gochat.errors import ChatError, denied, invalid

OWNER, ADMIN, MEMBER = "owner", "admin", "member"
DELETED = "deleted"  # in a one-to-one conversation, of a user who is deleted: neither sends nor is sent to
ALL = "all"  # in metadata mentions
ROTATE, REPEAT, END = "rotate", "repeat", "end"
REPEAT_WINDOW = 30_000  # milliseconds
_MANAGERS = {OWNER, ADMIN}
EVERYONE, MANAGERS = "everyone", "managers"  # of a group, by its settings


def actor(caller: Caller, named: str, field: str) -> str:
    """The id of the user who acts: the one that a request names, who must be the caller unless the caller acts for
    anyone; the caller where it names none."""
    if named and named != caller.user_id and not caller.privileged:
        raise denied(f"{field} must be empty or your own user id", "NOT_YOURSELF")
    if not named and not caller.user_id:
        raise invalid(field, "must name the user to act for, since your token is no person's")
    return named or caller.user_id


def rotation(session: Any, presented: str, now: int) -> str:
    """What is done with the refresh token of this id: ROTATE, REPEAT or END. A used one may be a thief's copy, so the
    session ends for both (RFC 9700, 4.14.2); but an answer may be lost, or two tabs may ask together: for a while the
    one before is answered as the first time. session: with refresh_id, previous_refresh_id, refreshed_at. now: ms."""
    if presented == session.refresh_id:
        return ROTATE
    is_soon = abs(now - session.refreshed_at) <= REPEAT_WINDOW
    return REPEAT if presented == session.previous_refresh_id and is_soon else END


def personal(caller: Caller) -> Caller:
    """The caller, who must be a user with a session. Raises INVALID_PARAMS."""
    if not caller.session_id:
        raise invalid("authorization", "must be the token of a user's session")
    return caller


def register(registration: str) -> None:
    if registration != "open":
        raise denied("this server's operator makes the accounts", "REGISTRATION_CLOSED")


def passwords(are_taken: bool) -> None:
    if not are_taken:
        raise denied("this server takes no passwords", "PASSWORDS_OFF")


def guests(guests: str) -> None:
    if guests != "on":
        raise denied("this server takes no guests", "GUESTS_OFF")


def acting(caller: Caller) -> dict[str, Any]:
    """Who acts where a request has no field to name them, as the oneof `acting` of the internal services: the caller,
    or the service for a caller who acts for anyone, and needs neither membership nor a role."""
    return {"service": True} if caller.privileged else {"user_id": caller.user_id}


def is_idempotent(request: Any) -> bool:
    """A send with a client_msg_id is stored once, so it may be repeated when its answer was lost; a request of many
    messages, if each has one."""
    sends = getattr(request, "messages", None) or [request]
    return all("client_msg_id" in getattr(send, "metadata", ()) for send in sends)


def content_digest(message_type: str, content: str) -> str:
    """Of what is sent with a client_msg_id: the same again is a repetition, anything else a mistake."""
    return hashlib.sha256(f"{message_type or 'text'}\0{content}".encode()).hexdigest()[:32]


def send(caller: Caller, message_type: str) -> None:
    if message_type == "system" and caller.role != "service":
        raise denied("only services send messages of type system", "SYSTEM_MESSAGE")


def is_unrestricted(caller: Caller) -> bool:
    """Do mutes and the like of a group not bind their sends? Across the seam a request says so, since there every
    caller is a service."""
    return caller.role == "service"


def not_participant() -> ChatError:
    return denied("you are not in this conversation", "NOT_A_PARTICIPANT")


def manage(conversation_type: str, role: str, who: str = MANAGERS) -> None:
    """Renaming, adding: both sides of a one-to-one conversation; of a group the owner and the admins, or by its
    settings everyone. who: MANAGERS or EVERYONE."""
    if conversation_type == "group" and who != EVERYONE and role not in _MANAGERS:
        raise denied("only the owner and the admins of a group may do this", "NOT_A_MANAGER")


def remove(role: str | None, target: str, *, target_is_active: bool = True) -> None:
    """role: of the user who acts; None for a service. An owner cannot be removed, unless they are disabled: then the
    group is handed over."""
    if target == OWNER and target_is_active:
        raise denied("the owner of a group cannot be removed; ownership must be handed over first", "OWNER")
    if role is None or role == OWNER or (role == ADMIN and target != ADMIN):
        return
    raise denied("only the owner may remove an admin, only the owner and admins a member", "NOT_A_MANAGER")


def leave(role: str, members: int) -> None:
    if role == OWNER and members > 1:
        raise denied("the owner hands ownership over before leaving, or leaves last", "OWNER")


def join(was_removed: bool) -> None:
    if was_removed:
        raise denied("you were removed from this group; a manager must add you", "REMOVED")


def room_for(new: int, members: int, max_members: int) -> None:
    if members + new > max_members:
        raise denied(f"the group has places for {max_members} members and {members} are taken", "GROUP_FULL")


def change_role(target: str, role: str) -> None:
    """A group always has one owner, who changes their role only by making another one owner."""
    if target == OWNER and role != OWNER:
        raise denied("the owner keeps that role until another member is made owner", "OWNER")


def edit(user_id: str, sender_id: str, age: int, within: int) -> None:
    """age: of the message, in milliseconds. within: seconds; 0: at any time."""
    if user_id != sender_id:
        raise denied("only the sender may edit a message", "NOT_THE_SENDER")
    if within and age > within * 1000:
        raise denied("this message was sent too long ago to be edited", "TOO_LATE")


def pins(number: int) -> None:
    """number: of the messages that are pinned already."""
    if number >= MAX_PINS:
        raise denied(f"a conversation has at most {MAX_PINS} pinned messages", "TOO_MANY_PINS")


def withdraw(user_id: str, sender_id: str, conversation_type: str, role: str) -> None:
    """Recall and deletion: the sender, the owner and the admins of the group."""
    sender_or_manager(user_id, sender_id, conversation_type, role, "withdraw a message")


def sender_or_manager(user_id: str, sender_id: str, conversation_type: str, role: str, act: str) -> None:
    """The sender of a message, the owner and the admins of its group."""
    if user_id != sender_id and not (conversation_type == "group" and role in _MANAGERS):
        raise denied(f"only the sender or a manager of the group may {act}", "NOT_THE_SENDER")


def pin_conversation(pinned: int) -> None:
    """pinned: how many conversations the user has pinned."""
    if pinned >= MAX_PINNED:
        raise denied(f"at most {MAX_PINNED} conversations of a user are pinned", "TOO_MANY_PINNED")
