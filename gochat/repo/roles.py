"""Roles in groups, by those who have them: admins, the owner, the end of a group."""

from gochat.api.group.v1 import group_pb2 as api
from gochat.domain import group_policy, policy
from gochat.internal.group.v1 import group_pb2 as pb
from gochat.repo.membership import acting_role, dissolve, locked_group, set_role, target_role, transfer
from gochat.repo.users import ACTIVE, get_user
from gochat.storage.database import Database, Tx


class Roles:
    """Of GroupStoreService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def SetMemberRole(self, request: pb.SetMemberRoleRequest) -> api.SetMemberRoleResponse:
        asked, actor = request.request, request.user_id

        def work(tx: Tx) -> None:
            changed = locked_group(tx, asked.group_id)
            role, target = acting_role(tx, asked.group_id, actor), target_role(tx, asked.group_id, asked.user_id)
            group_policy.set_role(role, target, asked.role, is_self=actor == asked.user_id)
            if target != asked.role:
                set_role(tx, changed, asked.user_id, asked.role)

        self._database.write(work)
        return api.SetMemberRoleResponse(success=True)

    def TransferOwnership(self, request: pb.TransferOwnershipRequest) -> api.TransferOwnershipResponse:
        asked = request.request

        def work(tx: Tx) -> None:
            changed = locked_group(tx, asked.group_id)
            group_policy.own(acting_role(tx, asked.group_id, request.user_id))
            if target_role(tx, asked.group_id, asked.user_id) == policy.OWNER:
                return
            group_policy.succeed(is_active=get_user(tx, asked.user_id).status == ACTIVE)
            transfer(tx, changed, asked.user_id)

        self._database.write(work)
        return api.TransferOwnershipResponse(success=True)

    def DissolveGroup(self, request: pb.DissolveGroupRequest) -> api.DissolveGroupResponse:
        def work(tx: Tx) -> None:
            ended = locked_group(tx, request.request.group_id)
            group_policy.own(acting_role(tx, ended.conversation_id, request.user_id))
            dissolve(tx, ended)

        self._database.write(work)
        return api.DissolveGroupResponse(success=True)
