"""No RPC that lists runs more statements for a longer answer; on SQLite one that sends does, for each message."""

from collections.abc import Callable
from typing import Any

import pytest

from gochat.api.common.v1.common_pb2 import PaginationRequest
from gochat.api.group.v1 import group_pb2 as api
from gochat.api.group.v1 import group_types_pb2 as types
from gochat.api.message.v1 import message_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.api.user.v1 import user_pb2
from gochat.app import repo_handlers
from gochat.config import Messages
from gochat.events.relay import Relay
from gochat.internal.conversation.v1 import conversation_pb2
from gochat.internal.group.v1 import group_pb2
from gochat.internal.message.v1 import message_pb2 as message_store_pb2
from gochat.internal.store.v1 import store_pb2
from gochat.internal.user.v1 import user_pb2 as user_store_pb2
from gochat.repo.inboxes import Inboxes
from gochat.services import REPO, served_by
from gochat.serving.binding import bind
from gochat.storage.database import Database, Tx

FEW, MANY = 2, 12


class Handlers:
    """Every RPC of the repo half by its name."""

    def __init__(self, database: Database) -> None:
        methods = bind(served_by(REPO), repo_handlers(database, Relay(), Messages(), Inboxes(database))).items()
        self._methods = {(path.rpartition("/")[2], method.request_class): method for path, method in methods}

    def __getattr__(self, rpc: str) -> Callable[[Any], Any]:
        return lambda request: self._methods[rpc, type(request)](request)


class World:
    """A user with so many groups, each with so many members and messages, of which some are recalled."""

    def __init__(self, handlers: Handlers, size: int) -> None:
        self.users = [
            handlers.CreateUser(repo_pb2.CreateUserRequest(username=f"user{size}x{n}", password="x")).user_id
            for n in range(size)
        ]
        self.reader, *others = self.users
        self.groups = []
        self.messages = []
        for number in range(size):
            request = store_pb2.CreateGroupRequest(name=f"{size}.{number}", owner_id=self.reader, member_ids=others)
            self.groups.append(handlers.CreateGroup(request).group.group_id)
        self.group = self.groups[0]
        for group in self.groups:
            for _ in range(size):
                send = repo_pb2.CreateMessageRequest(conversation_id=group, from_user_id=others[0], content="x")
                self.messages.append(handlers.CreateMessage(send).message_id)
            for message_id in self.messages[-size:]:  # but the last one is recalled, with all of it
                act = {"message_id": message_id}
                pin = message_store_pb2.PinMessageRequest(service=True, request=message_pb2.PinMessageRequest(**act))
                handlers.PinMessage(pin)
                for user in self.users:
                    reaction = message_pb2.AddReactionRequest(**act, reaction="👍")
                    handlers.AddReaction(message_store_pb2.AddReactionRequest(user_id=user, request=reaction))
            recall = repo_pb2.UpdateMessageStatusRequest(message_id=self.messages[-1], status=4, user_id=self.reader)
            handlers.UpdateMessageStatus(recall)
        self.messages = self.messages[:size]
        self._besiege(handlers, size)

    def _besiege(self, handlers: Handlers, size: int) -> None:
        """So many are banned from the first group, and so many ask to join the second; the first has as many
        invitations, and its members have titles."""

        def ask(rpc: str, **fields: Any) -> None:
            request, acting = getattr(api, f"{rpc}Request"), {"service": True}
            if rpc == "RequestToJoin":
                acting = {"user_id": fields["user_id"]}
            getattr(handlers, rpc)(getattr(group_pb2, f"{rpc}Request")(request=request(**fields), **acting))

        ask("UpdateGroupSettings", group_id=self.groups[1], joining=types.JOINING_APPROVAL)
        for number, member in enumerate(self.users):
            new = repo_pb2.CreateUserRequest(username=f"stranger{size}x{number}", password="x")
            stranger = handlers.CreateUser(new).user_id
            ask("BanMember", group_id=self.group, user_id=stranger)
            ask("RequestToJoin", group_id=self.groups[1], user_id=stranger)
            ask("CreateInvitation", group_id=self.group)
            ask("SetMemberTitle", group_id=self.group, user_id=member, title="Poet")


PAGE = PaginationRequest(limit=100)


def _of_group(handlers: Handlers, world: World, rpc: str, group_id: str) -> Any:
    request = getattr(api, f"{rpc}Request")(group_id=group_id)
    answer = getattr(handlers, rpc)(getattr(group_pb2, f"{rpc}Request")(user_id=world.reader, request=request))
    ((_, listed),) = answer.ListFields()
    return listed


LISTS: dict[str, Callable[[Handlers, World], Any]] = {
    "GetUsers": lambda h, w: h.GetUsers(repo_pb2.GetUsersRequest(user_ids=w.users)).users,
    "FindUsers": lambda h, w: (
        h.FindUsers(store_pb2.FindUsersRequest(query=f"user{len(w.users)}x", pagination=PAGE)).users
    ),
    "GetMessages by id": lambda h, w: (
        h.GetMessages(repo_pb2.GetMessagesRequest(conversation_id=w.group, message_ids=w.messages)).messages
    ),
    "GetMessages by page": lambda h, w: h.GetMessages(repo_pb2.GetMessagesRequest(conversation_id=w.group)).messages,
    "GetHistory": lambda h, w: (
        h.GetHistory(store_pb2.GetHistoryRequest(conversation_id=w.group, user_id=w.reader)).messages
    ),
    "ListMessages": lambda h, w: (
        h.ListMessages(
            message_store_pb2.ListMessagesRequest(
                user_id=w.reader, request=message_pb2.ListMessagesRequest(conversation_id=w.group)
            )
        ).messages
    ),
    "ListPinnedMessages": lambda h, w: (
        h.ListPinnedMessages(
            message_store_pb2.ListPinnedMessagesRequest(
                user_id=w.reader, request=message_pb2.ListPinnedMessagesRequest(conversation_id=w.group)
            )
        ).messages
    ),
    "GetUnread": lambda h, w: h.GetUnread(store_pb2.GetUnreadRequest(user_id=w.reader)).conversations,
    "GetConversationsByUser": lambda h, w: (
        h.GetConversationsByUser(
            repo_pb2.GetConversationsByUserRequest(user_id=w.reader, pagination=PAGE)
        ).conversations
    ),
    "GetConversationParticipants": lambda h, w: (
        h.GetConversationParticipants(
            repo_pb2.GetConversationParticipantsRequest(conversation_id=w.group)
        ).participant_ids
    ),
    "GetGroupsByUser": lambda h, w: (
        h.GetGroupsByUser(repo_pb2.GetGroupsByUserRequest(user_id=w.reader, pagination=PAGE)).groups
    ),
    "GetGroupMembers": lambda h, w: (
        h.GetGroupMembers(repo_pb2.GetGroupMembersRequest(group_id=w.group, pagination=PAGE)).members
    ),
    "ListMembers": lambda h, w: (
        h.ListMembers(store_pb2.ListMembersRequest(group_id=w.group, user_id=w.reader, pagination=PAGE)).members
    ),
    "ListConversations": lambda h, w: (
        h.ListConversations(conversation_pb2.ListConversationsRequest(user_id=w.reader)).conversations
    ),
    "GetReceipts": lambda h, w: (
        h.GetReceipts(
            conversation_pb2.GetReceiptsRequest(user_id=w.reader, request={"message_id": w.messages[0]})
        ).receipts
    ),
    "ListMembers with details": lambda h, w: _of_group(h, w, "ListMembers", w.group),
    "ListBannedMembers": lambda h, w: _of_group(h, w, "ListBannedMembers", w.group),
    "ListJoinRequests": lambda h, w: _of_group(h, w, "ListJoinRequests", w.groups[1]),
    "ListInvitations": lambda h, w: _of_group(h, w, "ListInvitations", w.group),
    "GetUsers by either id": lambda h, w: h.GetUsers(user_pb2.GetUsersRequest(ids=w.users)).users,
    "ResolveUsers": lambda h, w: h.ResolveUsers(user_store_pb2.ResolveUsersRequest(names=w.users)).users,
    "UpsertUsers": lambda h, w: (
        h.UpsertUsers(
            user_pb2.UpsertUsersRequest(
                users=[user_pb2.UserUpsert(user_id=user, bio=f"now {id(w)}", external_id=user) for user in w.users]
            )
        ).results
    ),
    "StoreMessages": lambda h, w: (
        h.StoreMessages(
            store_pb2.StoreMessagesRequest(
                messages=[
                    repo_pb2.CreateMessageRequest(
                        conversation_id=w.group, from_user_id=user, content="x", metadata={"client_msg_id": "1"}
                    )
                    for user in w.users
                ]
            )
        ).results
    ),
    "AddMembers": lambda h, w: (
        h.AddMembers(
            store_pb2.AddMembersRequest(
                operator_id=w.reader,
                user_ids=w.users,
                group_id=h.CreateGroup(store_pb2.CreateGroupRequest(name="new", owner_id=w.reader)).group.group_id,
            )
        ).added_user_ids
    ),
}


def statements(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """(text, parameters) of what is run from now on; of Peewee's own queries the kind."""
    seen: list[tuple[str, Any]] = []
    by_hand, by_peewee = Tx._execute, Tx.run

    def execute(tx: Tx, text: str, parameters: Any) -> Any:
        if "processes" not in text:  # the lease is renewed by a thread of its own
            seen.append((text, parameters))
        return by_hand(tx, text, parameters)

    def run(tx: Tx, query: Any) -> Any:
        seen.append((type(query).__name__, ()))
        return by_peewee(tx, query)

    monkeypatch.setattr(Tx, "_execute", execute)
    monkeypatch.setattr(Tx, "run", run)
    return seen


def test_the_number_of_statements_does_not_grow_with_the_answer(
    database: Database, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers = Handlers(database)
    worlds = [World(handlers, size) for size in (FEW, MANY)]
    seen = statements(monkeypatch)
    counts = {}
    for name, call in LISTS.items():
        counts[name] = []
        for world in worlds:
            seen.clear()
            answer = call(handlers, world)
            assert len(world.users) - 1 <= len(answer) <= len(world.users), name
            counts[name].append(len(seen))
    if dialect == "sqlite":
        (few, many), messages = counts.pop("StoreMessages"), MANY - FEW
        assert many - few <= 4 * messages, "of each its sender, its client_msg_id, the message, the read position"
    assert {name: few for name, (few, many) in counts.items() if few != many or not few} == {}
