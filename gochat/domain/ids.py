"""Identifiers: URL-safe, and opaque to all code but this."""

import hashlib
import secrets

from gochat.domain.clock import clock

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u
_SEQ_DIGITS = 12  # fixed, so that the ids of one conversation sort like its sequence numbers
_MESSAGE = f"%s-%0{_SEQ_DIGITS}d"


def _base32(number: int) -> str:
    """128 bits in 26 digits."""
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def now_ms() -> int:
    """Unix milliseconds, by the clock of the installation."""
    return clock.now_ns() // 1_000_000


def _time_ordered() -> str:
    """48 bits of Unix milliseconds, then 80 random ones: new ids are neighbours in an index."""
    return _base32(now_ms() << 80 | secrets.randbits(80))


def new_user() -> str:
    return "u" + _time_ordered()


def new_group() -> str:
    """Also the id of the conversation that the group is."""
    return "g" + _time_ordered()


def keyed_group(name: str, key: bytes) -> str:
    """The id of the group that is called so where it comes from. key: as of single()."""
    return "g" + _base32(int.from_bytes(hashlib.blake2b(f"group\0{name}".encode(), key=key, digest_size=16).digest()))


def new_webhook() -> str:
    return "w" + _time_ordered()


def new_session() -> str:
    return "d" + _time_ordered()


def new_event() -> str:
    """By the nanosecond, so that the events of one call sort in the order in which they were recorded."""
    return "a" + _base32(clock.now_ns() << 64 | secrets.randbits(64))


def new_secret() -> str:
    """128 random bits, for what must not be guessed."""
    return secrets.token_hex(16)


def single(one: str, other: str, key: bytes) -> str:
    """The id of the one-to-one conversation of two users, the same from both sides: two first messages at the same time
    go into one conversation. key: of the database; without it nobody can compute from two user ids whether the two
    talk."""
    pair = "\0".join(sorted((one, other)))
    return "s" + _base32(int.from_bytes(hashlib.blake2b(pair.encode(), key=key, digest_size=16).digest()))


def message(conversation_id: str, seq: int) -> str:
    return _MESSAGE % (conversation_id, seq)


def parse_message(message_id: str) -> tuple[str, int] | None:
    """(conversation_id, seq), or None for text that is no message id."""
    conversation_id, dash, digits = message_id.rpartition("-")
    if not dash or len(digits) != _SEQ_DIGITS or not (digits.isascii() and digits.isdigit()):
        return None
    return conversation_id, int(digits)
