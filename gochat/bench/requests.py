"""The RPCs that are measured, and the requests of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

from gochat.api.common.v1.common_pb2 import PaginationRequest
from gochat.api.logic.v1 import logic_pb2 as pb
from gochat.api.message.v1 import message_pb2
from gochat.bench.clients import Person
from gochat.bench.seed import CONTENTS, username
from gochat.config import ConfigError
from gochat.domain import ids, limits
from gochat.rpc.load import ECHO, Script

SIMPLE, COMPLEX, WRITE, BATCH = 50, 200, 100, 1000  # ms that the specification allows ("响应时间")
PAGE = 20
_LOGIC = "/gochat.api.logic.v1.LogicService/"
_BULK = "/gochat.api.message.v1.MessageService/SendMessages"
_NAMES = 50  # usernames that are searched for in turn

Call = tuple[str, bytes]


@dataclass(frozen=True)
class Rpc:
    """limit: milliseconds that the specification allows. calls(people, caller, lane): the calls that a worker makes in
    turn as this caller; lane numbers the workers of one caller. finite: a call has an effect only the first time, so
    the calls are divided among the workers of one caller."""

    limit: int
    calls: Callable[[Sequence[Person], Person, int], list[Call]]
    finite: bool = False


def scripts(rpc: Rpc, people: Sequence[Person], workers: int) -> list[Script]:
    """A script for each worker; the workers are spread over the people. Raises ConfigError if there is nothing to
    call."""
    made = []
    for worker in range(workers):
        caller = people[worker % len(people)]
        lane, lanes = worker // len(people), len(range(worker % len(people), workers, len(people)))
        calls = rpc.calls(people, caller, lane)
        if rpc.finite:
            calls = calls[lane * len(calls) // lanes : (lane + 1) * len(calls) // lanes]
        if not calls:
            raise ConfigError("--data, --database: earlier measurements left nothing to do: use a new one")
        made.append(Script(calls, caller.token))
    return made


def echo_scripts(workers: int) -> list[Script]:
    return [Script([(ECHO, b"x" * 64)])] * workers


def call(rpc: str, request: Message) -> Call:
    """An RPC of LogicService."""
    return _LOGIC + rpc, request.SerializeToString()


def _rotated(calls: list[Call], lane: int) -> list[Call]:
    """Has each worker of a caller start with another call."""
    start = lane * len(calls) // 4 % max(1, len(calls))
    return calls[start:] + calls[:start]


def _validate_token(_: Sequence[Person], caller: Person, __: int) -> list[Call]:
    return [call("ValidateToken", pb.ValidateTokenRequest(token=caller.token))]


def _get_user_profile(people: Sequence[Person], _: Person, lane: int) -> list[Call]:
    return _rotated([call("GetUserProfile", pb.GetUserProfileRequest(user_id=one.user_id)) for one in people], lane)


def _send_message(_: Sequence[Person], caller: Person, lane: int) -> list[Call]:
    """To conversations without unread messages, since a send marks a conversation as read."""
    unread = {info.conversation_id for info in caller.unread}
    calls = [
        call(
            "SendMessage",
            pb.SendMessageRequest(conversation_id=info.conversation_id, content=CONTENTS[number % len(CONTENTS)]),
        )
        for number, info in enumerate(caller.conversations)
        if info.conversation_id not in unread
    ]
    return _rotated(calls, lane)


def _send_messages(_: Sequence[Person], caller: Person, lane: int) -> list[Call]:
    """Requests of the largest size, to one conversation after the other."""
    calls = []
    for info in caller.conversations:
        messages = [
            pb.SendMessageRequest(conversation_id=info.conversation_id, content=CONTENTS[number % len(CONTENTS)])
            for number in range(limits.MAX_BATCH)
        ]
        calls.append((_BULK, message_pb2.SendMessagesRequest(messages=messages).SerializeToString()))
    return _rotated(calls, lane)


def _get_message_history(_: Sequence[Person], caller: Person, lane: int) -> list[Call]:
    requests = [
        pb.GetMessageHistoryRequest(conversation_id=info.conversation_id, limit=PAGE) for info in caller.conversations
    ]
    return _rotated([call("GetMessageHistory", request) for request in requests], lane)


def _get_unread_messages(_: Sequence[Person], __: Person, ___: int) -> list[Call]:
    return [call("GetUnreadMessages", pb.GetUnreadMessagesRequest())]


def _get_conversations(_: Sequence[Person], __: Person, ___: int) -> list[Call]:
    return [call("GetConversations", pb.GetConversationsRequest(pagination=PaginationRequest(limit=PAGE)))]


def _mark_message_read(_: Sequence[Person], caller: Person, __: int) -> list[Call]:
    """One message after the other, but not the last one, so that the conversation stays unread."""
    calls = []
    for info in caller.unread:
        parsed = ids.parse_message(info.last_message.message_id)
        last = parsed[1] if parsed else 0
        for seq in range(max(1, last - info.unread_count + 1), last):
            message_id = ids.message(info.conversation_id, seq)
            request = pb.MarkMessageReadRequest(conversation_id=info.conversation_id, message_id=message_id)
            calls.append(call("MarkMessageRead", request))
    return calls


def _search_users(_: Sequence[Person], __: Person, lane: int) -> list[Call]:
    """Parts of usernames; each finds one user."""
    queries = [username(number)[1:] for number in range(_NAMES)]
    return _rotated([call("SearchUsers", pb.SearchUsersRequest(query=query)) for query in queries], lane)


def _get_group_members(_: Sequence[Person], caller: Person, lane: int) -> list[Call]:
    requests = [pb.GetGroupMembersRequest(group_id=group_id) for group_id in caller.groups]
    return _rotated([call("GetGroupMembers", request) for request in requests], lane)


def _join_and_leave(people: Sequence[Person], caller: Person, lane: int) -> list[Call]:
    others = [group_id for one in people for group_id in one.groups if group_id not in caller.groups]
    if not others:
        return []
    group_id = others[lane % len(others)]
    return [
        call("JoinGroup", pb.JoinGroupRequest(group_id=group_id)),
        call("LeaveGroup", pb.LeaveGroupRequest(group_id=group_id)),
    ]


RPCS = {
    "ValidateToken": Rpc(SIMPLE, _validate_token),
    "GetUserProfile": Rpc(SIMPLE, _get_user_profile),
    "SendMessage": Rpc(WRITE, _send_message),
    "GetMessageHistory": Rpc(COMPLEX, _get_message_history),
    "GetUnreadMessages": Rpc(COMPLEX, _get_unread_messages),
    "GetConversations": Rpc(COMPLEX, _get_conversations),
    "MarkMessageRead": Rpc(WRITE, _mark_message_read, finite=True),
    "SearchUsers": Rpc(COMPLEX, _search_users),
    "GetGroupMembers": Rpc(COMPLEX, _get_group_members),
    "JoinGroup": Rpc(WRITE, _join_and_leave),
    "SendMessages": Rpc(BATCH, _send_messages),
}
