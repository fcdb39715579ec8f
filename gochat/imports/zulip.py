"""Zulip's export: a tar.gz archive (or its folder) with realm.json, which has users, channels, who is where and all
reactions, and messages-000001.json and so on (zulip.readthedocs.io, "Export and import").

A topic becomes a thread: its messages answer its first one, which begins with the topic's name.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gochat.imports.archive import ExportError, entries
from gochat.imports.reading import Stream, tables
from gochat.imports.records import (
    DIRECT,
    PRIVATE,
    PUBLIC,
    BadRecordError,
    Channel,
    Member,
    Message,
    NotTaken,
    Reaction,
    Record,
    User,
    number_of,
    object_of,
    required,
    seconds_of,
    text_of,
)

Reader = Callable[[dict[str, Any]], Iterable[Record]]
"""What a row of a table says, as records."""

_PERSONAL, _STREAM, _GROUP = 1, 2, 3  # types of recipients
_UPLOAD = re.compile(r"/user_uploads/")


def read(path: Path) -> Iterator[Record]:
    """Raises ExportError."""
    export = None
    for name, stream in entries(path, lambda name: _base(name) == "realm.json"):
        export = _Export()
        try:
            yield from _each(name, stream, export.readers)
        except BadRecordError as error:
            raise ExportError(f"has a realm.json that is broken: {error}") from None
        yield from export.channels()
    if export is None:
        raise ExportError("has no realm.json")
    for name, stream in entries(path, lambda name: bool(re.fullmatch(r"messages-\d+\.json", _base(name)))):
        try:
            yield from _each(name, stream, {"zerver_message": export.message})
        except BadRecordError as error:
            yield NotTaken("a file is broken", f"{name}: {error}", is_error=True)


def _each(name: str, stream: Stream, readers: Mapping[str, Reader]) -> Iterator[Record]:
    """What the readers make of the rows of their tables. Raises BadRecordError."""
    for table, row in tables(stream, readers):
        try:
            yield from list(readers[table](object_of(row)))
        except BadRecordError as error:
            of = row.get("id") if isinstance(row, dict) else None
            yield NotTaken("an entry is broken", f"{name}, {table}, {of!r:.40}: {error}", is_error=True)


def _base(name: str) -> str:
    """An archive has all in one folder, which may have any name."""
    parts = name.removeprefix("./").split("/")
    return parts[-1] if len(parts) <= 2 else ""


class _Export:
    """What realm.json says, in whatever order it has its tables, and which topics have begun."""

    def __init__(self) -> None:
        self._recipients: dict[int, tuple[int, int]] = {}  # type and id of what each is
        self._members = defaultdict[int, list[str]](list)  # by recipient
        self._streams: dict[int, dict[str, Any]] = {}
        self._reactions = defaultdict[int, list[Reaction]](list)  # by message
        self._topics: dict[tuple[int, str], str] = {}
        self.readers: dict[str, Reader] = {
            "zerver_userprofile": lambda row: [_user(row, is_active=row.get("is_active") is not False)],
            "zerver_userprofile_mirrordummy": lambda row: [_user(row, is_active=False)],
            "zerver_userprofile_crossrealm": lambda row: [_user(row, is_active=False)],
            "zerver_recipient": self._recipient,
            "zerver_subscription": self._subscription,
            "zerver_stream": self._stream,
            "zerver_reaction": self._reaction,
        }
        """By the tables of realm.json. They raise BadRecordError."""

    def _recipient(self, row: dict[str, Any]) -> Iterable[Record]:
        self._recipients[number_of(row, "id")] = number_of(row, "type"), number_of(row, "type_id")
        return ()

    def _subscription(self, row: dict[str, Any]) -> Iterable[Record]:
        if row.get("active") is not False:
            self._members[number_of(row, "recipient")].append(str(number_of(row, "user_profile")))
        return ()

    def _stream(self, row: dict[str, Any]) -> Iterable[Record]:
        self._streams[number_of(row, "id")] = {
            "kind": PRIVATE if row.get("invite_only") is True else PUBLIC,
            "name": required(row, "name"),
            "about": text_of(row, "description"),
            "owner": str(number_of(row, "creator") or ""),
        }
        return ()

    def _reaction(self, row: dict[str, Any]) -> Iterable[Record]:
        reaction = Reaction(str(number_of(row, "user_profile")), required(row, "emoji_name"))
        self._reactions[number_of(row, "message")].append(reaction)
        return ()

    def channels(self) -> Iterator[Record]:
        """Once all of realm.json is read."""
        for recipient, (kind, of) in self._recipients.items():
            if kind == _STREAM and (stream := self._streams.get(of)):
                yield Channel(f"{recipient}", **stream)
                yield from (Member(f"{recipient}", user) for user in self._members[recipient])
            elif kind == _GROUP:
                yield from _direct(self._members[recipient])

    def message(self, entry: dict[str, Any]) -> Iterable[Record]:
        """Raises BadRecordError."""
        number, recipient, sender = (number_of(entry, key) for key in ("id", "recipient", "sender"))
        kind, of = self._recipients.get(recipient, (0, 0))
        topic, text, parent, channel = text_of(entry, "subject"), text_of(entry, "content"), "", f"{recipient}"
        if kind == _STREAM:
            parent = self._topics.setdefault((recipient, topic), str(number))
            if parent == str(number):
                parent, text = "", f"{topic}\n{text}" if topic else text
        elif kind in (_PERSONAL, _GROUP):
            # As a channel of its members: both kinds of recipients are used for two.
            of_pair = [str(sender), str(of)]
            direct = list(_direct(self._members[recipient] if kind == _GROUP else of_pair))
            yield from direct
            channel = next(each.id for each in direct if isinstance(each, Channel))
        yield Message(
            channel=channel,
            id=str(number),
            sender=str(sender),
            at=seconds_of(entry.get("date_sent"), "date_sent"),
            text=text,
            edited_at=seconds_of(entry.get("last_edit_time"), "last_edit_time"),
            parent=parent,
            reactions=self._reactions.get(number, ()),
            files=len(_UPLOAD.findall(text)),
        )


def _direct(members: list[str]) -> Iterator[Record]:
    users = sorted(set(members), key=int)
    channel = Channel(f"direct:{','.join(users)}", DIRECT)
    yield channel
    yield from (Member(channel.id, user) for user in users)


def _user(entry: dict[str, Any], *, is_active: bool) -> User:
    email = text_of(entry, "delivery_email") or text_of(entry, "email")
    return User(str(number_of(entry, "id")), email.partition("@")[0], text_of(entry, "full_name"), email, is_active)
