"""The forms of the requests of LogicService. An empty user_id, or the like, is the caller."""

from google.protobuf.message import Message

from gochat.api.logic.v1 import logic_pb2 as pb
from gochat.domain.forms.rules import Form, anything, form, paging
from gochat.domain.limits import MAX_LONG_PAGE

FORMS: dict[type[Message], Form] = {
    pb.AuthRequest: form("username", "password"),
    pb.ValidateTokenRequest: form(token=anything),
    pb.GetUserProfileRequest: form(),
    pb.UpdateUserProfileRequest: form(),
    pb.SearchUsersRequest: form("query"),
    pb.SendMessageRequest: form("content"),
    pb.GetMessageHistoryRequest: form("conversation_id"),
    pb.MarkMessageReadRequest: form("conversation_id", "message_id"),
    pb.GetUnreadMessagesRequest: form(),
    pb.CreateConversationRequest: form("type"),
    pb.GetConversationsRequest: form(),
    pb.UpdateConversationRequest: form("conversation_id"),
    pb.DeleteConversationRequest: form("conversation_id"),
    pb.CreateGroupRequest: form("name"),
    pb.GetGroupInfoRequest: form("group_id"),
    pb.UpdateGroupRequest: form("group_id"),
    pb.JoinGroupRequest: form("group_id"),
    pb.LeaveGroupRequest: form("group_id"),
    pb.GetGroupMembersRequest: form("group_id", pagination=paging(MAX_LONG_PAGE)),
    pb.AddGroupMemberRequest: form("group_id", "user_ids"),
    pb.RemoveGroupMemberRequest: form("group_id", "user_id"),
}
