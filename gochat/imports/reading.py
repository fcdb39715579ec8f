"""The JSON in the files of an export, an item at a time: lines, lists of objects, tables. Nothing larger than an item
is in memory, and broken JSON costs the item or the file that it is in.

Time and memory go by the marks in a file, brackets that open, commas and ends of lines, of which a byte of an archive
can hold a thousand: so they are counted. What is between them costs next to nothing.
"""

import codecs
import re
from collections.abc import Callable, Container, Iterator
from typing import Any, Protocol

from gochat.imports.records import BadRecordError
from gochat.jsontext import DECODER, loads

MAX_ITEM = 16 << 20  # bytes of a line, or of one item of a list
MAX_ITEM_MARKS = 1_000_000  # of those
_CHUNK = 1 << 16
_SMALL = 1 << 20  # bytes in which the marks are not worth counting
_SPACE = re.compile(r"[ \t\r\n]*")
_SPACES = frozenset(["", *" \t\r\n"])
_AFTER_VALUE = frozenset(" \t\r\n,:]}")
_NOT_JSON = "is not JSON of the right form"
_scan: Callable[[str, int], tuple[Any, int]] = vars(DECODER)["scan_once"]  # as raw_decode, without its own call


class Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def readline(self, size: int, /) -> bytes: ...


def marks(data: bytes) -> int:
    return len(data) - len(data.translate(None, b"[{,\n"))


def lines(stream: Stream) -> Iterator[tuple[int, bytes | None]]:
    """(number, line) of each that is not blank; None for one that is too long, which is skipped."""
    number = 0
    while line := stream.readline(MAX_ITEM + 1):
        number += 1
        if len(line) > MAX_ITEM:
            while line and not line.endswith(b"\n"):
                line = stream.readline(MAX_ITEM)
            yield number, None
        elif line.strip():
            yield number, line


def parsed(line: bytes) -> Any:
    """The JSON. Raises BadRecordError."""
    _check_marks(line)
    try:
        return loads(line)
    except ValueError:
        raise BadRecordError("is not JSON") from None


def items(stream: Stream) -> Iterator[dict[str, Any]]:
    """The objects of a file that is a JSON list of them. Raises BadRecordError where it is none."""
    text = _Text(stream)
    for _ in text.each("[", "]"):
        if text.next() != "{":
            raise BadRecordError("is no list of objects")
        yield text.value()


def tables(stream: Stream, wanted: Container[str]) -> Iterator[tuple[str, Any]]:
    """(name, row) of the wanted ones in a file that is a JSON object of lists. Raises BadRecordError where it is
    none."""
    text = _Text(stream)
    for _ in text.each("{", "}"):
        name = text.value()
        text.take(":")
        if text.next() == "[":
            for _ in text.each("[", "]"):
                row = text.value()
                if name in wanted:
                    yield name, row
        elif text.value() is not None and name in wanted:
            raise BadRecordError(f"{name} is no list")


class _Text:
    """What is read of a file and not yet taken. Its methods raise BadRecordError."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
        self._text, self._at, self._is_end = "", 0, False

    def each(self, opening: str, closing: str) -> Iterator[None]:
        """Stands before each element of a list or an object."""
        self.take(opening)
        if self.next() == closing:
            self.take(closing)
            return
        while True:
            yield
            found = self.next()
            self._at += 1
            if found == closing:
                return
            if found != ",":
                raise BadRecordError(_NOT_JSON)

    def take(self, character: str) -> None:
        if self.next() != character:
            raise BadRecordError(_NOT_JSON)
        self._at += 1

    def next(self) -> str:
        """The next character that is no space; "" at the end."""
        while (found := self._text[self._at : self._at + 1]) in _SPACES:
            if found:
                matched = _SPACE.match(self._text, self._at)
                assert matched
                self._at = matched.end()
            elif self._is_end:
                return ""
            else:
                self._read()
        return found

    def value(self) -> Any:
        self.next()
        while True:
            try:
                value, end = _scan(self._text, self._at)
            except RecursionError:
                raise BadRecordError(_NOT_JSON) from None
            except (ValueError, StopIteration):
                pass  # more of it is needed
            else:
                if self._is_end or self._text[end : end + 1] in _AFTER_VALUE:  # else a number may go on
                    self._at = end
                    return value
            if self._is_end or len(self._text) - self._at > MAX_ITEM:
                raise BadRecordError(f"{_NOT_JSON}, or has an item that is too long")
            self._read()

    def _read(self) -> None:
        read = self._stream.read(max(_CHUNK, len(self._text) - self._at))
        self._text = self._text[self._at :] + self._decode(read, not read)
        self._at, self._is_end = 0, not read
        if len(self._text) > _SMALL:
            _check_marks(self._text.encode(errors="replace"))


def _check_marks(item: bytes) -> None:
    if len(item) > _SMALL and marks(item) > MAX_ITEM_MARKS:
        raise BadRecordError(f"has an item with more than {MAX_ITEM_MARKS} elements")
