"""What an export holds, whichever program it is of. Ids are those of the export, opaque; times: Unix milliseconds."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

PUBLIC, PRIVATE, DIRECT = "public", "private", "direct"
"""Kinds of channels. direct: of two users, or of more; of one it is notes to oneself."""
MAX_NUMBER = 2**53


@dataclass(frozen=True, slots=True)
class User:
    id: str
    username: str
    name: str = ""
    email: str = ""
    is_active: bool = True


@dataclass(frozen=True, slots=True)
class Channel:
    """name, about: may be empty. owner: a user, who need not be a member; may be empty."""

    id: str
    kind: str
    name: str = ""
    about: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    channel: str
    user: str
    is_admin: bool = False


@dataclass(frozen=True, slots=True)
class Reaction:
    """code: without colons. at: 0 where it is not known."""

    user: str
    code: str
    at: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """id: unique in its channel. parent: the id of what it answers, or of the thread's first message. files: how many
    were attached; of those the text has the names."""

    channel: str
    id: str
    sender: str
    at: int
    text: str
    edited_at: int = 0
    parent: str = ""
    reactions: Sequence[Reaction] = ()
    files: int = 0


@dataclass(frozen=True, slots=True)
class NotTaken:
    """Something that is not, or not wholly, imported. is_error: else it is left out on purpose. example: which."""

    reason: str
    example: str
    is_error: bool = False


Record = User | Channel | Member | Message | NotTaken


class BadRecordError(ValueError):
    """Something of an export that has another form than it should."""


def object_of(value: Any, what: str = "it") -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadRecordError(f"{what} is no object")
    return value


def text_of(entry: dict[str, Any], key: str) -> str:
    """ "" where it is missing or null."""
    value = entry.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRecordError(f"{key} is no text")
    return value


def required(entry: dict[str, Any], key: str) -> str:
    value = text_of(entry, key)
    if not value:
        raise BadRecordError(f"{key} is missing")
    return value


def number_of(entry: dict[str, Any], key: str) -> int:
    """A whole number that is not negative; 0 where it is missing or null."""
    value = entry.get(key)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MAX_NUMBER:
        raise BadRecordError(f"{key} is no whole number of that size")
    return value


def seconds_of(value: Any, what: str) -> int:
    """Milliseconds of Unix seconds, as a number or as text: 1434139102.000002. 0 where there are none."""
    if value is None or value == "":
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadRecordError(f"{what} is no time")
    matched = re.fullmatch(r"(\d{1,12})(?:\.(\d{1,12}))?", str(value), re.ASCII)
    if not matched:
        raise BadRecordError(f"{what} is no time")
    whole, fraction = matched[1], (matched[2] or "")
    return int(whole) * 1000 + int((fraction + "000")[:3])


def objects_of(entry: dict[str, Any], key: str) -> list[dict[str, Any]]:
    return [object_of(each, f"one of {key}") for each in _list_of(entry, key)]


def texts_of(entry: dict[str, Any], key: str) -> list[str]:
    values = _list_of(entry, key)
    if not all(isinstance(each, str) for each in values):
        raise BadRecordError(f"{key} has something that is no text")
    return values


def _list_of(entry: dict[str, Any], key: str) -> list[Any]:
    """Empty where it is missing or null."""
    value = entry.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadRecordError(f"{key} is no list")
    return value


def with_files(text: str, files: Sequence[str]) -> str:
    """The text of a message, with a line for each file that was attached: its name, and where it is."""
    return "\n".join([*([text] if text.strip() else []), *(f"[file: {each}]" for each in files)])
