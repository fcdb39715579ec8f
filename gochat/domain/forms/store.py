"""The forms of the requests of StoreService."""

from typing import Any

from google.protobuf.message import Message

from gochat.domain.forms.rules import Form, anything, batch, form, identifier, nested, one_of, paging
from gochat.domain.limits import MAX_LONG_PAGE
from gochat.internal.store.v1 import store_pb2 as pb


def _digests(name: str, values: Any) -> None:
    batch(name, values)
    for index, value in enumerate(values):
        identifier(f"{name}[{index}]", value)


FORMS: dict[type[Message], Form] = {
    pb.GetProfileRequest: form("user_id"),
    pb.UpdateProfileRequest: form("user_id"),
    pb.FindUsersRequest: form(include_inactive=one_of(False, True)),
    pb.CallTogetherRequest: form("calls", calls=batch),
    pb.Call: form(
        actor_id=identifier,
        **dict.fromkeys(("get_profile", "get_history", "get_unread", "get_conversations", "mark_read"), anything),
    ),
    pb.StoreRewrittenRequest: form("message", "digest", message=nested, digest=identifier),
    pb.StoreMessagesRequest: form("messages", skip_locked=one_of(False, True), unrestricted=batch, digests=_digests),
    pb.GetHistoryRequest: form("conversation_id"),
    pb.MarkReadRequest: form("conversation_id", "user_id", "message_id"),
    pb.GetUnreadRequest: form("user_id"),
    pb.HideConversationRequest: form("conversation_id", "user_id"),
    pb.UpdateConversationRequest: form("conversation_id"),
    pb.CreateGroupRequest: form("name", "owner_id", key=identifier, is_public=anything, is_closed=anything),
    pb.UpdateGroupRequest: form("group_id"),
    pb.JoinGroupRequest: form("group_id", "user_id"),
    pb.LeaveGroupRequest: form("group_id", "user_id"),
    pb.AddMembersRequest: form("group_id", "user_ids", "operator_id"),
    pb.RemoveMemberRequest: form("group_id", "user_id", "operator_id"),
    pb.ListMembersRequest: form("group_id", pagination=paging(MAX_LONG_PAGE)),
}
