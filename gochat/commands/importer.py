"""gochat import: replays chat logs through the running server, by the RPCs that any client has. (With --from: what
other chat programs exported, loading.py.)

A room becomes a group, a dialogue a one-to-one conversation (chatlog.py has the format). Repeating an import, also
after Ctrl-C or a crash, duplicates nothing: users and groups are found again by their names, and each line has a
client_msg_id of its own.

Threads: Replay runs `work` of `_in_parallel` on a thread pool, one conversation at a time on each thread; the main
thread waits and shows the progress. What the threads fill (`users`, the counters of `send`) are dictionaries in which
each thread sets keys of its own, which is atomic in CPython.
"""

import hashlib
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from google.rpc import code_pb2

from gochat.api.common.v1 import common_pb2
from gochat.api.logic.v1 import logic_pb2
from gochat.api.logic.v1.logic_pb2_grpc import LogicServiceStub
from gochat.api.message.v1 import message_pb2
from gochat.api.message.v1.message_pb2_grpc import MessageServiceStub
from gochat.api.repo.v1 import repo_pb2
from gochat.api.repo.v1.repo_pb2_grpc import RepoServiceStub
from gochat.api.user.v1 import user_pb2
from gochat.api.user.v1.user_pb2_grpc import UserServiceStub
from gochat.commands import loading
from gochat.commands.arguments import REMOTE, Subparsers, add_command, config_of, number
from gochat.commands.chatlog import Line, read_log
from gochat.commands.progress import show_progress
from gochat.commands.server import connection
from gochat.domain import forms, limits
from gochat.domain.forms import rules
from gochat.domain.text import casefold_key, normal_name
from gochat.errors import ChatError, duplicate
from gochat.imports import SOURCES
from gochat.rpc.client import NetworkChannel
from gochat.services import LOGIC, REPO

MAX_ATTEMPTS = 5
FIRST_PAUSE = 0.5  # seconds; doubles. All pauses together are long enough for a restart of the server
PROGRESS_INTERVAL = 0.2  # seconds between two updates of the progress bar
MAX_BATCH = 500  # messages of a request
MAX_BATCH_SIZE = 512 * 1024  # bytes of a request
_TAKEN = {  # a username: by a disabled user, a deleted one, an active one that looks like it
    common_pb2.ERROR_CODE_NONE,
    common_pb2.ERROR_CODE_PERMISSION_DENIED,
    common_pb2.ERROR_CODE_DUPLICATE_OPERATION,
}

A = TypeVar("A")
T = TypeVar("T")


def add_to(commands: Subparsers) -> None:
    help_text = "replay chat logs (JSON lines), or the export of another chat program, through a running server"
    imported = add_command(commands, "import", run, help_text, REMOTE)
    imported.add_argument("files", nargs="+", metavar="FILE")
    imported.add_argument("--owner", default="importer", metavar="NAME", help="owns the rooms (default: importer)")
    imported.add_argument(
        "--from", dest="source", choices=sorted(SOURCES), help="the program that FILE is an export of"
    )
    of_exports = imported.add_argument_group("with --from")
    of_exports.add_argument("--dry-run", action="store_true", help="only read, and say what is there")
    of_exports.add_argument("--prefix", metavar="TEXT", help="before external ids (default: the program and a colon)")
    of_exports.add_argument("--unread", action="store_true", help="count what is imported as unread")
    of_exports.add_argument("--any-order", action="store_true", help="also what is older than what is there, behind it")
    imported.add_argument(
        "--concurrency", type=number(999), default=16, metavar="N", help="conversations at a time (default: 16)"
    )


def run(arguments: Namespace) -> int:
    """Prints what was imported and how fast."""
    if arguments.source:
        return loading.run(arguments)
    started = time.monotonic()
    lines = list(read_log(arguments.files))
    config = config_of(arguments)
    # The groups of the owner are listed by the repo half.
    with (
        connection(config, LOGIC, arguments.address) as logic,
        connection(config, REPO, config.repo.address or arguments.address) as repo,
    ):
        replay = Replay(logic, repo, arguments.owner, arguments.concurrency)
        try:
            replay.add_users(lines)
            replay.add_rooms(lines)
            ready = time.monotonic()
            conversations = replay.send(lines)
        except KeyboardInterrupt:
            print("gochat: interrupted; the same command again does the rest and doubles nothing", file=sys.stderr)
            return 130
    finished = time.monotonic()
    print(
        f"imported {len(lines)} lines: {len(replay.users)} users, {conversations} conversations;"
        f" {finished - started:.1f} s, sending at {len(lines) / (finished - ready):.0f} messages per second"
    )
    return 0


Batch = list[tuple[Line, logic_pb2.SendMessageRequest]]


class Replay:
    """One import: the users and groups that it has found or created on the server."""

    def __init__(self, logic: NetworkChannel, repo: NetworkChannel, owner: str, concurrency: int) -> None:
        self._logic, self._messages = LogicServiceStub(logic), MessageServiceStub(logic)
        self._users, self._repo = UserServiceStub(logic), RepoServiceStub(repo)
        self._owner, self._concurrency = owner, concurrency
        self._stopped = threading.Event()
        self._owner_id = ""
        self._rooms: dict[str, str] = {}  # name -> group id
        self.users: dict[str, str] = {}  # nickname -> user id

    def add_users(self, lines: list[Line]) -> None:
        first: dict[str, str] = {}
        for line in lines:
            for name in filter(None, (line.sender, line.receiver)):
                first.setdefault(name, line.source)
        # Of names that differ only in case, the first in the file gets the plain username. So these are added in order.
        alike: dict[str, list[str]] = {}
        for name in first:
            alike.setdefault(casefold_key(name), []).append(name)

        def add(names: list[str]) -> None:
            for name in names:
                with _naming(first[name]):
                    self.users[name] = self._retry(self._user, name)

        self._in_parallel(add, alike.values(), "users", lambda: len(self.users), len(first))

    def add_rooms(self, lines: list[Line]) -> None:
        if first := {line.room: line.source for line in reversed(lines) if line.room}:
            self._retry(self._find_or_create_rooms, first)

    def send(self, lines: list[Line]) -> int:
        """Sends the lines, each conversation in its order. Returns the number of conversations."""
        conversations: dict[tuple[str, ...], list[Line]] = {}
        for line in lines:
            conversations.setdefault(line.conversation, []).append(line)
        sent = dict.fromkeys(conversations, 0)

        def replay(conversation: list[Line]) -> None:
            if conversation[0].room:
                self._add_members(conversation)
            for batch in _batches((line, self._request(line)) for line in conversation):
                if self._stopped.is_set():
                    return
                self._send(batch)
                sent[conversation[0].conversation] += len(batch)

        longest_first = sorted(conversations.values(), key=len, reverse=True)
        self._in_parallel(replay, longest_first, "messages", lambda: sum(sent.values()), len(lines))
        return len(conversations)

    def _request(self, line: Line) -> logic_pb2.SendMessageRequest:
        """Raises INVALID_PARAMS before anything is sent. If the server refused this line, it would still accept later
        ones, and a repeated import would send this one after them."""
        request = logic_pb2.SendMessageRequest(
            from_user_id=self.users[line.sender],
            to_user_id=self.users.get(line.receiver, ""),
            conversation_id=self._rooms.get(line.room, ""),
            content=line.content,
            metadata=line.metadata,
        )
        with _naming(line.source):
            forms.check(request)
        return request

    def _send(self, batch: Batch) -> None:
        request = message_pb2.SendMessagesRequest(messages=[message for _, message in batch])
        with _naming(batch[0][0].source):
            answer = self._retry(self._messages.SendMessages, request)
        for (line, _), result in zip(batch, answer.results, strict=True):
            if result.HasField("error"):
                with _naming(line.source):
                    raise ChatError(result.error.code, result.error.message, result.error.details["reason"])

    def _user(self, nickname: str) -> str:
        """The id of the user with this nickname, who is created if missing."""
        for username in _usernames(nickname):
            user = self._find_or_create(username, nickname)
            if user and user.nickname == nickname:
                return user.user_id
        raise duplicate(f"every username for {nickname} is taken", "USERNAME_TAKEN")

    def _find_or_create(self, username: str, nickname: str) -> common_pb2.User | None:
        """The active user of this username, created with this nickname if there is none; None if the username belongs
        to a user who is not active."""
        if found := self._find(username):
            return found
        # Without a password, whose hash takes longer than all else. Without a nickname, where it is the username: who
        # has the name, since this moment or disabled, keeps theirs.
        other_nickname = nickname if nickname != normal_name(username) else ""
        wanted = user_pb2.UserUpsert(username=username, nickname=other_nickname)
        (result,) = self._users.UpsertUsers(user_pb2.UpsertUsersRequest(users=[wanted])).results
        if result.outcome == user_pb2.OUTCOME_CREATED:
            return common_pb2.User(user_id=result.user_id, username=username, nickname=nickname)
        found = self._find(username)  # another import has created the user meanwhile
        if not found and result.error.code not in _TAKEN:
            raise ChatError(result.error.code, result.error.message, result.error.details["reason"])
        return found

    def _find(self, username: str) -> common_pb2.User | None:
        page = common_pb2.PaginationRequest(limit=limits.MAX_PAGE)
        found = self._logic.SearchUsers(logic_pb2.SearchUsersRequest(query=username, pagination=page))
        return next((user for user in found.users if casefold_key(user.username) == casefold_key(username)), None)

    def _find_or_create_rooms(self, sources: dict[str, str]) -> None:
        """Safe to repeat: a room whose answer was lost is found the next time."""
        owner = self._find_or_create(self._owner, nickname="")
        if owner is None:
            raise duplicate(f"the owner, {self._owner}, is not an active user", "USERNAME_TAKEN")
        self._owner_id = owner.user_id
        self._rooms = {group.name: group.group_id for group in self._groups_of_owner()}
        for room in sorted(sources.keys() - self._rooms.keys()):
            request = logic_pb2.CreateGroupRequest(name=room, owner_id=self._owner_id, max_members=limits.MAX_MEMBERS)
            with _naming(sources[room]):
                self._rooms[room] = self._logic.CreateGroup(request).group_id

    def _groups_of_owner(self) -> Iterator[common_pb2.Group]:
        page, total = 1, 1
        while (page - 1) * limits.MAX_PAGE < total:
            pagination = common_pb2.PaginationRequest(page=page, limit=limits.MAX_PAGE)
            request = repo_pb2.GetGroupsByUserRequest(user_id=self._owner_id, pagination=pagination)
            answer = self._repo.GetGroupsByUser(request)
            yield from (group for group in answer.groups if group.owner_id == self._owner_id)
            page, total = page + 1, answer.pagination.total

    def _add_members(self, lines: list[Line]) -> None:
        """Adds all senders before the first message, since members have read what was sent before they came."""
        members = [self.users[name] for name in dict.fromkeys(line.sender for line in lines)]
        for start in range(0, len(members), limits.MAX_BATCH):
            request = logic_pb2.AddGroupMemberRequest(
                group_id=self._rooms[lines[0].room],
                user_ids=members[start : start + limits.MAX_BATCH],
                operator_id=self._owner_id,
            )
            self._retry(self._logic.AddGroupMember, request)

    def _retry(self, call: Callable[[A], T], argument: A) -> T:
        """Runs call(argument), which must be safe to repeat, again while the server is unavailable."""
        for attempt in range(1, MAX_ATTEMPTS):
            try:
                return call(argument)
            except ChatError as error:
                if error.status != code_pb2.UNAVAILABLE or self._stopped.wait(FIRST_PAUSE * 2 ** (attempt - 1)):
                    raise
        return call(argument)

    def _in_parallel(
        self, work: Callable[[T], None], items: Iterable[T], what: str, done: Callable[[], int], total: int
    ) -> None:
        """Runs work(item) for each item, until the first error or Ctrl-C."""
        pool = ThreadPoolExecutor(self._concurrency)
        pending = {pool.submit(work, item) for item in items}
        try:
            while pending:
                finished, pending = wait(pending, PROGRESS_INTERVAL, FIRST_EXCEPTION)
                for future in finished:
                    future.result()
                show_progress(f"{what} {{}} {done()} of {total}", done() / total)
        finally:
            if pending:
                self._stopped.set()
            pool.shutdown(cancel_futures=True)
            show_progress("", 0)


def _batches(messages: Iterable[tuple[Line, logic_pb2.SendMessageRequest]]) -> Iterator[Batch]:
    batch: Batch = []
    size = 0
    for line, message in messages:
        size += message.ByteSize()
        if len(batch) == MAX_BATCH or size > MAX_BATCH_SIZE:
            yield batch
            batch, size = [], message.ByteSize()
        batch.append((line, message))
    yield batch


def _usernames(nickname: str) -> Iterator[str]:
    """The usernames to try for a nickname, best first. The nickname itself may be taken, also by one that differs only
    in case; and it may have spaces, which a username may not."""
    digest = hashlib.sha256(nickname.encode()).hexdigest()
    for username in (nickname, f"{nickname}~{digest[:6]}", f"import~{digest[:16]}"):
        try:
            rules.username("username", username)
        except ChatError:
            continue
        yield username


@contextmanager
def _naming(source: str) -> Iterator[None]:
    """Adds the line of the log to the message of an error."""
    try:
        yield
    except ChatError as error:
        raise replace(error, message=f"{source}: {error.message}") from None
