"""ConversationDetail: a conversation, with what belongs to it for one of its participants. For lists (inbox.py) and for
a single one."""

from collections.abc import Sequence
from typing import Any

from gochat.api.common.v1 import common_pb2
from gochat.api.conversation.v1 import conversation_pb2 as pb
from gochat.domain import policy
from gochat.repo.lists import UNREAD, UNREAD_MENTIONS
from gochat.repo.membership import membership
from gochat.repo.settings import SETTINGS, as_settings
from gochat.repo.states import FROM_STATES, STATE_COLUMNS, fill_state
from gochat.repo.users import DELETED, PROFILE_COLUMNS, fill_profile
from gochat.storage.database import Tx

_INT32 = 2**31 - 1

# What a page has of `member`; besides it last_seq and updated_at of the conversation, unread and unread_mentions.
MEMBER_COLUMNS = f"""member.user_id, member.conversation_id, member.role, member.read_seq, member.delivered_seq,
        member.hidden_seq, member.deleted_seq, {", ".join(f"member.{name}" for name in SETTINGS)}"""
DETAIL_COLUMNS = f"""{", ".join(f"page.{name}" for name in SETTINGS)}, page.unread_mentions, conversation.member_count,
        {", ".join(f"named.{name}" for name in PROFILE_COLUMNS)}, {STATE_COLUMNS}"""
FROM_DETAILS = f"""{FROM_STATES}
    LEFT JOIN users AS named ON named.user_id = peer.user_id"""

# Of one that is hidden nothing is visible, which a last_seq of 0 says.
_DETAIL = f"""
WITH page AS (
    SELECT {MEMBER_COLUMNS}, conversation.updated_at, {UNREAD} AS unread, {UNREAD_MENTIONS} AS unread_mentions,
        CASE WHEN conversation.last_seq > member.hidden_seq THEN conversation.last_seq ELSE 0 END AS last_seq
    FROM members AS member
    JOIN conversations AS conversation ON conversation.conversation_id = member.conversation_id
    WHERE member.conversation_id = ? AND member.user_id = ? AND member.role <> '{policy.DELETED}'
)
SELECT {DETAIL_COLUMNS}
{FROM_DETAILS}"""


def detail_of(tx: Tx, conversation_id: str, user_id: str) -> pb.ConversationDetail:
    """Raises NOT_FOUND, PERMISSION_DENIED."""
    row = tx.fetch_one(_DETAIL, conversation_id, user_id)
    if row is None:
        membership(tx, conversation_id, user_id)
        raise policy.not_participant()
    detail = pb.ConversationDetail()
    fill_detail(detail, row)
    return detail


def fill_detail(detail: pb.ConversationDetail, row: Sequence[Any]) -> None:
    """row: DETAIL_COLUMNS."""
    settings, (unread_mentions, member_count), row = (
        row[: len(SETTINGS)],
        row[len(SETTINGS) :][:2],
        row[len(SETTINGS) + 2 :],
    )
    named, state = row[: len(PROFILE_COLUMNS)], row[len(PROFILE_COLUMNS) :]
    fill_state(detail.state, state)
    detail.settings.CopyFrom(as_settings(settings))
    if unread_mentions:
        detail.unread_mentions = min(unread_mentions, _INT32)
    detail.member_count = member_count
    if named[0]:
        fill_profile(detail.peer, named)
        if detail.peer.status == DELETED:
            whole = detail.peer
            shown = common_pb2.UserProfile(
                user_id=whole.user_id, nickname=whole.nickname, avatar=whole.avatar, status=DELETED
            )
            detail.peer.CopyFrom(shown)
