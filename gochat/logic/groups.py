"""Groups and their members."""

from gochat.api.logic.v1 import logic_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.api.repo.v1.repo_pb2_grpc import RepoServiceStub
from gochat.internal.store.v1 import store_pb2
from gochat.internal.store.v1.store_pb2_grpc import StoreServiceStub
from gochat.logic.acting import acting, actor


class Groups:
    def __init__(self, repo: RepoServiceStub, store: StoreServiceStub) -> None:
        self._repo = repo
        self._store = store

    def CreateGroup(self, request: logic_pb2.CreateGroupRequest) -> logic_pb2.CreateGroupResponse:
        created = self._store.CreateGroup(
            store_pb2.CreateGroupRequest(
                name=request.name,
                description=request.description,
                avatar=request.avatar,
                owner_id=actor(request.owner_id, "owner_id"),
                max_members=request.max_members,
                member_ids=request.member_ids,
            )
        )
        return logic_pb2.CreateGroupResponse(group_id=created.group.group_id, group=created.group)

    def GetGroupInfo(self, request: logic_pb2.GetGroupInfoRequest) -> logic_pb2.GetGroupInfoResponse:
        found = self._repo.GetGroup(repo_pb2.GetGroupRequest(group_id=request.group_id))
        return logic_pb2.GetGroupInfoResponse(group=found.group)

    def UpdateGroup(self, request: logic_pb2.UpdateGroupRequest) -> logic_pb2.UpdateGroupResponse:
        changed = self._store.UpdateGroup(
            store_pb2.UpdateGroupRequest(
                group_id=request.group_id,
                name=request.name,
                description=request.description,
                avatar=request.avatar,
                max_members=request.max_members,
                **acting(),
            )
        )
        return logic_pb2.UpdateGroupResponse(success=True, group=changed.group)

    def JoinGroup(self, request: logic_pb2.JoinGroupRequest) -> logic_pb2.JoinGroupResponse:
        user_id = actor(request.user_id)
        self._store.JoinGroup(store_pb2.JoinGroupRequest(group_id=request.group_id, user_id=user_id))
        return logic_pb2.JoinGroupResponse(success=True)

    def LeaveGroup(self, request: logic_pb2.LeaveGroupRequest) -> logic_pb2.LeaveGroupResponse:
        user_id = actor(request.user_id)
        self._store.LeaveGroup(store_pb2.LeaveGroupRequest(group_id=request.group_id, user_id=user_id))
        return logic_pb2.LeaveGroupResponse(success=True)

    def GetGroupMembers(self, request: logic_pb2.GetGroupMembersRequest) -> logic_pb2.GetGroupMembersResponse:
        page = self._store.ListMembers(
            store_pb2.ListMembersRequest(group_id=request.group_id, pagination=request.pagination, **acting())
        )
        return logic_pb2.GetGroupMembersResponse(members=page.members, pagination=page.pagination)

    def AddGroupMember(self, request: logic_pb2.AddGroupMemberRequest) -> logic_pb2.AddGroupMemberResponse:
        added = self._store.AddMembers(
            store_pb2.AddMembersRequest(
                group_id=request.group_id,
                user_ids=request.user_ids,
                operator_id=actor(request.operator_id, "operator_id"),
            )
        )
        return logic_pb2.AddGroupMemberResponse(success=True, added_user_ids=added.added_user_ids)

    def RemoveGroupMember(self, request: logic_pb2.RemoveGroupMemberRequest) -> logic_pb2.RemoveGroupMemberResponse:
        self._store.RemoveMember(
            store_pb2.RemoveMemberRequest(
                group_id=request.group_id,
                user_id=request.user_id,
                operator_id=actor(request.operator_id, "operator_id"),
            )
        )
        return logic_pb2.RemoveGroupMemberResponse(success=True)
