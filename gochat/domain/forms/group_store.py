"""The forms of the requests of GroupStoreService: those of GroupService, each in another."""

from google.protobuf.message import Message

from gochat.domain.forms.rules import Form, form, nested
from gochat.internal.group.v1 import group_pb2 as pb

FORMS: dict[type[Message], Form] = {
    pb.SetMemberRoleRequest: form(request=nested),
    pb.TransferOwnershipRequest: form(request=nested),
    pb.DissolveGroupRequest: form(request=nested),
    pb.BanMemberRequest: form(request=nested),
    pb.UnbanMemberRequest: form(request=nested),
    pb.ListBannedMembersRequest: form(request=nested),
    pb.MuteMemberRequest: form(request=nested),
    pb.GetGroupSettingsRequest: form(request=nested),
    pb.UpdateGroupSettingsRequest: form(request=nested),
    pb.SearchGroupsRequest: form(request=nested),
    pb.CreateInvitationRequest: form(request=nested),
    pb.ListInvitationsRequest: form(request=nested),
    pb.RevokeInvitationRequest: form(request=nested),
    pb.GetInvitationRequest: form(request=nested),
    pb.JoinByInvitationRequest: form("user_id", request=nested),
    pb.RequestToJoinRequest: form("user_id", request=nested),
    pb.CancelRequestRequest: form("user_id", request=nested),
    pb.ListJoinRequestsRequest: form(request=nested),
    pb.DecideJoinRequestRequest: form(request=nested),
    pb.SetMemberTitleRequest: form(request=nested),
    pb.SetMemberNicknameRequest: form(request=nested),
    pb.ListMembersRequest: form(request=nested),
    pb.GetMemberRequest: form(request=nested),
}
