"""What a field of a request may hold: functions that make rules, and rules."""

import re
import unicodedata
from collections.abc import Callable
from typing import Any, NamedTuple

from gochat.api.common.v1.common_pb2 import PaginationRequest
from gochat.domain.limits import (
    MAX_BATCH,
    MAX_LONG_PAGE,
    MAX_MEMBERS,
    MAX_MENTIONS,
    MAX_PAGE,
    MESSAGE_TYPES,
    MIN_PASSWORD,
)
from gochat.domain.reactions import is_reaction
from gochat.domain.text import (
    DIRECTION_CONTROLS,
    excessive_marks,
    has_spaces_or_controls,
    hides_letters,
    normal_name,
    opaque,
    shows_something,
)
from gochat.errors import invalid

Rule = Callable[[str, Any], None]
"""(field name as the caller knows it, value) -> nothing; raises INVALID_PARAMS."""


_BREAKS = {"Cc", "Zl", "Zp"}  # general categories


def anything(name: str, value: Any) -> None:
    """For a field that the handler itself checks."""


def text(*, characters: int = 0, size: int = 0) -> Rule:
    """Text without NUL (PostgreSQL cannot keep it), of at most so many characters or bytes of UTF-8."""

    def rule(name: str, value: str) -> None:
        if "\0" in value:
            raise invalid(name, "must not contain NUL")
        if characters and len(value) > characters:
            raise invalid(name, f"must have at most {characters} characters, not {len(value)}")
        if size and len(value) * 4 > size and len(value.encode()) > size:
            raise invalid(name, f"must have at most {size} bytes of UTF-8, not {len(value.encode())}")

    return rule


def line(characters: int) -> Rule:
    """One line of text that people see: it shows something, and has no control characters, no line breaks, and none
    that change the direction of the text after it."""
    length = text(characters=characters)

    def rule(name: str, value: str) -> None:
        length(name, value)
        if value and not shows_something(value):
            raise invalid(name, "must not be blank")
        if any(unicodedata.category(character) in _BREAKS for character in value):
            raise invalid(name, "must not contain control characters or line breaks")
        if not DIRECTION_CONTROLS.isdisjoint(value):
            raise invalid(name, "must not contain characters that change the direction of text")

    return rule


def one_of(*values: Any) -> Rule:
    def rule(name: str, value: Any) -> None:
        if value not in values:
            raise invalid(name, f"must be one of {', '.join(map(str, filter(None, values)))}")

    return rule


def number(least: int, most: int) -> Rule:
    def rule(name: str, value: int) -> None:
        if not least <= value <= most:
            raise invalid(name, f"must be from {least} to {most}, not {value}")

    return rule


def batch(name: str, values: Any, most: int = MAX_BATCH) -> None:
    """A list of at most so many items."""
    if len(values) > most:
        raise invalid(name, f"must have at most {most} items, not {len(values)}")


def each(rule: Rule, most: int = MAX_BATCH) -> Rule:
    """A batch of which each item is of the rule and none empty."""

    def rule_of_list(name: str, values: Any) -> None:
        batch(name, values, most)
        for position, value in enumerate(values):
            if not value:
                raise invalid(f"{name}[{position}]", "must not be empty")
            rule(f"{name}[{position}]", value)

    return rule_of_list


def paging(most: int) -> Rule:
    page, limit = number(0, 2**31 - 1), number(0, most)

    def rule(name: str, value: PaginationRequest) -> None:
        page(f"{name}.page", value.page)
        limit(f"{name}.limit", value.limit)

    return rule


def username(name: str, value: str) -> None:
    value = normal_name(value)
    text(characters=64)(name, value)
    if has_spaces_or_controls(value):
        raise invalid(name, "must not contain spaces or control characters")
    if hides_letters(value):
        raise invalid(name, "must not contain characters that show nothing where no script needs them")
    if excessive_marks(value):
        raise invalid(name, "must not begin with a combining mark or heap them on one letter")


def password(name: str, value: str) -> None:
    """A password that is set (RFC 8265, 4.2: no control characters, which a form of the web or a terminal loses)."""
    text(size=1024)(name, value)
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise invalid(name, "must not contain control characters")


def chosen_password(name: str, value: str) -> None:
    """A password that a user chooses: 8 characters or more (NIST SP 800-63B). One that an operator's tools set may be
    shorter."""
    password(name, value)
    if len(opaque(value)) < MIN_PASSWORD:
        raise invalid(name, f"must have at least {MIN_PASSWORD} characters")


def email(name: str, value: str) -> None:
    text(characters=254)(name, value)
    if value and not re.fullmatch(r"[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+", value):
        raise invalid(name, "must be an address like name@example.com")


def metadata(name: str, value: Any) -> None:
    if not value:
        return
    if len(value) > 32:
        raise invalid(name, f"must have at most 32 entries, not {len(value)}")
    size = 0
    for key, entry in value.items():
        if not 0 < len(key.encode()) <= 64 or "\0" in key:
            raise invalid(name, "must have keys of 1 to 64 bytes, without NUL")
        text()(f"{name}[{key}]", entry)
        size += len(key.encode()) + len(entry.encode())
    if size > 4096:
        raise invalid(name, f"must have at most 4096 bytes in all, not {size}")
    if "client_msg_id" in value:
        if not value["client_msg_id"]:
            raise invalid("metadata[client_msg_id]", "must not be empty")
        text(size=128)("metadata[client_msg_id]", value["client_msg_id"])
    for key, rule in _REFERENCES.items():
        if key in value:
            if not value[key]:
                raise invalid(f"metadata[{key}]", "must not be empty")
            rule(f"metadata[{key}]", value[key])


def mentions(name: str, value: str) -> None:
    user_ids = value.split(",") if value else []
    each(user, MAX_MENTIONS)(name, user_ids)


def reaction(name: str, value: str) -> None:
    if value and not is_reaction(value):
        raise invalid(name, "must be one emoji, or 1 to 32 of a-z 0-9 _ + - between colons")


def nested(name: str, value: Any) -> None:  # noqa: ARG001 - errors name the fields of the message itself
    """A message that has a form of its own."""
    from gochat.domain import forms  # which imports this file

    forms.check(value)


EXTERNAL = "external:"
"""Before an external id, where a service names a user by one. Before a form is checked it was replaced by a user id."""
MAX_EXTERNAL_ID = 128  # bytes


def external_id(name: str, value: str) -> None:
    """Opaque, compared byte by byte."""
    text(size=MAX_EXTERNAL_ID)(name, value)
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise invalid(name, "must not contain control characters")


identifier = text(size=128)


def user(name: str, value: str) -> None:
    """The id of a user."""
    if value.startswith(EXTERNAL):
        raise invalid(name, "must be a user id: external ids are for services, and no user has this one", "NO_USER_ID")
    identifier(name, value)


_REFERENCES: dict[str, Rule] = {"reply_to": identifier, "mentions": mentions, "forwarded_from": identifier}
"""Keys of metadata that refer to what there is."""

FIELDS: dict[str, Rule] = {
    "avatar": text(size=2048),
    "before_message_id": identifier,
    "bio": text(characters=1000),
    "content": text(size=16 * 1024),
    "conversation_id": identifier,
    "description": text(characters=1000),
    "device_id": identifier,
    "email": email,
    "expires_at": number(0, 2**63 - 1),
    "external_id": external_id,
    "from_user_id": user,
    "group_id": identifier,
    "limit": number(0, MAX_LONG_PAGE),
    "max_members": number(0, MAX_MEMBERS),
    "member_ids": each(user),
    "message_id": identifier,
    "message_type": one_of("", *MESSAGE_TYPES),
    "messages": batch,  # the handler checks each by itself: each has its own outcome
    "metadata": metadata,
    "name": line(100),
    "new_password": password,
    "nickname": line(64),
    "old_password": text(size=1024),
    "operator_id": user,
    "owner_id": user,
    "page_token": text(size=512),
    "pagination": paging(MAX_PAGE),
    "password": text(size=1024),  # one that is typed to sign in: it is right or wrong, whatever it holds
    "position": number(0, 2**63 - 1),
    "query": text(characters=64),
    "refresh_id": identifier,
    "role": one_of("owner", "admin", "member"),
    "service": anything,
    "session_id": identifier,
    "since": number(0, 2**63 - 1),
    "status": number(0, 3),
    "to_user_id": user,
    "type": one_of("single", "group"),
    "user_id": user,
    "user_ids": each(user),
    "username": text(size=2048),  # as it is typed to sign in: 64 characters, decomposed, with spaces around
    "webhook_id": identifier,
}
"""The rule of a field of this name, where the form of its request has no other."""


class Form(NamedTuple):
    """required: the fields that must not be empty. fields: the rules of those for which FIELDS has none, or another."""

    required: tuple[str, ...]
    fields: dict[str, Rule]


def form(*required: str, **fields: Rule) -> Form:
    return Form(required, fields)
