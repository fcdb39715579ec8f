"""gochat import, on made-up logs in every mode."""

import itertools
import json
import os
import pty
import re
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from gochat.config import parse_address
from tests.commands.importing import (
    SUMMARY,
    Entry,
    begin_import,
    begin_import_at,
    dialogue_line,
    log_of,
    make_key,
    pair_of,
    refused,
    replayed,
    room_line,
    rooms_of,
    said,
    stored,
    unread,
    unread_by_hand,
    users_like,
)
from tests.conftest import DIAGONAL, Own
from tests.harness import Deployment, as_service, fresh
from tests.processes import free_address
from tests.waiting import eventually

ODD_NAMES = ("vigo", "Vigo", "VIGO", "|trey|", r"100%_\[a]^`{}", "小明", "ß", "ss", "e\u0301", "\u00e9", "ﬁ", "fi")


def test_both_formats_are_imported_in_order_and_a_repeat_adds_nothing(app: Deployment, tmp_path: Path) -> None:
    tag, owner = fresh("x"), fresh("owner")
    odd = [name + tag for name in ODD_NAMES]
    odd += [f"two words {tag}", f"\u3000wide {tag}", (tag + "k" * 64)[:64], f"{tag}" + "\ufdfa" * 40]
    one, other = f"one-{tag}", f"聊天 room {tag}"
    contents = ["hello", "你好，世界 🌍", "\ufeffbyte order mark", " spaces  ", "tab\tand\u2028line\r\nends", "}{%s"]
    rooms = {
        one: [room_line(one, odd[n % len(odd)], f"{n}: {contents[n % len(contents)]}") for n in range(60)],
        other: [room_line(other, odd[n * n % 7], contents[n % 2], at=n // 5) for n in range(30)],
    }
    left, right = odd[5], odd[6]
    talk = [(left, right) if n % 3 else (right, left) for n in range(12)]
    pair = [dialogue_line("7" if n < 6 else "long" * 50, *talk[n], f"第{n // 2}句") for n in range(12)]
    turns = zip(rooms[one][:30], rooms[other], strict=True)
    entries = [*itertools.chain(*turns), *rooms[one][30:]]
    first = log_of(tmp_path / "first.jsonl", *entries, *pair[:5])
    second = log_of(tmp_path / "second.jsonl", *pair[5:])
    arguments = (first, second, "--owner", owner, "--concurrency", 4)

    assert replayed(app, *arguments) == (102, len(odd), 3)
    users, ids = users_like(app, tag), rooms_of(app, owner)
    assert users.keys() == set(odd)
    assert ids.keys() == {one, other}
    assert users[odd[0]].username == odd[0]  # the first of those alike has the plain name
    assert users[odd[1]].username.startswith(f"{odd[1]}~")
    assert users[odd[-4]].username.startswith("import~")
    details = as_service(app).user.GetUsers(ids=[user.user_id for user in users.values()]).users
    assert not any(detail.has_password for detail in details)
    for room, said_there in rooms.items():
        assert said(app, ids[room], users) == [(entry["sender"], entry["content"]) for entry in said_there]
        messages = stored(app, ids[room], limit=7)
        assert [message.metadata["sent_at"] for message in messages] == [str(entry["at"]) for entry in said_there]
        assert len({message.metadata["client_msg_id"] for message in messages}) == len(messages)
        for nickname in {entry["sender"] for entry in said_there}:
            assert unread(app, users[nickname]).get(ids[room], 0) == unread_by_hand(said_there, nickname)
    single = pair_of(app, users[left], users[right])
    assert said(app, single, users) == [(entry["sender"], entry["content"]) for entry in pair]
    assert {message.to_user_id for message in stored(app, single)} == {
        users[left].user_id,
        users[right].user_id,
    }
    before = [stored(app, conversation) for conversation in (*ids.values(), single)]

    assert replayed(app, *arguments) == (102, len(odd), 3)
    assert [stored(app, conversation) for conversation in (*ids.values(), single)] == before
    assert users_like(app, tag) == users
    assert rooms_of(app, owner) == ids


def test_a_taken_username_gets_a_suffix(app: Deployment, tmp_path: Path) -> None:
    tag = fresh("x")
    taken, gone = app.create_user(f"bob{tag}", nickname=f"Bobby {tag}"), app.create_user(f"eve{tag}")
    as_service(app).user.DisableUser(user_id=gone)
    as_service(app).user.DeleteUser(user_id=app.create_user(f"mal{tag}"))
    lines = (dialogue_line("1", f"bob{tag}", f"{name}{tag}", "hi") for name in ("EVE", "mal"))
    file = log_of(tmp_path / "log.jsonl", *lines)
    for _ in range(2):
        assert replayed(app, file) == (2, 3, 2)
    users = users_like(app, tag)
    assert users[f"Bobby {tag}"].user_id == taken
    for name in (f"bob{tag}", f"EVE{tag}", f"mal{tag}"):
        assert re.fullmatch(name + "~[0-9a-f]{6}", users[name].username)
    assert said(app, pair_of(app, users[f"bob{tag}"], users[f"EVE{tag}"]), users) == [(f"bob{tag}", "hi")]


def test_a_log_may_be_imported_in_pieces(app: Deployment, tmp_path: Path) -> None:
    tag, owner = fresh("x"), fresh("owner")
    entries = [room_line(f"room{tag}", f"{'ab'[n % 2]}{tag}", "same", at=n // 10) for n in range(40)]
    monday, tuesday = log_of(tmp_path / "1", *entries[:20]), log_of(tmp_path / "2", *entries[20:])
    for files in ([monday], [tuesday], [monday, tuesday], [tuesday]):
        replayed(app, *files, "--owner", owner)
    (room,) = rooms_of(app, owner).values()
    assert [message.metadata["sent_at"] for message in stored(app, room)] == [str(entry["at"]) for entry in entries]


ROOM = 5_000  # lines: so many that a kill meets an import in the middle
GOOD = json.dumps(room_line("room", "alice", "fine")).encode()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"[]", "must be an object of room"),
        (b'{"room": "r", "at": 1, "sender": "a"}', "must be an object of room"),
        (b'{"room": "r", "at": 1, "sender": "a", "content": "c", "more": 1}', "must be an object of room"),
        (b'{"dialogue": "1", "at": 1, "sender": "a", "content": "c"}', "must be an object of room"),
        (b'{"room": "r", "at": "1", "sender": "a", "content": "c"}', "at must be a whole number"),
        (b'{"room": "r", "at": true, "sender": "a", "content": "c"}', "at must be a whole number"),
        (b'{"room": "", "at": 1, "sender": "a", "content": "c"}', "room must be text, not empty"),
        (b'{"room": "r", "at": 1, "sender": "a", "content": null}', "content must be text"),
        (b'{"dialogue": 1, "sender": "a", "receiver": "b", "content": "c"}', "dialogue must be text, not empty"),
        (b'{"dialogue": "1", "sender": "a", "receiver": "a", "content": "c"}', "sender and receiver must differ"),
        (b'{"room": "r", "at": 1, "sender": "a", "content": "\\ud800"}', "surrogates not allowed"),
        (b'{"room": "r", "at": 1, "sender": "a", "content": "\xff"}', "can't decode byte 0xff"),
    ],
)
def test_a_malformed_line_is_named_before_anything_is_sent(line: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    file.write_bytes(b"\n".join((GOOD, GOOD, line, GOOD)) + b"\n")
    process = begin_import_at("127.0.0.1:1", tmp_path, file)  # nobody is there to be sent to: another error
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err.startswith(f"gochat: {file}:3: ")
    assert says in err
    assert err.count("\n") == 1


def test_a_malformed_line_sends_nothing_of_any_file(app: Deployment, tmp_path: Path) -> None:
    tag = fresh("x")
    good = log_of(tmp_path / "good", room_line(f"room{tag}", f"alice{tag}", "hi"))
    bad = log_of(tmp_path / "bad", room_line(f"room{tag}", f"alice{tag}", "hi"), {"room": f"room{tag}"})
    assert refused(app, good, bad, "--owner", f"owner{tag}").startswith(f"gochat: {bad}:2: must be an object")
    assert users_like(app, tag) == {}
    missing = tmp_path / "missing"
    assert refused(app, good, missing) == f"gochat: {missing}: No such file or directory\n"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"content": "x" * 16385}, "content must have at most 16384 bytes of UTF-8, not 16385"),
        ({"content": ""}, "content must not be empty"),
        ({"content": "a\0b"}, "content must not contain NUL"),
        ({"sender": "x" * 65}, "nickname must have at most 64 characters, not 65"),
        ({"room": "x" * 101}, "name must have at most 100 characters, not 101"),
    ],
)
def test_a_line_that_the_server_refuses_is_named(app: Deployment, tmp_path: Path, change: Entry, says: str) -> None:
    tag, owner = fresh("x"), fresh("owner")
    good = room_line(f"room{tag}", f"alice{tag}", "hi")
    file = log_of(tmp_path / "log.jsonl", good, good, good | change, good)
    assert refused(app, file, "--owner", owner) == f"gochat: {file}:3: {says}\n"


def test_a_corrected_line_is_imported_at_its_position(app: Deployment, tmp_path: Path) -> None:
    tag, owner = fresh("x"), fresh("owner")
    lines = [room_line(f"room{tag}", f"alice{tag}", f"{n}") for n in range(8)]
    bad = log_of(tmp_path / "log.jsonl", *lines[:5], lines[5] | {"content": "x" * 16385}, *lines[6:])
    assert refused(app, bad, "--owner", owner).startswith(f"gochat: {bad}:6: content must ")
    replayed(app, log_of(tmp_path / "log.jsonl", *lines), "--owner", owner)
    (room,) = rooms_of(app, owner).values()
    assert [message.content for message in stored(app, room)] == [f"{n}" for n in range(8)]
    # What only the server can know: the key of a line is used for other words already.
    other = log_of(tmp_path / "other.jsonl", *lines[:3], lines[3] | {"content": "other"}, *lines[4:])
    assert f"{other}:4: this client_msg_id was used" in refused(app, other, "--owner", owner)


@dataclass
class Long:
    """A log that takes a while: three rooms and a pair."""

    file: Path
    owner: str
    tag: str
    rooms: dict[str, list[Entry]]
    pair: list[Entry]

    def stored(self, app: Deployment) -> int:
        """How many messages its rooms have so far."""
        return sum(
            as_service(app).repo.GetMessages(conversation_id=room, limit=1).total
            for room in rooms_of(app, self.owner).values()
        )

    def wait_for(self, app: Deployment, messages: int) -> None:
        eventually(lambda: self.stored(app) >= messages, 60)

    def check(self, app: Deployment) -> None:
        """All of it is there, once, in order, and as unread as it should be."""
        users, ids = users_like(app, self.tag), rooms_of(app, self.owner)
        assert ids.keys() == self.rooms.keys()
        for room, entries in self.rooms.items():
            assert said(app, ids[room], users) == [(entry["sender"], entry["content"]) for entry in entries]
            for nickname in {entry["sender"] for entry in entries}:
                assert unread(app, users[nickname]).get(ids[room], 0) == unread_by_hand(entries, nickname)
        single = pair_of(app, *(users[self.pair[0][side]] for side in ("sender", "receiver")))
        assert said(app, single, users) == [(entry["sender"], entry["content"]) for entry in self.pair]


@pytest.fixture
def long(tmp_path: Path) -> Long:
    tag = fresh("x")
    rooms = {
        f"{name}{tag}": [
            room_line(f"{name}{tag}", f"{'abcde'[n**3 % 5 if n < 300 else n % 3]}{tag}", f"{n} 行", at=n // 9)
            for n in range(ROOM)
        ]
        for name in ("red", "green", "blue")
    }
    pair = [dialogue_line(str(n // 20), f"{'aab'[n % 3]}{tag}", f"{'bba'[n % 3]}{tag}", f"{n}") for n in range(200)]
    file = log_of(tmp_path / "long.jsonl", *(entry for room in rooms.values() for entry in room), *pair)
    return Long(file, fresh("owner"), tag, rooms, pair)


@DIAGONAL
def test_a_repeat_completes_an_import_that_was_killed(app: Deployment, long: Long) -> None:
    for messages in (1, ROOM // 2, ROOM * 3 // 2):
        process = begin_import(app, long.file, "--owner", long.owner)
        long.wait_for(app, messages)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert messages <= long.stored(app) < 3 * ROOM, "it was not in the middle"
    assert replayed(app, long.file, "--owner", long.owner) == (3 * ROOM + 200, 5, 4)
    long.check(app)


@DIAGONAL
def test_ctrl_c_stops_an_import_cleanly(app: Deployment, long: Long) -> None:
    process = begin_import(app, long.file, "--owner", long.owner)
    long.wait_for(app, 100)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert (out, err) == ("", "gochat: interrupted; the same command again does the rest and doubles nothing\n")
    assert long.stored(app) < 3 * ROOM
    assert replayed(app, long.file, "--owner", long.owner) == (3 * ROOM + 200, 5, 4)
    long.check(app)


@pytest.mark.parametrize("mode", ["sqlite-colocated"], indirect=True, scope="session")
def test_a_terminal_shows_progress(app: Deployment, long: Long) -> None:
    master, slave = pty.openpty()
    process = begin_import(app, long.file, "--owner", long.owner, stderr=slave)
    os.close(slave)
    shown = b""
    try:
        while piece := os.read(master, 65536):
            shown += piece
    except OSError:  # how Linux says that the other side is closed
        pass
    os.close(master)
    out, _ = process.communicate(timeout=60)
    assert SUMMARY.fullmatch(out)
    pictures = shown.decode().split("\r\x1b[K")
    assert pictures[0] == pictures[-1] == ""  # cleared at the end
    assert re.fullmatch(r"users [#-]{40} \d of 5", pictures[1])
    messages = [re.fullmatch(rf"messages [#-]{{40}} (\d+) of {3 * ROOM + 200}", picture) for picture in pictures]
    counts = [int(match[1]) for match in messages if match]
    assert counts == sorted(counts)
    assert counts[-1] == 3 * ROOM + 200


def test_an_import_outlasts_a_late_start_and_a_crash_of_the_server(own: Own, tmp_path: Path, long: Long) -> None:
    listen = free_address()
    make_key(tmp_path / "data")
    with socket.create_server(parse_address("", listen)) as nobody:
        process = begin_import_at(listen, tmp_path / "data", long.file, "--owner", long.owner)
        nobody.accept()[0].close()  # it has begun to look for the server
    app = own(folder=tmp_path, listen=listen)
    long.wait_for(app, 200)
    app.kill()
    app.start()
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert SUMMARY.fullmatch(out)
    long.check(app)


def test_an_import_without_a_server_fails_with_the_reason(tmp_path: Path) -> None:
    file = log_of(tmp_path / "log.jsonl", room_line("room", "alice", "hi"))
    make_key(tmp_path)
    process = begin_import_at("127.0.0.1:1", tmp_path, file)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err == "gochat: 127.0.0.1:1: nobody answers there\n"
