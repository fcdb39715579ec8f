"""Holds what devices were pushed in a round against the ledger.

Of each conversation somebody was a member all the time. What all members are pushed of it (messages, recalls, members
who come and go, new names) is held against the ledger as one of that person's devices has it; every other device must
have the very same, from where its user came to where they left. What concerns one user alone is held against that
user's own acts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gochat.api.event.v1 import event_pb2
from tests.conversations import seq_of
from tests.robustness.ledger import RECALLED, Act, Conversation, Seat
from tests.robustness.streams import key_of, kind_of, message_of
from tests.robustness.timeline import Timeline

SHARED = frozenset({"message_sent", "message_updated", "member_joined", "member_left", "group_updated"})
PERSONAL = frozenset({"conversation_updated", "conversation_hidden", "read", "delivered"})
_CHANGE_UNREAD = frozenset({"message_sent", "message_updated", "read", "member_joined"})

Events = Sequence[event_pb2.Event]
Range = tuple[int, int]


@dataclass
class Round:
    """Of a conversation. seats: as they were before what is in doubt was settled. is_new: it was made in this round."""

    conversation: Conversation
    seats: dict[str, Seat]
    is_new: bool

    def __post_init__(self) -> None:
        self.timeline = Timeline(self.conversation)

    def peer_of(self, user: str) -> str:
        """ "" in a group."""
        return "" if self.conversation.group else next(other for other in self.seats if other != user)

    def is_member_throughout(self, user: str) -> bool:
        seat = self.seats.get(user)
        return was_inside(seat) and not moves(seat)

    def range_of(self, act: Act) -> Range:
        """The numbers, one of which the newest message then had; or of the message that the act names."""
        return (act.seq, act.seq) if act.seq else (self.timeline.least(act.begun), self.timeline.most(act.ended))


def moves(seat: Seat | None) -> list[Act]:
    return [act for act in (seat.acts if seat else ()) if act.kind in {"join", "leave"}]


def was_inside(seat: Seat | None) -> bool:
    """When the round began."""
    coming_and_going = moves(seat)
    if coming_and_going:
        return coming_and_going[0].kind == "leave"
    return seat is not None and seat.inside == {True}


def moved_user(event: event_pb2.Event) -> str:
    """Who came or went; "" in other events."""
    return event.member_joined.member.user_id or event.member_left.user_id


def of_members(events: Events) -> list[event_pb2.Event]:
    return [event for event in events if kind_of(event) in SHARED]


def shared_wrong(this: Round, events: Events, user: str) -> Iterator[str]:
    """events: of_members() for the user, who was a member all the time."""
    place = this.conversation
    sent = [seq_of(event.message_sent.message) for event in events if kind_of(event) == "message_sent"]
    if sent != (expected := list(range(place.base + 1, len(place.by_seq) + 1))):
        yield f"sent were {_brief(expected)}, pushed {_brief(sent)}; lacking {sorted({*expected} - {*sent})}"
    recalls = [seq_of(event.message_updated.message) for event in events if kind_of(event) == "message_updated"]
    recalled = {seq for seq, send in place.by_seq.items() if send.recalled == {True}} - place.recalled
    seen = {seq for seq in recalled if seq > hidden_up_to(this, user)}
    if len({*recalls}) < len(recalls) or not seen <= {*recalls} <= recalled:
        yield f"recalled were {sorted(recalled)}, pushed {recalls}"
    yield from _moves_wrong(this, events)
    names = [event.group_updated.group.name for event in events if kind_of(event) == "group_updated"]
    renamed = [name for name, act in place.renames.items() if act.answered]
    if not len(renamed) <= len(names) <= len(place.renames) or not set(names) <= place.renames.keys():
        yield f"the group was renamed to {place.renames}, pushed {names}"
    if names and renamed and names[-1] in renamed[:-1]:
        yield f"the group was last renamed to {renamed[-1]}, pushed {names}"


def _moves_wrong(this: Round, events: Events) -> Iterator[str]:
    """Each coming and going once, between the messages before and after it."""
    pushed: dict[str, list[tuple[str, int]]] = {}
    newest = this.conversation.base
    for event in events:
        if kind_of(event) == "message_sent":
            newest = seq_of(event.message_sent.message)
        elif user := moved_user(event):
            pushed.setdefault(user, []).append((kind_of(event), newest))
    for user in this.seats.keys() | pushed.keys():
        acts = _happened(this, user)
        came, kinds = pushed.get(user, []), {"join": "member_joined", "leave": "member_left"}
        if [kind for kind, _ in came] != [kinds[act.kind] for act in acts]:
            yield f"{user} did {acts}, pushed {came}"
            continue
        for (kind, newest), (low, high) in zip(came, map(this.range_of, acts), strict=True):
            if not low <= newest <= high:
                yield f"{kind} of {user} came after {newest} and not after one of {low} to {high}"


def _happened(this: Round, user: str) -> list[Act]:
    """Nobody comes or goes after an act in doubt, so where they are now says what became of it."""
    if user not in this.seats:
        return []
    now = this.conversation.seats[user].inside
    return [act for act in moves(this.seats[user]) if act.answered or now == {act.kind == "join"}]


def has_left(seat: Seat | None) -> bool:
    """In this round, perhaps."""
    return any(act.kind == "leave" for act in moves(seat))


def hidden_up_to(this: Round, user: str) -> int:
    """What the user may have hidden by the end of the round."""
    seat = this.seats[user]
    return max(high for _, high in (*seat.hidden, *(this.range_of(act) for act in seat.acts if act.kind == "hide")))


def may_be_withheld(this: Round, user: str, event: event_pb2.Event) -> bool:
    """From a stream that reads it late: what is described as of later once the user has left, and what is about
    messages that they have hidden."""
    kind, message, seat = kind_of(event), message_of(event), this.seats.get(user)
    if seat is None:
        return False
    if has_left(seat):
        send = this.conversation.by_seq.get(seq_of(message)) if message else None
        is_of_others = kind == "member_joined" and moved_user(event) != user
        if (
            is_of_others
            or kind in {"read", "group_updated", "conversation_updated"}
            or (send and True in send.recalled)
        ):
            return True
    about = message if kind == "message_updated" else _moved(event)
    is_own = kind == "read" and event.read.user_id == user
    return about is not None and not is_own and seq_of(about) <= hidden_up_to(this, user)


def of_time_inside(shared: Events, user: str, inside: bool) -> Iterator[event_pb2.Event]:
    """Of what members were pushed, that of a user who was a member at first, or was not."""
    for event in shared:
        moves_now = moved_user(event) == user
        inside = inside or (moves_now and kind_of(event) == "member_joined")
        if inside:
            yield event
        inside = inside and not (moves_now and kind_of(event) == "member_left")


def device_wrong(this: Round, user: str, events: Events, shared: Events, reference: str) -> Iterator[str]:
    """events: what a device of the user has of the conversation. shared: of_members() for a member, the reference."""

    def is_for_all(event: event_pb2.Event) -> bool:
        return not (may_be_withheld(this, user, event) or may_be_withheld(this, reference, event))

    seat, own = this.seats.get(user), of_members(events)
    inside = list(of_time_inside(shared, user, was_inside(seat)))
    expected, pushed = ([key_of(event) for event in side if is_for_all(event)] for side in (inside, own))
    if pushed != expected:
        lacking, extra = [key for key in expected if key not in pushed], [key for key in pushed if key not in expected]
        yield f"is not what others were pushed: lacking {lacking}, extra {extra}, or the order: {pushed}"
    known, others = {key_of(event) for event in inside}, [event for event in own if not is_for_all(event)]
    extra = [key_of(event) for event in others if not may_be_withheld(this, reference, event)]
    if len({*map(key_of, others)}) < len(others) or not known.issuperset(extra):
        yield f"is not what others were pushed, nor is it once: {[*map(key_of, others)]}"
    yield from _contents_wrong(this, events)
    if strange := {kind_of(event) for event in events} - SHARED - PERSONAL:
        yield f"was pushed {strange}"
    yield from _introductions_wrong(this, user, events)
    if seat is None:
        return
    # Positions of who leaves meanwhile are not pushed, and messages sent meanwhile are not either.
    stayed = not moves(seat)
    yield from _positions_wrong(this, user, "read", events, stayed)
    if peer := this.peer_of(user):
        for kind in ("read", "delivered"):
            yield from _positions_wrong(this, peer, kind, events, True, hidden_up_to(this, user))
    yield from _hides_wrong(this, seat, events)
    strangers = [key_of(event) for event in events if _moved(event) and _moved(event).user_id not in {user, peer}]
    strangers += [key_of(event) for event in events if event.delivered.user_id == user]
    if strangers:
        yield f"was pushed positions that do not concern it: {strangers}"


def _contents_wrong(this: Round, events: Events) -> Iterator[str]:
    """As they were sent, or empty where they are recalled; an event that says so has nothing else."""
    for event in events:
        message = message_of(event)
        send = this.conversation.by_seq.get(seq_of(message)) if message else None
        if message and send:
            is_recalled = (message.status, message.content) == (RECALLED, "") and True in send.recalled
            is_as_sent = message.status < RECALLED and message.content == send.content
            if not (is_recalled or (is_as_sent and kind_of(event) == "message_sent")):
                yield f"was pushed {event}, which is {send}"


def _introductions_wrong(this: Round, user: str, events: Events) -> Iterator[str]:
    """Nothing comes from where its user is not; the conversation itself comes before anything in it."""
    inside, leaves = was_inside(this.seats.get(user)), has_left(this.seats.get(user))
    introduced = leaves or not (inside and this.is_new)
    for number, event in enumerate(events):
        kind, following = kind_of(event), events[number + 1 : number + 2]
        joins = [kind_of(each) for each in following if moved_user(each) == user] == ["member_joined"]
        if kind == "member_joined" and moved_user(event) == user:
            inside = True
            introduced = leaves or (number > 0 and kind_of(events[number - 1]) == "conversation_updated")
        if not inside and not (kind == "conversation_updated" and joins):
            yield f"was pushed {key_of(event)}, whose user was not a member"
        introduced = introduced or kind == "conversation_updated"
        if inside and not introduced:
            yield f"was pushed {key_of(event)} before the conversation"
        if kind == "member_left" and moved_user(event) == user:
            inside = False
        if kind == "group_updated" and not leaves and [*map(kind_of, following)] != ["conversation_updated"]:
            yield "was pushed a group's new name and not the conversation's"
    if this.is_new and this.conversation.group and was_inside(this.seats.get(user)) and not (leaves or events):
        yield "was not pushed the group that its user was put into"


def _moved(event: event_pb2.Event) -> Any:
    """The position; None in other events."""
    kind = kind_of(event)
    return getattr(event, kind) if kind in {"read", "delivered"} else None


def positions(events: Events, kind: str, user: str) -> list[int]:
    return [seq_of(_moved(event)) for event in events if kind_of(event) == kind and _moved(event).user_id == user]


def _positions_wrong(
    this: Round, user: str, kind: str, events: Events, stayed: bool, hidden: int = -1
) -> Iterator[str]:
    """Of that user. Forward only, each by an act, none missing that moved forward for certain, and none before its
    message. stayed: whose device it is was there all the time. hidden: what they do not see."""
    pushed = positions(events, kind, user)
    acts = {"read": {"read", "hide"}, "delivered": {"acknowledge"}}[kind]
    may, must = reached_by(this, user, acts)
    if pushed != sorted(set(pushed)):
        yield f"{kind} of {user} moved backwards: {pushed}"
    if strange := [seq for seq in pushed if not any(low <= seq <= high for low, high in may)]:
        yield f"{kind} of {user} moved to {strange}, by no act of {may}"
    must = [each for each in must if each[0] > hidden]
    if stayed and (missing := [each for each in must if not any(each[0] <= seq <= each[1] for seq in pushed)]):
        yield f"{kind} of {user} moved to {missing}, pushed {pushed}"
    newest = this.conversation.base
    for event in events:
        newest = seq_of(event.message_sent.message) if kind_of(event) == "message_sent" else newest
        if stayed and kind_of(event) == kind and _moved(event).user_id == user and seq_of(_moved(event)) > newest:
            yield f"{kind} of {user} moved to {seq_of(_moved(event))} before that was pushed"


def reached_by(this: Round, user: str, kinds: set[str]) -> tuple[list[Range], list[Range]]:
    """(where acts of these kinds may have moved the user's position to, those of them that moved it for certain)."""
    seat = this.seats[user]
    own = [send for send in this.timeline.sends if send.sender == user]
    highest = max(seat.read[1], seat.delivered if "acknowledge" in kinds else 0)
    may, must = [], []
    for act in seat.acts:
        # What is written oneself is read, without an event; and so is what was said before one joined.
        highest = max([highest, *(send.seq for send in own if send.begun < act.ended)])
        low, high = this.range_of(act)
        if act.kind in kinds:
            may.append((low, high))
            must += [(low, high)] if act.answered and low > highest else []
        if act.kind != "leave" and (act.kind != "acknowledge" or "acknowledge" in kinds):
            highest = max(highest, high)
    return may, must


def _hides_wrong(this: Round, seat: Seat, events: Events) -> Iterator[str]:
    """What was hidden stays so for who leaves and joins again, which is an event of its own."""
    highest = max(high for _, high in seat.hidden)
    must = may = 0
    for act in seat.acts:
        low, high = this.range_of(act)
        if act.kind == "hide":
            must, may, highest = must + (act.answered and low > highest), may + 1, max(highest, high)
        may += act.kind == "join"
    hidden = [event for event in events if kind_of(event) == "conversation_hidden"]
    if not must <= len(hidden) <= may:
        yield f"was hidden {must} to {may} times, pushed {len(hidden)}"


def unread_heard(user: str, events: Events) -> int | None:
    """The unread count that came last, where nothing that changes it came after."""
    for event in reversed(events):
        of_others = (_moved(event) and _moved(event).user_id != user) or (
            kind_of(event) == "member_joined" and moved_user(event) != user
        )
        if kind_of(event) in _CHANGE_UNREAD and not of_others:
            return event.read.unread_count if kind_of(event) == "read" else None
    return None


def _brief(numbers: Sequence[int]) -> str:
    return f"{numbers[0]} to {numbers[-1]} ({len(numbers)})" if numbers else "none"
