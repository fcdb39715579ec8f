"""Holds the ledger against what the server has: reads everything back by the API, and says what is not as clients were
answered. What was in doubt is settled by what is found, and must stay so from then on."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from gochat.api.common.v1 import common_pb2
from gochat.api.logic.v1 import logic_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.api.session.v1 import session_pb2
from tests.conversations import seq_of
from tests.harness import bearer
from tests.robustness.ledger import NOTHING_HIDDEN, RECALLED, Act, Conversation, Ledger, Seat
from tests.robustness.people import Person, Stubs
from tests.robustness.push_checker import PushChecker
from tests.robustness.timeline import Timeline
from tests.waiting import status_of

Found = list[common_pb2.Message]  # all of a conversation, oldest first


class Checker:
    """Runs when no client does. Its answers may be waited for: everything is well again."""

    def __init__(
        self, ledger: Ledger, stubs: Stubs, service: str, people: Sequence[Person], pushes: PushChecker
    ) -> None:
        """service: a service token. people: the clients, with the tokens that they have when it is checked."""
        self.ledger, self._pushes = ledger, pushes
        self._people = people
        self._stubs = stubs
        self._service = bearer(service)

    def check(self, *, pushes: bool = True) -> list[str]:
        """What is wrong, in words that begin with its kind; nothing if all is as clients were answered. pushes: also of
        what devices were pushed."""
        wrong = [f"surprise: {surprise}" for surprise in self.ledger.surprises]
        self.ledger.surprises.clear()
        self._settle_first_words()
        wrong += self._foundings()
        histories = {place: self._history(place) for place in self.ledger.conversations}
        for place, found in histories.items():
            wrong += messages_wrong(self.ledger.conversations[place], found, self.ledger.counts)
        self._pushes.begin()
        wrong += self._accounts()
        wrong += self._seats_wrong(histories)
        wrong += self._pushes.check() if pushes else []
        for conversation in self.ledger.conversations.values():
            conversation.settle()
        self.ledger.failures.clear()
        return wrong

    def _settle_first_words(self) -> None:
        """Making a one-to-one conversation returns the one that there is."""
        for send in [*self.ledger.first_words]:
            request = logic_pb2.CreateConversationRequest(type="single", user_ids=[send.sender, send.to])
            made = self._stubs.logic.CreateConversation(request, metadata=self._service)
            self.ledger.find_home(send, made.conversation_id)

    def _foundings(self) -> Iterator[str]:
        """A group whose making was not answered is there whole, once, or not at all."""
        foundings, self.ledger.foundings = self.ledger.foundings, []
        for founding in foundings:
            named = [group for group in self._groups(founding.owner) if group.name == founding.name]
            if len(named) > 1:
                yield f"twice: the group {founding.name}"
            for group in named[:1]:
                self.ledger.add_group(group.group_id, founding.owner, founding.members)
                self.ledger.count("in doubt, found")

    def _groups(self, owner: str) -> Iterator[common_pb2.Group]:
        yield from self._pages(self._stubs.repo.GetGroupsByUser, repo_pb2.GetGroupsByUserRequest, "groups", owner)

    def _pages(self, stub: Any, request: Any, field: str, user: str) -> Iterator[Any]:
        page = 0
        while True:
            page += 1
            pagination = common_pb2.PaginationRequest(page=page, limit=100)
            answer = stub(request(user_id=user, pagination=pagination), metadata=self._service)
            yield from getattr(answer, field)
            if page * 100 >= answer.pagination.total:
                return

    def _accounts(self) -> Iterator[str]:
        """Who signed in is signed in; who signed out is not; a name is taken at most once."""
        sessions, self.ledger.sessions = self.ledger.sessions, []
        for session in sessions:
            request = session_pb2.RefreshTokenRequest(refresh_token=session.refresh_token)
            alive = status_of(lambda request=request: self._stubs.session.RefreshToken(request)) == "OK"
            if alive not in session.alive:
                yield f"lost: a {'sign-out' if alive else 'session'} that was acknowledged"
        registrations, self.ledger.registrations = self.ledger.registrations, {}
        for name, password in registrations.items():
            request = session_pb2.RegisterRequest(username=name, password=password)
            code = status_of(lambda request=request: self._stubs.session.Register(request))
            if code not in {"OK", "ALREADY_EXISTS"}:
                yield f"surprise: registering {name} again was answered {code}"
            self.ledger.count("in doubt, found", code == "ALREADY_EXISTS")

    def _history(self, conversation_id: str, user: str = "") -> Found:
        """user: whose; empty: everything."""
        found: list[common_pb2.Message] = []
        request = logic_pb2.GetMessageHistoryRequest(conversation_id=conversation_id, limit=200)
        while True:
            request.before_message_id = found[-1].message_id if found else ""
            token = self._token(user) if user else self._service
            page = self._stubs.logic.GetMessageHistory(request, metadata=token)
            found += page.messages
            if not page.has_more:
                return found[::-1]

    def _token(self, user: str) -> Any:
        return next(bearer(person.token) for person in self._people if person.user_id == user)

    def _seats_wrong(self, histories: dict[str, Found]) -> Iterator[str]:
        infos = {user: {info.conversation_id: info for info in self._conversations(user)} for user in self.ledger.users}
        for conversation_id, conversation in self.ledger.conversations.items():
            request = repo_pb2.GetConversationParticipantsRequest(conversation_id=conversation_id)
            answer = self._stubs.repo.GetConversationParticipants(request, metadata=self._service)
            inside = Counter(answer.participant_ids)
            for user in inside - Counter(conversation.seats.keys()):
                yield f"membership: {user} is in {conversation_id} and never came"
            timeline = Timeline(conversation)
            for user, seat in conversation.seats.items():
                own = max((send.seq for send in timeline.sends if send.sender == user), default=0)
                found, info = histories[conversation_id], infos[user].get(conversation_id)
                hides = seat.hidden != NOTHING_HIDDEN or any(act.kind == "hide" for act in seat.acts)
                visible = len(self._history(conversation_id, user)) if hides and inside[user] else len(found)
                for problem in seat_wrong(seat, timeline, own, found, bool(inside[user]), info, visible):
                    yield f"{problem}: {user} in {conversation_id}"
        for user, listed in infos.items():
            if strange := listed.keys() - self.ledger.conversations.keys() - {self._pushes.marker}:
                yield f"membership: {user} is in {strange}, of which nothing is known"
            unread = self._stubs.logic.GetUnreadMessages(
                logic_pb2.GetUnreadMessagesRequest(user_id=user), metadata=self._service
            )
            if unread.total_count != sum(info.unread_count for info in listed.values()):
                yield f"unread: of {user} the sum is not the sum"

    def _conversations(self, user: str) -> Iterator[common_pb2.ConversationInfo]:
        stub, request = self._stubs.logic.GetConversations, logic_pb2.GetConversationsRequest
        yield from self._pages(stub, request, "conversations", user)


def messages_wrong(conversation: Conversation, found: Found, counts: Counter[str]) -> Iterator[str]:
    """Nothing lost, nothing twice, no gaps, in order, requests whole, what is recalled recalled."""
    seqs = [seq_of(message) for message in found]
    if seqs != list(range(1, len(found) + 1)):
        yield f"gap: {conversation.conversation_id} is numbered {seqs[:3]}...{seqs[-3:]}, {len(seqs)} in all"
    seen: set[str] = set()
    for seq, message in zip(seqs, found, strict=True):
        known = conversation.by_seq.get(seq)
        send = conversation.sends.get(message.content) if message.content else known
        if send is None or send.sender != message.from_user_id:
            yield f"strange: {message.message_id} {message.content!r} was never sent"
            continue
        if send.content in seen or (send.seq or seq) != seq or (known or send) is not send:
            yield f"twice: {send.content}, as {message.message_id}, was {send.message_id}"
            continue
        if send.void:
            yield f"late: {send.content} came when all was over, as {message.message_id}"
        seen.add(send.content)
        if not send.seq:
            counts["in doubt, found"] += 1
            send.seq, conversation.by_seq[seq] = seq, send
        recalled = message.status == RECALLED
        if recalled not in send.recalled or recalled != (not message.content):
            yield f"recall: {message.message_id} has status {message.status} and content {message.content!r}"
        send.recalled = {recalled}
    for send in conversation.sends.values():
        if send.seq and send.content not in seen:
            yield f"lost: {send.message_id} {send.content}"
        send.void = send.void or not (send.seq or send.key)
    timeline = Timeline(conversation)
    for send in timeline.sends:
        if send.seq <= (highest := timeline.least(send.begun)):
            yield f"order: {send.message_id} was begun after {highest} was acknowledged"
        if send.parts and [part.seq - send.parts[0].seq for part in send.parts] != list(range(len(send.parts))):
            yield f"torn: {send.content} came without the others of its request, or they are not in a row"


def seat_wrong(
    seat: Seat,
    timeline: Timeline,
    own: int,
    found: Found,
    inside: bool,
    info: common_pb2.ConversationInfo | None,
    visible: int,
) -> Iterator[str]:
    """own: the last message of the round that the user sent. info: of the user's list; None if it is not there.
    visible: how many messages the user sees."""
    last = len(found)
    for act in seat.acts:
        _CONSEQUENCES[act.kind](seat, act, timeline.least(act.begun), timeline.most(act.ended))
    # One's own message is read, and those who join again have read what was said before: the order does not matter.
    seat.read = (max(seat.read[0], own), max(seat.read[1], own))
    seat.acts, seat.rests = [], False
    if inside not in seat.inside:
        yield f"membership: should be {seat.inside}, is {inside}"
    seat.inside = {inside}
    if not inside:
        if info:
            yield "membership: it is listed for one who is not in it"
        return
    numbers = [number for low, high in seat.hidden for number in range(low, high + 1)]
    fits = [number for number in numbers if last - max(number, 0) == visible and (number < last) == bool(info)]
    if not fits:
        yield f"hidden: up to one of {seat.hidden} of {last}, but {visible} are seen and it is listed: {bool(info)}"
    seat.hidden = NOTHING_HIDDEN if visible == last else ((last - visible, last - visible),)
    withdrawn = [message.status >= RECALLED for message in found]
    unread = info.unread_count if info else 0
    low, high = seat.read
    fits = [read for read in range(low, high + 1) if last - read - sum(withdrawn[read:]) == unread]
    if not fits:
        yield f"unread: {unread}, but read is from {low} to {high} of {last}, with {sum(withdrawn)} withdrawn"
    seat.read = (fits[0], fits[-1]) if fits else seat.read


def _read(seat: Seat, act: Act, _least: int, _most: int) -> None:
    seat.read = (max(seat.read[0], act.seq if act.answered else 0), max(seat.read[1], act.seq))


def _hid(seat: Seat, act: Act, least: int, most: int) -> None:
    seat.read = (max(seat.read[0], least if act.answered else 0), max(seat.read[1], most))
    seat.hidden = ((least, most),) if act.answered else (*seat.hidden, (least, most))


def _received(seat: Seat, act: Act, _least: int, _most: int) -> None:
    seat.delivered = max(seat.delivered, act.seq)


def _left(seat: Seat, act: Act, _least: int, _most: int) -> None:
    seat.inside = {False} if act.answered else {True, False}


def _joined(seat: Seat, act: Act, least: int, most: int) -> None:
    """What was hidden stays hidden, but for a conversation that had nothing in it."""
    seat.inside = {True} if act.answered else {True, False}
    seat.read = (least, most)
    if seat.hidden != NOTHING_HIDDEN and any(low <= 0 for low, _ in seat.hidden):
        seat.hidden = (*seat.hidden, *NOTHING_HIDDEN)


_CONSEQUENCES = {"read": _read, "acknowledge": _received, "hide": _hid, "leave": _left, "join": _joined}
