"""Who may do what: facts in, verdict out, no I/O. A verdict of "no" is a raised ChatError."""

from enum import Enum
from typing import Any

from gochat.context import Caller
from gochat.errors import ChatError, denied, invalid


class Access(Enum):
    """Who may call an RPC at all; what a handler then asks of the facts comes on top."""

    ANYONE = "anyone, without a token"
    SIGNED_IN = "any valid access token"
    SERVICE = "tokens of role service or admin"


_LOGIC = "gochat.api.logic.v1.LogicService"
_SESSION = "gochat.api.session.v1.SessionService"
_REPO = "gochat.api.repo.v1.RepoService"
_STORE = "gochat.api.store.v1.StoreService"

# Deny by default: the server does not start with an RPC that is missing here.
ACCESS: dict[str, Access] = {
    f"/{_LOGIC}/Authenticate": Access.ANYONE,
    f"/{_LOGIC}/ValidateToken": Access.SIGNED_IN,
    f"/{_LOGIC}/GetUserProfile": Access.SIGNED_IN,
    f"/{_LOGIC}/UpdateUserProfile": Access.SIGNED_IN,
    f"/{_LOGIC}/SearchUsers": Access.SIGNED_IN,
    f"/{_LOGIC}/SendMessage": Access.SIGNED_IN,
    f"/{_LOGIC}/GetMessageHistory": Access.SIGNED_IN,
    f"/{_LOGIC}/MarkMessageRead": Access.SIGNED_IN,
    f"/{_LOGIC}/GetUnreadMessages": Access.SIGNED_IN,
    f"/{_LOGIC}/CreateConversation": Access.SIGNED_IN,
    f"/{_LOGIC}/GetConversations": Access.SIGNED_IN,
    f"/{_LOGIC}/UpdateConversation": Access.SIGNED_IN,
    f"/{_LOGIC}/DeleteConversation": Access.SIGNED_IN,
    f"/{_LOGIC}/CreateGroup": Access.SIGNED_IN,
    f"/{_LOGIC}/GetGroupInfo": Access.SIGNED_IN,
    f"/{_LOGIC}/UpdateGroup": Access.SIGNED_IN,
    f"/{_LOGIC}/JoinGroup": Access.SIGNED_IN,
    f"/{_LOGIC}/LeaveGroup": Access.SIGNED_IN,
    f"/{_LOGIC}/GetGroupMembers": Access.SIGNED_IN,
    f"/{_LOGIC}/AddGroupMember": Access.SIGNED_IN,
    f"/{_LOGIC}/RemoveGroupMember": Access.SIGNED_IN,
    f"/{_SESSION}/RefreshToken": Access.ANYONE,
    f"/{_SESSION}/Logout": Access.SIGNED_IN,
    f"/{_REPO}/CreateUser": Access.SERVICE,
    f"/{_REPO}/GetUser": Access.SERVICE,
    f"/{_REPO}/UpdateUser": Access.SERVICE,
    f"/{_REPO}/GetUsers": Access.SERVICE,
    f"/{_REPO}/CreateMessage": Access.SERVICE,
    f"/{_REPO}/GetMessages": Access.SERVICE,
    f"/{_REPO}/UpdateMessageStatus": Access.SERVICE,
    f"/{_REPO}/DeleteMessage": Access.SERVICE,
    f"/{_REPO}/CreateConversation": Access.SERVICE,
    f"/{_REPO}/GetConversation": Access.SERVICE,
    f"/{_REPO}/UpdateConversation": Access.SERVICE,
    f"/{_REPO}/GetConversationsByUser": Access.SERVICE,
    f"/{_REPO}/GetConversationParticipants": Access.SERVICE,
    f"/{_REPO}/CreateGroup": Access.SERVICE,
    f"/{_REPO}/GetGroup": Access.SERVICE,
    f"/{_REPO}/UpdateGroup": Access.SERVICE,
    f"/{_REPO}/GetGroupsByUser": Access.SERVICE,
    f"/{_REPO}/AddGroupMember": Access.SERVICE,
    f"/{_REPO}/RemoveGroupMember": Access.SERVICE,
    f"/{_REPO}/GetGroupMembers": Access.SERVICE,
    f"/{_REPO}/UpdateGroupMemberRole": Access.SERVICE,
    f"/{_STORE}/CheckCredentials": Access.SERVICE,
    f"/{_STORE}/SetUserRole": Access.SERVICE,
    f"/{_STORE}/GetProfile": Access.SERVICE,
    f"/{_STORE}/UpdateProfile": Access.SERVICE,
    f"/{_STORE}/FindUsers": Access.SERVICE,
    f"/{_STORE}/CreateSession": Access.SERVICE,
    f"/{_STORE}/RotateSession": Access.SERVICE,
    f"/{_STORE}/EndSession": Access.SERVICE,
    f"/{_STORE}/GetHistory": Access.SERVICE,
    f"/{_STORE}/MarkRead": Access.SERVICE,
    f"/{_STORE}/GetUnread": Access.SERVICE,
    f"/{_STORE}/HideConversation": Access.SERVICE,
    f"/{_STORE}/EditConversation": Access.SERVICE,
    f"/{_STORE}/FoundGroup": Access.SERVICE,
    f"/{_STORE}/EditGroup": Access.SERVICE,
    f"/{_STORE}/JoinGroup": Access.SERVICE,
    f"/{_STORE}/LeaveGroup": Access.SERVICE,
    f"/{_STORE}/AddMembers": Access.SERVICE,
    f"/{_STORE}/RemoveMember": Access.SERVICE,
    f"/{_STORE}/ListMembers": Access.SERVICE,
}

OWNER, ADMIN, MEMBER = "owner", "admin", "member"
_MANAGERS = {OWNER, ADMIN}


def actor(caller: Caller, named: str, field: str) -> str:
    """Whose act this is: the user that a request names, who must be the caller unless the caller acts for anyone;
    the caller where it names none."""
    if named and named != caller.user_id and not caller.privileged:
        raise denied(f"{field} must be empty or your own user id", "NOT_YOURSELF")
    if not named and not caller.user_id:
        raise invalid(field, "must name the user to act for, since your token is no person's")
    return named or caller.user_id


def operator(caller: Caller) -> str:
    """Who acts where a request has no field to name him: the caller; "" for a caller who acts for anyone, of whom
    neither membership nor a role is asked."""
    return "" if caller.privileged else caller.user_id


def names_itself(request: Any) -> bool:
    """A send with a client_msg_id is exactly-once, so it may be repeated when its answer was lost."""
    return "client_msg_id" in getattr(request, "metadata", ())


def send(caller: Caller, message_type: str) -> None:
    if message_type == "system" and caller.role != "service":
        raise denied("only services send messages of type system", "SYSTEM_MESSAGE")


def not_participant() -> ChatError:
    return denied("you are not in this conversation", "NOT_A_PARTICIPANT")


def manage(conversation_type: str, role: str) -> None:
    """Renaming, adding: both sides of a one-to-one conversation, the owner and the admins of a group."""
    if conversation_type == "group" and role not in _MANAGERS:
        raise denied("only the owner and the admins of a group may do this", "NOT_A_MANAGER")


def remove(role: str | None, target: str) -> None:
    """role: the operator's, None for a service. The owner can't be removed: a group always has one."""
    if target == OWNER:
        raise denied("the owner of a group cannot be removed; ownership must be handed over first", "OWNER")
    if role is None or role == OWNER or (role == ADMIN and target == MEMBER):
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
    """A group always has one owner: he changes his role only by making another one owner."""
    if target == OWNER and role != OWNER:
        raise denied("the owner keeps that role until another member is made owner", "OWNER")


def withdraw(user_id: str, sender_id: str, conversation_type: str, role: str) -> None:
    """Recall and deletion: the sender, the owner and the admins of the group."""
    if user_id != sender_id and not (conversation_type == "group" and role in _MANAGERS):
        raise denied("only the sender or a manager of the group may withdraw a message", "NOT_THE_SENDER")
