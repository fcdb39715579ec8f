"""Exports that are made to do harm, or are damaged."""

import io
import json
import stat
import tarfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest

from gochat.imports import archive, reading
from gochat.imports.archive import ExportError
from gochat.imports.reading import items, lines
from gochat.imports.records import BadRecordError, Message, NotTaken, Reaction
from tests.imports.exports import (
    AT,
    LATER,
    PEOPLE,
    lines_of,
    mattermost,
    not_taken,
    of,
    records,
    slack,
    spooled,
    zipped,
)

GOOD = mattermost()


@pytest.mark.parametrize("name", ["../users.json", "a/../../x", "/etc/passwd", "C:\\x", "..\\x", "\\x"])
def test_an_entry_outside_of_an_archive_refuses_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(ExportError, match="outside"):
        records("slack", zipped(tmp_path / "export.zip", slack() | {name: "x"}))
    with tarfile.open(tmp_path / "export.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(ExportError, match="outside"):
        records("zulip", tmp_path / "export.tar")


def test_links_refuse_an_archive(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("users.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as opened:
        opened.writestr(link, "/etc/passwd")
    with pytest.raises(ExportError, match="link"):
        records("slack", tmp_path / "export.zip")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
        info = tarfile.TarInfo("realm.json")
        info.type, info.linkname = kind, "/etc/passwd"
        with tarfile.open(tmp_path / "export.tar", "w") as tar:
            tar.addfile(info)
        with pytest.raises(ExportError, match="link"):
            records("zulip", tmp_path / "export.tar")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "users.json").symlink_to("/etc/passwd")
    with pytest.raises(ExportError, match="link"):
        records("slack", folder)


def test_a_bomb_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a smaller size than in earnest, but the same shape: it packs to a thousandth."""
    monkeypatch.setattr(archive, "SMALL_TOTAL", 1 << 20)
    bomb = zipped(tmp_path / "bomb.zip", slack() | {"users.json": b"[" + b" " * (8 << 20) + b"]"})
    with pytest.raises(ExportError, match="bytes unpacked"):
        records("slack", bomb)
    with tarfile.open(tmp_path / "bomb.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("realm.json")
        info.size = 8 << 20
        tar.addfile(info, io.BytesIO(bytes(8 << 20)))
    with pytest.raises(ExportError, match="bytes unpacked"):
        records("zulip", tmp_path / "bomb.tar.gz")
    monkeypatch.setattr(archive, "MAX_ENTRIES", 3)
    with pytest.raises(ExportError, match="entries"):
        records("slack", zipped(tmp_path / "many.zip", slack()))


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_name_without_end_is_not_read(tmp_path: Path, kind: bytes) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = kind, 2**40
    (tmp_path / "export.tar").write_bytes(tarfile.TarInfo("users.json").tobuf() + header.tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(ExportError, match="name of 1099511627776 bytes"):
        records("zulip", tmp_path / "export.tar")


def test_a_size_that_is_not_true_gives_no_more_bytes(tmp_path: Path) -> None:
    path = zipped(tmp_path / "lies.zip", {"users.json": b"[" + b" " * 5000 + b"]"})
    path.write_bytes(path.read_bytes().replace((5002).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(ExportError, match="damaged"):
        records("slack", path)


def test_damaged_and_odd_archives_are_refused(tmp_path: Path) -> None:
    whole = zipped(tmp_path / "whole.zip", slack()).read_bytes()
    cut, twice, empty = tmp_path / "cut.zip", tmp_path / "twice.zip", tmp_path / "empty.zip"
    cut.write_bytes(whole[:200] + b"\0" * 100 + whole[300:])
    with pytest.raises(ExportError):
        records("slack", cut)
    with zipfile.ZipFile(twice, "w") as opened:
        opened.writestr("users.json", "[]")
        with pytest.warns(UserWarning, match="Duplicate"):
            opened.writestr("users.json", "[]")
    with pytest.raises(ExportError, match="two entries"):
        records("slack", twice)
    empty.write_bytes(b"")
    with pytest.raises(ExportError, match="no zip or tar"):
        records("slack", empty)
    with pytest.raises(ExportError, match="No such file"):
        records("mattermost", tmp_path / "missing.jsonl")


def test_an_endless_line_costs_itself_alone_and_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_ITEM", 1 << 16)
    path = lines_of(tmp_path / "export.jsonl", GOOD[0], b'{"type": "' + b"x" * (20 << 20), *GOOD[1:])
    tracemalloc.start()
    found = records("mattermost", path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20
    assert not_taken(found)["a line is too long"] == 1
    assert len(of(Message, found)) == len(of(Message, records("mattermost", lines_of(tmp_path / "good.jsonl", *GOOD))))
    with path.open("rb") as stream:
        assert [number for number, line in lines(stream) if line is None] == [2]


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"7",
        b"null",
        b"\xff\xfe",
        b'{"type": 7}',
        b'{"type": "post"}',
        b'{"type": "post", "post": []}',
        b'{"type": "post", "post": {"team": "team", "channel": "general", "user": "ann"}, "x": ' + b"[" * 100_000,
        b'{"type": "post", "post": {"create_at": ' + b"9" * 5_000 + b"}}",
        b'{"type": "user", "user": {"username": "x", "teams": {}}}',
        b'{"type": "user", "user": {"username": "x", "teams": [7]}}',
        b'{"type": "direct_channel", "direct_channel": {"members": [7]}}',
        *(
            json.dumps({"type": "post", "post": GOOD[6]["post"] | wrong}).encode()
            for wrong in (
                {"create_at": -1},
                {"create_at": 2**53},
                {"create_at": 1e300},
                {"create_at": True},
                {"create_at": "1"},
                {"edit_at": 2**70},
                {"user": ""},
                {"user": None},
                {"message": 7},
                {"replies": [{"user": "ann"}, 7]},
                {"reactions": [{"user": "ann"}]},
                {"attachments": [{}]},
            )
        ),
    ],
)
def test_a_broken_line_costs_itself_alone(tmp_path: Path, line: bytes) -> None:
    found = records("mattermost", lines_of(tmp_path / "export.jsonl", *GOOD[:6], line, *GOOD[6:]))
    assert not_taken(found)["a line is broken"] == 1
    (error,) = [each for each in of(NotTaken, found) if each.is_error]
    assert error.example.startswith("export.jsonl:7: ")
    assert len(of(Message, found)) == 7


def test_what_is_not_known_is_reported(tmp_path: Path) -> None:
    found = records("mattermost", lines_of(tmp_path / "export.jsonl", *GOOD, {"type": "spaceship", "spaceship": {}}))
    (error,) = [each for each in of(NotTaken, found) if each.is_error]
    assert (error.reason, error.example[-13:]) == ("objects of an unknown type", ": 'spaceship'")


class Chunks(io.BytesIO):
    """Gives a byte at a time."""

    def read(self, size: int | None = -1) -> bytes:  # noqa: ARG002
        return super().read(1)


@pytest.mark.parametrize(
    "text", ["[]", " [ ] ", '\ufeff[{"a": "é€"}, {"b": [1, {"c": "]}"}]}]\n', "[{}]", '[ {} , {"a":1}]']
)
def test_the_objects_of_a_list_are_read_one_by_one(text: str) -> None:
    data = text.encode()
    expected = json.loads(data.decode("utf-8-sig"))
    assert list(items(io.BytesIO(data))) == expected
    assert list(items(Chunks(data))) == expected


@pytest.mark.parametrize(
    "text", ["", "{}", "7", "[", "[,", "[{}", "[{},", "[{}{}]", "[[]]", "[7]", '["a"]', '[{"a": }]']
)
def test_what_is_no_list_of_objects(text: str) -> None:
    with pytest.raises(BadRecordError):
        list(items(io.BytesIO(text.encode())))


def test_an_object_that_does_not_end_takes_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_ITEM", 1 << 16)

    class Endless:
        given = 0

        def read(self, size: int) -> bytes:
            self.given += size
            return (b'[{"a": "' if self.given == size else b"") + b"x" * (size - 8)

    stream: Any = Endless()
    with pytest.raises(BadRecordError, match="too long"):
        list(items(stream))
    assert stream.given < 1 << 18


def said(number: int, **fields: Any) -> Message:
    given = {"channel": "c", "id": f"{number}", "sender": "a", "at": AT + number, "text": f"m{number}"}
    return Message(**given | fields)


def test_duplicates_are_kept_once_and_others_of_one_id_apart() -> None:
    messages, report = spooled(*PEOPLE, said(1), said(1), said(1, text="other"), said(1, text="third"))
    assert [(each.id, each.text) for each in messages["c"]] == [("1", "m1"), ("1#2", "other")]
    assert any(line.split()[0] == "2" and "there twice" in line for line in report)


def test_messages_are_in_the_order_of_their_times_whatever_they_answer() -> None:
    """So a thread has no cycle: what is answered comes first, or is not answered."""
    messages, _ = spooled(*PEOPLE, said(3, parent="1"), said(2, parent="3"), said(1, parent="2"), said(4, parent="4"))
    assert [each.id for each in messages["c"]] == ["1", "2", "3", "4"]


def test_what_refers_to_nothing_is_reported() -> None:
    messages, report = spooled(
        *PEOPLE, said(1), said(2, sender="nobody"), said(3, channel="none"), said(4, channel="none", sender="nobody")
    )
    assert [each.id for each in messages["c"]] == ["1"]
    assert report == [
        "not taken:",
        "        2  its channel is not in the export (none 3; none 4)",
        "        1  its sender is not in the export (c 2)",
    ]


def test_a_report_writes_nothing_to_the_terminal_but_text() -> None:
    _, report = spooled(NotTaken("x", "a\x1b[2J\nb\ud800", is_error=True))
    assert report == ["not taken:", "        1  x (a\ufffd[2J\ufffdb\ufffd)"]


@pytest.mark.parametrize("fields", [{"at": 0}, {"at": LATER + 1}, {"edited_at": LATER + 1}])
def test_a_time_that_was_not_is_reported(fields: dict[str, int]) -> None:
    messages, report = spooled(*PEOPLE, said(1, **fields), said(2))
    assert [each.id for each in messages["c"]] == ["2"]
    assert "a message from a time that was not" in report[1]


def test_text_that_no_database_takes_is_mended() -> None:
    reactions = [Reaction("a", "\ud800", AT)]
    messages, _ = spooled(*PEOPLE, said(1, text="a\0b\ud800c😀", id="1\0\udc00", reactions=reactions))
    (message,) = messages["c"]
    assert (message.text, message.id) == ("ab\ufffdc😀", "1\ufffd")
