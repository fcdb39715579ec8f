"""gochat import, on real logs. What is expected is counted from the files here, never by the importer's own code."""

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from gochat.api.common.v1 import common_pb2
from tests.commands.importing import (
    Entry,
    pair_of,
    replayed,
    rooms_of,
    said,
    stored,
    unread,
    unread_by_hand,
    users_like,
)
from tests.conftest import Own
from tests.harness import Deployment, as_service


@dataclass
class Real:
    app: Deployment
    rooms: dict[str, list[Entry]]
    pairs: dict[tuple[str, str], list[Entry]]
    users: dict[str, common_pb2.User]
    room_ids: dict[str, str]
    pair_ids: dict[tuple[str, str], str]

    @property
    def conversations(self) -> list[tuple[str, list[Entry]]]:
        """(id, lines) of every room and every pair."""
        rooms = [(self.room_ids[name], entries) for name, entries in self.rooms.items()]
        return rooms + [(self.pair_ids[pair], entries) for pair, entries in self.pairs.items()]


@pytest.fixture(scope="module")
def real(own_of_module: Own, logs: tuple[Path, Path]) -> Real:
    """Both logs, replayed into a server of their own. On SQLite test_copy_real.py does so."""
    app = own_of_module("postgres-split")
    rooms: dict[str, list[Entry]] = {}
    pairs: dict[tuple[str, str], list[Entry]] = {}
    room_file, dialogue_file = ([json.loads(line) for line in file.read_text().split("\n")[:-1]] for file in logs)
    for entry in room_file:
        rooms.setdefault(entry["room"], []).append(entry)
    for entry in dialogue_file:
        one, other = sorted((entry["sender"], entry["receiver"]))
        pairs.setdefault((one, other), []).append(entry)
    assert (len(room_file), len(dialogue_file), len(rooms), len(pairs)) == (11_612, 8_458, 10, 105)

    assert replayed(app, *logs) == (20_070, 1_338, 115)
    users = users_like(app)
    singles = {pair: pair_of(app, *(users[name] for name in pair)) for pair in pairs}
    return Real(app, rooms, pairs, users, rooms_of(app, "importer"), singles)


def test_every_real_name_becomes_a_user(real: Real) -> None:
    named = {
        entry[side]
        for _, entries in real.conversations
        for entry in entries
        for side in ("sender", "receiver")
        if side in entry
    }
    assert real.users.keys() == named | {"importer"}
    plain = {name for name in named if real.users[name].username == name}
    assert {name.lower() for name in named - plain} == {"vigo", "dr_willis", "brandan", "neocicak", "zykotick9"}
    for name in named - plain:
        assert re.fullmatch(re.escape(name) + "~[0-9a-f]{6}", real.users[name].username)


def test_every_real_line_is_stored_once_in_order(real: Real) -> None:
    assert real.room_ids.keys() == real.rooms.keys()
    for conversation_id, entries in real.conversations:
        assert said(real.app, conversation_id, real.users) == [(entry["sender"], entry["content"]) for entry in entries]
        assert as_service(real.app).repo.GetMessages(conversation_id=conversation_id, limit=1).total == len(entries)
    for room, entries in real.rooms.items():
        sent = [message.metadata["sent_at"] for message in stored(real.app, real.room_ids[room])]
        assert sent == [str(entry["at"]) for entry in entries]


def test_real_groups_have_their_speakers(real: Real) -> None:
    for room, entries in real.rooms.items():
        participants = as_service(real.app).repo.GetConversationParticipants(conversation_id=real.room_ids[room])
        expected = {real.users[entry["sender"]].user_id for entry in entries} | {real.users["importer"].user_id}
        assert set(participants.participant_ids) == expected
        group = as_service(real.app).logic.GetGroupInfo(group_id=real.room_ids[room]).group
        assert (group.owner_id, group.current_members) == (real.users["importer"].user_id, len(expected))


def test_real_unread_counts_are_what_followed_ones_own_last_line(real: Real) -> None:
    """Of everyone: what was said after one's own last line, in each conversation."""
    expected: dict[str, dict[str, int]] = {name: {} for name in real.users}
    for conversation_id, entries in real.conversations:
        names = {entry["sender"] for entry in entries} | {entry.get("receiver", "importer") for entry in entries}
        for name in names:
            if count := unread_by_hand(entries, name):
                expected[name][conversation_id] = count
    assert sum(expected["importer"].values()) == 11_612
    for name, user in real.users.items():
        assert unread(real.app, user) == expected[name], name


def test_pages_of_real_history_end_exactly(real: Real) -> None:
    read = as_service(real.app).logic.GetMessageHistory
    for conversation_id, entries in real.conversations[:10:3] + real.conversations[-2:]:
        ids = [message.message_id for message in stored(real.app, conversation_id)]
        assert ids == sorted(ids)

        def page(before: int, limit: int, among: str = conversation_id, ids: list[str] = ids) -> tuple[list[str], bool]:
            cursor = ids[before] if before < len(ids) else ""
            answer = read(conversation_id=among, before_message_id=cursor, limit=limit)
            return [message.message_id for message in answer.messages][::-1], answer.has_more

        total, most = len(entries), min(200, len(entries) - 1)
        assert page(total, most) == (ids[-most:], True)
        assert page(0, 200) == ([], False)
        assert page(1, 200) == (ids[:1], False)
        assert page(2, 1) == (ids[1:2], True)
        assert page(most, most) == (ids[:most], False)
        assert page(most + 1, most) == (ids[1 : most + 1], True)
        assert page(total, 0) == (ids[-50:], total > 50)


def test_real_dialogues_are_each_in_one_piece(real: Real) -> None:
    """A pair has many dialogues in one conversation, one after the other as in the file."""
    for pair, entries in list(real.pairs.items())[::10]:
        keys = [message.metadata["client_msg_id"] for message in stored(real.app, real.pair_ids[pair])]
        places: Counter[str] = Counter()
        for key, entry in zip(keys, entries, strict=True):
            places[entry["dialogue"]] += 1
            assert key == f"{entry['dialogue']}:{places[entry['dialogue']]}"
