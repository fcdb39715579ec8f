"""The chat logs that `gochat import` reads: JSON lines of two kinds.

{"room", "at", "sender", "content"} is a message in a room, and {"dialogue", "sender", "receiver", "content"} one
between two people.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gochat.jsontext import loads

ROOM_KEYS, DIALOGUE_KEYS = {"room", "at", "sender", "content"}, {"dialogue", "sender", "receiver", "content"}


@dataclass(frozen=True, slots=True)
class Line:
    """One message. source: FILE:LINE. room is empty in a dialogue, receiver in a room."""

    source: str
    sender: str
    receiver: str
    room: str
    content: str
    metadata: dict[str, str]

    @property
    def conversation(self) -> tuple[str, ...]:
        """Identifies the conversation: a room, or two users, however many dialogues they have."""
        return (self.room,) if self.room else tuple(sorted((self.sender, self.receiver)))


def read_log(files: Iterable[str]) -> Iterator[Line]:
    """The lines of all files. Raises SystemExit that names the first malformed line."""
    positions: Counter[str] = Counter()
    for file in files:
        try:
            with open(file, "rb") as log:
                for number, raw in enumerate(log, 1):
                    try:
                        yield _parse(f"{file}:{number}", loads(raw.decode()), positions)
                    except ValueError as error:
                        raise SystemExit(f"gochat: {file}:{number}: {error}") from None
        except OSError as error:
            raise SystemExit(f"gochat: {file}: {error.strerror}") from None


def _parse(source: str, entry: object, positions: Counter[str]) -> Line:
    """positions: how many lines each dialogue, and each millisecond of each room, has had so far. This position makes
    the client_msg_id of a line. So a room's log may also be imported in parts, day by day. Raises ValueError."""
    if not isinstance(entry, dict) or entry.keys() not in (ROOM_KEYS, DIALOGUE_KEYS):
        raise ValueError("must be an object of room, at, sender, content or of dialogue, sender, receiver, content")
    for name, value in entry.items():  # only types: the server checks lengths and the rest
        if name == "at":
            if type(value) is not int:
                raise ValueError("at must be a whole number: Unix milliseconds")
        elif not isinstance(value, str) or not (value or name == "content"):
            raise ValueError(f"{name} must be text" + ("" if name == "content" else ", not empty"))
        else:
            value.encode()  # raises ValueError for half a surrogate pair, which JSON can hold and UTF-8 cannot
    if entry["sender"] == entry.get("receiver"):
        raise ValueError("sender and receiver must differ")
    context = f"{entry['room']}:{entry['at']}" if "room" in entry else entry["dialogue"]
    positions[context] += 1
    # The server takes a client_msg_id of at most 128 bytes.
    short = context if len(context.encode()) <= 100 else hashlib.sha256(context.encode()).hexdigest()
    metadata = {"client_msg_id": f"{short}:{positions[context]}"}
    if "at" in entry:
        metadata["sent_at"] = str(entry["at"])
    return Line(source, entry["sender"], entry.get("receiver", ""), entry.get("room", ""), entry["content"], metadata)
