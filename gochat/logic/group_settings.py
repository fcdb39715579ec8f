"""What groups let people do, and the search for groups."""

from gochat.api.group.v1 import group_pb2 as api
from gochat.context import current
from gochat.domain import policy
from gochat.internal.group.v1 import group_pb2 as pb
from gochat.internal.group.v1.group_pb2_grpc import GroupStoreServiceStub


class GroupSettings:
    """Of GroupService."""

    def __init__(self, groups: GroupStoreServiceStub) -> None:
        self._groups = groups

    def GetGroupSettings(self, request: api.GetGroupSettingsRequest) -> api.GetGroupSettingsResponse:
        return self._groups.GetGroupSettings(
            pb.GetGroupSettingsRequest(request=request, **policy.acting(current().caller))
        )

    def UpdateGroupSettings(self, request: api.UpdateGroupSettingsRequest) -> api.UpdateGroupSettingsResponse:
        return self._groups.UpdateGroupSettings(
            pb.UpdateGroupSettingsRequest(request=request, **policy.acting(current().caller))
        )

    def SearchGroups(self, request: api.SearchGroupsRequest) -> api.SearchGroupsResponse:
        return self._groups.SearchGroups(pb.SearchGroupsRequest(request=request))
