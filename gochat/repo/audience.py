"""Who is not sent what is said of a change: it is read when it is delivered, so those count who may see it then.

Of what describing.py reads the facts are found by a statement for all changes. user_id: whose stream they are for; ""
for one of everything, which is sent all; None for the streams of all users.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from gochat.domain.changes import Kind
from gochat.domain.limits import MAX_ANNOUNCED
from gochat.internal.change.v1 import change_pb2 as pb
from gochat.storage.database import Tx, placeholders

_ACTS_ON_MESSAGES = (Kind.MESSAGE_UPDATED, Kind.MESSAGE_DELETED, Kind.REACTION_CHANGED, Kind.PIN_CHANGED)
# The last two: a condition for one user alone.
_UNSEEN_BY = """
WITH wanted (conversation_id, seq) AS (VALUES {})
SELECT own.conversation_id, own.seq, own.user_id
FROM wanted
JOIN own_deletions AS own ON own.conversation_id = wanted.conversation_id AND own.seq = wanted.seq {}
UNION ALL
SELECT wanted.conversation_id, wanted.seq, own.user_id
FROM wanted
JOIN members AS own ON own.conversation_id = wanted.conversation_id AND own.hidden_seq > 0
    AND own.hidden_seq >= wanted.seq {}"""
# Whoever was in a conversation at a change of it and is not any more has left after that in the log.
_LEFT = f"""
SELECT DISTINCT gone.conversation_id, gone.user_id
FROM changes AS gone
WHERE gone.position >= ? AND gone.kind = {Kind.MEMBER_LEFT} AND gone.conversation_id IN ({{}}) AND NOT EXISTS (
    SELECT 1 FROM members AS member
    WHERE member.conversation_id = gone.conversation_id AND member.user_id = gone.user_id
)"""
# The same on a cluster, which does not join its nodes' tables with the log.
_HAVE_LEFT = f"""
SELECT DISTINCT conversation_id, user_id FROM changes
WHERE position >= ? AND kind = {Kind.MEMBER_LEFT} AND conversation_id IN ({{}})"""
_ARE_HERE = "SELECT conversation_id, user_id FROM members WHERE {}"
_IS_LARGE = f"SELECT 1 FROM conversations WHERE conversation_id = ? AND member_count > {MAX_ANNOUNCED}"
_MANAGERS = "SELECT user_id FROM members WHERE conversation_id = ? AND role IN ('owner', 'admin')"
_HERE = "SELECT conversation_id FROM members WHERE user_id = ? AND conversation_id IN ({})"


def unseen_by(tx: Tx, changes: Sequence[pb.Change], user_id: str | None) -> Mapping[tuple[str, int], Sequence[str]]:
    """By conversation and number: who does not see the message, since they have deleted it for themselves alone, or
    hidden it with its conversation. Of messages that are sent nobody is looked for: who has done so since is sent that
    later in the log."""
    acts = [change for change in changes if change.kind in _ACTS_ON_MESSAGES]
    unseen = defaultdict[tuple[str, int], list[str]](list)
    if not acts or user_id == "":
        return unseen
    values = [value for change in acts for value in (change.conversation_id, change.seq)]
    of_one = "" if user_id is None else "AND own.user_id = ?"
    text = _UNSEEN_BY.format(", ".join(["(?, ?)"] * len(acts)), of_one, of_one)
    for conversation_id, seq, unseeing in tx.fetch_all(text, *values, *([user_id, user_id] if of_one else [])):
        unseen[conversation_id, seq].append(unseeing)
    return unseen


def gone(
    tx: Tx, changes: Sequence[pb.Change], user_id: str | None, conversation_ids: Collection[str]
) -> Mapping[str, Sequence[str]]:
    """By conversation: who was in it at one of the changes, and is not any more."""
    if not conversation_ids or user_id == "":
        return {}
    wanted = placeholders([*conversation_ids])
    if user_id is not None:
        here = {each for (each,) in tx.fetch_all(_HERE.format(wanted), user_id, *conversation_ids)}
        return {conversation_id: [user_id] for conversation_id in set(conversation_ids) - here}
    first = min(change.position for change in changes)
    left = defaultdict[str, list[str]](list)
    for conversation_id, each in _left(tx, wanted, first, conversation_ids):
        left[conversation_id].append(each)
    return left


def _left(tx: Tx, wanted: str, first: int, conversation_ids: Collection[str]) -> Collection[tuple[str, str]]:
    if not tx.distributed:
        return tx.fetch_all(_LEFT.format(wanted), first, *conversation_ids)
    left = set(tx.fetch_all(_HAVE_LEFT.format(wanted), first, *conversation_ids))
    if not left:
        return left
    each = " OR ".join(["(conversation_id = ? AND user_id = ?)"] * len(left))
    return left - set(tx.fetch_all(_ARE_HERE.format(each), *(value for pair in left for value in pair)))


def hearing(tx: Tx, change: pb.Change, user_id: str | None, but: Collection[str] = ()) -> list[str] | None:
    """Who is sent that somebody comes into a conversation, or leaves it; None for all. In a large group that are its
    managers, and whoever it is."""
    if user_id == "" or not tx.fetch_one(_IS_LARGE, change.conversation_id):
        return None
    return [each for each in with_managers(tx, change) if each not in but]


def with_managers(tx: Tx, change: pb.Change) -> list[str]:
    """The user that the change is about, and the managers of the group."""
    managers = [each for (each,) in tx.fetch_all(_MANAGERS, change.conversation_id)]
    return [*dict.fromkeys([change.user_id, *managers])]
