"""The files of an export: a zip or tar archive, a folder, or one file. Nothing is unpacked to disk.

An archive is refused as a whole where it is made to do harm: entries outside of it, links, more bytes or more elements
than it can honestly hold. The limits grow with its size, so what it costs does too.
"""

import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Self

from gochat.imports.reading import Stream, marks

MAX_TOTAL = 64 << 30  # bytes of an archive, unpacked
MAX_RATIO = 200  # of those to its own; JSON packs to a tenth or twentieth
SMALL_TOTAL = 64 << 20  # bytes up to which the ratio does not matter
MAX_MARKS = 10  # of its files that are read, for each of its own bytes; real exports have less than one
SMALL_MARKS = 2_000_000  # up to which that does not matter
MAX_ENTRIES = 2_000_000
MAX_HEADER = 1 << 20  # bytes of a name in a tar archive, which is read as a whole
_HEADER_BYTES = 5  # of a tar archive, which cost what a mark does
_BUFFER = 1024  # bytes that are unpacked at a time; tarfile copies all that they hold for each read of it

Wanted = Callable[[str], bool]


class ExportError(Exception):
    """Why nothing of the export can be imported."""


DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RecursionError)
"""What reading a damaged archive raises, or one that is packed in a way that is not known."""


class _Allowance:
    """How many marks the files of an archive may have together."""

    def __init__(self, size: int) -> None:
        self._left = self._most = max(SMALL_MARKS, MAX_MARKS * size)

    def spend(self, number: int, name: str) -> None:
        self._left -= number
        if self._left < 0:
            raise ExportError(
                f"would have more than {self._most} elements unpacked, which no export of its size has, at {name!r}"
            )


class _Counted:
    """A file of an archive."""

    def __init__(self, name: str, opened: IO[bytes], allowance: _Allowance) -> None:
        self._name, self._opened, self._allowance = name, opened, allowance

    def read(self, size: int, /) -> bytes:
        return self._spent(self._opened.read(size))

    def readline(self, size: int, /) -> bytes:
        return self._spent(self._opened.readline(size))

    def _spent(self, data: bytes) -> bytes:
        self._allowance.spend(marks(data), self._name)
        return data


def entries(path: Path, wanted: Wanted) -> Iterator[tuple[str, Stream]]:
    """The files of the export whose names, with / between folders, are wanted, each open until the next one. Raises
    ExportError."""
    if path.is_dir():
        yield from _of_folder(path, wanted)
    elif zipfile.is_zipfile(path):
        yield from _of_zip(path, wanted)
    else:
        yield from _of_tar(path, wanted)


def _of_folder(path: Path, wanted: Wanted) -> Iterator[tuple[str, Stream]]:
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if file.is_symlink():
            raise ExportError(f"has a link, {name!r}")
        if file.is_file() and wanted(name):
            with file.open("rb") as opened:
                yield name, opened


def _of_zip(path: Path, wanted: Wanted) -> Iterator[tuple[str, Stream]]:
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        largest = max(infos, key=lambda info: info.file_size, default=zipfile.ZipInfo())
        _check_size(path, len(infos), sum(info.file_size for info in infos), largest.filename)
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
        allowance = _Allowance(path.stat().st_size)
        for info in infos:
            if not info.is_dir() and wanted(info.filename):
                with archive.open(info) as opened:  # which ends after file_size bytes, whatever follows
                    yield info.filename, _Counted(info.filename, opened, allowance)


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


def _of_tar(path: Path, wanted: Wanted) -> Iterator[tuple[str, Stream]]:
    allowance, end = _Allowance(path.stat().st_size), 0
    try:
        opened = tarfile.open(path, "r|*", bufsize=_BUFFER, tarinfo=_Header)  # noqa: SIM115 - closed below
    except tarfile.ReadError:
        raise ExportError("is no zip or tar archive") from None
    with opened as archive:
        for number, member in enumerate(archive, 1):
            _check_size(path, number, archive.offset, member.name)  # the end of its content
            allowance.spend((member.offset_data - end) // _HEADER_BYTES, member.name)
            end = archive.offset
            _check_name(member.name)
            if not (member.isfile() or member.isdir()):
                raise ExportError(f"has a link or a device, {member.name!r}")
            content = archive.extractfile(member) if member.isfile() and wanted(member.name) else None
            if content:
                yield member.name, _Counted(member.name, content, allowance)


def _check_size(path: Path, number: int, total: int, name: str) -> None:
    """name: of an entry that makes it so large."""
    if number > MAX_ENTRIES:
        raise ExportError(f"has more than {MAX_ENTRIES} entries")
    most = min(MAX_TOTAL, max(SMALL_TOTAL, MAX_RATIO * path.stat().st_size))
    if total > most:
        raise ExportError(f"would be {total} bytes unpacked, at {name!r}; no export of its size has more than {most}")


def _check_name(name: str) -> None:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts or parts[0].endswith(":"):
        raise ExportError(f"has an entry outside of it, {name!r}")
