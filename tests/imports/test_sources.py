"""What each program's export says, as records."""

import zipfile
from pathlib import Path

import pytest

from gochat.imports.archive import ExportError
from gochat.imports.emoji import reaction_of
from gochat.imports.records import Channel, Member, Message, User
from tests.imports.exports import (
    AT,
    lines_of,
    mattermost,
    not_taken,
    of,
    records,
    slack,
    spooled,
    tarred,
    zipped,
    zulip,
)


def test_mattermost(tmp_path: Path) -> None:
    found = records("mattermost", lines_of(tmp_path / "export.jsonl", *mattermost()))
    assert of(User, found) == [
        User("ann", "ann", "Ann", "ann@example.com"),
        User("ben", "ben", "Ben B.", "ben@example.com"),
        User("eve", "eve", "", "eve@example.com", is_active=False),
    ]
    assert of(Channel, found)[0] == Channel("team/general", "private", "General", "All")
    assert {(each.channel, each.user, each.is_admin) for each in of(Member, found)} >= {
        ("team/general", "ann", True),
        ("team/general", "ben", False),
        ("direct:ann,ben", "ben", False),
        ("direct:ann,ben,eve", "eve", False),
    }
    assert not_taken(found) == {"notices, such as of who joined": 1, "custom emoji": 1}
    messages, report = spooled(*found)
    general = messages["team/general"]
    assert [(each.text, each.parent, each.edited_at) for each in general] == [
        ("m1\n[file: plan.pdf]", "", 0),
        ("m3", "", 0),
        ("reply", "ann:1500000000003", AT + 6),
    ]
    assert [(each.user, each.code, each.at) for each in general[1].reactions] == [("ben", "smile", AT + 9)]
    assert [each.text for each in messages["direct:ann,ben"]] == ["psst"]
    assert any("messages without text" in line for line in report)


def test_mattermost_in_a_zip_archive(tmp_path: Path) -> None:
    plain = lines_of(tmp_path / "export.jsonl", *mattermost())
    archive = zipped(tmp_path / "export.zip", {"import.jsonl": plain.read_bytes(), "data/x/plan.pdf": b"x"})
    assert len(records("mattermost", archive)) == len(records("mattermost", plain))


def test_slack(tmp_path: Path) -> None:
    found = records("slack", zipped(tmp_path / "export.zip", slack()))
    assert of(User, found) == [
        User("UA", "ann", "Ann", "ann@example.com"),
        User("UB", "ben", "Ben", is_active=False),
        User("UE", "eve"),
        User("BX", "", "Deploys", is_active=False),
    ]
    assert of(Channel, found) == [
        Channel("CG", "public", "general", "All", "UA"),
        Channel("GP", "private", "secret"),
        Channel("GM", "direct"),
        Channel("D", "direct"),
    ]
    messages, _ = spooled(*found)
    first, reply, file, bot = messages["CG"]
    assert first.text == "see @ben in #general at the page (https://x/?a=1&b) <3"
    assert (first.at, first.parent) == (AT + 1000, "")
    assert (reply.parent, reply.edited_at) == (first.id, AT + 3000)
    assert [(each.user, each.code) for each in reply.reactions] == [
        ("UA", "thumbsup::skin-tone-2"),
        ("UB", "thumbsup::skin-tone-2"),
    ]
    assert (file.text, file.files) == ("[file: Plan https://x/plan]", 1)
    assert (bot.sender, bot.text) == ("BX", "done")
    assert [each.text for each in messages["GM"] + messages["D"]] == ["@here all three", "psst"]
    assert not_taken(found) == {"notices, such as of who joined": 1}


def test_zulip(tmp_path: Path) -> None:
    found = records("zulip", tarred(tmp_path / "export.tar.gz", zulip()))
    assert [(each.username, each.name, each.is_active) for each in of(User, found)] == [
        ("ann0", "Ann", True),
        ("ben0", "Ben", False),
        ("eve0", "Eve", True),
    ]
    messages, _ = spooled(*found)
    first, second, third = messages["11"]
    assert (first.text, first.at) == ("plans\nfirst", AT + 1000)
    assert [(each.user, each.code) for each in first.reactions] == [("2", "tada")]
    assert (second.parent, second.text, second.edited_at) == ("1", "second", AT + 30_000)
    assert (third.parent, third.files) == ("", 1)
    assert [each.text for each in messages["direct:1,2,3"]] == ["all three"]
    assert [each.text for each in messages["direct:1,2"]] == ["psst"]
    assert [each.text for each in messages["direct:1"]] == ["to myself"]
    assert {(each.channel, each.user) for each in of(Member, found)} >= {("11", "1"), ("11", "2"), ("12", "1")}
    assert ("11", "3") not in {(each.channel, each.user) for each in of(Member, found)}


@pytest.mark.parametrize("source", ["mattermost", "slack", "zulip"])
def test_a_folder_is_read_as_an_archive_is(tmp_path: Path, source: str) -> None:
    archive = {
        "mattermost": lambda: zipped(
            tmp_path / "e.zip", {"i.jsonl": lines_of(tmp_path / "i.jsonl", *mattermost()).read_bytes()}
        ),
        "slack": lambda: zipped(tmp_path / "e.zip", slack()),
        "zulip": lambda: zipped(tmp_path / "e.zip", zulip()),
    }[source]()
    folder = tmp_path / "folder"
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    assert sorted(map(repr, records(source, folder))) == sorted(map(repr, records(source, archive)))


@pytest.mark.parametrize(
    ("code", "reaction"),
    [
        ("+1", "👍"),
        ("thumbsup::skin-tone-4", "👍"),
        ("rocket", "🚀"),
        ("world_map", "🗺"),
        (":tada:", "🎉"),
        ("🎉", "🎉"),
        ("Ship-It", ":ship-it:"),
        ("partyblob", ":partyblob:"),
        ("größe", ":gr__e:"),
        ("x" * 33, ""),
        ("", ""),
    ],
)
def test_codes_of_reactions(code: str, reaction: str) -> None:
    assert reaction_of(code) == reaction


@pytest.mark.parametrize(
    ("source", "missing"), [("mattermost", "jsonl"), ("slack", "users.json"), ("zulip", "realm.json")]
)
def test_an_export_of_another_program_is_none(tmp_path: Path, source: str, missing: str) -> None:
    with pytest.raises(ExportError, match=missing):
        records(source, zipped(tmp_path / "export.zip", {"x.txt": "x"}))


def test_what_has_another_form_costs_itself_alone(tmp_path: Path) -> None:
    files = slack()
    files["general/2017-07-14.json"] = [
        7,
        {"ts": "1500000001.0", "user": "UA", "text": "good"},
    ]
    broken = zipped(tmp_path / "a.zip", files | {"general/2017-07-15.json": b'[{"ts": "1500000002.0", "user": "UA"'})
    assert not_taken(records("slack", broken))["a file is broken"] == 2
    files["general/2017-07-14.json"] = [
        {"user": "UA", "text": "no time"},
        {"ts": "soon", "user": "UA", "text": "x"},
        {"ts": "1500000001.0", "user": 7, "text": "x"},
        {"ts": "1500000001.0", "user": "UA", "text": ["x"]},
        {"ts": "1500000001.0", "user": "UA", "text": "x", "reactions": {"a": 1}},
        {"ts": "1500000001.0", "user": "UA", "text": "good"},
    ]
    found = records("slack", zipped(tmp_path / "b.zip", files))
    assert not_taken(found)["an entry is broken"] == 5
    assert "good" in [each.text for each in of(Message, found)]
