"""Roles in groups."""

from gochat.api.group.v1 import group_pb2 as api
from gochat.context import current
from gochat.domain import policy
from gochat.internal.group.v1 import group_pb2 as pb
from gochat.internal.group.v1.group_pb2_grpc import GroupStoreServiceStub


class Roles:
    """Of GroupService."""

    def __init__(self, groups: GroupStoreServiceStub) -> None:
        self._groups = groups

    def SetMemberRole(self, request: api.SetMemberRoleRequest) -> api.SetMemberRoleResponse:
        return self._groups.SetMemberRole(pb.SetMemberRoleRequest(request=request, **policy.acting(current().caller)))

    def TransferOwnership(self, request: api.TransferOwnershipRequest) -> api.TransferOwnershipResponse:
        return self._groups.TransferOwnership(
            pb.TransferOwnershipRequest(request=request, **policy.acting(current().caller))
        )

    def DissolveGroup(self, request: api.DissolveGroupRequest) -> api.DissolveGroupResponse:
        return self._groups.DissolveGroup(pb.DissolveGroupRequest(request=request, **policy.acting(current().caller)))
