"""The status of users: active, disabled, deleted. Who is deleted is no member of a group, and neither sender nor
recipient in a one-to-one conversation: their memberships change with the status, so that no send has to look at users.
"""

from typing import Any

from gochat.api.repo.v1 import repo_pb2
from gochat.domain import policy
from gochat.domain.changes import WITHDRAWN, Kind
from gochat.repo.audit import record
from gochat.repo.changes import add_change
from gochat.repo.endings import end_all
from gochat.repo.membership import delete_member, end_requests, group, hand_over, role_of
from gochat.repo.push_tokens import end_tokens
from gochat.repo.users import ACTIVE, DELETED, STATUSES, as_user, get_user, with_fields
from gochat.storage.database import Database, Row, Tx
from gochat.storage.models import User

# In the order of their ids: so two deletions, of members of the same groups, do not wait for each other.
_LOCK_ONE = "SELECT conversation_id, type, dissolved_at FROM conversations WHERE conversation_id = ?"
_LOCK_ALL = """
SELECT conversation_id, type, dissolved_at
FROM conversations
WHERE conversation_id IN (
    SELECT conversation_id FROM members WHERE user_id = ?
    UNION ALL
    SELECT conversation_id FROM join_requests WHERE user_id = ?
)
ORDER BY conversation_id"""
_SET_ROLE_IN_SINGLES = """
UPDATE members SET role = ?
WHERE user_id = ? AND conversation_id IN (
    SELECT conversation_id FROM conversations
    WHERE type = 'single' AND conversation_id IN (SELECT conversation_id FROM members WHERE user_id = ?)
)"""


class Deletion:
    def __init__(self, database: Database) -> None:
        self._database = database

    def UpdateUser(self, request: repo_pb2.UpdateUserRequest) -> repo_pb2.UpdateUserResponse:
        changes = {"nickname": request.nickname, "avatar": request.avatar, "status": request.status}
        user = self._database.write(lambda tx: update_user(tx, request.user_id, changes))
        return repo_pb2.UpdateUserResponse(success=True, user=as_user(user))


def update_user(tx: Tx, user_id: str, changes: dict[str, Any]) -> User:
    """The user after the changes that are not empty or 0, of which one may be the status. Whoever is deleted has no
    external id any more. Raises NOT_FOUND."""
    before = get_user(tx, user_id, lock=True)
    given = {name: value for name, value in changes.items() if value}
    if given.get("status") == DELETED:
        given["external_id"] = ""  # so that it can be another's
    user = with_fields(tx, before, given)
    if user.status != before.status:
        end_all(tx, user_id)
        record(tx, "user.status", user_id, STATUSES[user.status])
        if user.status != ACTIVE:
            add_change(tx, Kind.SESSION_ENDED, user_id=user_id)
            end_tokens(tx, user_id)
        if user.status == DELETED:
            _leave_all(tx, user_id)
        elif before.status == DELETED:
            tx.sql(_SET_ROLE_IN_SINGLES, policy.MEMBER, user_id, user_id)
    elif user is not before:
        record(tx, "user.change", user_id)
    return user


def _lock_all(tx: Tx, user_id: str) -> list[Row]:
    if not tx.distributed:
        return tx.fetch_all(_LOCK_ALL + tx.lock, user_id, user_id)
    found = tx.fetch_all(_LOCK_ALL, user_id, user_id)  # Citus locks rows of one node only
    return [row for one in found for row in tx.fetch_all(_LOCK_ONE + tx.lock, one[0])]


def _leave_all(tx: Tx, user_id: str) -> None:
    """Of a user whose row is locked, so that nobody makes them a member meanwhile. A group of theirs is handed over."""
    groups = [
        conversation_id
        for conversation_id, kind, dissolved_at in _lock_all(tx, user_id)
        if kind == "group" and not dissolved_at
    ]
    for group_id in groups:
        end_requests(tx, group_id, [user_id], WITHDRAWN)
        role = role_of(tx, group_id, user_id)
        if role is None:  # not one of theirs, or removed before the group was locked
            continue
        left = group(tx, group_id)
        if role == policy.OWNER:
            hand_over(tx, left)
        delete_member(tx, left, user_id, "group.remove")
    tx.sql(_SET_ROLE_IN_SINGLES, policy.DELETED, user_id, user_id)
