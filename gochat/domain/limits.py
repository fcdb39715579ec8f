"""The form of every request field: one rule a field name, and which fields a request cannot do without.

`check` holds a request against these tables before its handler sees it. What needs facts from the database is not
here but in policy.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from gochat.api.common.v1.common_pb2 import PaginationRequest
from gochat.domain.text import DIRECTION_CONTROLS, hides_letters, normal_name, overmarked
from gochat.errors import invalid

MESSAGE_TYPES = ("text", "image", "file", "audio", "video", "location", "system", "custom")
BATCH = 1_000
LEAST_PASSWORD = 8
DEFAULT_MAX_MEMBERS = 500
MOST_MAX_MEMBERS = 100_000
PAGE, MOST_PAGE = 20, 100
LONG_PAGE, MOST_LONG_PAGE = 50, 200  # history and members

Rule = Callable[[str, Any], None]
"""(field name as the caller knows it, value) -> nothing; raises INVALID_PARAMS."""


def anything(name: str, value: Any) -> None:
    """Of what the handler itself says whether it is good."""


def text(*, characters: int = 0, size: int = 0) -> Rule:
    """Text without NUL (PostgreSQL cannot keep it), of at most so many characters or bytes of UTF-8."""

    def rule(name: str, value: str) -> None:
        if "\0" in value:
            raise invalid(name, "must not contain NUL")
        if characters and len(value) > characters:
            raise invalid(name, f"must have at most {characters} characters, not {len(value)}")
        if size and len(value) * 4 > size and len(value.encode()) > size:
            raise invalid(name, f"must have at most {size} bytes of UTF-8, not {len(value.encode())}")

    return rule


def line(characters: int) -> Rule:
    """Text on one line, which people see: not blank, no control characters, none that turn the direction of what
    follows."""
    length = text(characters=characters)

    def rule(name: str, value: str) -> None:
        length(name, value)
        if value and (value.isspace() or any(unicodedata.category(character) == "Cc" for character in value)):
            raise invalid(name, "must not be blank or contain control characters")
        if not DIRECTION_CONTROLS.isdisjoint(value):
            raise invalid(name, "must not contain characters that change the direction of text")

    return rule


def one_of(*values: Any) -> Rule:
    def rule(name: str, value: Any) -> None:
        if value not in values:
            raise invalid(name, f"must be one of {', '.join(map(str, filter(None, values)))}")

    return rule


def number(least: int, most: int) -> Rule:
    def rule(name: str, value: int) -> None:
        if not least <= value <= most:
            raise invalid(name, f"must be from {least} to {most}, not {value}")

    return rule


def batch(name: str, values: Any) -> None:
    """A list of at most BATCH items."""
    if len(values) > BATCH:
        raise invalid(name, f"must have at most {BATCH} items, not {len(values)}")


def each(rule: Rule) -> Rule:
    """A batch of which each item is of the rule and none empty."""

    def rule_of_list(name: str, values: Any) -> None:
        batch(name, values)
        for position, value in enumerate(values):
            if not value:
                raise invalid(f"{name}[{position}]", "must not be empty")
            rule(f"{name}[{position}]", value)

    return rule_of_list


def paging(most: int) -> Rule:
    page, limit = number(0, 2**31 - 1), number(0, most)

    def rule(name: str, value: PaginationRequest) -> None:
        page(f"{name}.page", value.page)
        limit(f"{name}.limit", value.limit)

    return rule


def username(name: str, value: str) -> None:
    value = normal_name(value)
    text(characters=64)(name, value)
    if any(unicodedata.category(character)[0] in "ZC" for character in value):
        raise invalid(name, "must not contain spaces or control characters")
    if hides_letters(value):
        raise invalid(name, "must not contain characters that show nothing")
    if overmarked(value):
        raise invalid(name, "must not begin with a combining mark or have more than three on one letter")


def chosen_password(name: str, value: str) -> None:
    """What a person chooses (NIST SP 800-63B: 8 characters or more, none forbidden). An operator's own tools decide for
    themselves what they set."""
    text(size=1024)(name, value)
    if len(value) < LEAST_PASSWORD:
        raise invalid(name, f"must have at least {LEAST_PASSWORD} characters")


def email(name: str, value: str) -> None:
    text(characters=254)(name, value)
    if value and not re.fullmatch(r"[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+", value):
        raise invalid(name, "must be an address like name@example.com")


def metadata(name: str, value: Any) -> None:
    if not value:
        return
    if len(value) > 32:
        raise invalid(name, f"must have at most 32 entries, not {len(value)}")
    size = 0
    for key, entry in value.items():
        if not 0 < len(key.encode()) <= 64 or "\0" in key:
            raise invalid(name, "must have keys of 1 to 64 bytes, without NUL")
        text()(f"{name}[{key}]", entry)
        size += len(key.encode()) + len(entry.encode())
    if size > 4096:
        raise invalid(name, f"must have at most 4096 bytes in all, not {size}")
    if "client_msg_id" in value:
        if not value["client_msg_id"]:
            raise invalid("metadata[client_msg_id]", "must not be empty")
        text(size=128)("metadata[client_msg_id]", value["client_msg_id"])


_id = text(size=128)

_FORMS: dict[str, Rule] = {
    "action": text(size=64),
    "at_once": one_of(False, True),
    "avatar": text(size=2048),
    "before_event_id": _id,
    "before_message_id": _id,
    "bio": text(characters=1000),
    "content": text(size=16 * 1024),
    "conversation_id": _id,
    "description": text(characters=1000),
    "device_id": _id,
    "email": email,
    "expires_at": number(0, 2**63 - 1),
    "from_user_id": _id,
    "group_id": _id,
    "include_inactive": one_of(False, True),
    "limit": number(0, MOST_LONG_PAGE),
    "max_members": number(0, MOST_MAX_MEMBERS),
    "member_ids": each(_id),
    "message_id": _id,
    "message_ids": each(_id),
    "message_type": one_of("", *MESSAGE_TYPES),
    "messages": batch,  # each is checked by itself: it has an outcome of its own
    "metadata": metadata,
    "name": line(100),
    "new_password": text(size=1024),
    "next_refresh_id": _id,
    "nickname": line(64),
    "offset": number(0, 2**31 - 1),
    "old_password": text(size=1024),
    "operator_id": _id,
    "owner_id": _id,
    "pagination": paging(MOST_PAGE),
    "participant_ids": each(_id),
    "password": text(size=1024),
    "query": text(characters=64),
    "refresh_id": _id,
    "refresh_token": text(size=8192),
    "role": one_of("owner", "admin", "member"),
    "session_id": _id,
    "since": number(0, 2**63 - 1),
    "status": number(0, 3),
    "target_id": _id,
    "to_user_id": _id,
    "token": anything,
    "type": one_of("single", "group"),
    "user_id": _id,
    "user_ids": each(_id),
    "username": text(size=256),
    "viewer_id": _id,
}

# Where a field of this name has another form than elsewhere.
_SPECIAL_FORMS: dict[str, Rule] = {
    "account.v1.SetUserRoleRequest.role": one_of("user", "admin"),
    "audit.v1.RecordEventRequest.action": one_of("key.rotate"),
    "logic.v1.GetGroupMembersRequest.pagination": paging(MOST_LONG_PAGE),
    "repo.v1.AddGroupMemberRequest.role": one_of("", "admin", "member"),
    "repo.v1.CreateUserRequest.username": username,
    "repo.v1.GetGroupMembersRequest.pagination": paging(MOST_LONG_PAGE),
    "repo.v1.UpdateMessageStatusRequest.status": number(2, 5),
    "session.v1.ChangePasswordRequest.new_password": chosen_password,
    "session.v1.RegisterRequest.password": chosen_password,
    "session.v1.RegisterRequest.username": username,
    "store.v1.ListMembersRequest.pagination": paging(MOST_LONG_PAGE),
}

# The fields that must not be empty. user_id and the like in LogicService are not among them: empty is the caller.
_REQUIRED: dict[str, tuple[str, ...]] = {
    "logic.v1.AuthRequest": ("username", "password"),
    "logic.v1.SearchUsersRequest": ("query",),
    "logic.v1.SendMessageRequest": ("content",),
    "logic.v1.GetMessageHistoryRequest": ("conversation_id",),
    "logic.v1.MarkMessageReadRequest": ("conversation_id", "message_id"),
    "logic.v1.CreateConversationRequest": ("type",),
    "logic.v1.UpdateConversationRequest": ("conversation_id",),
    "logic.v1.DeleteConversationRequest": ("conversation_id",),
    "logic.v1.CreateGroupRequest": ("name",),
    "logic.v1.GetGroupInfoRequest": ("group_id",),
    "logic.v1.UpdateGroupRequest": ("group_id",),
    "logic.v1.JoinGroupRequest": ("group_id",),
    "logic.v1.LeaveGroupRequest": ("group_id",),
    "logic.v1.GetGroupMembersRequest": ("group_id",),
    "logic.v1.AddGroupMemberRequest": ("group_id", "user_ids"),
    "logic.v1.RemoveGroupMemberRequest": ("group_id", "user_id"),
    "message.v1.SendMessagesRequest": ("messages",),
    "repo.v1.CreateUserRequest": ("username", "password"),
    "repo.v1.GetUserRequest": ("user_id",),
    "repo.v1.UpdateUserRequest": ("user_id",),
    "repo.v1.GetUsersRequest": (),
    "repo.v1.CreateMessageRequest": ("from_user_id", "content"),
    "repo.v1.GetMessagesRequest": ("conversation_id",),
    "repo.v1.UpdateMessageStatusRequest": ("message_id", "user_id"),
    "repo.v1.DeleteMessageRequest": ("message_id", "user_id"),
    "repo.v1.CreateConversationRequest": ("type", "participant_ids"),
    "repo.v1.GetConversationRequest": ("conversation_id",),
    "repo.v1.UpdateConversationRequest": ("conversation_id",),
    "repo.v1.GetConversationsByUserRequest": ("user_id",),
    "repo.v1.GetConversationParticipantsRequest": ("conversation_id",),
    "repo.v1.CreateGroupRequest": ("name", "owner_id"),
    "repo.v1.GetGroupRequest": ("group_id",),
    "repo.v1.UpdateGroupRequest": ("group_id",),
    "repo.v1.GetGroupsByUserRequest": ("user_id",),
    "repo.v1.AddGroupMemberRequest": ("group_id", "user_id"),
    "repo.v1.RemoveGroupMemberRequest": ("group_id", "user_id"),
    "repo.v1.GetGroupMembersRequest": ("group_id",),
    "repo.v1.UpdateGroupMemberRoleRequest": ("group_id", "user_id", "role"),
    "account.v1.SignInRequest": ("username", "password", "refresh_id", "expires_at"),
    "account.v1.ChangePasswordRequest": (
        *("user_id", "old_password", "new_password", "session_id", "refresh_id", "expires_at"),
    ),
    "account.v1.SetPasswordRequest": ("user_id", "password"),
    "account.v1.SetUserRoleRequest": ("user_id", "role"),
    "account.v1.RotateSessionRequest": ("session_id", "refresh_id", "next_refresh_id", "expires_at"),
    "account.v1.EndSessionRequest": ("session_id",),
    "account.v1.ListUserSessionsRequest": ("user_id",),
    "audit.v1.RecordEventRequest": ("action",),
    "session.v1.RefreshTokenRequest": ("refresh_token",),
    "session.v1.RegisterRequest": ("username", "password"),
    "session.v1.RevokeSessionRequest": ("session_id",),
    "session.v1.ChangePasswordRequest": ("old_password", "new_password"),
    "store.v1.GetProfileRequest": ("user_id",),
    "store.v1.UpdateProfileRequest": ("user_id",),
    "store.v1.StoreMessagesRequest": ("messages",),
    "store.v1.GetHistoryRequest": ("conversation_id",),
    "store.v1.MarkReadRequest": ("conversation_id", "user_id", "message_id"),
    "store.v1.GetUnreadRequest": ("user_id",),
    "store.v1.HideConversationRequest": ("conversation_id", "user_id"),
    "store.v1.EditConversationRequest": ("conversation_id",),
    "store.v1.FoundGroupRequest": ("name", "owner_id"),
    "store.v1.EditGroupRequest": ("group_id",),
    "store.v1.JoinGroupRequest": ("group_id", "user_id"),
    "store.v1.LeaveGroupRequest": ("group_id", "user_id"),
    "store.v1.AddMembersRequest": ("group_id", "user_ids", "operator_id"),
    "store.v1.RemoveMemberRequest": ("group_id", "user_id", "operator_id"),
    "store.v1.ListMembersRequest": ("group_id",),
}


@cache
def form_of(request: Descriptor) -> tuple[tuple[str, Rule, bool], ...]:
    """(field, rule, must it not be empty) of a request type; KeyError for a field without a rule."""
    short = request.full_name.removeprefix("gochat.api.")
    required = _REQUIRED.get(short, ())
    return tuple(
        (field.name, _SPECIAL_FORMS.get(f"{short}.{field.name}") or _FORMS[field.name], field.name in required)
        for field in request.fields
    )


def check(request: Message) -> None:
    """Raises INVALID_PARAMS for the first field that breaks its rule."""
    for name, rule, required in form_of(request.DESCRIPTOR):
        value = getattr(request, name)
        if required and not value:
            raise invalid(name, "must not be empty")
        rule(name, value)


def page_of(pagination: PaginationRequest, default: int = PAGE) -> tuple[int, int]:
    """(page, limit) as applied, from a checked request."""
    return pagination.page or 1, pagination.limit or default
