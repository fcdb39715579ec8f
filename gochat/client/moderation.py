"""Who may do what in a group. For its owner and admins, the managers; what the owner alone may do says so.

Errors of all: NOT_FOUND, PERMISSION_DENIED for who has not the role. A service needs no role: what it does here for a
user it does by its own right.
"""

from gochat.api.group.v1 import group_pb2, group_types_pb2
from gochat.client.calls import Calls
from gochat.client.conversations import FOREVER


class Moderation(Calls):
    def set_role(self, group_id: str, user_id: str, role: str) -> None:
        """role: "admin" or "member". For the owner, and for an admin who steps down."""
        request = group_pb2.SetMemberRoleRequest(group_id=group_id, user_id=user_id, role=role)
        self._call(self._connection.group.SetMemberRole, request)

    def transfer_group(self, group_id: str, user_id: str) -> None:
        """Makes another member the owner; the owner, who alone may, becomes an admin."""
        request = group_pb2.TransferOwnershipRequest(group_id=group_id, user_id=user_id)
        self._call(self._connection.group.TransferOwnership, request)

    def dissolve_group(self, group_id: str) -> None:
        """Ends the group for all. For the owner."""
        self._call(self._connection.group.DissolveGroup, group_pb2.DissolveGroupRequest(group_id=group_id))

    def ban_member(self, group_id: str, user_id: str, until: int = 0, reason: str = "") -> None:
        """Removes a member, or a user who is none, and keeps them out. until: Unix milliseconds; 0: for good. reason:
        for managers, at most 200 characters."""
        request = group_pb2.BanMemberRequest(group_id=group_id, user_id=user_id, until=until, reason=reason)
        self._call(self._connection.group.BanMember, request)

    def unban_member(self, group_id: str, user_id: str) -> None:
        """They may join again, as others do."""
        request = group_pb2.UnbanMemberRequest(group_id=group_id, user_id=user_id)
        self._call(self._connection.group.UnbanMember, request)

    def bans(self, group_id: str, page_token: str = "", limit: int = 50) -> group_pb2.ListBannedMembersResponse:
        """Oldest first. page_token: next_page_token of the page before. limit: at most 200."""
        request = group_pb2.ListBannedMembersRequest(group_id=group_id, page_token=page_token, limit=limit)
        return self._call(self._connection.group.ListBannedMembers, request)

    def mute_member(self, group_id: str, user_id: str, until: int = FOREVER) -> None:
        """They may not send until then, in Unix milliseconds; 0: they may again."""
        request = group_pb2.MuteMemberRequest(group_id=group_id, user_id=user_id, until=until)
        self._call(self._connection.group.MuteMember, request)

    def group_settings(self, group_id: str) -> group_types_pb2.GroupSettings:
        """For members."""
        request = group_pb2.GetGroupSettingsRequest(group_id=group_id)
        return self._call(self._connection.group.GetGroupSettings, request).settings

    def update_group_settings(
        self,
        group_id: str,
        *,
        posting: group_types_pb2.Who.ValueType = group_types_pb2.WHO_UNSPECIFIED,
        adding: group_types_pb2.Who.ValueType = group_types_pb2.WHO_UNSPECIFIED,
        editing: group_types_pb2.Who.ValueType = group_types_pb2.WHO_UNSPECIFIED,
        joining: group_types_pb2.Joining.ValueType = group_types_pb2.JOINING_UNSPECIFIED,
        slow_mode_seconds: int | None = None,
        searchable: bool | None = None,
    ) -> group_types_pb2.GroupSettings:
        """Changes what is given. posting, adding, editing: who sends, who adds others and invites, who changes name and
        avatar: WHO_EVERYONE or WHO_MANAGERS, of gochat.api.group.v1.group_types_pb2. joining: how others join:
        JOINING_OPEN, JOINING_APPROVAL, JOINING_INVITATION or JOINING_CLOSED. slow_mode_seconds: between two messages of
        a plain member, at most 86,400; 0: none. searchable: search_groups() finds it."""
        request = group_pb2.UpdateGroupSettingsRequest(
            group_id=group_id,
            posting=posting,
            adding=adding,
            editing=editing,
            joining=joining,
            slow_mode_seconds=slow_mode_seconds,
            searchable=searchable,
        )
        return self._call(self._connection.group.UpdateGroupSettings, request).settings
