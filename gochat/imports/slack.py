"""Slack's export: a zip archive (or its folder) of JSON files (slack.com/help, "How to read Slack data exports"):
users.json; channels.json, groups.json (private channels), mpims.json and dms.json; and for each channel of these a
folder, of its name or, of dms, its id, with a file for each day.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from gochat.imports.archive import ExportError, entries
from gochat.imports.reading import Stream, items
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
    object_of,
    objects_of,
    required,
    seconds_of,
    text_of,
    texts_of,
    with_files,
)

_LISTS = {"channels.json": PUBLIC, "groups.json": PRIVATE, "mpims.json": DIRECT, "dms.json": DIRECT}
_SAID = ("", "bot_message", "file_share", "file_comment", "me_message", "thread_broadcast", "slackbot_response")
"""Subtypes of messages that somebody wrote; the others are notices."""
_ESCAPED = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))
"""All that Slack writes so (docs.slack.dev, "Formatting message text"), the last one last."""
_LINK = re.compile(r"<([^<>|]*)(?:\|([^<>]*))?>")


def read(path: Path) -> Iterator[Record]:
    """Raises ExportError."""
    export = _Export()
    found = False
    for name, stream in entries(path, lambda name: name == "users.json"):
        found = True
        yield from _each(name, stream, export.user)
    if not found:
        raise ExportError("has no users.json")
    for name, stream in entries(path, _LISTS.__contains__):
        yield from _each(name, stream, partial(export.channel, _LISTS[name]))
    for name, stream in entries(path, export.is_of_channel):
        yield from _each(name, stream, partial(export.message, name.partition("/")[0]))


def _each(name: str, stream: Stream, records: Callable[[dict[str, Any]], Iterator[Record]]) -> Iterator[Record]:
    """What `records` makes of each object of the file."""
    number = 0
    try:
        for number, entry in enumerate(items(stream), 1):
            try:
                yield from list(records(entry))
            except BadRecordError as error:
                yield NotTaken("an entry is broken", f"{name}, entry {number}: {error}", is_error=True)
    except BadRecordError as error:
        yield NotTaken("a file is broken", f"{name}, after entry {number}: {error}", is_error=True)


class _Export:
    """What is known of the export so far."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}  # of users, by id
        self._folders: dict[str, str] = {}  # of channels: name of the folder -> id

    def user(self, entry: dict[str, Any]) -> Iterator[Record]:
        user_id, username = required(entry, "id"), text_of(entry, "name")
        profile = object_of(entry.get("profile") or {}, "profile")
        name = text_of(profile, "display_name") or text_of(profile, "real_name") or text_of(entry, "real_name")
        self._names[user_id] = username or name
        yield User(user_id, username, name, text_of(profile, "email"), entry.get("deleted") is not True)

    def channel(self, kind: str, entry: dict[str, Any]) -> Iterator[Record]:
        channel_id = required(entry, "id")
        self._folders[text_of(entry, "name") or channel_id] = channel_id
        about = text_of(object_of(entry.get("purpose") or {}, "purpose"), "value")
        about = about or text_of(object_of(entry.get("topic") or {}, "topic"), "value")
        name = "" if kind == DIRECT else text_of(entry, "name")
        yield Channel(channel_id, kind, name, "" if kind == DIRECT else about, text_of(entry, "creator"))
        for user_id in texts_of(entry, "members"):
            yield Member(channel_id, user_id)

    def is_of_channel(self, name: str) -> bool:
        folder, slash, file = name.partition("/")
        return bool(slash) and folder in self._folders and file.endswith(".json") and "/" not in file

    def message(self, folder: str, entry: dict[str, Any]) -> Iterator[Record]:
        ts, subtype = required(entry, "ts"), text_of(entry, "subtype")
        channel = self._folders[folder]
        if subtype not in _SAID or text_of(entry, "type") not in ("", "message"):
            yield NotTaken("notices, such as of who joined", f"{folder} {ts}")
            return
        sender = text_of(entry, "user") or text_of(entry, "bot_id") or required(entry, "username")
        if sender not in self._names:
            yield self._stranger(sender, entry)
        files = [_file(each) for each in objects_of(entry, "files")]
        thread = text_of(entry, "thread_ts")
        edited = object_of(entry.get("edited") or {}, "edited")
        yield Message(
            channel=channel,
            id=ts,
            sender=sender,
            at=seconds_of(ts, "ts"),
            text=with_files(self._plain(_text(entry)), files),
            edited_at=seconds_of(edited.get("ts"), "edited.ts"),
            parent="" if thread == ts else thread,
            reactions=[
                Reaction(user_id, required(each, "name"))
                for each in objects_of(entry, "reactions")
                for user_id in texts_of(each, "users")
            ],
            files=len(files),
        )

    def _stranger(self, user_id: str, entry: dict[str, Any]) -> User:
        """A bot, or a user of another workspace, who is not in the list of users."""
        profile = object_of(entry.get("user_profile") or entry.get("bot_profile") or {}, "profile")
        name = text_of(profile, "display_name") or text_of(profile, "real_name") or text_of(profile, "name")
        name = name or text_of(entry, "username")
        self._names[user_id] = name or user_id
        return User(user_id, text_of(profile, "name"), name, is_active=False)

    def _plain(self, text: str) -> str:
        """Slack's markup of links and mentions, as text."""

        def shown(link: re.Match[str]) -> str:
            target, label = link[1], link[2] or ""
            if target.startswith("@"):
                return f"@{self._names.get(target[1:]) or label or target[1:]}"
            if target.startswith("#"):
                return f"#{label or target[1:]}"
            if target.startswith("!"):
                return label or f"@{target[1:].partition('^')[0]}"
            return f"{label} ({target})" if label and label not in target else target

        plain = _LINK.sub(shown, text)
        for written, meant in _ESCAPED:
            plain = plain.replace(written, meant)
        return plain


def _text(entry: dict[str, Any]) -> str:
    """Of bots it may be in attachments alone."""
    if text := text_of(entry, "text"):
        return text
    shown = (text_of(each, "fallback") or text_of(each, "text") for each in objects_of(entry, "attachments"))
    return "\n".join(filter(None, shown))


def _file(entry: dict[str, Any]) -> str:
    """The name of a file and where it is, without the token that lets whoever has the export read it."""
    where = text_of(entry, "permalink") or text_of(entry, "url_private").partition("?")[0]
    return f"{text_of(entry, 'title') or text_of(entry, 'name') or 'without a name'} {where}".strip()
