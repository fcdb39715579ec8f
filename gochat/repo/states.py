"""What a client that begins, or has missed too much, reads first: all conversations as one state."""

from collections.abc import Sequence
from typing import Any

from gochat.api.event.v1 import event_pb2
from gochat.domain import cursors, ids, limits
from gochat.domain.changes import Kind
from gochat.errors import ChatError, not_found
from gochat.internal.change.v1 import change_pb2 as pb
from gochat.repo.changes import add_change
from gochat.repo.conversations import fill_info
from gochat.repo.feed import read_log
from gochat.repo.lists import FROM_PAGE, INFO_COLUMNS, UNREAD, of_members
from gochat.repo.membership import Membership, lock_conversation, membership
from gochat.repo.users import get_user
from gochat.storage.database import Database, Row, Tx

# What fill_state takes of a page, which FROM_PAGE is of: of each row also role and unread.
STATE_COLUMNS = f"""page.role, page.read_seq, peer.user_id, peer.read_seq, peer.delivered_seq, page.unread,
        {INFO_COLUMNS}"""
FROM_STATES = f"""{FROM_PAGE}
    LEFT JOIN members AS peer ON conversation.type = 'single' AND peer.conversation_id = page.conversation_id
        AND peer.user_id <> page.user_id"""
_STATES = f"""
WITH page AS (
    SELECT member.user_id, member.conversation_id, member.role, member.read_seq, member.delivered_seq,
        member.hidden_seq, member.deleted_seq, conversation.last_seq, conversation.updated_at, {UNREAD} AS unread
    FROM members AS member
    JOIN conversations AS conversation ON conversation.conversation_id = member.conversation_id
    WHERE member.user_id = ? AND member.conversation_id > ? AND conversation.last_seq > member.hidden_seq
    ORDER BY member.conversation_id LIMIT ?
)
SELECT {STATE_COLUMNS}
{FROM_STATES}
ORDER BY page.conversation_id"""
# The same on a Citus cluster, in one level.
_STATES_OF_NODES = f"""
SELECT {of_members(STATE_COLUMNS)}
{of_members(FROM_STATES)}
WHERE page.user_id = ? AND page.conversation_id > ? AND conversation.last_seq > page.hidden_seq
ORDER BY page.conversation_id LIMIT ?"""

# What is read counts as delivered.
_MOVE_DELIVERED = """
UPDATE members SET delivered_seq = ?
WHERE conversation_id = ? AND user_id = ? AND delivered_seq < ? AND read_seq < ?"""


class States:
    """Of ChangeService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ListStates(self, request: pb.ListStatesRequest) -> pb.ListStatesResponse:
        page = cursors.page(request, self._database.pair_key, ("", 0, ""), limits.DEFAULT_STATES)
        epoch, at, after = page.after

        def work(tx: Tx) -> tuple[pb.Position, list[Row]]:
            get_user(tx, request.user_id)
            text = _STATES_OF_NODES if tx.distributed else _STATES
            rows = tx.fetch_all(text, request.user_id, after, page.fetched)
            return read_log(tx, pb.Position()).now, rows

        self._database.collect()  # so that what the answer has does not come again
        now, rows = self._database.read(work)
        answer = pb.ListStatesResponse(position=pb.Position(epoch=epoch, at=at) if epoch else now)
        for row in rows[: page.limit]:
            fill_state(answer.conversations.add(), row)
        if len(rows) > page.limit:
            last = answer.conversations[-1].info.conversation_id
            answer.next_page_token = page.token((answer.position.epoch, answer.position.at, last))
        return answer

    def Acknowledge(self, request: pb.AcknowledgeRequest) -> pb.AcknowledgeResponse:
        """Of each conversation the newest counts."""
        user_id = request.user_id
        newest = dict[str, int]()
        for message_id in request.message_ids:
            conversation_id, seq = ids.parse_message(message_id) or ("", 0)
            newest[conversation_id] = max(seq, newest.get(conversation_id, 0))

        def work(tx: Tx) -> None:
            of_groups = []
            for conversation_id, seq in sorted(newest.items()):  # in which they are locked
                member = _acknowledging(tx, conversation_id, user_id, seq)
                if member.type == "group":
                    of_groups.append((member, conversation_id, seq))
                    continue
                lock_conversation(tx, conversation_id)
                if _move_delivered(tx, conversation_id, user_id, seq):
                    add_change(tx, Kind.DELIVERED, conversation_id, user_id, seq=seq)
            # Nobody is shown it live, so there is no change, and no lock but that of the row; after all other locks.
            for member, conversation_id, seq in of_groups:
                if member.member_count <= limits.MAX_RECEIPTS:
                    _move_delivered(tx, conversation_id, user_id, seq)

        self._database.write(work)
        return pb.AcknowledgeResponse()


def fill_state(state: event_pb2.ConversationState, row: Sequence[Any]) -> None:
    """row: STATE_COLUMNS."""
    role, read_seq, peer_id, peer_read_seq, peer_delivered_seq, *info = row
    fill_info(state.info, info)
    conversation_id = state.info.conversation_id
    if state.info.type == "group":
        state.role = role
    if read_seq:
        state.read_message_id = ids.message(conversation_id, read_seq)
    if peer_id:
        state.peer_user_id = peer_id
    if peer_read_seq:
        state.peer_read_message_id = ids.message(conversation_id, peer_read_seq)
    if delivered := max(peer_read_seq or 0, peer_delivered_seq or 0):
        state.peer_delivered_message_id = ids.message(conversation_id, delivered)


def _acknowledging(tx: Tx, conversation_id: str, user_id: str, seq: int) -> Membership:
    """Raises NOT_FOUND, PERMISSION_DENIED."""
    try:
        member = membership(tx, conversation_id, user_id)
    except ChatError as error:
        raise error.renamed("conversation_id", "message_ids") from None
    if not 1 <= seq <= member.last_seq:
        raise not_found("message", "message_ids")
    return member


def _move_delivered(tx: Tx, conversation_id: str, user_id: str, seq: int) -> bool:
    """Forward only. Has it moved?"""
    return bool(tx.sql(_MOVE_DELIVERED, seq, conversation_id, user_id, seq, seq).rowcount)
