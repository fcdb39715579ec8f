"""The kinds of changes that the log has, and whom they concern, as both halves know it."""

from collections import deque
from collections.abc import Container, Sequence
from enum import IntEnum
from itertools import accumulate
from typing import Protocol

from gochat.internal.change.v1 import change_pb2 as pb

Piece = tuple[Sequence[pb.Change], pb.Position | None]
"""Changes, and the position after them; None where a reader has to begin before them."""


class Kind(IntEnum):
    """What happened, and which columns say of what."""

    BEGIN = 0  # of the log
    MESSAGES_SENT = 1  # conversation_id, first_seq to seq; detail: IMPORTED if they were written elsewhere
    MESSAGE_UPDATED = 2  # conversation_id, seq
    MESSAGE_DELETED = 3  # conversation_id, seq
    READ = 4  # conversation_id, user_id, seq; IMPORTED, without user_id: of all whose position is not before seq
    DELIVERED = 5  # conversation_id, user_id, seq
    CONVERSATION_UPDATED = 6  # conversation_id; user_id: if it is news for them alone
    CONVERSATION_HIDDEN = 7  # conversation_id, user_id
    MEMBER_JOINED = 8  # conversation_id, user_id; detail: the role, or FOUNDING of those with whom it was made
    MEMBER_LEFT = 9  # conversation_id, user_id; detail: LEFT or REMOVED
    MEMBER_UPDATED = 10  # conversation_id, user_id; detail: the role
    GROUP_UPDATED = 11  # conversation_id
    GROUP_DISSOLVED = 12  # conversation_id: all who are in it leave
    PROFILE_UPDATED = 13  # user_id
    SESSION_ENDED = 14  # user_id; detail: the session; '': what services do as the user, who is not active any more
    REACTION_CHANGED = 15  # conversation_id, user_id, seq; detail: the reaction
    PIN_CHANGED = 16  # conversation_id, seq
    MESSAGE_HIDDEN = 17  # conversation_id, user_id, seq: deleted by the user for themselves alone
    SETTINGS_UPDATED = 18  # conversation_id, user_id
    GROUP_SETTINGS_UPDATED = 19  # conversation_id
    MEMBER_DETAIL_UPDATED = 20  # conversation_id, user_id
    JOIN_REQUEST_CHANGED = 21  # conversation_id, user_id; detail: REQUESTED, ACCEPTED, DECLINED or WITHDRAWN
    RECIPIENTS_OFFLINE = 22  # conversation_id, first_seq to seq; detail: users, spaces between; for services alone


PUSH_READER = "push"
"""The reader of the log that finds who is to be notified: its row of log_readers."""
FOUNDING, LEFT, REMOVED, IMPORTED = "founding", "left", "removed", "imported"  # details
REQUESTED, ACCEPTED, DECLINED, WITHDRAWN = "requested", "accepted", "declined", "withdrawn"


class Change(Protocol):
    """A row of the log, in either half."""

    @property
    def kind(self) -> int: ...
    @property
    def conversation_id(self) -> str: ...
    @property
    def user_id(self) -> str: ...


def follow(known: set[str], change: Change, user_id: str) -> bool:
    """Has known, the conversations that the user is in, be as after the change. Returns whether the change might
    concern the user: more is known once it is described."""
    if change.kind == Kind.RECIPIENTS_OFFLINE:
        return False
    is_own = change.user_id == user_id
    might_concern = is_own or change.conversation_id in known or change.kind == Kind.PROFILE_UPDATED
    if is_own and change.kind == Kind.MEMBER_JOINED:
        known.add(change.conversation_id)
    elif change.kind == Kind.GROUP_DISSOLVED or (is_own and change.kind == Kind.MEMBER_LEFT):
        known.discard(change.conversation_id)
    return might_concern


def undo(known: set[str], change: Change, user_id: str, dissolved: Container[str]) -> None:
    """Has known be as before the change. dissolved: the groups that the user was in until they were dissolved."""
    is_own = change.user_id == user_id
    has_left = is_own and change.kind == Kind.MEMBER_LEFT
    if has_left or (change.kind == Kind.GROUP_DISSOLVED and change.conversation_id in dissolved):
        known.add(change.conversation_id)
    elif is_own and change.kind == Kind.MEMBER_JOINED:
        known.discard(change.conversation_id)


def pieces_of(changes: Sequence[pb.Change], goal: pb.Position, size: int) -> deque[Piece]:
    """The changes up to goal, so many at a time. A piece moves the position if all that follows it has higher ones: on
    PostgreSQL that is not so everywhere, since changes are in the order of their ids."""
    lowest = list(accumulate((change.position for change in reversed(changes)), min))[::-1]  # from each one on
    pieces, highest = deque[Piece](), 0
    for first in range(0, len(changes), size):
        piece, after = changes[first : first + size], first + size
        highest = max(highest, *(change.position for change in piece))
        moved = None
        if after >= len(changes):
            moved = goal
        elif highest < lowest[after]:
            moved = pb.Position(epoch=goal.epoch, at=lowest[after])
        pieces.append((piece, moved))
    return pieces
