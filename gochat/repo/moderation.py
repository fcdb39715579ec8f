"""Bans and mutes."""

from gochat.api.group.v1 import group_pb2 as api
from gochat.domain import cursors, group_policy, ids, policy
from gochat.domain.changes import DECLINED, Kind
from gochat.errors import not_found
from gochat.internal.group.v1 import group_pb2 as pb
from gochat.repo.audit import record
from gochat.repo.changes import add_change
from gochat.repo.membership import (
    acting_role,
    delete_member,
    end_requests,
    hand_over,
    locked_group,
    role_of,
    target_role,
    update_conversation,
    viewed_group,
)
from gochat.repo.users import ACTIVE, get_user, must_exist
from gochat.storage.database import Database, Row, Tx

_BAN = """
INSERT INTO bans (conversation_id, user_id, until, reason, banned_by, banned_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (conversation_id, user_id) DO UPDATE
SET until = excluded.until, reason = excluded.reason, banned_by = excluded.banned_by, banned_at = excluded.banned_at"""
_UNBAN = "DELETE FROM bans WHERE conversation_id = ? AND user_id = ? RETURNING until"
_FORGET_REMOVAL = "DELETE FROM removed_members WHERE conversation_id = ? AND user_id = ?"
_BANS = """
SELECT ban.banned_at, ban.user_id, named.nickname, ban.until, ban.reason, ban.banned_by
FROM bans AS ban
JOIN users AS named ON named.user_id = ban.user_id
WHERE ban.conversation_id = ? AND (ban.banned_at, ban.user_id) > (?, ?) AND (ban.until = 0 OR ban.until > ?)
ORDER BY ban.banned_at, ban.user_id LIMIT ?"""
_MUTED_UNTIL = "SELECT muted_until FROM member_details WHERE conversation_id = ? AND user_id = ?"
_MUTE = """
INSERT INTO member_details (conversation_id, user_id, muted_until) VALUES (?, ?, ?)
ON CONFLICT (conversation_id, user_id) DO UPDATE SET muted_until = excluded.muted_until"""
_LATEST_MUTE = "SELECT MAX(muted_until) FROM member_details WHERE conversation_id = ?"


class Moderation:
    """Of GroupStoreService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def BanMember(self, request: pb.BanMemberRequest) -> api.BanMemberResponse:
        asked = request.request
        group_id, user_id, now = asked.group_id, asked.user_id, ids.now_ms()
        group_policy.in_future("until", asked.until, now)

        def work(tx: Tx) -> None:
            must_exist(tx, [user_id], "user_id")
            left = locked_group(tx, group_id)
            role, target = acting_role(tx, group_id, request.user_id), role_of(tx, group_id, user_id)
            if target is None:
                group_policy.manage(role)
                end_requests(tx, group_id, [user_id], DECLINED)
                record(tx, "group.ban", group_id, user_id)
            else:
                is_active = target != policy.OWNER or get_user(tx, user_id).status == ACTIVE
                policy.remove(role, target, target_is_active=is_active)
                if target == policy.OWNER:
                    hand_over(tx, left)
                delete_member(tx, left, user_id, "group.ban")
            if not left.dissolved_at:
                tx.sql(_BAN, group_id, user_id, asked.until, asked.reason, request.user_id, now)

        self._database.write(work)
        return api.BanMemberResponse(success=True)

    def UnbanMember(self, request: pb.UnbanMemberRequest) -> api.UnbanMemberResponse:
        asked = request.request

        def work(tx: Tx) -> None:
            locked_group(tx, asked.group_id)
            group_policy.manage(acting_role(tx, asked.group_id, request.user_id))
            lifted = tx.fetch_one(_UNBAN, asked.group_id, asked.user_id)
            if lifted is None or not group_policy.is_banned(lifted[0], ids.now_ms()):
                raise not_found("ban", "user_id")
            tx.sql(_FORGET_REMOVAL, asked.group_id, asked.user_id)
            record(tx, "group.unban", asked.group_id, asked.user_id)

        self._database.write(work)
        return api.UnbanMemberResponse(success=True)

    def ListBannedMembers(self, request: pb.ListBannedMembersRequest) -> api.ListBannedMembersResponse:
        asked = request.request
        page = cursors.page(request, self._database.pair_key, (-1, ""))

        def work(tx: Tx) -> list[Row]:
            _, role = viewed_group(tx, asked.group_id, request.user_id)
            group_policy.manage(role)
            return tx.fetch_all(_BANS, asked.group_id, *page.after, ids.now_ms(), page.fetched)

        rows = self._database.read(work, replica=True)
        answer = api.ListBannedMembersResponse(next_page_token=page.cut(rows))
        for banned_at, user_id, nickname, until, reason, banned_by in rows:
            answer.bans.add(
                user_id=user_id,
                nickname=nickname,
                until=until,
                reason=reason,
                banned_by=banned_by,
                banned_at=banned_at,
            )
        return answer

    def MuteMember(self, request: pb.MuteMemberRequest) -> api.MuteMemberResponse:
        asked = request.request
        group_policy.in_future("until", asked.until, ids.now_ms())

        def work(tx: Tx) -> None:
            muting = locked_group(tx, asked.group_id)
            role = acting_role(tx, asked.group_id, request.user_id)
            group_policy.outrank(role, target_role(tx, asked.group_id, asked.user_id))
            this = (asked.group_id, asked.user_id)
            muted = tx.fetch_one(_MUTED_UNTIL, *this)
            if asked.until != (muted[0] if muted else 0):
                tx.sql(_MUTE, *this, asked.until)
                ((latest,),) = tx.fetch_all(_LATEST_MUTE, asked.group_id)
                update_conversation(tx, muting, muted_until=latest)
                record(tx, "group.mute" if asked.until else "group.unmute", *this)
                add_change(tx, Kind.MEMBER_DETAIL_UPDATED, *this)

        self._database.write(work)
        return api.MuteMemberResponse(success=True)
