"""Members of groups: coming, going, roles, lists."""

from collections.abc import Collection, Sequence

from gochat.api.common.v1 import common_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.domain import group_policy, ids, limits, policy
from gochat.domain.changes import ACCEPTED, Kind
from gochat.errors import duplicate, not_found
from gochat.internal.store.v1 import store_pb2
from gochat.repo import hidden
from gochat.repo.audit import record_each
from gochat.repo.changes import add_changes_of
from gochat.repo.membership import (
    acting_role,
    delete_member,
    end_requests,
    hand_over,
    insert_members,
    locked_group,
    membership,
    must_be_member,
    role_of,
    set_role,
    target_role,
    transfer,
    update_conversation,
)
from gochat.repo.users import ACTIVE, get_user, lock_existing, must_be_among
from gochat.storage.database import Database, Row, Tx, placeholders
from gochat.storage.models import Conversation, Member, RemovedMember

# The page is cut by index, then its rows are looked up.
_PAGE = """
SELECT conversation.member_count, (
    SELECT 1 FROM members AS viewer
    WHERE viewer.conversation_id = conversation.conversation_id AND viewer.user_id = ?
), (
    SELECT json_group_array(json_array(member.joined_at, member.user_id, named.nickname, named.avatar, member.role))
    FROM (
        SELECT listed.conversation_id, listed.user_id FROM members AS listed
        WHERE listed.conversation_id = conversation.conversation_id
        ORDER BY listed.joined_at, listed.user_id LIMIT ? OFFSET ?
    ) AS page
    JOIN members AS member ON member.conversation_id = page.conversation_id AND member.user_id = page.user_id
    JOIN users AS named ON named.user_id = member.user_id
)
FROM conversations AS conversation
WHERE conversation.conversation_id = ? AND conversation.type = 'group' AND conversation.dissolved_at = 0"""


class Members:
    def __init__(self, database: Database) -> None:
        self._database = database

    def JoinGroup(self, request: store_pb2.JoinGroupRequest) -> store_pb2.JoinGroupResponse:
        def work(tx: Tx) -> None:
            existing = lock_existing(tx, [request.user_id])
            joined = locked_group(tx, request.group_id)
            must_be_new(tx, joined, existing, request.user_id)
            removed = tx.fetch_one(
                "SELECT 1 FROM removed_members WHERE conversation_id = ? AND user_id = ?",
                request.group_id,
                request.user_id,
            )
            policy.join(removed is not None)
            group_policy.join(joined.joining, group_policy.OPEN)
            add_members(tx, joined, [request.user_id], policy.MEMBER, "group.join")

        self._database.write(work)
        return store_pb2.JoinGroupResponse()

    def LeaveGroup(self, request: store_pb2.LeaveGroupRequest) -> store_pb2.LeaveGroupResponse:
        def work(tx: Tx) -> None:
            left = locked_group(tx, request.group_id)
            policy.leave(must_be_member(tx, request.group_id, request.user_id), left.member_count)
            delete_member(tx, left, request.user_id, "group.leave")

        self._database.write(work)
        return store_pb2.LeaveGroupResponse()

    def AddMembers(self, request: store_pb2.AddMembersRequest) -> store_pb2.AddMembersResponse:
        wanted = list(dict.fromkeys(request.user_ids))

        def work(tx: Tx) -> list[str]:
            existing = lock_existing(tx, wanted)
            entered = locked_group(tx, request.group_id)
            policy.manage("group", must_be_member(tx, request.group_id, request.operator_id), entered.adding)
            must_be_among(existing, wanted, "user_ids")
            here = Member.select(Member.user_id).where(
                Member.conversation_id == request.group_id, Member.user_id.in_(wanted)
            )
            members = {user_id for (user_id,) in tx.model_all(here.tuples())}
            added = [user_id for user_id in wanted if user_id not in members]
            add_members(tx, entered, added, policy.MEMBER, "group.add")
            return added

        return store_pb2.AddMembersResponse(added_user_ids=self._database.write(work))

    def AddGroupMember(self, request: repo_pb2.AddGroupMemberRequest) -> repo_pb2.AddGroupMemberResponse:
        def work(tx: Tx) -> None:
            existing = lock_existing(tx, [request.user_id])
            entered = locked_group(tx, request.group_id)
            must_be_new(tx, entered, existing, request.user_id)
            add_members(tx, entered, [request.user_id], request.role or policy.MEMBER, "group.add")

        self._database.write(work)
        return repo_pb2.AddGroupMemberResponse(success=True)

    def RemoveMember(self, request: store_pb2.RemoveMemberRequest) -> store_pb2.RemoveMemberResponse:
        self._database.write(lambda tx: _remove(tx, request.group_id, request.user_id, request.operator_id))
        return store_pb2.RemoveMemberResponse()

    def RemoveGroupMember(self, request: repo_pb2.RemoveGroupMemberRequest) -> repo_pb2.RemoveGroupMemberResponse:
        self._database.write(lambda tx: _remove(tx, request.group_id, request.user_id, ""))
        return repo_pb2.RemoveGroupMemberResponse(success=True)

    def UpdateGroupMemberRole(
        self, request: repo_pb2.UpdateGroupMemberRoleRequest
    ) -> repo_pb2.UpdateGroupMemberRoleResponse:
        def work(tx: Tx) -> None:
            changed = locked_group(tx, request.group_id)
            role = target_role(tx, request.group_id, request.user_id)
            policy.change_role(role, request.role)
            if role == request.role:
                return
            if request.role == policy.OWNER:
                transfer(tx, changed, request.user_id)
            else:
                set_role(tx, changed, request.user_id, request.role)

        self._database.write(work)
        return repo_pb2.UpdateGroupMemberRoleResponse(success=True)

    def ListMembers(self, request: store_pb2.ListMembersRequest) -> store_pb2.ListMembersResponse:
        members, pagination = self._list(request.group_id, request.user_id, request.pagination)
        return store_pb2.ListMembersResponse(members=members, pagination=pagination)

    def GetGroupMembers(self, request: repo_pb2.GetGroupMembersRequest) -> repo_pb2.GetGroupMembersResponse:
        members, pagination = self._list(request.group_id, "", request.pagination)
        return repo_pb2.GetGroupMembersResponse(members=members, pagination=pagination)

    def GetConversationParticipants(
        self, request: repo_pb2.GetConversationParticipantsRequest
    ) -> repo_pb2.GetConversationParticipantsResponse:
        def work(tx: Tx) -> list[str]:
            membership(tx, request.conversation_id, "")
            rows = (
                Member.select(Member.user_id)
                .where(Member.conversation_id == request.conversation_id, Member.role != policy.DELETED)
                .order_by(Member.joined_at, Member.user_id)
            )
            return [user_id for (user_id,) in tx.model_all(rows.tuples())]

        return repo_pb2.GetConversationParticipantsResponse(participant_ids=self._database.read(work, replica=True))

    def _list(
        self, group_id: str, viewer_id: str, pagination: common_pb2.PaginationRequest
    ) -> tuple[list[common_pb2.GroupMember], common_pb2.PaginationResponse]:
        page, limit = limits.page_of(pagination, limits.DEFAULT_LONG_PAGE)

        def work(tx: Tx) -> Row | None:
            return tx.fetch_one(_PAGE, viewer_id, limit, (page - 1) * limit, group_id)

        found = self._database.read(work, one_statement=True, replica=True)
        if found is None:
            raise not_found("group", "group_id")
        total, viewer, rows = found
        if viewer_id and not viewer:
            raise policy.not_participant()
        members = [
            common_pb2.GroupMember(user_id=user_id, nickname=nickname, avatar=avatar, role=role, joined_at=joined)
            for joined, user_id, nickname, avatar, role in sorted(Tx.decode_rows(rows))
        ]
        return members, common_pb2.PaginationResponse(total=total, page=page, limit=limit)


def add_members(tx: Tx, entered: Conversation, user_ids: Sequence[str], role: str, action: str) -> None:
    """Makes users who are no members members of a locked group. What was said before them counts as read. If they had
    asked to join, they are accepted. Raises PERMISSION_DENIED where one is banned, or there are too few places.

    action: what the audit log calls it."""
    must_not_be_banned(tx, entered, user_ids)
    policy.room_for(len(user_ids), entered.member_count, entered.max_members)
    update_conversation(tx, entered, member_count=entered.member_count + len(user_ids))
    insert_members(tx, entered, user_ids, role, read_seq=entered.last_seq)
    tx.run(
        RemovedMember.delete().where(
            RemovedMember.conversation_id == entered.conversation_id, RemovedMember.user_id.in_(user_ids)
        )
    )
    record_each(tx, action, entered.conversation_id, user_ids)
    add_changes_of(tx, Kind.MEMBER_JOINED, entered.conversation_id, user_ids, role)
    if user_ids:
        end_requests(tx, entered.conversation_id, user_ids, ACCEPTED)
    hidden.restore(tx, entered.conversation_id, user_ids, entered.last_seq)


def must_not_be_banned(tx: Tx, entered: Conversation, user_ids: Sequence[str]) -> None:
    """Raises PERMISSION_DENIED. Bans of theirs that have ended go."""
    if not user_ids:
        return
    of_these = f"FROM bans WHERE conversation_id = ? AND user_id IN ({placeholders(user_ids)})"
    bans = tx.fetch_all(f"SELECT until {of_these}", entered.conversation_id, *user_ids)
    for (until,) in bans:
        if group_policy.is_banned(until, ids.now_ms()):
            raise group_policy.banned(until)
    if bans:
        tx.sql(f"DELETE {of_these}", entered.conversation_id, *user_ids)


def must_be_new(tx: Tx, entered: Conversation, existing: Collection[str], user_id: str) -> None:
    """Raises NOT_FOUND for no user, DUPLICATE_OPERATION for a member. existing: of lock_existing()."""
    must_be_among(existing, [user_id], "user_id")
    if role_of(tx, entered.conversation_id, user_id) is not None:
        raise duplicate("the user is a member of the group", "ALREADY_A_MEMBER", "user_id")


def _remove(tx: Tx, group_id: str, user_id: str, operator_id: str) -> None:
    """operator_id: "" for the service itself."""
    left = locked_group(tx, group_id)
    role = acting_role(tx, group_id, operator_id)
    target = target_role(tx, group_id, user_id)
    is_active = target != policy.OWNER or get_user(tx, user_id).status == ACTIVE
    policy.remove(role, target, target_is_active=is_active)
    if target == policy.OWNER:
        hand_over(tx, left)
    delete_member(tx, left, user_id, "group.remove")
    tx.run(RemovedMember.insert(conversation_id=group_id, user_id=user_id, removed_at=ids.now_ms()))
