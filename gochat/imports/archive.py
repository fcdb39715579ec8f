"""The files of an export: a zip or tar archive, a folder, or one file. Nothing is unpacked to disk, and nothing larger
than an item is in memory.

An archive is refused as a whole where it is made to do harm: entries outside of it, links, more bytes than it can
honestly hold. Broken JSON costs the item or the file that it is in.
"""

import codecs
import json
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, Self

from gochat.imports.records import BadRecordError

MAX_TOTAL = 64 << 30  # bytes of an archive, unpacked
MAX_RATIO = 200  # of those to its own; JSON packs to a tenth or twentieth
SMALL_TOTAL = 1 << 30  # bytes up to which the ratio does not matter
MAX_ENTRIES = 2_000_000
MAX_ITEM = 16 << 20  # bytes of a line, or of one object of a list
MAX_DOCUMENT = 256 << 20  # bytes of a file that is read as a whole
MAX_HEADER = 1 << 20  # bytes of a name in a tar archive, which is read as a whole
_CHUNK = 1 << 16

Wanted = Callable[[str], bool]


class ExportError(Exception):
    """Why nothing of the export can be imported."""


DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError)
"""What reading a damaged archive raises, or one that is packed in a way that is not known."""


def entries(path: Path, wanted: Wanted) -> Iterator[tuple[str, IO[bytes]]]:
    """The files of the export whose names, with / between folders, are wanted, each open until the next one. Raises
    ExportError."""
    if path.is_dir():
        yield from _of_folder(path, wanted)
    elif zipfile.is_zipfile(path):
        yield from _of_zip(path, wanted)
    else:
        yield from _of_tar(path, wanted)


def _of_folder(path: Path, wanted: Wanted) -> Iterator[tuple[str, IO[bytes]]]:
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if file.is_symlink():
            raise ExportError(f"has a link, {name!r}")
        if file.is_file() and wanted(name):
            with file.open("rb") as opened:
                yield name, opened


def _of_zip(path: Path, wanted: Wanted) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        _check_size(path, len(infos), sum(info.file_size for info in infos))
        names = set[str]()
        for info in infos:
            _check_name(info.filename)
            if stat.S_ISLNK(info.external_attr >> 16):
                raise ExportError(f"has a link, {info.filename!r}")
            if info.flag_bits & 1:
                raise ExportError("is encrypted")
            if info.filename in names:
                raise ExportError(f"has two entries of the name {info.filename!r}")
            names.add(info.filename)
        for info in infos:
            if not info.is_dir() and wanted(info.filename):
                with archive.open(info) as opened:  # which ends after file_size bytes, whatever follows
                    yield info.filename, opened


class _Header(tarfile.TarInfo):
    """A long name and the like are a block before the entry, which tarfile reads as a whole."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.type in _BEFORE_ANOTHER and header.size > MAX_HEADER:
            raise ExportError(f"has a name of {header.size} bytes")
        return header


_BEFORE_ANOTHER = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)


def _of_tar(path: Path, wanted: Wanted) -> Iterator[tuple[str, IO[bytes]]]:
    total = 0
    try:
        opened = tarfile.open(path, "r|*", tarinfo=_Header)  # noqa: SIM115 - closed below
    except tarfile.ReadError:
        raise ExportError("is no zip or tar archive") from None
    with opened as archive:
        for number, member in enumerate(archive, 1):
            total += member.size
            _check_size(path, number, total)
            _check_name(member.name)
            if not (member.isfile() or member.isdir()):
                raise ExportError(f"has a link or a device, {member.name!r}")
            content = archive.extractfile(member) if member.isfile() and wanted(member.name) else None
            if content:
                yield member.name, content


def _check_size(path: Path, number: int, total: int) -> None:
    if number > MAX_ENTRIES:
        raise ExportError(f"has more than {MAX_ENTRIES} entries")
    if total > MAX_TOTAL or total > max(SMALL_TOTAL, MAX_RATIO * path.stat().st_size):
        raise ExportError(f"would be {total} bytes unpacked, which no export is")


def _check_name(name: str) -> None:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts or parts[0].endswith(":"):
        raise ExportError(f"has an entry outside of it, {name!r}")


def lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
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


def parsed(text: bytes) -> Any:
    """The JSON. Raises BadRecordError."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise BadRecordError("is not JSON") from None
    except MemoryError:
        raise BadRecordError("takes more memory than there is") from None


def document(stream: IO[bytes]) -> Any:
    """The JSON of a file as a whole. Raises BadRecordError."""
    text = stream.read(MAX_DOCUMENT + 1)
    if len(text) > MAX_DOCUMENT:
        raise BadRecordError(f"has more than {MAX_DOCUMENT} bytes")
    return parsed(text)


def items(stream: IO[bytes]) -> Iterator[dict[str, Any]]:
    """The objects of a file that is a JSON list of them, one at a time. Raises BadRecordError where it is none."""
    decode, scan = codecs.getincrementaldecoder("utf-8-sig")("replace").decode, json.JSONDecoder().raw_decode
    text, at, is_end, before = "", 0, False, "["  # before: what must come before the next object
    while True:
        while at < len(text) and text[at] in " \t\r\n":
            at += 1
        if at < len(text) and text[at] == before and before:
            before, at = "", at + 1
            continue
        if at < len(text) and text[at] == "]" and before != "[":
            return
        if at < len(text) and (before or text[at] != "{"):
            raise BadRecordError("is no list of objects")
        if at < len(text):
            try:
                item, at = scan(text, at)
            except RecursionError:
                raise BadRecordError("is not JSON") from None
            except ValueError:
                pass  # more of it is needed
            else:
                yield item
                before = ","
                continue
        if is_end or len(text) - at > MAX_ITEM:
            raise BadRecordError("is not JSON, or has an object that is too long")
        read = stream.read(max(_CHUNK, len(text) - at))
        text, at, is_end = text[at:] + decode(read, not read), 0, not read
