"""What belongs to a member in a group: their title, their name there, a mute."""

from collections.abc import Sequence

from gochat.api.common.v1 import common_pb2
from gochat.api.group.v1 import group_pb2 as api
from gochat.api.group.v1 import group_types_pb2 as types
from gochat.domain import cursors, group_policy
from gochat.domain.changes import Kind
from gochat.domain.text import casefold_key
from gochat.errors import not_found
from gochat.internal.group.v1 import group_pb2 as pb
from gochat.repo.audit import record
from gochat.repo.changes import add_change
from gochat.repo.membership import acting_role, locked_group, target_role, viewed_group
from gochat.repo.search import users_named
from gochat.storage.database import Database, Row, Tx, placeholders

FEW = 1_000  # members that are read first to find some with a name
MOST_FOUND = 5_000  # users with a name that are looked for in the group after that; of more the next are soon met

_DETAILS = """
SELECT member.joined_at, member.user_id, named.nickname, named.avatar, member.role, COALESCE(detail.title, ''),
    COALESCE(detail.group_nickname, ''), COALESCE(detail.muted_until, 0)
FROM members AS member
JOIN users AS named ON named.user_id = member.user_id
LEFT JOIN member_details AS detail ON detail.conversation_id = member.conversation_id
    AND detail.user_id = member.user_id
WHERE member.conversation_id = ?"""
_DETAIL = f"{_DETAILS} AND member.user_id = ?"
_PAGE = f"""{_DETAILS} AND (member.joined_at, member.user_id) > (?, ?)%s
ORDER BY member.joined_at, member.user_id LIMIT ?"""
# The page as far as it is among the first few.
_NEAR_PAGE = _PAGE.replace(
    "FROM members AS member",
    f"""FROM (
    SELECT * FROM members WHERE conversation_id = ? AND (joined_at, user_id) > (?, ?)
    ORDER BY joined_at, user_id LIMIT {FEW}
) AS member""",
)
# Whatever is replaced in a name stands in it.
_NAMED = """ AND (replace(named.username_key, ?, '') <> named.username_key
    OR replace(named.nickname_key, ?, '') <> named.nickname_key
    OR replace(detail.group_nickname_key, ?, '') <> detail.group_nickname_key)"""
_AMONG = " AND member.user_id IN ({})"
_NICKNAMED = """
SELECT user_id FROM member_details
WHERE conversation_id = ? AND replace(group_nickname_key, ?, '') <> group_nickname_key LIMIT ?"""
_SET_TITLE = """
INSERT INTO member_details (conversation_id, user_id, title) VALUES (?, ?, ?)
ON CONFLICT (conversation_id, user_id) DO UPDATE SET title = excluded.title"""
_SET_NICKNAME = """
INSERT INTO member_details (conversation_id, user_id, group_nickname, group_nickname_key) VALUES (?, ?, ?, ?)
ON CONFLICT (conversation_id, user_id) DO UPDATE
SET group_nickname = excluded.group_nickname, group_nickname_key = excluded.group_nickname_key"""


class MemberDetails:
    """Of GroupStoreService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def SetMemberTitle(self, request: pb.SetMemberTitleRequest) -> api.SetMemberTitleResponse:
        asked, this = request.request, (request.request.group_id, request.request.user_id)

        def work(tx: Tx) -> None:
            locked_group(tx, asked.group_id)
            role, target = acting_role(tx, asked.group_id, request.user_id), target_role(tx, *this)
            if request.user_id == asked.user_id:
                group_policy.manage(target)
            else:
                group_policy.outrank(role, target)
            if asked.title != detail_of(tx, *this).title:
                tx.sql(_SET_TITLE, *this, asked.title)
                record(tx, "group.title", *this)
                add_change(tx, Kind.MEMBER_DETAIL_UPDATED, *this)

        self._database.write(work)
        return api.SetMemberTitleResponse(success=True)

    def SetMemberNickname(self, request: pb.SetMemberNicknameRequest) -> api.SetMemberNicknameResponse:
        asked, this = request.request, (request.request.group_id, request.request.user_id)

        def work(tx: Tx) -> None:
            locked_group(tx, asked.group_id)
            role, target = acting_role(tx, asked.group_id, request.user_id), target_role(tx, *this)
            if is_others := request.user_id != asked.user_id:
                group_policy.outrank(role, target)
            if asked.nickname != detail_of(tx, *this).group_nickname:
                tx.sql(_SET_NICKNAME, *this, asked.nickname, casefold_key(asked.nickname))
                if is_others:
                    record(tx, "group.nickname", *this)
                add_change(tx, Kind.MEMBER_DETAIL_UPDATED, *this)

        self._database.write(work)
        return api.SetMemberNicknameResponse(success=True)

    def ListMembers(self, request: pb.ListMembersRequest) -> api.ListMembersResponse:
        asked = request.request
        page = cursors.page(request, self._database.pair_key, (-1, ""))
        key = casefold_key(asked.query)

        def work(tx: Tx) -> list[Row]:
            found, _ = viewed_group(tx, asked.group_id, request.user_id)
            if asked.query and not key:  # of characters that show nothing
                return []
            here = asked.group_id, *page.after
            if not key:
                return tx.fetch_all(_PAGE % "", *here, page.fetched)
            near = tx.fetch_all(_NEAR_PAGE % _NAMED, *here, *here, *[key] * 3, page.fetched)
            if len(near) == page.fetched or found.member_count <= FEW:
                return near
            condition, wanted = _named(tx, asked.group_id, key)
            return tx.fetch_all(_PAGE % condition, *here, *wanted, page.fetched)

        rows = self._database.read(work, replica=True)
        token = page.cut(rows)
        return api.ListMembersResponse(members=map(_detail, rows), next_page_token=token)

    def GetMember(self, request: pb.GetMemberRequest) -> api.GetMemberResponse:
        asked = request.request

        def work(tx: Tx) -> types.MemberDetail:
            viewed_group(tx, asked.group_id, request.user_id)
            return detail_of(tx, asked.group_id, asked.user_id)

        return api.GetMemberResponse(member=self._database.read(work))


def _named(tx: Tx, group_id: str, key: str) -> tuple[str, Sequence[str]]:
    """A condition for the members with the key in a name, and its parameters."""
    named, values = users_named(tx, key)
    rows = tx.fetch_all(f"SELECT user_id FROM {named} LIMIT ?", *values, MOST_FOUND + 1)
    rows += tx.fetch_all(_NICKNAMED, group_id, key, MOST_FOUND + 1)
    if len(rows) > MOST_FOUND:
        return _NAMED, [key] * 3
    found = [user_id for (user_id,) in rows] or [""]
    return _AMONG.format(placeholders(found)), found


def detail_of(tx: Tx, group_id: str, user_id: str) -> types.MemberDetail:
    """Raises NOT_FOUND for who is not a member."""
    row = tx.fetch_one(_DETAIL, group_id, user_id)
    if row is None:
        raise not_found("member", "user_id")
    return _detail(row)


def _detail(row: Row) -> types.MemberDetail:
    joined_at, user_id, nickname, avatar, role, title, group_nickname, muted_until = row
    member = common_pb2.GroupMember(user_id=user_id, nickname=nickname, avatar=avatar, role=role, joined_at=joined_at)
    return types.MemberDetail(member=member, title=title, group_nickname=group_nickname, muted_until=muted_until)
