"""Cursors as clients hold them, opaque text: of streams a version, the epoch of the log and a position in it; of lists
the place after which they go on, sealed."""

import hashlib
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Any, NamedTuple

from gochat.domain.limits import DEFAULT_LONG_PAGE
from gochat.errors import invalid
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


class Page(NamedTuple):
    """Of a list: at most `limit` rows after a place in its order. scope: of which list; the token of another one is
    refused. key: of the database; without it nobody makes a token."""

    limit: int
    after: Sequence[Any]
    scope: bytes
    key: bytes

    @property
    def fetched(self) -> int:
        """How many rows are read: the one more says whether there is a page after."""
        return self.limit + 1

    def cut(self, rows: list[Any]) -> str:
        """The next_page_token. Of the rows that were read, which begin with their places, those of the page stay."""
        has_more = len(rows) > self.limit
        del rows[self.limit :]
        return self.token(rows[-1][: len(self.after)]) if has_more else ""

    def token(self, place: Sequence[Any]) -> str:
        """Of the page after this place."""
        text = json.dumps(place, ensure_ascii=False, separators=(",", ":"))
        return _encode(f"{_seal(text, self.scope, self.key)}{text}")


def page(request: Any, key: bytes, first: Sequence[Any], default: int = DEFAULT_LONG_PAGE) -> Page:
    """That a request of the internal services asks for: of the list that all its other fields say, with those of the
    `request` in it, but for who acts where they need not be the same. first: before all places. Raises INVALID_PARAMS
    for the page_token."""
    listed = type(request)()
    listed.CopyFrom(request)
    asked = getattr(listed, "request", listed)
    token, limit = asked.page_token, asked.limit or default
    asked.ClearField("page_token")
    asked.ClearField("limit")
    if asked is not listed and "user_id" in asked.DESCRIPTOR.fields_by_name:
        asked.ClearField("user_id")  # who asks, named in it or not
    if "acting" in listed.DESCRIPTOR.oneofs_by_name:
        listed.ClearField("acting")
    scope = listed.DESCRIPTOR.full_name.encode() + b"\0" + listed.SerializeToString(deterministic=True)
    return Page(limit, _place(token, scope, key) if token else first, scope, key)


def _place(token: str, scope: bytes, key: bytes) -> Sequence[Any]:
    seal, text = (decoded := _decode(token))[:_SEAL], decoded[_SEAL:]
    if seal != _seal(text, scope, key) or token != _encode(decoded):
        raise invalid("page_token", "must be the next_page_token of the page before, or empty", "BAD_CURSOR")
    return tuple(json.loads(text))


def _seal(text: str, scope: bytes, key: bytes) -> str:
    sealed = text.encode() + b"\0" + scope
    return hashlib.blake2b(sealed, key=key, digest_size=_SEAL // 2, person=b"page").hexdigest()


def _encode(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(text: str) -> str:
    """ "" for what is none of ours."""
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except ValueError:
        return ""
