"""Zulip's export: a tar.gz archive (or its folder) with realm.json, which has users, channels and who is where, and
messages-000001.json and so on (zulip.readthedocs.io, "Export and import").

A topic becomes a thread: its messages answer its first one, which begins with the topic's name.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gochat.imports.archive import ExportError, document, entries
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
    objects_of,
    required,
    seconds_of,
    text_of,
)

_PERSONAL, _STREAM, _GROUP = 1, 2, 3  # types of recipients
_UPLOAD = re.compile(r"/user_uploads/")


def read(path: Path) -> Iterator[Record]:
    """Raises ExportError."""
    export = None
    for _, stream in entries(path, lambda name: _base(name) == "realm.json"):
        try:
            export = _Export(object_of(document(stream)))
            yield from list(export.records())
        except BadRecordError as error:
            raise ExportError(f"has a realm.json that is broken: {error}") from None
    if export is None:
        raise ExportError("has no realm.json")
    for name, stream in entries(path, lambda name: bool(re.fullmatch(r"messages-\d+\.json", _base(name)))):
        try:
            chunk = object_of(document(stream))
            reactions, messages = _reactions(objects_of(chunk, "zerver_reaction")), objects_of(chunk, "zerver_message")
        except BadRecordError as error:
            yield NotTaken("a file is broken", f"{name}: {error}", is_error=True)
            continue
        for entry in messages:
            try:
                yield from list(export.message(entry, reactions))
            except BadRecordError as error:
                yield NotTaken("an entry is broken", f"{name}, message {entry.get('id')!r:.40}: {error}", is_error=True)


def _base(name: str) -> str:
    """An archive has all in one folder, which may have any name."""
    parts = name.removeprefix("./").split("/")
    return parts[-1] if len(parts) <= 2 else ""


def _reactions(entries: list[dict[str, Any]]) -> dict[int, list[Reaction]]:
    found = defaultdict[int, list[Reaction]](list)
    for each in entries:
        reaction = Reaction(str(number_of(each, "user_profile")), required(each, "emoji_name"))
        found[number_of(each, "message")].append(reaction)
    return found


class _Export:
    """What realm.json says, and which topics have begun."""

    def __init__(self, realm: dict[str, Any]) -> None:
        """Raises BadRecordError."""
        self._realm = realm
        recipients = objects_of(realm, "zerver_recipient")
        self._recipients = {
            number_of(each, "id"): (number_of(each, "type"), number_of(each, "type_id")) for each in recipients
        }
        self._members = defaultdict[int, list[str]](list)  # by recipient
        for each in objects_of(realm, "zerver_subscription"):
            if each.get("active") is not False:
                self._members[number_of(each, "recipient")].append(str(number_of(each, "user_profile")))
        self._topics: dict[tuple[int, str], str] = {}

    def records(self) -> Iterator[Record]:
        for table in ("zerver_userprofile", "zerver_userprofile_mirrordummy", "zerver_userprofile_crossrealm"):
            for each in objects_of(self._realm, table):
                yield _user(each, is_active=table == "zerver_userprofile" and each.get("is_active") is not False)
        streams = {number_of(each, "id"): each for each in objects_of(self._realm, "zerver_stream")}
        for recipient, (kind, of) in self._recipients.items():
            if kind == _STREAM and (stream := streams.get(of)):
                is_private = stream.get("invite_only") is True
                owner = str(number_of(stream, "creator") or "")
                channel_kind = PRIVATE if is_private else PUBLIC
                yield Channel(
                    f"{recipient}", channel_kind, required(stream, "name"), text_of(stream, "description"), owner
                )
                yield from (Member(f"{recipient}", user) for user in self._members[recipient])
            elif kind == _GROUP:
                yield from _direct(self._members[recipient])

    def message(self, entry: dict[str, Any], reactions: dict[int, list[Reaction]]) -> Iterator[Record]:
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
            reactions=reactions.get(number, ()),
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
