"""What people do in groups, and with them: GroupService. Each RPC says who acts and asks that of its name of
GroupStoreService, whose answer it passes on as it is."""

from gochat.api.group.v1 import group_pb2 as api
from gochat.internal.group.v1 import group_pb2 as pb
from gochat.internal.group.v1.group_pb2_grpc import GroupStoreServiceStub
from gochat.logic.acting import acting, actor


class GroupActs:
    def __init__(self, store: GroupStoreServiceStub) -> None:
        self._store = store

    def SetMemberRole(self, request: api.SetMemberRoleRequest) -> api.SetMemberRoleResponse:
        return self._store.SetMemberRole(pb.SetMemberRoleRequest(request=request, **acting()))

    def TransferOwnership(self, request: api.TransferOwnershipRequest) -> api.TransferOwnershipResponse:
        return self._store.TransferOwnership(pb.TransferOwnershipRequest(request=request, **acting()))

    def DissolveGroup(self, request: api.DissolveGroupRequest) -> api.DissolveGroupResponse:
        return self._store.DissolveGroup(pb.DissolveGroupRequest(request=request, **acting()))

    def BanMember(self, request: api.BanMemberRequest) -> api.BanMemberResponse:
        return self._store.BanMember(pb.BanMemberRequest(request=request, **acting()))

    def UnbanMember(self, request: api.UnbanMemberRequest) -> api.UnbanMemberResponse:
        return self._store.UnbanMember(pb.UnbanMemberRequest(request=request, **acting()))

    def ListBannedMembers(self, request: api.ListBannedMembersRequest) -> api.ListBannedMembersResponse:
        return self._store.ListBannedMembers(pb.ListBannedMembersRequest(request=request, **acting()))

    def MuteMember(self, request: api.MuteMemberRequest) -> api.MuteMemberResponse:
        return self._store.MuteMember(pb.MuteMemberRequest(request=request, **acting()))

    def GetGroupSettings(self, request: api.GetGroupSettingsRequest) -> api.GetGroupSettingsResponse:
        return self._store.GetGroupSettings(pb.GetGroupSettingsRequest(request=request, **acting()))

    def UpdateGroupSettings(self, request: api.UpdateGroupSettingsRequest) -> api.UpdateGroupSettingsResponse:
        return self._store.UpdateGroupSettings(pb.UpdateGroupSettingsRequest(request=request, **acting()))

    def SearchGroups(self, request: api.SearchGroupsRequest) -> api.SearchGroupsResponse:
        return self._store.SearchGroups(pb.SearchGroupsRequest(request=request))

    def CreateInvitation(self, request: api.CreateInvitationRequest) -> api.CreateInvitationResponse:
        return self._store.CreateInvitation(pb.CreateInvitationRequest(request=request, **acting()))

    def ListInvitations(self, request: api.ListInvitationsRequest) -> api.ListInvitationsResponse:
        return self._store.ListInvitations(pb.ListInvitationsRequest(request=request, **acting()))

    def RevokeInvitation(self, request: api.RevokeInvitationRequest) -> api.RevokeInvitationResponse:
        return self._store.RevokeInvitation(pb.RevokeInvitationRequest(request=request, **acting()))

    def GetInvitation(self, request: api.GetInvitationRequest) -> api.GetInvitationResponse:
        return self._store.GetInvitation(pb.GetInvitationRequest(request=request))

    def JoinByInvitation(self, request: api.JoinByInvitationRequest) -> api.JoinByInvitationResponse:
        return self._store.JoinByInvitation(pb.JoinByInvitationRequest(request=request, user_id=actor(request.user_id)))

    def RequestToJoin(self, request: api.RequestToJoinRequest) -> api.RequestToJoinResponse:
        return self._store.RequestToJoin(pb.RequestToJoinRequest(request=request, user_id=actor(request.user_id)))

    def CancelRequest(self, request: api.CancelRequestRequest) -> api.CancelRequestResponse:
        return self._store.CancelRequest(pb.CancelRequestRequest(request=request, user_id=actor(request.user_id)))

    def ListJoinRequests(self, request: api.ListJoinRequestsRequest) -> api.ListJoinRequestsResponse:
        return self._store.ListJoinRequests(pb.ListJoinRequestsRequest(request=request, **acting()))

    def DecideJoinRequest(self, request: api.DecideJoinRequestRequest) -> api.DecideJoinRequestResponse:
        return self._store.DecideJoinRequest(pb.DecideJoinRequestRequest(request=request, **acting()))

    def SetMemberTitle(self, request: api.SetMemberTitleRequest) -> api.SetMemberTitleResponse:
        return self._store.SetMemberTitle(pb.SetMemberTitleRequest(request=request, **acting()))

    def SetMemberNickname(self, request: api.SetMemberNicknameRequest) -> api.SetMemberNicknameResponse:
        named = api.SetMemberNicknameRequest()
        named.CopyFrom(request)
        named.user_id = request.user_id or actor("")
        return self._store.SetMemberNickname(pb.SetMemberNicknameRequest(request=named, **acting()))

    def ListMembers(self, request: api.ListMembersRequest) -> api.ListMembersResponse:
        return self._store.ListMembers(pb.ListMembersRequest(request=request, **acting()))

    def GetMember(self, request: api.GetMemberRequest) -> api.GetMemberResponse:
        return self._store.GetMember(pb.GetMemberRequest(request=request, **acting()))
