"""Requests to join groups that take members by approval."""

from gochat.api.group.v1 import group_pb2 as api
from gochat.domain import cursors, group_policy, ids, policy
from gochat.domain.changes import DECLINED, REQUESTED, WITHDRAWN, Kind
from gochat.errors import not_found
from gochat.internal.group.v1 import group_pb2 as pb
from gochat.repo.audit import record
from gochat.repo.changes import add_change
from gochat.repo.members import add_members, must_be_new, must_not_be_banned
from gochat.repo.membership import acting_role, end_requests, locked_group, viewed_group
from gochat.repo.users import lock_existing
from gochat.storage.database import Database, Row, Tx

_REQUEST = """
INSERT INTO join_requests (conversation_id, user_id, note, requested_at) VALUES (?, ?, ?, ?)
ON CONFLICT (conversation_id, user_id) DO UPDATE SET note = excluded.note WHERE join_requests.note <> excluded.note"""
_PENDING = "SELECT 1 FROM join_requests WHERE conversation_id = ? AND user_id = ?"
_REQUESTS = """
SELECT asked.requested_at, asked.user_id, named.nickname, named.avatar, asked.note
FROM join_requests AS asked
JOIN users AS named ON named.user_id = asked.user_id
WHERE asked.conversation_id = ? AND (asked.requested_at, asked.user_id) > (?, ?)
ORDER BY asked.requested_at, asked.user_id LIMIT ?"""


class Requests:
    """Of GroupStoreService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def RequestToJoin(self, request: pb.RequestToJoinRequest) -> api.RequestToJoinResponse:
        group_id, user_id, note = request.request.group_id, request.user_id, request.request.note

        def work(tx: Tx) -> None:
            existing = lock_existing(tx, [user_id])
            asked = locked_group(tx, group_id)
            must_be_new(tx, asked, existing, user_id)
            group_policy.join(asked.joining, group_policy.APPROVAL)
            must_not_be_banned(tx, asked, [user_id])
            if tx.sql(_REQUEST, group_id, user_id, note, ids.now_ms()).rowcount:
                add_change(tx, Kind.JOIN_REQUEST_CHANGED, group_id, user_id, detail=REQUESTED)

        self._database.write(work)
        return api.RequestToJoinResponse(success=True)

    def CancelRequest(self, request: pb.CancelRequestRequest) -> api.CancelRequestResponse:
        group_id, user_id = request.request.group_id, request.user_id

        def work(tx: Tx) -> None:
            locked_group(tx, group_id)
            _must_be_pending(tx, group_id, user_id)
            end_requests(tx, group_id, [user_id], WITHDRAWN)

        self._database.write(work)
        return api.CancelRequestResponse(success=True)

    def ListJoinRequests(self, request: pb.ListJoinRequestsRequest) -> api.ListJoinRequestsResponse:
        asked = request.request
        page = cursors.page(request, self._database.pair_key, (-1, ""))

        def work(tx: Tx) -> list[Row]:
            _, role = viewed_group(tx, asked.group_id, request.user_id)
            group_policy.manage(role)
            return tx.fetch_all(_REQUESTS, asked.group_id, *page.after, page.fetched)

        rows = self._database.read(work, replica=True)
        answer = api.ListJoinRequestsResponse(next_page_token=page.cut(rows))
        for requested_at, user_id, nickname, avatar, note in rows:
            answer.requests.add(user_id=user_id, nickname=nickname, avatar=avatar, note=note, requested_at=requested_at)
        return answer

    def DecideJoinRequest(self, request: pb.DecideJoinRequestRequest) -> api.DecideJoinRequestResponse:
        group_id, user_id = request.request.group_id, request.request.user_id

        def work(tx: Tx) -> None:
            existing = lock_existing(tx, [user_id])
            joined = locked_group(tx, group_id)
            group_policy.manage(acting_role(tx, group_id, request.user_id))
            _must_be_pending(tx, group_id, user_id)
            if request.request.accept:
                must_be_new(tx, joined, existing, user_id)
                add_members(tx, joined, [user_id], policy.MEMBER, "group.accept")
            else:
                end_requests(tx, group_id, [user_id], DECLINED)
                record(tx, "group.decline", group_id, user_id)

        self._database.write(work)
        return api.DecideJoinRequestResponse(success=True)


def _must_be_pending(tx: Tx, group_id: str, user_id: str) -> None:
    """Raises NOT_FOUND."""
    if tx.fetch_one(_PENDING, group_id, user_id) is None:
        raise not_found("request", "user_id")
