"""Fills a database through gochat.repo, with no server running: users, conversations, members, messages."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from typing import Any

from gochat.domain import ids, limits, policy
from gochat.domain.text import casefold_key, skeleton
from gochat.repo import passwords
from gochat.repo.membership import inbox_columns
from gochat.repo.messages import SENT
from gochat.repo.users import ACTIVE, rebuild_name_index
from gochat.storage.database import Database, Tx, placeholders

PASSWORD = "bench"  # noqa: S105 - of users who exist in measurements only
TRANSACTION, STATEMENT = 20_000, 500  # rows
SENDERS = 8  # members of a group who write
PROGRESS_INTERVAL = 0.2  # seconds between two updates of the progress line

FIRST = ("Alice", "Bruno", "Carol", "David", "Edith", "Frank", "Grace", "Henry", "Irene", "Jakob", "Karin", "Louis")
LAST = ("Archer", "Baker", "Cooper", "Draper", "Fisher", "Glover", "Hunter", "Mason", "Porter", "Slater", "Tailor")
FAMILY = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗"
GIVEN = ("小明", "建国", "秀英", "志强", "丽华", "海燕", "文博", "雨桐", "子轩", "晓东", "春梅")
CONTENTS = (
    "Good morning!",
    "Has anyone looked at the build since yesterday evening?",
    "明天上午十点开会,大家别忘了。",
    "I will be there in ten minutes, start without me if you like.",
    "The figures are in the shared folder. The second table is the one that matters; the first is only for reference.",
    "好的,收到。",
    "ok",
)

_USER = (
    *("user_id", "username", "username_key", "username_shape", "email", "nickname", "nickname_key", "avatar", "bio"),
    *("role", "status", "password_hash", "created_at", "updated_at"),
)
_CONVERSATION = (
    *("conversation_id", "type", "name", "description", "avatar", "owner_id", "max_members", "member_count"),
    *("last_seq", "created_at", "updated_at", "dissolved_at"),
)
_MEMBER = ("conversation_id", "user_id", "role", "read_seq", "hidden_seq", "joined_at", "last_seq", "active_at")
_MESSAGE = (
    *("conversation_id", "seq", "from_user_id", "to_user_id", "content", "message_type", "status", "metadata"),
    *("created_at", "updated_at"),
)


@dataclass(frozen=True)
class Room:
    """A conversation to be created. members: numbers of users; the first one owns the group and has not read the last
    `unread` messages; the others have read all."""

    type: str
    members: Sequence[int]
    messages: int
    unread: int = 0


@dataclass(frozen=True)
class _Conversation:
    """A room with its ids. ended_at: Unix milliseconds of its last message; there is one message in conversation
    second."""

    room: Room
    conversation_id: str
    user_ids: list[str]
    ended_at: int

    @property
    def made_at(self) -> int:
        return self.ended_at - 1000 * self.room.messages - len(self.user_ids)


def username(number: int) -> str:
    return f"bench{number:06d}"


def nickname(number: int) -> str:
    """Every third is Chinese."""
    if number % 3 == 0:
        return FAMILY[number // 3 % len(FAMILY)] + GIVEN[number // 60 % len(GIVEN)]
    return f"{FIRST[number % len(FIRST)]} {LAST[number // len(FIRST) % len(LAST)]}"


def fill(database: Database, users: int, rooms: Sequence[Room]) -> None:
    """All users have the same PASSWORD."""
    total = users + sum(1 + len(room.members) + room.messages for room in rooms)
    progress = _Progress(total)
    now = ids.now_ms()
    user_ids = [ids.new_user() for _ in range(users)]
    conversations = [
        _conversation(room, user_ids, database.pair_key, now - 1000 * number) for number, room in enumerate(rooms)
    ]
    for table, columns, rows in (
        ("users", _USER, _users(user_ids, now)),
        ("conversations", _CONVERSATION, map(_conversation_row, conversations)),
        ("members", _MEMBER, (row for conversation in conversations for row in _members(conversation))),
        ("messages", _MESSAGE, (row for conversation in conversations for row in _messages(conversation))),
    ):
        _insert(database, table, columns, rows, progress)
    database.write(rebuild_name_index)
    progress.finish()


def _conversation(room: Room, user_ids: list[str], pair_key: bytes, ended_at: int) -> _Conversation:
    members = [user_ids[number] for number in room.members]
    is_group = room.type == "group"
    conversation_id = ids.new_group() if is_group else ids.single(members[0], members[1], pair_key)
    return _Conversation(room, conversation_id, members, ended_at)


def _users(user_ids: list[str], now: int) -> Iterator[tuple[Any, ...]]:
    password_hash = passwords.hashed(PASSWORD)
    for number, user_id in enumerate(user_ids):
        name, nick = username(number), nickname(number)
        yield (
            *(
                user_id,
                name,
                casefold_key(name),
                skeleton(name),
                f"{name}@example.com",
                nick,
                casefold_key(nick),
                "",
                "",
            ),
            *("user", ACTIVE, password_hash, now, now),
        )


def _conversation_row(conversation: _Conversation) -> tuple[Any, ...]:
    is_group, count = conversation.room.type == "group", len(conversation.user_ids)
    return (
        *(conversation.conversation_id, conversation.room.type, "A group" if is_group else "", "", ""),
        conversation.user_ids[0] if is_group else "",
        min(limits.MAX_MEMBERS, max(limits.DEFAULT_MAX_MEMBERS, 2 * count)) if is_group else 2,
        *(count, conversation.room.messages, conversation.made_at, conversation.ended_at, 0),
    )


def _members(conversation: _Conversation) -> Iterator[tuple[Any, ...]]:
    inbox = inbox_columns(len(conversation.user_ids), conversation.room.messages, conversation.ended_at)
    for number, user_id in enumerate(conversation.user_ids):
        is_first = number == 0
        role = policy.OWNER if is_first and conversation.room.type == "group" else policy.MEMBER
        read_seq = conversation.room.messages - (conversation.room.unread if is_first else 0)
        yield (conversation.conversation_id, user_id, role, read_seq, -1, conversation.made_at + number, *inbox)


def _messages(conversation: _Conversation) -> Iterator[tuple[Any, ...]]:
    """Nobody is the sender of a message that they have not read."""
    conversation_id, (first, *others) = conversation.conversation_id, conversation.user_ids[:SENDERS]
    is_group, read = conversation.room.type == "group", conversation.room.messages - conversation.room.unread
    started = conversation.ended_at - 1000 * conversation.room.messages
    for seq in range(1, conversation.room.messages + 1):
        sender = others[seq % len(others)] if seq > read or seq % 2 else first
        recipient = "" if is_group else others[0] if sender is first else first
        at = started + 1000 * seq
        yield (conversation_id, seq, sender, recipient, CONTENTS[seq % len(CONTENTS)], "text", SENT, "", at, at)


def _insert(
    database: Database, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]], progress: "_Progress"
) -> None:
    names = ", ".join(columns)
    row = f"({placeholders(columns)})"
    rows = iter(rows)

    def work(tx: Tx) -> None:
        if tx.postgres:
            # Nothing that is written here contains characters that COPY needs escaped.
            lines = "\n".join("\t".join(map(str, one)) for one in batch)
            tx.sql("SELECT 1").copy_expert(f"COPY {table} ({names}) FROM STDIN", StringIO(lines))
            return
        for start in range(0, len(batch), STATEMENT):
            part = batch[start : start + STATEMENT]
            values = (value for one in part for value in one)
            tx.sql(f"INSERT INTO {table} ({names}) VALUES {', '.join([row] * len(part))}", *values)  # noqa: S608

    while batch := list(islice(rows, TRANSACTION)):
        database.write(work)
        progress.add(len(batch))


class _Progress:
    """A line on stderr, which is updated while the work goes on if stderr is a terminal."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._started = self._shown = time.monotonic()

    def add(self, rows: int) -> None:
        self._done += rows
        if sys.stderr.isatty() and time.monotonic() - self._shown >= PROGRESS_INTERVAL:
            self._shown = time.monotonic()
            self._print("\r\x1b[Kseeding: ", "")

    def finish(self) -> None:
        self._print("\r\x1b[Kseeded: " if sys.stderr.isatty() else "seeded: ", "\n")

    def _print(self, before: str, after: str) -> None:
        rate = self._done / max(time.monotonic() - self._started, 1e-3)
        text = f"{self._done:,} of {self._total:,} rows, {rate:,.0f} rows/s"
        print(before + text, end=after, file=sys.stderr, flush=True)
