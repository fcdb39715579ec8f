"""Changes as events: what there is to say of a change now, and who it is for. A table has an entry for each kind.

Content is read here and not when the change is written, so that what was recalled or deleted since is never delivered.
So it is that of later, which is not for everybody who was there: who has left since gets what can still be said as it
was then, and nobody anything of messages that they do not see.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from gochat.api.common.v1 import common_pb2
from gochat.api.event.v1 import event_pb2
from gochat.domain import ids, reactions
from gochat.domain.changes import FOUNDING, REMOVED, Kind
from gochat.domain.limits import MAX_RECEIPTS
from gochat.errors import ChatError
from gochat.internal.change.v1 import change_pb2 as pb
from gochat.repo import audience, group_settings
from gochat.repo.conversations import conversation_of
from gochat.repo.groups import as_group
from gochat.repo.lists import UNREAD
from gochat.repo.member_details import detail_of
from gochat.repo.membership import SHOWN, group
from gochat.repo.messages import COLUMNS, DELETED, RECALLED, RECIPIENT_REACHED, message
from gochat.repo.recipients import message_count, offline_recipients
from gochat.repo.settings import settings_of
from gochat.repo.users import get_user, profile
from gochat.storage.database import Tx

# A subquery for each, since PostgreSQL would rather join, and read the whole conversation for it.
_MESSAGES = f"""
WITH wanted (conversation_id, first_seq, last_seq) AS (VALUES %s)
SELECT wanted.conversation_id, (
    SELECT json_group_array(json_array({COLUMNS}, CASE WHEN message.to_user_id <> '' THEN {RECIPIENT_REACHED} END,
        message.edited_at, message.pinned_by, message.pinned_at, message.reactions))
    FROM messages AS message
    WHERE message.conversation_id = wanted.conversation_id
        AND message.seq BETWEEN wanted.first_seq AND wanted.last_seq AND message.status < {DELETED}
)
FROM wanted"""
# The same on a Citus cluster, which sends its nodes no subquery for each row of a list.
_MESSAGES_OF_NODES = f"""
SELECT message.conversation_id, json_array({COLUMNS}, CASE WHEN message.to_user_id <> '' THEN {RECIPIENT_REACHED} END,
    message.edited_at, message.pinned_by, message.pinned_at, message.reactions)
FROM messages AS message
WHERE message.status < {DELETED} AND (%s)"""
_ONE_RANGE = "(message.conversation_id = ? AND message.seq BETWEEN ? AND ?)"
_READ_BY = f"""
SELECT member.user_id, {UNREAD}, conversation.type
FROM members AS member
JOIN conversations AS conversation ON conversation.conversation_id = member.conversation_id
WHERE member.conversation_id = ? AND """
_READ_BY_ONE = f"{_READ_BY} member.user_id = ?"
_READ_BY_ALL = f"""{_READ_BY} member.read_seq >= ? AND conversation.member_count <= {MAX_RECEIPTS}
    AND (? = '' OR conversation.type = 'single' OR member.user_id = ?)"""
# Unless they have hidden the message.
_OTHER = "SELECT user_id FROM members WHERE conversation_id = ? AND user_id <> ? AND hidden_seq < ?"
_PEERS = f"""
SELECT other.user_id
FROM members AS member
JOIN conversations AS conversation ON conversation.conversation_id = member.conversation_id
    AND conversation.type = 'single'
JOIN members AS other ON other.conversation_id = member.conversation_id AND other.user_id <> member.user_id
WHERE member.user_id = ? AND (conversation.last_seq > 0 OR other.hidden_seq = {SHOWN})"""
# Before the first message only those who opened a one-to-one conversation see it.
_EMPTY_PAIR = """
SELECT member.user_id, member.hidden_seq
FROM conversations AS conversation
JOIN members AS member ON member.conversation_id = conversation.conversation_id
WHERE conversation.conversation_id = ? AND conversation.type = 'single' AND conversation.last_seq = 0"""
_JOINED_AT = "SELECT joined_at FROM members WHERE conversation_id = ? AND user_id = ?"
_HAS_REACTION = """
SELECT 1 FROM reactions
WHERE conversation_id = ? AND seq = ? AND user_id = ? AND reaction = ?"""

_Event = event_pb2.Event
_ABOUT_MESSAGES = (
    *(Kind.MESSAGES_SENT, Kind.MESSAGE_UPDATED, Kind.REACTION_CHANGED, Kind.PIN_CHANGED),
    Kind.RECIPIENTS_OFFLINE,
)
# Of these all is said as it is now; of messages what was changed since.
_AS_IT_IS_NOW = frozenset(
    {
        *(Kind.CONVERSATION_UPDATED, Kind.GROUP_UPDATED, Kind.GROUP_SETTINGS_UPDATED),
        *(Kind.MEMBER_JOINED, Kind.MEMBER_UPDATED, Kind.MEMBER_DETAIL_UPDATED),
        *(Kind.REACTION_CHANGED, Kind.PIN_CHANGED),
    }
)


class _Described(NamedTuple):
    message: common_pb2.Message
    edited_at: int
    pinned_by: str
    pinned_at: int
    reactions: str

    def is_as_of(self, at: int) -> bool:
        return self.message.updated_at == at


class _Facts(NamedTuple):
    """What all changes of a call are described from. unseen_by, gone, user_id: as of audience.py."""

    messages: Mapping[tuple[str, int], _Described]
    unseen_by: Mapping[tuple[str, int], Sequence[str]]
    gone: Mapping[str, Sequence[str]]
    user_id: str | None

    def described(self, change: pb.Change) -> _Described | None:
        return self.messages.get((change.conversation_id, change.seq))

    def unseeing(self, change: pb.Change) -> Sequence[str]:
        return self.unseen_by.get((change.conversation_id, change.seq), ())

    def left(self, change: pb.Change) -> Sequence[str]:
        return self.gone.get(change.conversation_id, ())


def describe(tx: Tx, changes: Sequence[pb.Change], user_id: str | None = None) -> list[list[pb.Delivery]]:
    """For each change its events; none where what it is about is gone. user_id: as of audience.py."""
    messages = _messages(tx, changes)
    as_now = {change.conversation_id for change in changes if change.kind in _AS_IT_IS_NOW}
    as_now |= {room for (room, _), found in messages.items() if not found.is_as_of(found.message.created_at)}
    gone = audience.gone(tx, changes, user_id, as_now)
    facts = _Facts(messages, audience.unseen_by(tx, changes, user_id), gone, user_id)
    described = []
    for change in changes:
        try:
            described.append(list(_EVENTS[Kind(change.kind)](tx, change, facts)))
        except ChatError:  # the user or the group is not there any more
            described.append([])
    return described


def _messages(tx: Tx, changes: Sequence[pb.Change]) -> Mapping[tuple[str, int], _Described]:
    """All that the changes are about, but for deleted ones, by conversation and number."""
    wanted = [
        value
        for change in changes
        if change.kind in _ABOUT_MESSAGES
        for value in (change.conversation_id, *_seqs(change))
    ]
    if not wanted:
        return {}
    number = len(wanted) // 3
    if tx.distributed:
        rows = tx.fetch_all(_MESSAGES_OF_NODES % " OR ".join([_ONE_RANGE] * number), *wanted)
    else:
        tables = tx.fetch_all(_MESSAGES % ", ".join(["(?, ?, ?)"] * number), *wanted)
        rows = [(conversation_id, row) for conversation_id, table in tables for row in Tx.decode_rows(table)]
    found = dict[tuple[str, int], _Described]()
    for conversation_id, row in rows:
        edited_at, pinned_by, pinned_at, summed = row[10:]
        shown = message(conversation_id, row[:10])
        found[conversation_id, row[0]] = _Described(shown, edited_at, pinned_by, pinned_at, summed)
    return found


def _seqs(change: pb.Change) -> tuple[int, int]:
    """The first and the last message of which something is said."""
    return (change.first_seq if change.kind == Kind.MESSAGES_SENT else change.seq), change.seq


def _delivery(
    change: pb.Change, user_ids: Sequence[str] | None = None, but: Sequence[str] = (), **event: object
) -> pb.Delivery:
    """event: the one field of the oneof. user_ids: None for all who are in the conversation, but for these."""
    made = _Event(at=change.at, conversation_id=change.conversation_id, actor_id=change.actor_id, **event)  # type: ignore[arg-type]
    return pb.Delivery(event=made, user_ids=user_ids or (), except_user_ids=but)


def _sent(_: Tx, change: pb.Change, facts: _Facts) -> Iterable[pb.Delivery]:
    for seq in range(change.first_seq, change.seq + 1):
        if sent := facts.messages.get((change.conversation_id, seq)):
            but = () if sent.is_as_of(sent.message.created_at) else facts.left(change)
            delivery = _delivery(change, but=but, message_sent=event_pb2.MessageSent(message=sent.message))
            delivery.event.actor_id = sent.message.from_user_id
            yield delivery


def _updated(_: Tx, change: pb.Change, facts: _Facts) -> Iterable[pb.Delivery]:
    if found := facts.described(change):
        but = [*facts.unseeing(change), *(() if found.is_as_of(change.at) else facts.left(change))]
        updated = event_pb2.MessageUpdated(message=found.message, edited_at=found.edited_at)
        yield _delivery(change, but=but, message_updated=updated)


def _deleted(_: Tx, change: pb.Change, facts: _Facts) -> Iterable[pb.Delivery]:
    message_id = ids.message(change.conversation_id, change.seq)
    deleted = event_pb2.MessageDeleted(message_id=message_id)
    yield _delivery(change, but=facts.unseeing(change), message_deleted=deleted)


def _message_hidden(_: Tx, change: pb.Change, __: _Facts) -> Iterable[pb.Delivery]:
    message_id = ids.message(change.conversation_id, change.seq)
    yield _delivery(change, [change.user_id], message_deleted=event_pb2.MessageDeleted(message_id=message_id))


def _reaction(tx: Tx, change: pb.Change, facts: _Facts) -> Iterable[pb.Delivery]:
    found = facts.described(change)
    if found is None or found.message.status == RECALLED:
        return
    counts = {one.reaction: one.count for one in reactions.loads(found.reactions).reactions}
    has_it = tx.fetch_one(_HAS_REACTION, change.conversation_id, change.seq, change.user_id, change.detail)
    changed = event_pb2.ReactionChanged(
        message_id=found.message.message_id,
        user_id=change.user_id,
        reaction=change.detail,
        added=has_it is not None,
        count=counts.get(change.detail, 0),
    )
    yield _delivery(change, but=[*facts.unseeing(change), *facts.left(change)], reaction_changed=changed)


def _pin(_: Tx, change: pb.Change, facts: _Facts) -> Iterable[pb.Delivery]:
    found = facts.described(change)
    if found is None or found.message.status == RECALLED:
        return
    changed = event_pb2.PinChanged(message_id=found.message.message_id)
    if found.pinned_at:
        changed.pin.user_id, changed.pin.pinned_at = found.pinned_by, found.pinned_at
    yield _delivery(change, but=[*facts.unseeing(change), *facts.left(change)], pin_changed=changed)


def _read(tx: Tx, change: pb.Change, facts: _Facts) -> Iterable[pb.Delivery]:
    """Without a user: of all who have read that far; of a group for the streams of one user theirs alone."""
    if change.user_id:
        rows = tx.fetch_all(_READ_BY_ONE, change.conversation_id, change.user_id)
    else:
        rows = tx.fetch_all(_READ_BY_ALL, change.conversation_id, change.seq, *[facts.user_id or ""] * 2)
    for user_id, unread, kind in rows:
        moved = event_pb2.PositionMoved(
            user_id=user_id, message_id=ids.message(change.conversation_id, change.seq), unread_count=unread
        )
        yield _delivery(change, [user_id], read=moved)
        if kind == "single":
            moved.ClearField("unread_count")
            for (other,) in tx.fetch_all(_OTHER, change.conversation_id, user_id, change.seq):
                yield _delivery(change, [other], read=moved)


def _delivered(tx: Tx, change: pb.Change, _: _Facts) -> Iterable[pb.Delivery]:
    moved = event_pb2.PositionMoved(user_id=change.user_id, message_id=ids.message(change.conversation_id, change.seq))
    for (other,) in tx.fetch_all(_OTHER, change.conversation_id, change.user_id, change.seq):
        yield _delivery(change, [other], delivered=moved)


def _conversation(tx: Tx, change: pb.Change, facts: _Facts) -> Iterable[pb.Delivery]:
    shown = event_pb2.ConversationUpdated(conversation=conversation_of(tx, change.conversation_id, change.user_id))
    if change.user_id:
        yield _delivery(change, [change.user_id], conversation_updated=shown)
        return
    shown.conversation.ClearField("last_message")  # which is not the same for all: some have hidden or deleted it
    if pair := tx.fetch_all(_EMPTY_PAIR, change.conversation_id):
        if seeing := [user_id for user_id, hidden_seq in pair if hidden_seq == SHOWN]:
            yield _delivery(change, seeing, conversation_updated=shown)
    else:
        yield _delivery(change, but=facts.left(change), conversation_updated=shown)


def _hidden(_: Tx, change: pb.Change, __: _Facts) -> Iterable[pb.Delivery]:
    yield _delivery(change, [change.user_id], conversation_hidden=event_pb2.ConversationHidden())


def _settings(tx: Tx, change: pb.Change, _: _Facts) -> Iterable[pb.Delivery]:
    if settings := settings_of(tx, change.conversation_id, change.user_id):
        updated = event_pb2.ConversationSettingsUpdated(settings=settings)
        yield _delivery(change, [change.user_id], conversation_settings_updated=updated)


def _joined(tx: Tx, change: pb.Change, facts: _Facts) -> Iterable[pb.Delivery]:
    shown = conversation_of(tx, change.conversation_id, change.user_id)
    # A one-to-one conversation is not shown before there is something in it.
    if is_here := shown.type == "group" and change.user_id not in facts.left(change):
        updated = event_pb2.ConversationUpdated(conversation=shown)
        yield _delivery(change, [change.user_id], conversation_updated=updated)
    if change.detail != FOUNDING:
        member, but = _member(tx, change, facts)
        hearing = audience.hearing(tx, change, facts.user_id, but)
        joined = _delivery(change, hearing, but, member_joined=event_pb2.MemberJoined(member=member))
        yield joined
        if hearing and is_here:  # of those that are not for all a stream of everything gets the first alone
            yield pb.Delivery(event=joined.event, is_for_services=True)


def _left(tx: Tx, change: pb.Change, facts: _Facts) -> Iterable[pb.Delivery]:
    reasons = event_pb2.MemberLeft
    reason = reasons.REASON_REMOVED if change.detail == REMOVED else reasons.REASON_LEFT
    left = event_pb2.MemberLeft(user_id=change.user_id, reason=reason)
    yield _delivery(change, audience.hearing(tx, change, facts.user_id), member_left=left)


def _role(tx: Tx, change: pb.Change, facts: _Facts) -> Iterable[pb.Delivery]:
    member, but = _member(tx, change, facts)
    yield _delivery(change, but=but, member_updated=event_pb2.MemberUpdated(member=member))


def _group(tx: Tx, change: pb.Change, facts: _Facts) -> Iterable[pb.Delivery]:
    changed = as_group(group(tx, change.conversation_id))
    yield _delivery(change, but=facts.left(change), group_updated=event_pb2.GroupUpdated(group=changed))
    yield from _conversation(tx, change, facts)


def _dissolved(_: Tx, change: pb.Change, __: _Facts) -> Iterable[pb.Delivery]:
    yield _delivery(change, group_dissolved=event_pb2.GroupDissolved())


def _group_settings(tx: Tx, change: pb.Change, facts: _Facts) -> Iterable[pb.Delivery]:
    settings = group_settings.settings_of(group(tx, change.conversation_id))
    updated = event_pb2.GroupSettingsUpdated(settings=settings)
    yield _delivery(change, but=facts.left(change), group_settings_updated=updated)


def _member_detail(tx: Tx, change: pb.Change, facts: _Facts) -> Iterable[pb.Delivery]:
    detail = detail_of(tx, change.conversation_id, change.user_id)
    updated = event_pb2.MemberDetailUpdated(member=detail)
    yield _delivery(change, but=facts.left(change), member_detail_updated=updated)


def _request(tx: Tx, change: pb.Change, _: _Facts) -> Iterable[pb.Delivery]:
    state = event_pb2.JoinRequestChanged.State.Value(f"STATE_{change.detail.upper()}")
    changed = event_pb2.JoinRequestChanged(user_id=change.user_id, state=state)
    yield _delivery(change, audience.with_managers(tx, change), join_request_changed=changed)


def _offline(tx: Tx, change: pb.Change, facts: _Facts) -> Iterable[pb.Delivery]:
    found = facts.described(change)
    if found is None or found.message.status == RECALLED:
        return
    if recipients := offline_recipients(tx, change.conversation_id, change.seq, change.detail.split()):
        offline = event_pb2.RecipientsOffline(
            message=found.message,
            message_count=message_count(tx, change.conversation_id, change.first_seq, change.seq),
            recipients=recipients,
        )
        delivery = _delivery(change, recipients_offline=offline)
        delivery.is_for_services = True
        delivery.event.actor_id = found.message.from_user_id
        yield delivery


def _profile(tx: Tx, change: pb.Change, _: _Facts) -> Iterable[pb.Delivery]:
    updated = event_pb2.ProfileUpdated(profile=profile(get_user(tx, change.user_id)))
    peers = [user_id for (user_id,) in tx.fetch_all(_PEERS, change.user_id)]
    yield _delivery(change, [change.user_id, *peers], profile_updated=updated)


def _session(_: Tx, change: pb.Change, __: _Facts) -> Iterable[pb.Delivery]:
    if change.detail:  # else it is for streams without a session
        ended = event_pb2.SessionEnded(session_id=change.detail)
        yield _delivery(change, [change.user_id], session_ended=ended)


def _nothing(_: Tx, __: pb.Change, ___: _Facts) -> Iterable[pb.Delivery]:
    return ()


def _member(tx: Tx, change: pb.Change, facts: _Facts) -> tuple[common_pb2.GroupMember, Sequence[str]]:
    """As of the change, also of one who has left since, but for the profile; and who is not sent it: those who have
    left, where it is of later. One's own is for oneself."""
    user = get_user(tx, change.user_id)
    row = tx.fetch_one(_JOINED_AT, change.conversation_id, change.user_id)
    member = common_pb2.GroupMember(
        user_id=user.user_id,
        nickname=user.nickname,
        avatar=user.avatar,
        role=change.detail,
        joined_at=min(row[0], change.at) if row else change.at,
    )
    left = facts.left(change) if user.updated_at > change.at else ()
    return member, [user_id for user_id in left if user_id != change.user_id]


_EVENTS: dict[Kind, Callable[[Tx, pb.Change, _Facts], Iterable[pb.Delivery]]] = {
    Kind.BEGIN: _nothing,
    Kind.MESSAGES_SENT: _sent,
    Kind.MESSAGE_UPDATED: _updated,
    Kind.MESSAGE_DELETED: _deleted,
    Kind.READ: _read,
    Kind.DELIVERED: _delivered,
    Kind.CONVERSATION_UPDATED: _conversation,
    Kind.CONVERSATION_HIDDEN: _hidden,
    Kind.MEMBER_JOINED: _joined,
    Kind.MEMBER_LEFT: _left,
    Kind.MEMBER_UPDATED: _role,
    Kind.GROUP_UPDATED: _group,
    Kind.GROUP_DISSOLVED: _dissolved,
    Kind.PROFILE_UPDATED: _profile,
    Kind.SESSION_ENDED: _session,
    Kind.REACTION_CHANGED: _reaction,
    Kind.PIN_CHANGED: _pin,
    Kind.MESSAGE_HIDDEN: _message_hidden,
    Kind.SETTINGS_UPDATED: _settings,
    Kind.GROUP_SETTINGS_UPDATED: _group_settings,
    Kind.MEMBER_DETAIL_UPDATED: _member_detail,
    Kind.JOIN_REQUEST_CHANGED: _request,
    Kind.RECIPIENTS_OFFLINE: _offline,
}
