"""gochat import: replays chat logs through the running server, by the RPCs that any client has.

A log is JSON lines of two shapes: {"room", "at", "sender", "content"}, of which a room becomes a group, and
{"dialogue", "sender", "receiver", "content"}, one-to-one. Repeating an import, also after Ctrl-C or a crash, doubles
nothing: users and groups are found again by their names, and each line has a client_msg_id of its own.
"""

import hashlib
import json
import secrets
import sys
import threading
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from google.rpc import code_pb2

from gochat.api.common.v1 import common_pb2
from gochat.api.logic.v1 import logic_pb2
from gochat.api.logic.v1.logic_pb2_grpc import LogicServiceStub
from gochat.api.message.v1 import message_pb2
from gochat.api.message.v1.message_pb2_grpc import MessageServiceStub
from gochat.api.repo.v1 import repo_pb2
from gochat.api.repo.v1.repo_pb2_grpc import RepoServiceStub
from gochat.commands import config_of, connection, show_progress
from gochat.commands.arguments import REMOTE, Subparsers, add_command, number
from gochat.domain import forms, limits
from gochat.domain.forms import rules
from gochat.domain.text import casefold_key
from gochat.errors import ChatError, duplicate
from gochat.rpc.client import NetworkChannel

ATTEMPTS, FIRST_PAUSE = 5, 0.5  # seconds; doubles. Long enough for the server to be restarted meanwhile
TICK = 0.2  # seconds between two pictures of the progress bar
BATCH, BATCH_SIZE = 500, 512 * 1024  # messages and bytes of a request
ROOM_LINE, DIALOGUE_LINE = {"room", "at", "sender", "content"}, {"dialogue", "sender", "receiver", "content"}

A = TypeVar("A")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Line:
    """One message. source: FILE:LINE. room is empty in a dialogue, receiver in a room."""

    source: str
    sender: str
    receiver: str
    room: str
    content: str
    metadata: dict[str, str]

    @property
    def conversation(self) -> tuple[str, ...]:
        """Two users have one conversation, however many dialogues."""
        return (self.room,) if self.room else tuple(sorted((self.sender, self.receiver)))


def add_to(commands: Subparsers) -> None:
    imported = add_command(commands, "import", run, "replay chat logs (JSON lines) through a running server", REMOTE)
    imported.add_argument("files", nargs="+", metavar="FILE")
    imported.add_argument("--owner", default="importer", metavar="NAME", help="owns the rooms (default: importer)")
    imported.add_argument(
        "--concurrency", type=number(999), default=16, metavar="N", help="conversations at a time (default: 16)"
    )


def run(arguments: Namespace) -> int:
    """Prints what was imported and how fast."""
    started = time.monotonic()
    lines = list(_read(arguments.files))
    config = config_of(arguments)
    # Only the repo half makes users; in split mode its address is a setting.
    repo_address = config.repo.address or arguments.address
    with connection(config, arguments.address) as logic, connection(config, repo_address) as repo:
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


def _read(files: Iterable[str]) -> Iterator[Line]:
    """Raises SystemExit with the place of the first line that is wrong."""
    places: Counter[str] = Counter()
    for file in files:
        try:
            with open(file, "rb") as log:
                for number, raw in enumerate(log, 1):
                    try:
                        yield _line(f"{file}:{number}", json.loads(raw.decode()), places)
                    except ValueError as error:
                        raise SystemExit(f"gochat: {file}:{number}: {error}") from None
        except OSError as error:
            raise SystemExit(f"gochat: {file}: {error.strerror}") from None


def _line(source: str, entry: object, places: Counter[str]) -> Line:
    """places: how many lines each dialogue, and each moment of a room, has had so far. That is what names a line, so
    that the log of a room may also come in pieces, day by day. Raises ValueError."""
    if not isinstance(entry, dict) or entry.keys() not in (ROOM_LINE, DIALOGUE_LINE):
        raise ValueError("must be an object of room, at, sender, content or of dialogue, sender, receiver, content")
    for name, value in entry.items():  # their form alone: what the server limits, it judges itself
        if name == "at":
            if type(value) is not int:
                raise ValueError("at must be a whole number: Unix milliseconds")
        elif not isinstance(value, str) or not (value or name == "content"):
            raise ValueError(f"{name} must be text" + ("" if name == "content" else ", not empty"))
        else:
            value.encode()  # JSON can spell half a surrogate pair, UTF-8 cannot
    if entry["sender"] == entry.get("receiver"):
        raise ValueError("sender and receiver must differ")
    place = f"{entry['room']}:{entry['at']}" if "room" in entry else entry["dialogue"]
    places[place] += 1
    # The server takes a client_msg_id of at most 128 bytes.
    short = place if len(place.encode()) <= 100 else hashlib.sha256(place.encode()).hexdigest()
    metadata = {"client_msg_id": f"{short}:{places[place]}"}
    if "at" in entry:
        metadata["sent_at"] = str(entry["at"])
    return Line(source, entry["sender"], entry.get("receiver", ""), entry.get("room", ""), entry["content"], metadata)


Batch = list[tuple[Line, logic_pb2.SendMessageRequest]]


class Replay:
    """What an import has found or made at the server."""

    def __init__(self, logic: NetworkChannel, repo: NetworkChannel, owner: str, concurrency: int) -> None:
        self._logic, self._messages = LogicServiceStub(logic), MessageServiceStub(logic)
        self._repo, self._owner, self._concurrency = RepoServiceStub(repo), owner, concurrency
        self._stopped = threading.Event()
        self._owner_id = ""
        self._rooms: dict[str, str] = {}  # name -> group id
        self.users: dict[str, str] = {}  # nickname -> user id

    def add_users(self, lines: list[Line]) -> None:
        first: dict[str, str] = {}
        for line in lines:
            for name in filter(None, (line.sender, line.receiver)):
                first.setdefault(name, line.source)
        # Of names that differ in case alone the first in the file gets the plain username: those go one by one.
        alike: dict[str, list[str]] = {}
        for name in first:
            alike.setdefault(casefold_key(name), []).append(name)

        def add(names: list[str]) -> None:
            for name in names:
                with _told_of(first[name]):
                    self.users[name] = self._patiently(self._user, name)

        self._in_parallel(add, alike.values(), "users", lambda: len(self.users), len(first))

    def add_rooms(self, lines: list[Line]) -> None:
        if first := {line.room: line.source for line in reversed(lines) if line.room}:
            self._patiently(self._find_or_make, first)

    def send(self, lines: list[Line]) -> int:
        """Each conversation in the order of its lines. Returns how many conversations there are."""
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
        """Raises INVALID_PARAMS here already: the server would send what follows, and a repeat this one after it."""
        request = logic_pb2.SendMessageRequest(
            from_user_id=self.users[line.sender],
            to_user_id=self.users.get(line.receiver, ""),
            conversation_id=self._rooms.get(line.room, ""),
            content=line.content,
            metadata=line.metadata,
        )
        with _told_of(line.source):
            forms.check(request)
        return request

    def _send(self, batch: Batch) -> None:
        request = message_pb2.SendMessagesRequest(messages=[message for _, message in batch])
        with _told_of(batch[0][0].source):
            answer = self._patiently(self._messages.SendMessages, request)
        for (line, _), result in zip(batch, answer.results, strict=True):
            if result.HasField("error"):
                with _told_of(line.source):
                    raise ChatError(result.error.code, result.error.message, result.error.details["reason"])

    def _user(self, nickname: str) -> str:
        """The id of the user with this nickname, who is made if missing."""
        for username in _usernames(nickname):
            user = self._named(username, nickname)
            if user and user.nickname == nickname:
                return user.user_id
        raise duplicate(f"every username for {nickname} is taken", "USERNAME_TAKEN")

    def _named(self, username: str, nickname: str) -> common_pb2.User | None:
        """The active user of this username, made with this nickname if there is none; None if the name is taken by
        one who is not active."""
        if found := self._find(username):
            return found
        request = repo_pb2.CreateUserRequest(username=username, nickname=nickname, password=secrets.token_urlsafe())
        try:
            return self._repo.CreateUser(request).user
        except ChatError as error:
            if error.code != common_pb2.ERROR_CODE_DUPLICATE_OPERATION:
                raise
            return self._find(username)  # another import came first

    def _find(self, username: str) -> common_pb2.User | None:
        page = common_pb2.PaginationRequest(limit=limits.MAX_PAGE)
        found = self._logic.SearchUsers(logic_pb2.SearchUsersRequest(query=username, pagination=page))
        return next((user for user in found.users if casefold_key(user.username) == casefold_key(username)), None)

    def _find_or_make(self, sources: dict[str, str]) -> None:
        """A room that was made although the answer was lost is found when this is repeated."""
        owner = self._named(self._owner, nickname="")
        if owner is None:
            raise duplicate(f"the owner, {self._owner}, is not an active user", "USERNAME_TAKEN")
        self._owner_id = owner.user_id
        self._rooms = {group.name: group.group_id for group in self._groups_of_owner()}
        for room in sorted(sources.keys() - self._rooms.keys()):
            request = logic_pb2.CreateGroupRequest(name=room, owner_id=self._owner_id, max_members=limits.MAX_MEMBERS)
            with _told_of(sources[room]):
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
        """All of them before the first message: for who comes later, that would count as read."""
        members = [self.users[name] for name in dict.fromkeys(line.sender for line in lines)]
        for start in range(0, len(members), limits.MAX_BATCH):
            request = logic_pb2.AddGroupMemberRequest(
                group_id=self._rooms[lines[0].room],
                user_ids=members[start : start + limits.MAX_BATCH],
                operator_id=self._owner_id,
            )
            self._patiently(self._logic.AddGroupMember, request)

    def _patiently(self, call: Callable[[A], T], argument: A) -> T:
        """call(argument), which must bear repeating, until somebody is there to answer."""
        for attempt in range(1, ATTEMPTS):
            try:
                return call(argument)
            except ChatError as error:
                if error.status != code_pb2.UNAVAILABLE or self._stopped.wait(FIRST_PAUSE * 2 ** (attempt - 1)):
                    raise
        return call(argument)

    def _in_parallel(
        self, work: Callable[[T], None], items: Iterable[T], what: str, done: Callable[[], int], total: int
    ) -> None:
        """work(item) for each, until the first error or Ctrl-C."""
        pool = ThreadPoolExecutor(self._concurrency)
        pending = {pool.submit(work, item) for item in items}
        try:
            while pending:
                finished, pending = wait(pending, TICK, FIRST_EXCEPTION)
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
        if len(batch) == BATCH or size > BATCH_SIZE:
            yield batch
            batch, size = [], message.ByteSize()
        batch.append((line, message))
    yield batch


def _usernames(nickname: str) -> Iterator[str]:
    """What a user of this nickname may be called, best first. The plain name may be taken, also by one who differs in
    case alone; and a nickname may have spaces, a username not."""
    digest = hashlib.sha256(nickname.encode()).hexdigest()
    for username in (nickname, f"{nickname}~{digest[:6]}", f"import~{digest[:16]}"):
        try:
            rules.username("username", username)
        except ChatError:
            continue
        yield username


@contextmanager
def _told_of(source: str) -> Iterator[None]:
    """An error names the line that it came from."""
    try:
        yield
    except ChatError as error:
        raise replace(error, message=f"{source}: {error.message}") from None
