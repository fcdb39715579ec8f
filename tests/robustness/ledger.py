"""What clients were answered: acts, their acknowledgements, and the doubts that are left of what was never answered.

Clients write here while they act; tests/robustness/check.py holds it against what the server has. Times are those of
time.monotonic(), in seconds; NEVER is when an act in doubt was acknowledged.
"""

import math
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from tests.conversations import conversation_of, seq_of

NEVER = math.inf
RECALLED = 4
NOTHING_HIDDEN = ((-1, 0),)


@dataclass(eq=False)
class Send:
    """One message. content is unlike all others. seq: 0 until it is known. parts: the messages of its request that go
    into the same conversation, in order, where there are several. recalled: what may be true of it."""

    conversation_id: str
    sender: str
    content: str
    begun: float
    key: str = ""
    to: str = ""
    ended: float = NEVER
    seq: int = 0
    parts: "list[Send]" = field(default_factory=list)
    recalled: set[bool] = field(default_factory=lambda: {False})
    void: bool = False  # looked for when all was over, and not there: it must never appear

    @property
    def message_id(self) -> str:
        return f"{self.conversation_id}-{self.seq:012d}"


@dataclass
class Act:
    """join, leave, hide, rename; read or acknowledge up to seq."""

    kind: str
    begun: float
    ended: float = NEVER
    seq: int = 0

    @property
    def answered(self) -> bool:
        return self.ended < NEVER


@dataclass
class Seat:
    """What may be true of one user in one conversation. read: the least and the greatest that the read position may
    be. delivered: the greatest that the delivered position may be. hidden: ranges, in one of which lies the number of
    the last message that the user has hidden."""

    inside: set[bool]
    read: tuple[int, int] = (0, 0)
    delivered: int = 0
    hidden: tuple[tuple[int, int], ...] = NOTHING_HIDDEN
    acts: list[Act] = field(default_factory=list)  # of this round, in order: only one client acts on a seat
    rests: bool = False  # something is in doubt: until that is settled nobody comes or goes here

    @property
    def certain(self) -> bool:
        return self.inside == {True} and not self.rests


@dataclass
class Conversation:
    """base, recalled: how many messages there were when the round began, and which of them were recalled. by_seq: all
    that is known to be there. renames: of this round, by the new name, in order: only the owner renames."""

    conversation_id: str
    group: bool
    owner: str = ""
    base: int = 0
    recalled: set[int] = field(default_factory=set)
    renames: dict[str, Act] = field(default_factory=dict)
    seats: dict[str, Seat] = field(default_factory=dict)
    sends: dict[str, Send] = field(default_factory=dict)  # by content
    by_seq: dict[int, Send] = field(default_factory=dict)

    @property
    def known(self) -> list[Send]:
        """Messages that are known to be there, those known last at the end."""
        return list(self.by_seq.values())

    def settle(self) -> None:
        """At the end of a round, when all messages are known."""
        self.base = len(self.by_seq)
        self.recalled = {seq for seq, send in self.by_seq.items() if send.recalled == {True}}
        self.renames = {}


@dataclass
class Founding:
    """A group whose making was not answered."""

    name: str
    owner: str
    members: tuple[str, ...]


@dataclass
class Session:
    """A sign-in that was answered. alive: what may be true of it."""

    user_id: str
    session_id: str
    refresh_token: str
    alive: set[bool] = field(default_factory=lambda: {True})


class Ledger:
    """clients: user ids that act; users: they and those who are only written to. counts: of acts by their outcome."""

    def __init__(self) -> None:
        self.clients: list[str] = []
        self.users: list[str] = []
        self.conversations: dict[str, Conversation] = {}
        self.pairs: dict[frozenset[str], str] = {}  # one-to-one conversations by their users
        self.first_words: list[Send] = []  # to users that may share no conversation with the sender yet
        self.foundings: list[Founding] = []
        self.registrations: dict[str, str] = {}  # in doubt: username -> password
        self.sessions: list[Session] = []
        self.counts: Counter[str] = Counter()
        self.failures: list[tuple[float, str, str]] = []  # calls that failed as they may: (begun, act, code)
        self.surprises: list[str] = []  # what no client should ever be answered
        self._lock = threading.Lock()

    def count(self, outcome: str, number: int = 1) -> None:
        with self._lock:
            self.counts[outcome] += number

    def add_group(self, group_id: str, owner: str, members: tuple[str, ...]) -> Conversation:
        group = Conversation(group_id, True, owner)
        group.seats = {user: Seat({True}) for user in (owner, *members)}
        self.conversations[group_id] = group
        return group

    def pair(self, conversation_id: str, one: str, other: str) -> Conversation:
        """The conversation of two users, made here if it was not known."""
        with self._lock:
            if conversation_id not in self.conversations:
                pair = Conversation(conversation_id, False)
                pair.seats = {user: Seat({True}) for user in (one, other)}
                self.conversations[conversation_id] = pair
                self.pairs[frozenset((one, other))] = conversation_id
            return self.conversations[conversation_id]

    def begin(self, *sends: Send) -> None:
        """Of one request: where they share a conversation they are parts of one whole."""
        by_place: defaultdict[str, list[Send]] = defaultdict(list)
        for send in sends:
            by_place[send.conversation_id].append(send)
        for conversation_id, parts in by_place.items():
            for send in parts:
                send.parts = parts if len(parts) > 1 else []
            if conversation_id:
                self.conversations[conversation_id].sends |= {send.content: send for send in parts}
            else:
                self.first_words += parts

    def acknowledge(self, send: Send, message_id: str, ended: float) -> None:
        conversation_id, seq = conversation_of(message_id), seq_of(message_id)
        if not send.conversation_id:
            self.find_home(send, conversation_id)
        conversation = self.conversations[conversation_id]
        if send.conversation_id != conversation_id or (send.seq or seq) != seq:
            self.surprises.append(f"{send.content}: acknowledged as {message_id}, was {send.message_id}")
        send.seq = seq
        send.ended = min(send.ended, ended)
        if conversation.by_seq.setdefault(send.seq, send) is not send:
            other = conversation.by_seq[send.seq].content
            self.surprises.append(f"{message_id}: acknowledged for {send.content} and for {other}")

    def find_home(self, send: Send, conversation_id: str) -> None:
        """Of a first word, when it is known where it went."""
        pair = self.pair(conversation_id, send.sender, send.to)
        send.conversation_id = conversation_id
        self.first_words.remove(send)
        pair.sends[send.content] = send
