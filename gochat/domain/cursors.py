"""Cursors as clients hold them, opaque text: of streams a version, the epoch of the log and a position in it; of lists
the place after which they go on."""

import hashlib
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Any

from gochat.errors import ChatError, invalid
from gochat.internal.change.v1.change_pb2 import Position

_FORM = re.compile(r"1\.([0-9a-f]{12})\.(\d{1,18})")
_SEAL = 32  # hexadecimal digits


def encode(position: Position) -> str:
    return _encode(f"1.{position.epoch}.{position.at}")


def decode(cursor: str, field: str = "cursor") -> Position:
    """Nowhere for an empty one. Raises INVALID_PARAMS for the field."""
    if not cursor:
        return Position()
    found = _FORM.fullmatch(_decode(cursor))
    if not found:
        raise invalid(field, "must be a cursor of this server, or empty", "BAD_CURSOR")
    return Position(epoch=found[1], at=int(found[2]))


def encode_page(position: Position, conversation_id: str) -> str:
    """The token of the page of GetState after this conversation. position: of the first page."""
    return _encode(f"1.{position.epoch}.{position.at}/{conversation_id}")


def decode_page(token: str) -> tuple[Position, str]:
    """(the position of the first page, the last conversation of the page before). Raises INVALID_PARAMS."""
    if not token:
        return Position(), ""
    position, _, conversation_id = _decode(token).partition("/")
    found = _FORM.fullmatch(position)
    if not found or not conversation_id:
        raise no_page()
    return Position(epoch=found[1], at=int(found[2])), conversation_id


def encode_row(at: int, key: str) -> str:
    """The token of the page after this row, of a list that is ordered by a number and a key."""
    return _encode(f"{at}/{key}")


def decode_row(token: str) -> tuple[int, str]:
    """(number, key) of the last row of the page before; before all rows for an empty token. Raises INVALID_PARAMS."""
    if not token:
        return -1, ""
    at, _, key = _decode(token).partition("/")
    if not re.fullmatch(r"[0-9]{1,18}", at) or "\0" in key:
        raise no_page()
    return int(at), key


def encode_place(place: Sequence[int | str], scope: Sequence[object], key: bytes) -> str:
    """The token of the page of a list after this place. scope: whose list it is, and of what: with the token of another
    one a page is none. key: of the database; without it nobody makes a token."""
    text = json.dumps(place)
    return _encode(f"{_seal(text, scope, key)}{text}")


def decode_place(token: str, scope: Sequence[object], key: bytes) -> list[Any]:
    """Raises INVALID_PARAMS."""
    seal, text = (decoded := _decode(token))[:_SEAL], decoded[_SEAL:]
    if seal != _seal(text, scope, key) or token != _encode(decoded):
        raise no_page()
    place: list[Any] = json.loads(text)
    return place


def _seal(text: str, scope: Sequence[object], key: bytes) -> str:
    sealed = json.dumps([text, *scope])
    return hashlib.blake2b(sealed.encode(), key=key, digest_size=_SEAL // 2, person=b"page").hexdigest()


def no_page() -> ChatError:
    """Of a page_token that is none of the list."""
    return invalid("page_token", "must be the next_page_token of the page before, or empty", "BAD_CURSOR")


def encode_item(list_name: str, number: int) -> str:
    """The token of the page after this item of a list. list_name: with the token of another list a page is none."""
    return _encode(f"{list_name}/{number}")


def decode_item(token: str, list_name: str) -> int:
    """0 for an empty one. Raises INVALID_PARAMS."""
    owner, _, number = _decode(token).rpartition("/")
    if token and (owner != list_name or not re.fullmatch(r"[0-9]{1,18}", number)):
        raise no_page()
    return int(number or 0)


def _encode(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(text: str) -> str:
    """ "" for what is none of ours."""
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except ValueError:
        return ""
