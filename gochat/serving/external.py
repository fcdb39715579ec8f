"""External ids in requests: where a service names a user as external:<id>, a handler sees the user id.

The fields that name users are found by their names, once for each type of request. In messages of a batch
(SendMessages) an id that nobody has stays, so that the message alone is refused; anywhere else the call is.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from gochat.domain.forms.rules import EXTERNAL, external_id
from gochat.domain.limits import MAX_BATCH
from gochat.errors import ChatError, invalid, not_found

_NAMES_USERS = re.compile(r"(.*_)?(user|member|participant|peer|operator|owner)_ids?")


class _Field(NamedTuple):
    name: str
    is_list: bool
    is_nested: bool  # or has ids in it in a way of its own


@cache
def _fields(message: Descriptor) -> tuple[_Field, ...]:
    """Those that name users, that hold messages with such, and mentions, which sends have in their metadata."""
    found = []
    for field in message.fields:
        is_list = field.is_repeated
        if field.type == FieldDescriptor.TYPE_STRING and _NAMES_USERS.fullmatch(field.name):
            found.append(_Field(field.name, is_list, False))
        elif field.name in ("metadata", "mentions") or (field.message_type and _fields(field.message_type)):
            found.append(_Field(field.name, is_list, True))
    return tuple(found)


def names_users(message: Descriptor) -> bool:
    return bool(_fields(message))


class _Named(NamedTuple):
    """An external id in a request. path: of the field, as its caller knows it. put: a user id in its place."""

    name: str
    path: str
    is_of_batch: bool
    put: Callable[[str], None]


def wanted(request: Message) -> set[str]:
    """What is to be looked up for the request: "external:" and an external id. Raises INVALID_PARAMS."""
    names = set()
    for each in _named(request):
        try:
            _check(each)
        except ChatError:
            if not each.is_of_batch:
                raise
        else:
            names.add(each.name)
    return names


def put(request: Message, user_ids: Mapping[str, str]) -> None:
    """user_ids: by what was wanted. Raises NOT_FOUND."""
    for each in list(_named(request)):
        if each.name in user_ids:
            each.put(user_ids[each.name])
        elif not each.is_of_batch:
            raise not_found("user", each.path)


def _check(named: _Named) -> None:
    value = named.name.removeprefix(EXTERNAL)
    if not value:
        raise invalid(named.path, f"must have an id after {EXTERNAL}")
    external_id(named.path, value)


def _named(message: Message, prefix: str = "", *, is_of_batch: bool = False) -> Iterator[_Named]:
    """A list that is too long is left to the form of the request."""
    for name, is_list, is_nested in _fields(message.DESCRIPTOR):
        value, path = getattr(message, name), prefix + name
        if name == "metadata":
            put_in = partial(value.__setitem__, "mentions")
            yield from _mentioned(value.get("mentions", ""), f"{path}[mentions]", put_in, is_of_batch=is_of_batch)
        elif name == "mentions":
            yield from _mentioned(value, path, partial(setattr, message, name), is_of_batch=is_of_batch)
        elif not is_list and not is_nested:
            if value.startswith(EXTERNAL):
                yield _Named(value, path, is_of_batch, partial(setattr, message, name))
        elif not is_list:
            if message.HasField(name):
                yield from _named(value, f"{path}.", is_of_batch=is_of_batch)
        elif len(value) <= MAX_BATCH:
            for index, item in enumerate(value):
                if is_nested:
                    yield from _named(item, f"{path}[{index}].", is_of_batch=True)
                elif item.startswith(EXTERNAL):
                    yield _Named(item, f"{path}[{index}]", is_of_batch, partial(value.__setitem__, index))


def _mentioned(mentions: str, path: str, put_in: Callable[[str], object], *, is_of_batch: bool) -> Iterator[_Named]:
    """mentions: ids with commas between. put_in: is given what is in place of them."""
    listed = mentions.split(",")

    def replace(index: int, user_id: str) -> None:
        listed[index] = user_id
        put_in(",".join(listed))

    for index, item in enumerate(listed):
        if item.startswith(EXTERNAL):
            yield _Named(item, f"{path}[{index}]", is_of_batch, partial(replace, index))
