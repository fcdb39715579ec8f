"""What an export may cost: time, memory, and what an import that is killed leaves."""

import io
import json
import os
import subprocess
import sys
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from gochat.imports import archive, reading
from gochat.imports.archive import ExportError
from gochat.imports.reading import items, tables
from gochat.imports.records import BadRecordError, Message, NotTaken, User
from tests.imports.exports import lines_of, mattermost, of, records, slack, zipped
from tests.imports.test_hostile import Chunks

GOOD = mattermost()


def gzipped(path: Path, name: str, content: bytes) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    ("source", "name", "content"),
    [
        ("slack", "users.json", b"[{}" + b",{}" * 40_000 + b"]"),
        ("slack", "users.json", b'[{"a": [[]' + b",[]" * 40_000 + b"]}]"),
        ("mattermost", "i.jsonl", b"{}\n" * 60_000),
        ("mattermost", "i.jsonl", b"\n" * 120_000),
        ("zulip", "e/realm.json", b'{"zerver_huddle": [[]' + b",[]" * 60_000 + b"]}"),
    ],
)
def test_more_elements_than_an_export_has_refuse_it(
    tmp_path: Path, source: str, name: str, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a smaller size than in earnest. 900 MB of them pack to 1 MB and took minutes."""
    monkeypatch.setattr(archive, "SMALL_MARKS", 50_000)
    path = tmp_path / f"bomb.{'tgz' if source == 'zulip' else 'zip'}"
    (gzipped(path, name, content) if source == "zulip" else zipped(path, {name: content}))
    with pytest.raises(ExportError, match=f"more than 50000 elements .* at '{name}'"):
        records(source, path)


def test_900_mb_of_spaces_are_refused_before_they_are_read(tmp_path: Path) -> None:
    """They pack to a thousandth. An archive's own list says how large its files are."""
    path = zipped(tmp_path / "spaces.zip", {"users.json": b"[" + b" " * 5000 + b"]"})
    path.write_bytes(path.read_bytes().replace((5002).to_bytes(4, "little"), (900 << 20).to_bytes(4, "little")))
    with pytest.raises(ExportError, match=r"943718400 bytes unpacked, at 'users.json'"):
        records("slack", path)


def test_entries_of_a_tar_archive_count_as_elements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "SMALL_MARKS", 50_000)
    with tarfile.open(tmp_path / "many.tgz", "w:gz") as tar:
        for _ in range(1000):
            tar.addfile(tarfile.TarInfo("x"))
    with pytest.raises(ExportError, match="elements"):
        records("zulip", tmp_path / "many.tgz")


def test_names_before_names_without_end_are_damage(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1
    (tmp_path / "export.tar").write_bytes(
        tarfile.TarInfo("x").tobuf() + (header.tobuf(tarfile.GNU_FORMAT) + b"x" + bytes(511)) * 2000
    )
    with pytest.raises(ExportError, match="damaged"):
        records("zulip", tmp_path / "export.tar")


def test_an_item_has_no_more_elements_than_memory_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 16 MiB they would take half a gigabyte."""
    monkeypatch.setattr(reading, "MAX_ITEM_MARKS", 100_000)
    lists = b"[[]" + b",[]" * 400_000 + b"]"
    found = records("mattermost", lines_of(tmp_path / "export.jsonl", b'{"type": %s}' % lists, *GOOD))
    (error,) = [each for each in of(NotTaken, found) if each.is_error]
    assert error.example == "export.jsonl:1: has an item with more than 100000 elements"
    with pytest.raises(BadRecordError, match="more than 100000 elements"):
        list(items(io.BytesIO(b'[{"a": %s}]' % lists)))


def test_tables_are_read_a_row_at_a_time(tmp_path: Path) -> None:
    """What is in none of them takes no memory: realm.json was parsed as a whole."""
    path = tmp_path / "realm.json"
    path.write_bytes(b'{"zerver_huddle": [[]' + b",[]" * 100_000 + b'], "zerver_stream": [{"id": 1}]}')
    tracemalloc.start()
    with path.open("rb") as stream:
        assert list(tables(stream, {"zerver_stream"})) == [("zerver_stream", {"id": 1})]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 << 20


@pytest.mark.parametrize(
    "text", ["", "[]", "7", "{", '{"a"', '{"a": 1', '{"a": [1}', '{"t": 7}', '{"a": [] "b": 1}', "{7: 1"]
)
def test_what_is_no_object_of_tables(text: str) -> None:
    with pytest.raises(BadRecordError):
        list(tables(io.BytesIO(text.encode()), {"t"}))


@pytest.mark.parametrize(
    "text", ["{}", ' { "x" : 12.5e1, "t": [ {"a": 1} , {} ],"u":null,"v":[1,[2]],"w":"]" } ', '{"t": null}']
)
def test_rows_of_tables(text: str) -> None:
    expected = json.loads(text).get("t") or []
    for stream in (io.BytesIO(text.encode()), Chunks(text.encode())):
        assert [row for _, row in tables(stream, {"t"})] == expected


LONG = b"9" * 5_000  # digits, which Python does not take


def test_a_number_too_long_costs_its_record_alone(tmp_path: Path) -> None:
    """It cost the file that it was in, of which only the beginning was read."""
    users = b'[{"id": "UA"}, {"id": %s}, {"id": "UB", "updated": %s}, {"id": "UC", "profile": {"email": -%s}}]'
    found = records("slack", zipped(tmp_path / "export.zip", slack() | {"users.json": users % (LONG, LONG, LONG)}))
    assert [user.id for user in of(User, found) if user.id.startswith("U")][:2] == ["UA", "UB"]
    errors = [each.example for each in of(NotTaken, found) if each.is_error]
    assert errors == ["users.json, entry 2: id is no text", "users.json, entry 4: email is no text"]
    realm = b'{"zerver_userprofile": [{"id": %s}, {"id": 1, "full_name": "Ann", "timezone": %s}]}' % (LONG, LONG)
    found = records("zulip", gzipped(tmp_path / "export.tgz", "e/realm.json", realm))
    assert [user.name for user in of(User, found)] == ["Ann"]
    (error,) = of(NotTaken, found)
    assert error.example == "e/realm.json, zerver_userprofile, inf: id is no whole number of that size"


def test_a_text_with_a_number_too_long_is_text(tmp_path: Path) -> None:
    files = slack() | {
        "general/2017-07-14.json": [{"ts": "1500000001.0", "user": "UA", "text": f"&#{'9' * 5000}; &lt;"}]
    }
    found = records("slack", zipped(tmp_path / "export.zip", files))
    assert f"&#{'9' * 5000}; <" in [each.text for each in of(Message, found)]


def test_an_import_has_no_file_that_a_kill_would_leave(tmp_path: Path) -> None:
    """Its database has no name, also when it is larger than what SQLite keeps in memory."""
    code = (
        "import os, sys\n"
        "from gochat.imports.records import User\n"
        "from gochat.imports.spool import Report, Spool\n"
        "spool = Spool(Report(), 1)\n"
        "spool.fill(User(str(number), 'x' * 1000) for number in range(20_000))\n"
        "files = [os.fstat(each) for each in range(3, 20) if os.path.lexists(f'/proc/self/fd/{each}')]\n"
        "print(sum(each.st_nlink == 0 and each.st_size > 1_000_000 for each in files), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    for name in ("TMPDIR", "SQLITE_TMPDIR"):
        run = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {name: str(tmp_path)}, capture_output=True, text=True
        )
        assert (run.returncode, run.stdout) == (-9, "1\n"), run.stderr
    assert list(tmp_path.iterdir()) == []
