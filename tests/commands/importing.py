"""What the tests of gochat import share: writing logs, running it, and reading back as a client would."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from gochat import config, keys
from gochat.api.common.v1 import common_pb2
from gochat.internal.store.v1 import store_pb2
from tests.conversations import history
from tests.harness import Deployment, as_service
from tests.processes import begin

Entry = dict[str, Any]
SUMMARY = re.compile(
    r"imported (\d+) lines: (\d+) users, (\d+) conversations; \d+\.\d s, sending at \d+ messages per second\n"
)


def room_line(room: str, sender: str, content: str, at: int = 1_100_521_080_000) -> Entry:
    return {"room": room, "at": at, "sender": sender, "content": content}


def dialogue_line(dialogue: str, sender: str, receiver: str, content: str) -> Entry:
    return {"dialogue": dialogue, "sender": sender, "receiver": receiver, "content": content}


def log_of(path: Path, *entries: Entry) -> Path:
    path.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries), encoding="utf-8")
    return path


def begin_import(app: Deployment, *arguments: Any, stderr: int = subprocess.PIPE) -> "subprocess.Popen[str]":
    """Starts an import as the operator of this deployment would."""
    return begin_import_at(app.address, app.data, *arguments, stderr=stderr, repo=app.repo_address if app.split else "")


def begin_import_at(
    address: str, data: Path, *arguments: Any, stderr: int = subprocess.PIPE, repo: str = ""
) -> "subprocess.Popen[str]":
    env = {"GOCHAT_REPO_ADDRESS": repo} if repo else {}
    return begin("import", "--address", address, "--data", data, *arguments, env=env, stderr=stderr)


def make_key(data: Path) -> None:
    """As `serve` does on its first start."""
    keys.signing_keys(config.load(environment={"GOCHAT_SERVER_DATA": str(data)}), make=True)


def replayed(app: Deployment, *arguments: Any) -> tuple[int, ...]:
    """Imports to the end; returns the numbers of lines, users and conversations that it prints."""
    process = begin_import(app, *arguments)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")
    summary = SUMMARY.fullmatch(out)
    assert summary, out
    return tuple(map(int, summary.groups()))


def refused(app: Deployment, *arguments: Any) -> str:
    """Imports until the error, which it returns."""
    process = begin_import(app, *arguments)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    return err


def rooms_of(app: Deployment, owner: str) -> dict[str, str]:
    """name -> id, of the groups of a user; each name must be there once."""
    found = as_service(app).logic.SearchUsers(query=owner)
    owner_id = next((user.user_id for user in found.users if user.username == owner), "")
    if not owner_id:
        return {}
    answer = as_service(app).repo.GetGroupsByUser(user_id=owner_id, pagination=common_pb2.PaginationRequest(limit=100))
    rooms = {group.name: group.group_id for group in answer.groups}
    assert len(rooms) == len(answer.groups) == answer.pagination.total
    return rooms


def users_like(app: Deployment, query: str = "") -> dict[str, common_pb2.User]:
    """nickname -> user, of those whose username or nickname holds the query; each nickname must be there once."""
    users: list[common_pb2.User] = []
    total = 1
    while len(users) < total:
        page = common_pb2.PaginationRequest(page=len(users) // 100 + 1, limit=100)
        answer = app.store.FindUsers(
            store_pb2.FindUsersRequest(query=query, pagination=page), metadata=app.service, timeout=30
        )
        users += answer.users
        total = answer.pagination.total
    assert len({user.nickname for user in users}) == len(users)
    return {user.nickname: user for user in users}


def stored(app: Deployment, conversation_id: str, limit: int = 200) -> list[common_pb2.Message]:
    """All messages of a conversation, oldest first."""
    return history(as_service(app).logic, conversation_id, limit)


def said(app: Deployment, conversation_id: str, users: dict[str, common_pb2.User]) -> list[tuple[str, str]]:
    """(nickname, content) of every message, oldest first."""
    nicknames = {user.user_id: nickname for nickname, user in users.items()}
    return [
        (nicknames[message.from_user_id], message.content)
        for message in history(as_service(app).logic, conversation_id)
    ]


def pair_of(app: Deployment, one: common_pb2.User, other: common_pb2.User) -> str:
    """The id of the one-to-one conversation of two users."""
    answer = as_service(app).logic.CreateConversation(type="single", user_ids=[one.user_id, other.user_id])
    return str(answer.conversation_id)


def unread(app: Deployment, user: common_pb2.User) -> dict[str, int]:
    """conversation id -> count."""
    answer = as_service(app).logic.GetUnreadMessages(user_id=user.user_id)
    counts = {info.conversation_id: info.unread_count for info in answer.conversations}
    assert answer.total_count == sum(counts.values())
    return counts


def unread_by_hand(entries: list[Entry], nickname: str) -> int:
    """What came after one's own last line."""
    own = [number for number, entry in enumerate(entries, 1) if entry["sender"] == nickname]
    return len(entries) - max(own, default=0)
