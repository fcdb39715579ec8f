"""How people come into a group who are not added: by invitation, or because they ask."""

from collections.abc import Sequence

from gochat.api.group.v1 import group_pb2, group_types_pb2
from gochat.client.calls import Calls


class Invitations(Calls):
    def create_invitation(self, group_id: str, expires_at: int = 0, max_uses: int = 0) -> group_types_pb2.Invitation:
        """Whoever has its token may join. expires_at: Unix milliseconds; 0: never. max_uses: at most 100,000; 0: any
        number. Errors: PERMISSION_DENIED for who may not add members, or with TOO_MANY_INVITATIONS beyond 100."""
        request = group_pb2.CreateInvitationRequest(group_id=group_id, expires_at=expires_at, max_uses=max_uses)
        return self._call(self._connection.group.CreateInvitation, request).invitation

    def invitations(self, group_id: str) -> Sequence[group_types_pb2.Invitation]:
        """Those that work, oldest first: all for managers, their own for others. Errors: PERMISSION_DENIED."""
        request = group_pb2.ListInvitationsRequest(group_id=group_id)
        return self._call(self._connection.group.ListInvitations, request).invitations

    def revoke_invitation(self, group_id: str, token: str) -> None:
        """For managers, and for who made it. Errors: NOT_FOUND."""
        request = group_pb2.RevokeInvitationRequest(group_id=group_id, token=token)
        self._call(self._connection.group.RevokeInvitation, request)

    def invitation(self, token: str) -> group_types_pb2.GroupPreview:
        """The group that one would join. Errors: NOT_FOUND, also for one that is expired, used up or revoked."""
        request = group_pb2.GetInvitationRequest(token=token)
        return self._call(self._connection.group.GetInvitation, request).group

    def join_by_invitation(self, token: str) -> str:
        """Returns the group id. Errors: NOT_FOUND as of invitation; PERMISSION_DENIED for who is banned, or where the
        group is closed or full; ALREADY_EXISTS."""
        request = group_pb2.JoinByInvitationRequest(token=token, user_id=self._acting_for)
        return self._call(self._connection.group.JoinByInvitation, request).group_id

    def request_to_join(self, group_id: str, note: str = "") -> None:
        """Asks the managers of a group that people join by approval. note: for them, at most 500 characters. Errors:
        PERMISSION_DENIED for who is banned, or where joining is not by approval; ALREADY_EXISTS for a member."""
        request = group_pb2.RequestToJoinRequest(group_id=group_id, note=note, user_id=self._acting_for)
        self._call(self._connection.group.RequestToJoin, request)

    def cancel_request(self, group_id: str) -> None:
        """Withdraws the user's request to join. Errors: NOT_FOUND where there is none."""
        request = group_pb2.CancelRequestRequest(group_id=group_id, user_id=self._acting_for)
        self._call(self._connection.group.CancelRequest, request)

    def join_requests(self, group_id: str, page_token: str = "", limit: int = 50) -> group_pb2.ListJoinRequestsResponse:
        """Those that are not decided, oldest first, for managers. page_token: next_page_token of the page before.
        limit: at most 200. Errors: PERMISSION_DENIED."""
        request = group_pb2.ListJoinRequestsRequest(group_id=group_id, page_token=page_token, limit=limit)
        return self._call(self._connection.group.ListJoinRequests, request)

    def decide_request(self, group_id: str, user_id: str, accept: bool) -> None:
        """Lets in who asked, or does not; then they may ask again. For managers. Errors: PERMISSION_DENIED, NOT_FOUND
        where there is no request."""
        request = group_pb2.DecideJoinRequestRequest(group_id=group_id, user_id=user_id, accept=accept)
        self._call(self._connection.group.DecideJoinRequest, request)
