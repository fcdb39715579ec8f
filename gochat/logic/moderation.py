"""Bans and mutes."""

from gochat.api.group.v1 import group_pb2 as api
from gochat.context import current
from gochat.domain import policy
from gochat.internal.group.v1 import group_pb2 as pb
from gochat.internal.group.v1.group_pb2_grpc import GroupStoreServiceStub


class Moderation:
    """Of GroupService."""

    def __init__(self, groups: GroupStoreServiceStub) -> None:
        self._groups = groups

    def BanMember(self, request: api.BanMemberRequest) -> api.BanMemberResponse:
        return self._groups.BanMember(pb.BanMemberRequest(request=request, **policy.acting(current().caller)))

    def UnbanMember(self, request: api.UnbanMemberRequest) -> api.UnbanMemberResponse:
        return self._groups.UnbanMember(pb.UnbanMemberRequest(request=request, **policy.acting(current().caller)))

    def ListBannedMembers(self, request: api.ListBannedMembersRequest) -> api.ListBannedMembersResponse:
        return self._groups.ListBannedMembers(
            pb.ListBannedMembersRequest(request=request, **policy.acting(current().caller))
        )

    def MuteMember(self, request: api.MuteMemberRequest) -> api.MuteMemberResponse:
        return self._groups.MuteMember(pb.MuteMemberRequest(request=request, **policy.acting(current().caller)))
