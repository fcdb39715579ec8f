"""The forms of the requests of RepoService."""

from google.protobuf.message import Message

from gochat.api.repo.v1 import repo_pb2 as pb
from gochat.domain.forms.rules import Form, each, form, identifier, number, one_of, paging, password, user, username
from gochat.domain.limits import MAX_LONG_PAGE

FORMS: dict[type[Message], Form] = {
    pb.CreateUserRequest: form("username", "password", username=username, password=password),
    pb.GetUserRequest: form("user_id"),
    pb.UpdateUserRequest: form("user_id"),
    pb.GetUsersRequest: form(),
    pb.CreateMessageRequest: form("from_user_id", "content"),
    pb.GetMessagesRequest: form(
        "conversation_id", message_ids=each(identifier, MAX_LONG_PAGE), offset=number(0, 2**31 - 1)
    ),
    pb.UpdateMessageStatusRequest: form("message_id", "user_id", status=number(2, 5)),
    pb.DeleteMessageRequest: form("message_id", "user_id"),
    pb.CreateConversationRequest: form("type", "participant_ids", participant_ids=each(user)),
    pb.GetConversationRequest: form("conversation_id"),
    pb.UpdateConversationRequest: form("conversation_id"),
    pb.GetConversationsByUserRequest: form("user_id"),
    pb.GetConversationParticipantsRequest: form("conversation_id"),
    pb.CreateGroupRequest: form("name", "owner_id"),
    pb.GetGroupRequest: form("group_id"),
    pb.UpdateGroupRequest: form("group_id"),
    pb.GetGroupsByUserRequest: form("user_id"),
    pb.AddGroupMemberRequest: form("group_id", "user_id", role=one_of("", "admin", "member")),
    pb.RemoveGroupMemberRequest: form("group_id", "user_id"),
    pb.GetGroupMembersRequest: form("group_id", pagination=paging(MAX_LONG_PAGE)),
    pb.UpdateGroupMemberRoleRequest: form("group_id", "user_id", "role"),
}
