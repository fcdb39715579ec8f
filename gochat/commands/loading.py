"""gochat import --from: what another chat program exported (gochat/imports/), through the running server.

Repeating an import, also after Ctrl-C or a crash, doubles nothing: users are found by their external ids, groups by
their keys, messages by their import ids. What people have changed since stays: names, and who is in a group.
"""

import re
import sys
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from google.rpc import code_pb2

from gochat.api.conversation.v1 import conversation_pb2
from gochat.api.conversation.v1.conversation_pb2_grpc import ConversationServiceStub
from gochat.api.message.v1 import message_pb2
from gochat.api.message.v1 import message_types_pb2 as types
from gochat.api.message.v1.message_pb2_grpc import MessageServiceStub
from gochat.api.repo.v1 import repo_pb2
from gochat.api.repo.v1.repo_pb2_grpc import RepoServiceStub
from gochat.api.user.v1 import user_pb2
from gochat.api.user.v1.user_pb2_grpc import UserServiceStub
from gochat.commands.arguments import config_of
from gochat.commands.progress import show_progress
from gochat.commands.server import connection
from gochat.domain.forms.rules import EXTERNAL
from gochat.domain.limits import MAX_BATCH, MAX_IMPORTED, MAX_MEMBERS, MAX_REACTIONS
from gochat.errors import ChatError
from gochat.imports import read
from gochat.imports.archive import ExportError
from gochat.imports.emoji import reaction_of
from gochat.imports.fitting import email_of, key_of, line_of, pieces_of
from gochat.imports.records import DIRECT, PUBLIC, Channel, Member, Message, NotTaken, Record, User
from gochat.imports.spool import Report, Spool
from gochat.internal.store.v1 import store_pb2
from gochat.internal.store.v1.store_pb2_grpc import StoreServiceStub
from gochat.rpc.client import NetworkChannel
from gochat.services import LOGIC, REPO

MAX_BATCH_SIZE = 512 * 1024  # bytes of a request
USERS = 500  # of a request
ATTEMPTS, FIRST_PAUSE = 6, 0.5  # seconds; doubles. All pauses together are long enough for a restart of the server
ACTIVE = 1
_REASONS = {
    "CLIENT_MSG_ID_REUSED": "a message was imported with another text",
    "OUT_OF_ORDER": "a message is older than what its conversation has (--any-order takes it)",
}
"""What a refusal by the server means here."""
_IMPORTER = " importer"  # which is nobody's id in an export

T = TypeVar("T")


def run(arguments: Namespace) -> int:
    """Prints what was taken and what was not. Returns 1 if something could not be taken."""
    if len(arguments.files) != 1:
        raise SystemExit("gochat: an export is one file, or one folder")
    path, report = Path(arguments.files[0]), Report()
    prefix = f"{arguments.source}:" if arguments.prefix is None else arguments.prefix
    with Spool(report, int(time.time() * 1000)) as spool:
        try:
            spool.fill(_shown(read(arguments.source, path)))
        except ExportError as error:
            raise SystemExit(f"gochat: {path}: {error}") from None
        counts = ", ".join(f"{spool.count(table)} {table}" for table in ("users", "channels", "messages"))
        print(f"the export has {counts}", flush=True)
        if not arguments.dry_run:
            config = config_of(arguments)
            with (
                connection(config, LOGIC, arguments.address) as logic,
                connection(config, REPO, config.repo.address or arguments.address) as repo,
            ):
                loader = Loader(logic, repo, spool, report, prefix, arguments)
                try:
                    loader.load()
                except KeyboardInterrupt:
                    print(
                        "gochat: interrupted; the same command again does the rest, and no part twice", file=sys.stderr
                    )
                    return 130
            print(loader.summary())
    for line in report.lines():
        print(line)
    return 1 if report.has_errors else 0


class Loader:
    """One import. options: `unread`, `any_order`, and the name of the `owner` of groups without members."""

    def __init__(
        self,
        logic: NetworkChannel,
        repo: NetworkChannel,
        spool: Spool,
        report: Report,
        prefix: str,
        options: Namespace,
    ) -> None:
        self._users, self._messages = UserServiceStub(logic), MessageServiceStub(logic)
        self._conversations = ConversationServiceStub(logic)
        self._repo, self._store = RepoServiceStub(repo), StoreServiceStub(repo)
        self._spool, self._report, self._prefix, self._options = spool, report, prefix, options
        self._user_ids: dict[str, str] = {}  # by their ids in the export
        self._names: dict[str, str] = {}
        self._done = Counter[str]()

    def load(self) -> None:
        for users in _chunks(self._spool.users(), USERS):
            self._load_users(users)
            self._show("users")
        for channel, members in self._spool.channels():
            try:
                conversation_id = self._conversation(channel, members)
            except ChatError as error:
                self._refuse(f"messages of a channel: {error.message}", channel.id, self._spool.count_in(channel.id))
                continue
            if conversation_id:
                self._load_messages(channel, conversation_id)
        show_progress("", 0)

    def summary(self) -> str:
        done = self._done
        return "\n".join(
            [
                *(
                    f"{what}: {done[f'{what} taken']} taken, {done[f'{what} there']} there already"
                    for what in ("users", "channels", "messages")
                ),
                f"of the messages taken: {done['answers']} answer another one, {done['edited']} were edited, "
                f"{done['reactions']} reactions, {done['files']} files by their names alone",
            ]
        )

    def _show(self, what: str) -> None:
        done, total = self._done[f"{what} taken"] + self._done[f"{what} there"], self._spool.count(what)
        show_progress(f"{what} {{}} {done} of {total}", done / total if total else 0)

    def _refuse(self, reason: str, example: str, number: int = 1) -> None:
        self._report.add(NotTaken(reason, example, is_error=True), number)

    def _key(self, name: str) -> str:
        """What something of the export is called on the server."""
        return key_of(self._prefix, name)

    def _load_users(self, users: Sequence[User]) -> None:
        keys = {self._key(user.id): user for user in users}
        known = _retried(self._users.GetUsers, user_pb2.GetUsersRequest(ids=[EXTERNAL + key for key in keys])).users
        there = {each.external_id: (each.user.user_id, each.user.status == ACTIVE) for each in known}
        missing = {key: user for key, user in keys.items() if key not in there}
        self._done["users there"] += len(there)
        for is_retry in (False, True):  # the second time those whose username is taken, or is none, by another
            refused = {}
            for (key, user), result in self._upserted(missing, with_usernames=not is_retry):
                if result.user_id:
                    there[key] = result.user_id, True
                    self._done["users taken"] += 1
                elif is_retry:
                    self._refuse(f"a user: {result.error.message}", user.id)
                else:
                    refused[key] = user
            missing = refused
        for key, user in keys.items():
            if key in there:
                user_id, is_active = there[key]
                self._user_ids[user.id] = user_id
                self._names[user.id] = user.name or user.username or user.id
                if is_active and not user.is_active:
                    _retried(self._users.DisableUser, user_pb2.DisableUserRequest(user_id=user_id))

    def _upserted(self, users: dict[str, User], *, with_usernames: bool) -> Iterator[tuple[tuple[str, User], Any]]:
        if not users:
            return
        wanted = [
            user_pb2.UserUpsert(
                external_id=key,
                username=user.username if with_usernames else "",
                nickname=line_of(user.name, 64),
                email=email_of(user.email),
            )
            for key, user in users.items()
        ]
        results = _retried(self._users.UpsertUsers, user_pb2.UpsertUsersRequest(users=wanted)).results
        yield from zip(users.items(), results, strict=True)

    def _conversation(self, channel: Channel, members: Sequence[Member]) -> str:
        """The id of what the channel is here; "" for what cannot be one. Raises ChatError."""
        users = {member.user: self._user_ids[member.user] for member in members if member.user in self._user_ids}
        if channel.kind == DIRECT and not self._spool.count_in(channel.id):
            self._report.add(NotTaken("direct channels without messages", channel.id))
            return ""
        if channel.kind == DIRECT and len(users) < 2:
            to_oneself = NotTaken("messages to oneself, or to nobody in the export", channel.id)
            self._report.add(to_oneself, self._spool.count_in(channel.id))
            return ""
        if channel.kind == DIRECT and len(users) == 2:
            one, other = users.values()
            opened = _retried(
                self._conversations.OpenDirect, conversation_pb2.OpenDirectRequest(user_id=one, peer_user_id=other)
            )
            info = opened.conversation.state.info
            self._done["channels there" if info.last_message.message_id else "channels taken"] += 1
            return str(info.conversation_id)
        admins = [users[member.user] for member in members if member.is_admin and member.user in users]
        owner = users.get(channel.owner) or next(iter([*admins, *users.values()]), "")
        owner = owner or self._user_ids.get(channel.owner) or self._importer()
        name = channel.name or ", ".join(sorted(self._names[user] for user in users))
        user_ids = [user_id for user_id in users.values() if user_id != owner]
        made = _retried(
            self._store.CreateGroup,
            store_pb2.CreateGroupRequest(
                key=self._key(channel.id),
                name=line_of(name, 100) or "-",
                description=channel.about[:1000],
                owner_id=owner,
                max_members=MAX_MEMBERS,
                member_ids=user_ids[:MAX_BATCH],
                is_public=channel.kind == PUBLIC,
                is_closed=channel.kind != PUBLIC,
            ),
        )
        self._done["channels taken" if made.created else "channels there"] += 1
        group_id = str(made.group.group_id)
        if len(user_ids) > MAX_BATCH and (made.created or self._is_empty(group_id)):
            for some in _chunks(iter(user_ids[MAX_BATCH:]), MAX_BATCH):
                request = store_pb2.AddMembersRequest(group_id=group_id, user_ids=some, operator_id=made.group.owner_id)
                _retried(self._store.AddMembers, request)
        return group_id

    def _is_empty(self, group_id: str) -> bool:
        """An import was ended before its messages, and so maybe before its members."""
        return not _retried(
            self._repo.GetMessages, repo_pb2.GetMessagesRequest(conversation_id=group_id, limit=1)
        ).messages

    def _importer(self) -> str:
        """The user who owns groups that have nobody else."""
        if _IMPORTER not in self._user_ids:
            self._load_users([User(_IMPORTER, self._options.owner)])
        return self._user_ids[_IMPORTER]

    def _load_messages(self, channel: Channel, conversation_id: str) -> None:
        parents = self._spool.parents(channel.id)
        stored: dict[str, str] = {}  # id in the export -> message id, of those that others answer
        batch: list[tuple[str, types.ImportedMessage]] = []
        size, pending = 0, dict[str, str]()  # the latter: id in the export -> import_id, of the batch
        for message in self._spool.messages(channel.id):
            for number, text in enumerate(pieces_of(message.text)):
                import_id = self._key(message.id if number == 0 else f"{message.id}+{number}")
                reply_to = pending.get(message.parent) or stored.get(message.parent, "") if message.parent else ""
                if message.parent and not reply_to and number == 0:
                    self._report.add(
                        NotTaken("that it answers one which is not before it", f"{channel.id} {message.id}")
                    )
                made = types.ImportedMessage(
                    import_id=import_id,
                    from_user_id=self._user_ids.get(message.sender, ""),
                    content=text,
                    created_at=message.at,
                    edited_at=message.edited_at,
                    reply_to=reply_to,
                    reactions=self._reactions(message) if number == 0 else (),
                )
                if batch and (len(batch) == MAX_IMPORTED or size + made.ByteSize() > MAX_BATCH_SIZE):
                    self._send(conversation_id, batch, stored, parents)
                    batch, size, pending = [], 0, {}
                    made.reply_to = stored.get(message.parent, "") if message.parent else ""
                batch.append((message.id, made))
                size += made.ByteSize()
                if number == 0:
                    pending[message.id] = import_id
                    self._done["files"] += message.files
        if batch:
            self._send(conversation_id, batch, stored, parents)

    def _send(
        self,
        conversation_id: str,
        batch: Sequence[tuple[str, types.ImportedMessage]],
        stored: dict[str, str],
        parents: set[str],
    ) -> None:
        request = message_pb2.ImportMessagesRequest(
            conversation_id=conversation_id,
            messages=[message for _, message in batch],
            unread=self._options.unread,
            any_order=self._options.any_order,
        )
        results = _retried(self._messages.ImportMessages, request).results
        for (name, message), result in zip(batch, results, strict=True):
            if result.HasField("error"):
                reason = re.sub(r"^messages\[\d+\]\.", "", result.error.message)
                self._refuse(_REASONS.get(result.error.details["reason"], f"a message: {reason}"), message.import_id)
                continue
            if name in parents:
                stored.setdefault(name, result.message_id)
            self._done[f"messages {'there' if result.repeated else 'taken'}"] += 1
            if not result.repeated:
                self._done["answers"] += bool(message.reply_to)
                self._done["edited"] += message.edited_at > 0
                self._done["reactions"] += len(message.reactions)
        self._show("messages")

    def _reactions(self, message: Message) -> list[types.ImportedReaction]:
        """Those that can be taken."""
        taken: dict[tuple[str, str], int] = {}
        kinds: set[str] = set()
        for each in message.reactions:
            user_id, reaction = self._user_ids.get(each.user, ""), reaction_of(each.code)
            if not user_id or not reaction or len(taken) == MAX_BATCH or len(kinds | {reaction}) > MAX_REACTIONS:
                self._report.add(NotTaken("reactions by unknown users, of no known form, or too many", message.id))
                continue
            kinds.add(reaction)
            taken.setdefault((user_id, reaction), each.at)
        return [
            types.ImportedReaction(user_id=user_id, reaction=reaction, created_at=at)
            for (user_id, reaction), at in taken.items()
        ]


def _shown(records: Iterator[Record]) -> Iterator[Record]:
    """The same, with progress."""
    for number, record in enumerate(records, 1):
        if number % 10_000 == 0:
            show_progress(f"reading: {number} records", 0)
        yield record
    show_progress("", 0)


def _retried(call: Callable[[Any], T], request: Any) -> T:
    """The answer to a call that is safe to repeat; while the server is unavailable it is made again."""
    for attempt in range(ATTEMPTS - 1):
        try:
            return call(request)
        except ChatError as error:
            if error.status != code_pb2.UNAVAILABLE:
                raise
            time.sleep(FIRST_PAUSE * 2**attempt)
    return call(request)


def _chunks(values: Iterator[T], size: int) -> Iterator[list[T]]:
    some: list[T] = []
    for value in values:
        some.append(value)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some
