"""gochat import --from: exports of other programs, through a running server."""

import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from gochat.api.message.v1 import message_pb2
from tests.commands.importing import begin_import, stored
from tests.conftest import Own
from tests.conversations import unread
from tests.harness import Deployment, Person, as_service, fresh
from tests.imports.exports import AT, lines_of, mattermost, slack, tarred, zipped, zulip

_tags = count(1_000, 1_000)


@pytest.fixture(scope="module")
def server(own_of_module: Own) -> Deployment:
    """For what does not depend on the mode."""
    return own_of_module("sqlite")


def ended(app: Deployment, *arguments: Any) -> tuple[int, str, str]:
    """Imports to the end; returns the exit code and what was printed."""
    process = begin_import(app, *map(str, arguments))
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def imported(app: Deployment, source: str, path: Path, *more: str, code: int = 0) -> str:
    """What it prints."""
    returned, out, err = ended(app, path, "--from", source, *more)
    assert (returned, err) == (code, ""), out
    return out


def user_of(app: Deployment, external_id: str) -> Any:
    (detail,) = as_service(app).user.GetUsers(ids=[f"external:{external_id}"]).users
    return detail


def person_of(app: Deployment, external_id: str) -> Person:
    detail = user_of(app, external_id)
    person = Person(app, detail.user.user_id, detail.user.username, "", "")
    return app.acting(person)


def conversations(person: Person) -> dict[str, str]:
    """Ids by name; of two people by that of the other."""
    return {each.name: each.conversation_id for each in person.GetConversations().conversations}


def details(person: Person, conversation_id: str) -> list[message_pb2.MessageDetail]:
    return list(person.ListMessages(conversation_id=conversation_id).messages)


def test_an_export_of_mattermost_is_imported_once(app: Deployment, tmp_path: Path) -> None:
    tag = fresh("x")
    path = lines_of(tmp_path / "export.jsonl", *mattermost(tag))
    printed = imported(app, "mattermost", path)
    assert printed.splitlines()[:5] == [
        "the export has 3 users, 4 channels, 6 messages",
        "users: 3 taken, 0 there already",
        "channels: 3 taken, 0 there already",
        "messages: 5 taken, 0 there already",
        "of the messages taken: 1 answer another one, 1 were edited, 1 reactions, 1 files by their names alone",
    ]
    assert "not taken" not in printed
    ann, ben = person_of(app, f"mattermost:ann{tag}"), person_of(app, f"mattermost:ben{tag}")
    detail = user_of(app, f"mattermost:ann{tag}")
    assert (detail.user.username, detail.user.nickname, detail.user.email, detail.has_password) == (
        *(f"ann{tag}", "Ann", f"ann{tag}@example.com"),
        False,
    )
    assert user_of(app, f"mattermost:eve{tag}").user.status == 2
    where = conversations(ann)
    assert where.keys() == {"General", "Ben B.", f"Ann, Ben B., eve{tag}"}
    found = details(ben, where["General"])
    assert [(each.message.content, each.message.created_at - AT) for each in found] == [
        ("m1\n[file: plan.pdf]", 1),
        ("m3", 3),
        ("reply", 5),
    ]
    assert (found[2].reply.message_id, found[2].edited_at) == (found[1].message.message_id, AT + 6)
    assert [(each.reaction, each.count, each.mine) for each in found[1].reactions] == [("😄", 1, True)]
    assert [each.message.content for each in details(ann, where["Ben B."])] == ["psst"]
    assert {unread(each, where[name]) for each in (ann, ben) for name in where} == {0}
    group = as_service(app).repo.GetGroup(group_id=where["General"]).group
    assert (group.owner_id, group.description, group.current_members) == (ann.id, "All", 3)
    joining = as_service(app).group.GetGroupSettings(group_id=where["General"]).settings
    assert (joining.joining, joining.searchable) == (3, False)

    again = imported(app, "mattermost", path).splitlines()[1:4]
    assert again == [
        "users: 0 taken, 3 there already",
        "channels: 0 taken, 3 there already",
        "messages: 0 taken, 5 there already",
    ]
    assert details(ben, where["General"]) == found
    assert conversations(ann) == where


def _slack(path: Path, number: int) -> Path:
    return zipped(path / "export.zip", slack(f"T{number}"))


def _zulip(path: Path, number: int) -> Path:
    return tarred(path / "export.tar.gz", zulip(number))


@pytest.mark.parametrize(
    ("source", "export", "ann", "contents", "others"),
    [
        (
            *("slack", _slack, "UAT{0}"),
            [
                "see @benT{0} in #general at the page (https://x/?a=1&b) <3",
                "yes",
                "[file: Plan https://x/plan]",
                "done",
            ],
            {"secret", "Ben", "Ann, Ben, eveT{0}"},
        ),
        (
            *("zulip", _zulip, "{1}"),
            ["plans\nfirst", "second", "see [x](/user_uploads/1/x.png)"],
            {"secret", "Ben", "Ann, Ben, Eve"},
        ),
    ],
)
def test_exports_of_others_are_imported(
    app: Deployment,
    tmp_path: Path,
    source: str,
    export: Callable[[Path, int], Path],
    ann: str,
    contents: list[str],
    others: set[str],
) -> None:
    number = next(_tags)
    prefix = fresh("p") + ":"
    imported(app, source, export(tmp_path, number), "--prefix", prefix)
    person = person_of(app, prefix + ann.format(number, number + 1))
    where = conversations(person)
    assert where.keys() == {"general", *(name.format(number) for name in others)}
    found = details(person, where["general"])
    assert [each.message.content for each in found] == [each.format(number) for each in contents]
    assert found[1].reply.message_id == found[0].message.message_id
    assert [each.message.content for each in details(person, where["Ben"])] == ["psst"]
    settings = as_service(app).group.GetGroupSettings(group_id=where["general"]).settings
    assert (settings.joining, settings.searchable) == (1, True)


def test_a_dry_run_needs_no_server_and_writes_nothing(server: Deployment, tmp_path: Path) -> None:
    tag = fresh("x")
    before = len(server.events(limit=200))
    printed = imported(server, "mattermost", lines_of(tmp_path / "e.jsonl", *mattermost(tag)), "--dry-run")
    assert printed.startswith("the export has 3 users, 4 channels, 6 messages\nleft out on purpose:\n")
    assert len(server.events(limit=200)) == before


def test_what_is_not_taken_is_reported_and_fails_the_command(server: Deployment, tmp_path: Path) -> None:
    tag = fresh("x")
    path = lines_of(tmp_path / "e.jsonl", *mattermost(tag)[:6], b"{", *mattermost(tag)[6:])
    printed = imported(server, "mattermost", path, code=1)
    assert "not taken:\n        1  a line is broken (e.jsonl:7: is not JSON)" in printed
    assert "messages: 5 taken" in printed
    missing = tmp_path / "none.zip"
    error = f"gochat: {missing}: No such file or directory\n"
    assert ended(server, missing, "--from", "slack", "--dry-run") == (1, "", error)


def test_names_that_are_taken_or_none_become_others(server: Deployment, tmp_path: Path) -> None:
    tag = fresh("x")
    server.create_user(f"ann{tag}")
    lines = mattermost(tag)
    lines[4]["user"] |= {"username": f"ben{tag}", "email": "none", "nickname": "\u202eB\ne\tn" + "n" * 80}
    imported(server, "mattermost", lines_of(tmp_path / "e.jsonl", *lines))
    assert user_of(server, f"mattermost:ann{tag}").user.username == f"mattermost:ann{tag}"
    ben = user_of(server, f"mattermost:ben{tag}").user
    assert (ben.email, ben.nickname) == ("", ("B e n" + "n" * 80)[:64])


def test_what_people_changed_since_stays(server: Deployment, tmp_path: Path) -> None:
    tag = fresh("x")
    path = lines_of(tmp_path / "e.jsonl", *mattermost(tag))
    imported(server, "mattermost", path)
    ann, ben = person_of(server, f"mattermost:ann{tag}"), person_of(server, f"mattermost:ben{tag}")
    group_id = conversations(ann)["General"]
    ann.UpdateGroup(group_id=group_id, name="Renamed")
    ann.RemoveGroupMember(group_id=group_id, user_id=ben.id)
    ann.UpdateUserProfile(nickname="Anna")
    imported(server, "mattermost", path)
    group = as_service(server).repo.GetGroup(group_id=group_id).group
    assert (group.name, group.current_members) == ("Renamed", 2)
    assert user_of(server, f"mattermost:ann{tag}").user.nickname == "Anna"


def test_history_that_is_older_than_what_is_there_needs_to_be_wanted(server: Deployment, tmp_path: Path) -> None:
    tag = fresh("x")
    lines = mattermost(tag)
    imported(server, "mattermost", lines_of(tmp_path / "part.jsonl", *lines[:6], lines[6]))
    ann = person_of(server, f"mattermost:ann{tag}")
    group_id = conversations(ann)["General"]
    ann.send(group_id, "live")
    path = lines_of(tmp_path / "all.jsonl", *lines)
    printed = imported(server, "mattermost", path, code=1)
    assert "1  a message is older than what its conversation has" in printed
    imported(server, "mattermost", path, "--any-order")
    assert [each.content for each in stored(server, group_id)] == ["m3", "reply", "live", "m1\n[file: plan.pdf]"]


def test_a_long_message_becomes_several(server: Deployment, tmp_path: Path) -> None:
    tag = fresh("x")
    lines, text = mattermost(tag), "é" * 20_000
    lines[7]["post"] |= {"message": text, "attachments": []}
    path = lines_of(tmp_path / "e.jsonl", *lines)
    for _ in range(2):
        imported(server, "mattermost", path)
    group_id = conversations(person_of(server, f"mattermost:ann{tag}"))["General"]
    contents = [each.content for each in stored(server, group_id)]
    assert [len(each.encode()) for each in contents[:3]] == [16384, 16384, 7232]
    assert "".join(contents[:3]) == text
    assert contents[3:] == ["m3", "reply"]


def test_a_repeat_completes_an_import_that_was_killed(server: Deployment, tmp_path: Path) -> None:
    tag, number = fresh("x"), 6_000
    lines = mattermost(tag)
    post = lines[7]["post"]
    many = [
        {
            "type": "post",
            "post": post
            | {
                "message": f"{n}",
                "create_at": AT + n,
                "attachments": None,
                "replies": [{"user": f"ann{tag}", "message": f"re {n}", "create_at": AT + n}],
            },
        }
        for n in range(10, number // 2 + 10)
    ]
    path = lines_of(tmp_path / "e.jsonl", *lines[:6], *many)

    def messages() -> int:
        found = as_service(server).user.GetUsers(ids=[f"external:mattermost:ann{tag}"]).users
        where = conversations(person_of(server, f"mattermost:ann{tag}")) if found else {}
        return len(where) and as_service(server).repo.GetMessages(conversation_id=where["General"], limit=1).total

    for stop in (signal.SIGKILL, signal.SIGINT):
        before, process = messages(), begin_import(server, path, "--from", "mattermost")
        while messages() == before and process.poll() is None:
            process.poll()
        process.send_signal(stop)
        _, err = process.communicate(timeout=60)
        assert process.returncode in (-signal.SIGKILL, 130), err
    imported(server, "mattermost", path)
    group_id = conversations(person_of(server, f"mattermost:ann{tag}"))["General"]
    contents = [each.content for each in stored(server, group_id)]
    assert contents == [text for n in range(10, number // 2 + 10) for text in (f"{n}", f"re {n}")]
    ann = person_of(server, f"mattermost:ann{tag}")
    some = ann.ListMessages(conversation_id=group_id, limit=200).messages
    assert all(
        each.reply.message_id == before.message.message_id for before, each in zip(some[::2], some[1::2], strict=True)
    )
