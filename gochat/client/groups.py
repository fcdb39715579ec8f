"""Groups: conversations with members and roles. A group's id is its conversation's."""

from collections.abc import Sequence

from gochat.api.common.v1.common_pb2 import Group, PaginationRequest
from gochat.api.group.v1 import group_pb2, group_types_pb2
from gochat.api.logic.v1 import logic_pb2
from gochat.client.calls import Calls


class Groups(Calls):
    def create_group(
        self,
        name: str,
        member_ids: Sequence[str] = (),
        description: str = "",
        avatar: str = "",
        max_members: int = 0,
    ) -> Group:
        """The user owns it. name: 1 to 100 characters. member_ids: at most 1,000. max_members: at most 100,000; 0: 500.
        Errors: NOT_FOUND for an unknown user."""
        request = logic_pb2.CreateGroupRequest(
            name=name,
            description=description,
            avatar=avatar,
            owner_id=self._acting_for,
            max_members=max_members,
            member_ids=member_ids,
        )
        return self._call(self._connection.logic.CreateGroup, request).group

    def group(self, group_id: str) -> Group:
        """For whoever knows its id. Errors: NOT_FOUND."""
        return self._call(self._connection.logic.GetGroupInfo, logic_pb2.GetGroupInfoRequest(group_id=group_id)).group

    def update_group(
        self, group_id: str, name: str = "", description: str = "", avatar: str = "", max_members: int = 0
    ) -> Group:
        """Changes what is not empty or 0. Errors: PERMISSION_DENIED for who does not manage it."""
        request = logic_pb2.UpdateGroupRequest(
            group_id=group_id, name=name, description=description, avatar=avatar, max_members=max_members
        )
        return self._call(self._connection.logic.UpdateGroup, request).group

    def join_group(self, group_id: str) -> None:
        """One that is open. Errors: PERMISSION_DENIED if it is not (JOINING), if it is full, or if the user was removed
        or banned; ALREADY_EXISTS."""
        request = logic_pb2.JoinGroupRequest(group_id=group_id, user_id=self._acting_for)
        self._call(self._connection.logic.JoinGroup, request)

    def leave_group(self, group_id: str) -> None:
        """The last member dissolves it by leaving. Errors: PERMISSION_DENIED for the owner while others remain, who may
        transfer_group() first."""
        request = logic_pb2.LeaveGroupRequest(group_id=group_id, user_id=self._acting_for)
        self._call(self._connection.logic.LeaveGroup, request)

    def members(self, group_id: str, page: int = 1, limit: int = 50) -> logic_pb2.GetGroupMembersResponse:
        """By the time they joined. page: from 1. limit: at most 200. Errors: PERMISSION_DENIED for who is no member."""
        request = logic_pb2.GetGroupMembersRequest(
            group_id=group_id, pagination=PaginationRequest(page=page, limit=limit)
        )
        return self._call(self._connection.logic.GetGroupMembers, request)

    def add_members(self, group_id: str, user_ids: Sequence[str]) -> Sequence[str]:
        """At most 1,000, all or none; returns those who were no members before. Errors: PERMISSION_DENIED,
        NOT_FOUND."""
        request = logic_pb2.AddGroupMemberRequest(group_id=group_id, user_ids=user_ids, operator_id=self._acting_for)
        return self._call(self._connection.logic.AddGroupMember, request).added_user_ids

    def remove_member(self, group_id: str, user_id: str) -> None:
        """They may not join again before they are added or invited. Errors: PERMISSION_DENIED, NOT_FOUND."""
        request = logic_pb2.RemoveGroupMemberRequest(group_id=group_id, user_id=user_id, operator_id=self._acting_for)
        self._call(self._connection.logic.RemoveGroupMember, request)

    def list_members(
        self, group_id: str, query: str = "", page_token: str = "", limit: int = 50
    ) -> group_pb2.ListMembersResponse:
        """As MemberDetail, by the time they joined. query: in one of their names, regardless of case. page_token:
        next_page_token of the page before. limit: at most 200. Errors: as of members."""
        request = group_pb2.ListMembersRequest(group_id=group_id, query=query, page_token=page_token, limit=limit)
        return self._call(self._connection.group.ListMembers, request)

    def member(self, group_id: str, user_id: str) -> group_types_pb2.MemberDetail:
        """Errors: NOT_FOUND for who is no member."""
        request = group_pb2.GetMemberRequest(group_id=group_id, user_id=user_id)
        return self._call(self._connection.group.GetMember, request).member

    def set_title(self, group_id: str, user_id: str, title: str) -> None:
        """Words that the group shows beside a member, at most 32 characters; empty: none. For managers. Errors:
        PERMISSION_DENIED, NOT_FOUND."""
        request = group_pb2.SetMemberTitleRequest(group_id=group_id, user_id=user_id, title=title)
        self._call(self._connection.group.SetMemberTitle, request)

    def set_group_nickname(self, group_id: str, nickname: str, user_id: str = "") -> None:
        """The name in this group, at most 64 characters; empty: as everywhere. user_id: whose, for managers; empty: the
        user's own. Errors: PERMISSION_DENIED, NOT_FOUND."""
        request = group_pb2.SetMemberNicknameRequest(
            group_id=group_id, nickname=nickname, user_id=user_id or self._acting_for
        )
        self._call(self._connection.group.SetMemberNickname, request)

    def search_groups(self, query: str = "", page_token: str = "", limit: int = 20) -> group_pb2.SearchGroupsResponse:
        """Groups that let themselves be found, by name. page_token: as of list_members. limit: at most 100."""
        request = group_pb2.SearchGroupsRequest(query=query, page_token=page_token, limit=limit)
        return self._call(self._connection.group.SearchGroups, request)
