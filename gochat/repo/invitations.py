"""Invitations to groups: tokens that let whoever has them join."""

from typing import Any

from gochat.api.group.v1 import group_pb2 as api
from gochat.api.group.v1 import group_types_pb2 as types
from gochat.domain import group_policy, ids, policy
from gochat.internal.group.v1 import group_pb2 as pb
from gochat.repo.audit import record
from gochat.repo.group_settings import preview
from gochat.repo.members import add_members, must_be_new
from gochat.repo.membership import acting_role, group, lock_conversation, locked_group, viewed_group
from gochat.repo.users import lock_existing
from gochat.storage.database import Database, Row, Tx

# Of a row `invitation` of a group `conversation`, made by the member `maker`: does it work? The maker must still be one
# who may add members. The parameter is the time.
_WORKS = """(invitation.expires_at = 0 OR invitation.expires_at > ?)
    AND (invitation.max_uses = 0 OR invitation.uses < invitation.max_uses)
    AND (invitation.created_by = '' OR maker.role IN ('owner', 'admin')
        OR (maker.role = 'member' AND conversation.adding = 'everyone'))"""
_JOINED = """
FROM invitations AS invitation
JOIN conversations AS conversation ON conversation.conversation_id = invitation.conversation_id
    AND conversation.dissolved_at = 0
LEFT JOIN members AS maker ON maker.conversation_id = invitation.conversation_id
    AND maker.user_id = invitation.created_by"""
_COLUMNS = ("token", "created_by", "created_at", "expires_at", "max_uses", "uses")
_OF_GROUP = f"""
SELECT {", ".join(f"invitation.{column}" for column in _COLUMNS)} {_JOINED}
WHERE invitation.conversation_id = ? AND {_WORKS}
ORDER BY invitation.created_at, invitation.token"""
_BY_TOKEN = f"""
SELECT conversation.conversation_id, conversation.name, conversation.description, conversation.avatar,
    conversation.member_count, conversation.joining {_JOINED}
WHERE invitation.token = ? AND {_WORKS}"""
_INSERT = """
INSERT INTO invitations (conversation_id, token, created_by, created_at, expires_at, max_uses, uses)
VALUES (?, ?, ?, ?, ?, ?, 0)"""
_DELETE_ENDED = f"""
DELETE FROM invitations
WHERE conversation_id = ? AND token NOT IN (
    SELECT invitation.token {_JOINED} WHERE invitation.conversation_id = ? AND {_WORKS}
)"""
_COUNT = "SELECT COUNT(*) FROM invitations WHERE conversation_id = ?"
# created_by: whose it must be; '' for anybody's.
_REVOKE = "DELETE FROM invitations WHERE conversation_id = ? AND token = ? AND ? IN ('', created_by)"
_USE = "UPDATE invitations SET uses = uses + 1 WHERE conversation_id = ? AND token = ?"


class Invitations:
    """Of GroupStoreService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def CreateInvitation(self, request: pb.CreateInvitationRequest) -> api.CreateInvitationResponse:
        asked, now = request.request, ids.now_ms()
        group_policy.in_future("expires_at", asked.expires_at, now)
        token = ids.new_secret()

        def work(tx: Tx) -> None:
            invited = locked_group(tx, asked.group_id)
            role = acting_role(tx, asked.group_id, request.user_id)
            group_policy.manage(role, invited.adding)
            tx.sql(_DELETE_ENDED, asked.group_id, asked.group_id, now)
            group_policy.invite(tx.fetch_all(_COUNT, asked.group_id)[0][0])
            tx.sql(_INSERT, asked.group_id, token, request.user_id, now, asked.expires_at, asked.max_uses)
            record(tx, "group.invite", asked.group_id, request.user_id)

        self._database.write(work)
        row = (token, request.user_id, now, asked.expires_at, asked.max_uses, 0)
        return api.CreateInvitationResponse(invitation=_invitation(asked.group_id, row))

    def ListInvitations(self, request: pb.ListInvitationsRequest) -> api.ListInvitationsResponse:
        group_id = request.request.group_id

        def work(tx: Tx) -> list[Row]:
            invited, role = viewed_group(tx, group_id, request.user_id)
            group_policy.manage(role, invited.adding)
            rows = tx.fetch_all(_OF_GROUP, group_id, ids.now_ms())
            return [row for row in rows if role != policy.MEMBER or row[1] == request.user_id]

        rows = self._database.read(work, replica=True)
        return api.ListInvitationsResponse(invitations=[_invitation(group_id, row) for row in rows])

    def RevokeInvitation(self, request: pb.RevokeInvitationRequest) -> api.RevokeInvitationResponse:
        asked = request.request

        def work(tx: Tx) -> None:
            invited = locked_group(tx, asked.group_id)
            role = acting_role(tx, asked.group_id, request.user_id)
            group_policy.manage(role, invited.adding)
            whose = request.user_id if role == policy.MEMBER else ""
            if not tx.sql(_REVOKE, asked.group_id, asked.token, whose).rowcount:
                raise group_policy.no_invitation()
            record(tx, "group.invite.revoke", asked.group_id)

        self._database.write(work)
        return api.RevokeInvitationResponse(success=True)

    def GetInvitation(self, request: pb.GetInvitationRequest) -> api.GetInvitationResponse:
        row = self._database.read(lambda tx: _by_token(tx, request.request.token), one_statement=True)
        return api.GetInvitationResponse(group=preview(*row))

    def JoinByInvitation(self, request: pb.JoinByInvitationRequest) -> api.JoinByInvitationResponse:
        token = request.request.token

        def work(tx: Tx) -> str:
            existing = lock_existing(tx, [request.user_id])
            group_id = str(_by_token(tx, token)[0])
            lock_conversation(tx, group_id)
            _by_token(tx, token)  # as it is under the lock
            joined = group(tx, group_id)
            must_be_new(tx, joined, existing, request.user_id)
            group_policy.join(joined.joining, *group_policy.BY_INVITATION)
            add_members(tx, joined, [request.user_id], policy.MEMBER, "group.join")
            tx.sql(_USE, group_id, token)
            return group_id

        return api.JoinByInvitationResponse(group_id=self._database.write(work))


def _by_token(tx: Tx, token: str) -> Row:
    """The group, as preview() takes it. Raises NOT_FOUND."""
    row = tx.fetch_one(_BY_TOKEN, token, ids.now_ms())
    if row is None:
        raise group_policy.no_invitation()
    return row


def _invitation(group_id: str, row: Row) -> types.Invitation:
    columns: dict[str, Any] = dict(zip(_COLUMNS, row, strict=True))
    return types.Invitation(group_id=group_id, **columns)
