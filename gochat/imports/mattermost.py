"""Mattermost's bulk export: JSON lines, each an object of one type, as a file or in a zip archive
(docs.mattermost.com, "Bulk export data" and its data format).

Nothing in it has an id but users, by their names. A post is known by its author and its time, a direct channel by its
members.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gochat.imports.archive import ExportError, entries
from gochat.imports.reading import Stream, lines, parsed
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
    text_of,
    texts_of,
    with_files,
)

_LEFT_OUT = {"emoji": "custom emoji", "role": "roles", "scheme": "permission schemes"}


def read(path: Path) -> Iterator[Record]:
    """Raises ExportError."""
    found = False
    for name, stream in _streams(path):
        found = True
        for number, line in lines(stream):
            where = f"{name}:{number}"
            if line is None:
                yield NotTaken("a line is too long", where, is_error=True)
                continue
            try:
                # All of it or nothing: what is read before something broken is not half imported.
                yield from list(_records(object_of(parsed(line)), where))
            except BadRecordError as error:
                yield NotTaken("a line is broken", f"{where}: {error}", is_error=True)
    if not found:
        raise ExportError("has no .jsonl file")


def _streams(path: Path) -> Iterator[tuple[str, Stream]]:
    if path.is_dir() or path.suffix.lower() in (".zip", ".tar", ".gz", ".tgz"):
        yield from entries(path, lambda name: "/" not in name and name.lower().endswith(".jsonl"))
        return
    with path.open("rb") as stream:
        yield path.name, stream


def _records(entry: dict[str, Any], where: str) -> Iterator[Record]:
    kind = required(entry, "type")
    if reason := _LEFT_OUT.get(kind):
        yield NotTaken(reason, where)
    elif kind in _READERS:
        yield from _READERS[kind](object_of(entry.get(kind), kind))
    elif kind not in ("version", "team"):
        yield NotTaken("objects of an unknown type", f"{where}: {kind[:40]!r}", is_error=True)


def _channel(entry: dict[str, Any]) -> Iterator[Record]:
    kind = PUBLIC if text_of(entry, "type") == "O" else PRIVATE
    name = text_of(entry, "display_name") or required(entry, "name")
    about = text_of(entry, "purpose") or text_of(entry, "header")
    yield Channel(_channel_id(required(entry, "team"), required(entry, "name")), kind, name, about)


def _channel_id(team: str, channel: str) -> str:
    return f"{team}/{channel}"


def _user(entry: dict[str, Any]) -> Iterator[Record]:
    username = required(entry, "username")
    whole = f"{text_of(entry, 'first_name')} {text_of(entry, 'last_name')}".strip()
    name = text_of(entry, "nickname") or whole
    yield User(username, username, name, text_of(entry, "email"), not number_of(entry, "delete_at"))
    for team in objects_of(entry, "teams"):
        for channel in objects_of(team, "channels"):
            is_admin = "channel_admin" in text_of(channel, "roles").split()
            yield Member(_channel_id(required(team, "name"), required(channel, "name")), username, is_admin)


def _bot(entry: dict[str, Any]) -> Iterator[Record]:
    username = required(entry, "username")
    yield User(username, username, text_of(entry, "display_name"), is_active=not number_of(entry, "delete_at"))


def _direct_channel(entry: dict[str, Any]) -> Iterator[Record]:
    named = texts_of(entry, "members") or [required(each, "username") for each in objects_of(entry, "participants")]
    channel, members = _direct(named)
    yield channel
    yield from members


def _direct(members: list[str]) -> tuple[Channel, list[Member]]:
    names = sorted(set(members))
    channel = Channel(f"direct:{','.join(names)}", DIRECT)
    return channel, [Member(channel.id, name) for name in names]


def _post(entry: dict[str, Any]) -> Iterator[Record]:
    yield from _messages(entry, _channel_id(required(entry, "team"), required(entry, "channel")))


def _direct_post(entry: dict[str, Any]) -> Iterator[Record]:
    channel, members = _direct(texts_of(entry, "channel_members"))
    yield channel  # as direct_channel says too, but for what is not
    yield from members
    yield from _messages(entry, channel.id)


def _messages(entry: dict[str, Any], channel: str) -> Iterator[Record]:
    first = _message(entry, channel)
    if text_of(entry, "type").startswith("system_"):
        yield NotTaken("notices, such as of who joined", f"{channel} {first.id}")
    else:
        yield first
    for reply in objects_of(entry, "replies"):
        yield _message(reply, channel, first.id)


def _message(entry: dict[str, Any], channel: str, parent: str = "") -> Message:
    sender, at = required(entry, "user"), number_of(entry, "create_at")
    files = [required(each, "path").rpartition("/")[2] for each in objects_of(entry, "attachments")]
    return Message(
        channel=channel,
        id=f"{sender}:{at}",
        sender=sender,
        at=at,
        text=with_files(text_of(entry, "message"), files),
        edited_at=number_of(entry, "edit_at"),
        parent=parent,
        reactions=[
            Reaction(required(each, "user"), required(each, "emoji_name"), number_of(each, "create_at"))
            for each in objects_of(entry, "reactions")
        ],
        files=len(files),
    )


_READERS: dict[str, Callable[[dict[str, Any]], Iterator[Record]]] = {
    "channel": _channel,
    "user": _user,
    "bot": _bot,
    "post": _post,
    "direct_channel": _direct_channel,
    "direct_post": _direct_post,
}
