"""What an export holds, in the form that the server takes (gochat/domain/forms/)."""

import hashlib
import unicodedata
from collections.abc import Iterator

from gochat.domain.forms.rules import MAX_EXTERNAL_ID, email
from gochat.domain.text import DIRECTION_CONTROLS, shows_something
from gochat.errors import ChatError

MAX_CONTENT = 16 * 1024  # bytes of a message


def key_of(prefix: str, name: str) -> str:
    """What something of an export is called on the server: of a long or odd name a digest."""
    key = prefix + name
    if len(key.encode()) <= MAX_EXTERNAL_ID and not any(unicodedata.category(each) == "Cc" for each in key):
        return key
    return prefix + hashlib.sha256(name.encode()).hexdigest()[:32]


def pieces_of(text: str) -> Iterator[str]:
    """The text of a message, in as many as its size takes."""
    encoded = text.encode()
    while len(encoded) > MAX_CONTENT:
        piece = encoded[:MAX_CONTENT].decode(errors="ignore")
        yield piece
        encoded = encoded[len(piece.encode()) :]
    if rest := encoded.decode():
        yield rest


def line_of(text: str, characters: int) -> str:
    """A name: one line, nothing that changes its direction. "" if nothing is left."""
    kept = (each if unicodedata.category(each) not in ("Cc", "Zl", "Zp") else " " for each in text)
    line = "".join(each for each in kept if each not in DIRECTION_CONTROLS)[:characters].strip()
    return line if shows_something(line) else ""


def email_of(address: str) -> str:
    """ "" for what is none."""
    try:
        email("email", address)
    except ChatError:
        return ""
    return address
