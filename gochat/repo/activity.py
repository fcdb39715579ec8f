"""What typing and presence need of the database: who may type where, who may see whom, who was last seen when."""

from gochat.domain.limits import MAX_TYPING_MEMBERS
from gochat.domain.policy import DELETED
from gochat.internal.signal.v1 import signal_pb2 as pb
from gochat.repo.membership import HIDDEN_UNTIL_A_MESSAGE, SHOWN, membership
from gochat.storage.database import Database, Row, Tx, placeholders

# Nobody sees of a one-to-one conversation without a message that another has opened it.
_IS_SHOWN = f"""
SELECT conversation.member_count <= ? AND NOT (
    conversation.type = 'single' AND conversation.last_seq = 0 AND EXISTS (
        SELECT 1 FROM members AS unaware
        WHERE unaware.conversation_id = conversation.conversation_id AND unaware.hidden_seq = {HIDDEN_UNTIL_A_MESSAGE}
    )
)
FROM conversations AS conversation
WHERE conversation.conversation_id = ?"""
_OF_USERS = """
SELECT users.user_id, COALESCE(activity.active_at, 0)
FROM users
LEFT JOIN activity ON activity.user_id = users.user_id
WHERE users.user_id IN (%s)"""
_ACTIVITY = f"""{_OF_USERS} AND (? IN ('', users.user_id) OR EXISTS (
    SELECT 1 FROM members AS theirs
    JOIN members AS own ON own.conversation_id = theirs.conversation_id AND own.user_id = ? AND own.role <> ?
    JOIN conversations AS conversation ON conversation.conversation_id = theirs.conversation_id
    WHERE theirs.user_id = users.user_id AND theirs.role <> ? AND (
        conversation.type = 'group' OR conversation.last_seq > 0 OR own.hidden_seq = {SHOWN}
    )
))"""
# Whom of these a user sees, on a Citus cluster: who is where is on its nodes, the activity on the coordinator.
_SEEN = f"""
SELECT DISTINCT theirs.user_id
FROM members AS own
JOIN members AS theirs ON theirs.conversation_id = own.conversation_id AND theirs.role <> ?
JOIN conversations AS conversation ON conversation.conversation_id = own.conversation_id
WHERE own.user_id = ? AND own.role <> ? AND theirs.user_id IN (%s) AND (
    conversation.type = 'group' OR conversation.last_seq > 0 OR own.hidden_seq = {SHOWN}
)"""
_RECORD = """
INSERT INTO activity (user_id, active_at) SELECT user_id, ? FROM users WHERE user_id = ?
ON CONFLICT (user_id) DO UPDATE SET active_at = excluded.active_at WHERE activity.active_at < excluded.active_at"""


class Activity:
    """Of SignalService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def CheckTyping(self, request: pb.CheckTypingRequest) -> pb.CheckTypingResponse:
        conversation_id = request.conversation_id

        def work(tx: Tx) -> bool:
            membership(tx, conversation_id, request.user_id)
            return bool(tx.fetch_all(_IS_SHOWN, MAX_TYPING_MEMBERS, conversation_id)[0][0])

        return pb.CheckTypingResponse(is_shown=self._database.read(work))

    def ListActivity(self, request: pb.ListActivityRequest) -> pb.ListActivityResponse:
        wanted = list(dict.fromkeys(request.user_ids))
        if not wanted:
            return pb.ListActivityResponse()
        viewer = request.user_id

        def work(tx: Tx) -> list[Row]:
            if tx.distributed:
                return _activity_of_nodes(tx, wanted, viewer)
            text = _ACTIVITY % placeholders(wanted)
            return tx.fetch_all(text, *wanted, viewer, viewer, DELETED, DELETED)

        rows = self._database.read(work, one_statement=True)
        return pb.ListActivityResponse(users=[pb.LastActive(user_id=user_id, at=at) for user_id, at in rows])

    def RecordActivity(self, request: pb.RecordActivityRequest) -> pb.RecordActivityResponse:
        seen = sorted({user.user_id: user.at for user in request.users}.items())

        def work(tx: Tx) -> None:
            for user_id, at in seen:  # in one order, as all who lock several
                tx.sql(_RECORD, at, user_id)

        self._database.write(work)
        return pb.RecordActivityResponse()


def _activity_of_nodes(tx: Tx, wanted: list[str], viewer: str) -> list[Row]:
    if viewer:
        found = tx.fetch_all(_SEEN % placeholders(wanted), DELETED, viewer, DELETED, *wanted)
        seen = {viewer, *(user_id for (user_id,) in found)}
        wanted = [user_id for user_id in wanted if user_id in seen]
    return tx.fetch_all(_OF_USERS % placeholders(wanted), *wanted) if wanted else []
