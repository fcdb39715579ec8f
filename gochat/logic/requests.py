"""Requests to join groups."""

from gochat.api.group.v1 import group_pb2 as api
from gochat.context import current
from gochat.domain import policy
from gochat.internal.group.v1 import group_pb2 as pb
from gochat.internal.group.v1.group_pb2_grpc import GroupStoreServiceStub


class Requests:
    """Of GroupService."""

    def __init__(self, groups: GroupStoreServiceStub) -> None:
        self._groups = groups

    def RequestToJoin(self, request: api.RequestToJoinRequest) -> api.RequestToJoinResponse:
        user_id = policy.actor(current().caller, request.user_id, "user_id")
        return self._groups.RequestToJoin(pb.RequestToJoinRequest(request=request, user_id=user_id))

    def CancelRequest(self, request: api.CancelRequestRequest) -> api.CancelRequestResponse:
        user_id = policy.actor(current().caller, request.user_id, "user_id")
        return self._groups.CancelRequest(pb.CancelRequestRequest(request=request, user_id=user_id))

    def ListJoinRequests(self, request: api.ListJoinRequestsRequest) -> api.ListJoinRequestsResponse:
        return self._groups.ListJoinRequests(
            pb.ListJoinRequestsRequest(request=request, **policy.acting(current().caller))
        )

    def DecideJoinRequest(self, request: api.DecideJoinRequestRequest) -> api.DecideJoinRequestResponse:
        return self._groups.DecideJoinRequest(
            pb.DecideJoinRequestRequest(request=request, **policy.acting(current().caller))
        )
