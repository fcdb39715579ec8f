"""Invitations to groups."""

from gochat.api.group.v1 import group_pb2 as api
from gochat.context import current
from gochat.domain import policy
from gochat.internal.group.v1 import group_pb2 as pb
from gochat.internal.group.v1.group_pb2_grpc import GroupStoreServiceStub


class Invitations:
    """Of GroupService."""

    def __init__(self, groups: GroupStoreServiceStub) -> None:
        self._groups = groups

    def CreateInvitation(self, request: api.CreateInvitationRequest) -> api.CreateInvitationResponse:
        return self._groups.CreateInvitation(
            pb.CreateInvitationRequest(request=request, **policy.acting(current().caller))
        )

    def ListInvitations(self, request: api.ListInvitationsRequest) -> api.ListInvitationsResponse:
        return self._groups.ListInvitations(
            pb.ListInvitationsRequest(request=request, **policy.acting(current().caller))
        )

    def RevokeInvitation(self, request: api.RevokeInvitationRequest) -> api.RevokeInvitationResponse:
        return self._groups.RevokeInvitation(
            pb.RevokeInvitationRequest(request=request, **policy.acting(current().caller))
        )

    def GetInvitation(self, request: api.GetInvitationRequest) -> api.GetInvitationResponse:
        return self._groups.GetInvitation(pb.GetInvitationRequest(request=request))

    def JoinByInvitation(self, request: api.JoinByInvitationRequest) -> api.JoinByInvitationResponse:
        user_id = policy.actor(current().caller, request.user_id, "user_id")
        return self._groups.JoinByInvitation(pb.JoinByInvitationRequest(request=request, user_id=user_id))
