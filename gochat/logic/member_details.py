"""What belongs to a member in a group."""

from gochat.api.group.v1 import group_pb2 as api
from gochat.context import current
from gochat.domain import policy
from gochat.internal.group.v1 import group_pb2 as pb
from gochat.internal.group.v1.group_pb2_grpc import GroupStoreServiceStub


class MemberDetails:
    """Of GroupService."""

    def __init__(self, groups: GroupStoreServiceStub) -> None:
        self._groups = groups

    def SetMemberTitle(self, request: api.SetMemberTitleRequest) -> api.SetMemberTitleResponse:
        return self._groups.SetMemberTitle(pb.SetMemberTitleRequest(request=request, **policy.acting(current().caller)))

    def SetMemberNickname(self, request: api.SetMemberNicknameRequest) -> api.SetMemberNicknameResponse:
        named = api.SetMemberNicknameRequest()
        named.CopyFrom(request)
        named.user_id = request.user_id or policy.actor(current().caller, "", "user_id")
        return self._groups.SetMemberNickname(
            pb.SetMemberNicknameRequest(request=named, **policy.acting(current().caller))
        )

    def ListMembers(self, request: api.ListMembersRequest) -> api.ListMembersResponse:
        return self._groups.ListMembers(pb.ListMembersRequest(request=request, **policy.acting(current().caller)))

    def GetMember(self, request: api.GetMemberRequest) -> api.GetMemberResponse:
        return self._groups.GetMember(pb.GetMemberRequest(request=request, **policy.acting(current().caller)))
