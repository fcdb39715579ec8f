"""Who may call what: every RPC as every kind of caller, in their own and in another's name, held against access.py."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2, error_details_pb2, status_pb2

from gochat.domain.access import RULES, Access, Condition, Rule
from gochat.errors import STATUS_OF
from gochat.services import SERVICES, Audience, rpcs
from tests.attacks import group_requests
from tests.attacks.world import CALLERS, INSIDE, NOBODY, PEOPLE, PLATFORM_ADMIN, PRIVILEGED, SERVICE, Place, World, soon
from tests.harness import PASSWORD, Deployment, fresh

RPCS = rpcs()
APPS = rpcs(service for service in SERVICES if service.audience is Audience.APPS)

STATUSES = {
    "NO_TOKEN": "UNAUTHENTICATED",
    "INVALID_FIELD": "INVALID_ARGUMENT",
    "ALREADY_A_MEMBER": "ALREADY_EXISTS",
    "SESSION_NOT_FOUND": "NOT_FOUND",
    "REQUEST_NOT_FOUND": "NOT_FOUND",
    "MESSAGE_NOT_FOUND": "NOT_FOUND",
}
"""The status of a reason; PERMISSION_DENIED of those that are not here."""

ACTORS = ("from_user_id", "owner_id", "operator_id", "user_id")
"""The request fields that name who acts: the first of them that a request has."""

REGISTER, REVOKE, REFRESH = (
    f"/gochat.api.session.v1.SessionService/{rpc}" for rpc in ("Register", "RevokeSession", "RefreshToken")
)
GROUPS = "/gochat.api.group.v1.GroupService/"
SUBSCRIBE = "/gochat.api.event.v1.EventService/Subscribe"
ENDS_THE_SESSION = ("/Logout", "SessionService/ChangePassword")


def session(place: Place) -> dict[str, Any]:
    """A new session of the other's, to be rotated."""
    session_id, refresh_id = place.world.open_session(place.world.other)
    return {"session_id": session_id, "refresh_id": refresh_id, "expires_at": soon()}


def in_it(place: Place, **more: Any) -> dict[str, Any]:
    return {"conversation_id": place.id} | more


def of_message(place: Place, **more: Any) -> dict[str, Any]:
    return {"message_id": place.message_id} | more


def of_group(place: Place, **more: Any) -> dict[str, Any]:
    return {"group_id": place.id} | more


def by(place: Place, who: str, key: str = "user_id", **more: Any) -> dict[str, Any]:
    return {key: place.world.id_of(who)} | more


def of_other(place: Place, **more: Any) -> dict[str, Any]:
    return {"user_id": place.world.other.id} | more


def credentials(place: Place) -> dict[str, Any]:
    return {"username": place.world.other.username, "password": PASSWORD}


def nothing(_: Place) -> dict[str, Any]:
    return {}


NEW_PASSWORD = {"old_password": PASSWORD, "new_password": PASSWORD}

VALID: dict[str, dict[str, Callable[[Place], dict[str, Any]]]] = {
    "api.logic.v1.LogicService": {
        "Authenticate": credentials,
        "ValidateToken": lambda p: {"token": p.world.other.access_token},
        "GetUserProfile": of_other,
        "UpdateUserProfile": lambda _: {"bio": fresh("bio")},
        "SearchUsers": lambda p: {"query": p.world.other.username},
        "SendMessage": lambda p: in_it(p, content="hello"),
        "GetMessageHistory": in_it,
        "MarkMessageRead": lambda p: in_it(p, message_id=p.message_id),
        "GetUnreadMessages": nothing,
        "CreateConversation": lambda p: {"type": "group", "name": "New", "user_ids": [p.world.other.id]},
        "GetConversations": nothing,
        "UpdateConversation": lambda p: in_it(p, name=fresh("name")),
        "DeleteConversation": in_it,
        "CreateGroup": lambda _: {"name": "New"},
        "GetGroupInfo": of_group,
        "UpdateGroup": lambda p: of_group(p, name=fresh("name")),
        "JoinGroup": of_group,
        "LeaveGroup": of_group,
        "GetGroupMembers": of_group,
        "AddGroupMember": lambda p: of_group(p, user_ids=[p.world.id_of("outsider")]),
        "RemoveGroupMember": lambda p: of_group(p, user_id=p.world.other.id),
    },
    "api.session.v1.SessionService": {
        "RefreshToken": lambda p: {"refresh_token": p.world.signed_in(p.world.other).refresh_token},
        "Register": lambda _: {"username": fresh(), "password": PASSWORD},
        "Logout": nothing,
        "ListSessions": nothing,
        "RevokeSession": nothing,  # session_id comes with the name of whose it is
        "ChangePassword": lambda _: NEW_PASSWORD,
    },
    "api.message.v1.MessageService": {
        "SendMessages": lambda p: in_it(p, content="hello"),
        "ListMessages": in_it,
        "GetMessage": of_message,
        "EditMessage": lambda p: of_message(p, content=fresh("content")),
        "ListVersions": of_message,
        "RecallMessage": of_message,
        "DeleteMessage": of_message,
        "AddReaction": lambda p: of_message(p, reaction="👍"),
        "RemoveReaction": lambda p: of_message(p, reaction="👍"),
        "ListReactions": of_message,
        "PinMessage": of_message,
        "UnpinMessage": of_message,
        "ListPinnedMessages": in_it,
    },
    "internal.message.v1.MessageStoreService": {
        "ListMessages": lambda p: {"service": True, "request": in_it(p)},
        "GetMessage": lambda p: {"service": True, "request": of_message(p)},
        "EditMessage": lambda p: by(p, "owner", request=of_message(p, content=fresh("content"))),
        "ListVersions": lambda p: by(p, "owner", request=of_message(p)),
        "RecallMessage": lambda p: by(p, "owner", request=of_message(p)),
        "DeleteMessage": lambda p: by(p, "member", request=of_message(p)),
        "AddReaction": lambda p: by(p, "member", request=of_message(p, reaction="👍")),
        "RemoveReaction": lambda p: by(p, "member", request=of_message(p, reaction="👍")),
        "ListReactions": lambda p: by(p, "member", request=of_message(p)),
        "PinMessage": lambda p: by(p, "owner", request=of_message(p)),
        "UnpinMessage": lambda p: by(p, "owner", request=of_message(p)),
        "ListPinnedMessages": lambda p: by(p, "member", request=in_it(p)),
    },
    "api.group.v1.GroupService": group_requests.REQUESTS,
    "internal.group.v1.GroupStoreService": group_requests.STORED,
    "api.repo.v1.RepoService": {
        "CreateUser": lambda _: {"username": fresh(), "password": PASSWORD},
        "GetUser": of_other,
        "UpdateUser": lambda p: of_other(p, nickname=fresh("nick")),
        "GetUsers": lambda p: {"user_ids": [p.world.other.id]},
        "CreateMessage": lambda p: by(p, "owner", "from_user_id", **in_it(p, content="hello")),
        "GetMessages": in_it,
        "UpdateMessageStatus": lambda p: by(p, "member", message_id=p.message_id, status=2),
        "DeleteMessage": lambda p: by(p, "owner", message_id=p.message_id),
        "CreateConversation": lambda p: {"type": "group", "name": "New", "participant_ids": [p.world.other.id]},
        "GetConversation": in_it,
        "UpdateConversation": lambda p: in_it(p, name=fresh("name")),
        "GetConversationsByUser": of_other,
        "GetConversationParticipants": in_it,
        "CreateGroup": lambda p: by(p, "owner", "owner_id", name="New"),
        "GetGroup": of_group,
        "UpdateGroup": lambda p: of_group(p, name=fresh("name")),
        "GetGroupsByUser": of_other,
        "AddGroupMember": lambda p: by(p, "outsider", **of_group(p)),
        "RemoveGroupMember": lambda p: of_other(p, **of_group(p)),
        "GetGroupMembers": of_group,
        "UpdateGroupMemberRole": lambda p: of_other(p, **of_group(p, role="admin")),
    },
    "internal.store.v1.StoreService": {
        "GetProfile": of_other,
        "UpdateProfile": lambda p: of_other(p, bio=fresh("bio")),
        "FindUsers": lambda p: {"query": p.world.other.username},
        "StoreMessage": lambda p: by(p, "owner", "from_user_id", **in_it(p, content="hello")),
        "StoreMessages": lambda p: by(p, "owner", "from_user_id", **in_it(p, content="hello")),
        "GetHistory": lambda p: by(p, "member", **in_it(p)),
        "MarkRead": lambda p: by(p, "member", **in_it(p, message_id=p.message_id)),
        "GetUnread": of_other,
        "HideConversation": lambda p: by(p, "member", **in_it(p)),
        "UpdateConversation": lambda p: by(p, "owner", **in_it(p, name=fresh("name"))),
        "CreateGroup": lambda p: by(p, "owner", "owner_id", name="New"),
        "UpdateGroup": lambda p: by(p, "owner", **of_group(p, name=fresh("name"))),
        "JoinGroup": lambda p: by(p, "outsider", **of_group(p)),
        "LeaveGroup": lambda p: by(p, "member", **of_group(p)),
        "AddMembers": lambda p: by(p, "owner", "operator_id", **of_group(p, user_ids=[p.world.id_of("outsider")])),
        "RemoveMember": lambda p: by(p, "owner", "operator_id", **of_group(p, user_id=p.world.other.id)),
        "ListMembers": lambda p: by(p, "member", **of_group(p)),
    },
    "internal.account.v1.AccountService": {
        "Register": lambda _: {
            "username": fresh(),
            "password": PASSWORD,
            "refresh_id": fresh("refresh"),
            "expires_at": soon(),
        },
        "SignIn": lambda p: credentials(p) | {"refresh_id": fresh("refresh"), "expires_at": soon()},
        "ChangePassword": lambda p: of_other(p, **session(p), **NEW_PASSWORD),
        "SetPassword": lambda p: of_other(p, password=PASSWORD),
        "SetUserRole": lambda p: of_other(p, role="user"),
        "GetUserRoles": lambda p: {"user_ids": [p.world.other.id]},
        "RotateSession": lambda p: session(p) | {"next_refresh_id": fresh("refresh")},
        "EndSession": lambda p: of_other(p, session_id=session(p)["session_id"]),
        "ListUserSessions": of_other,
        "ListEndedSessions": lambda _: {"position": 0},
    },
    "api.event.v1.EventService": {
        "Subscribe": nothing,
        "GetState": nothing,
        "Acknowledge": lambda p: {"message_ids": [p.message_id]},
        "SetTyping": lambda p: in_it(p, typing=True),
    },
    "internal.change.v1.ChangeService": {
        "ReadChanges": nothing,
        "DescribeChanges": nothing,
        "OpenFeed": of_other,
        "ListStates": of_other,
        "Acknowledge": lambda p: by(p, "owner", message_ids=[p.message_id]),
    },
    "internal.signal.v1.SignalService": {
        "Watch": nothing,
        "Publish": nothing,
        "CheckTyping": lambda p: by(p, "owner", **in_it(p)),
        "ListActivity": of_other,
        "RecordActivity": nothing,
    },
    "api.conversation.v1.ConversationService": {
        "OpenDirect": lambda p: {"peer_user_id": p.world.other.id},
        "GetConversation": in_it,
        "UpdateSettings": lambda p: in_it(p, archived=True, marked_unread=True),
        "ListConversations": nothing,
        "GetReceipts": lambda p: {"message_id": p.message_id},
    },
    "internal.conversation.v1.ConversationStoreService": {
        "OpenDirect": lambda p: by(p, "owner", request={"peer_user_id": p.world.other.id}),
        "GetConversation": lambda p: by(p, "owner", request=in_it(p)),
        "UpdateSettings": lambda p: by(p, "owner", request=in_it(p, archived=True)),
        "ListConversations": lambda p: by(p, "owner"),
        "GetReceipts": lambda p: by(p, "owner", request={"message_id": p.message_id}),
    },
    "api.audit.v1.AuditService": {
        "ListEvents": nothing,
        "RecordEvent": lambda _: {"action": "key.rotate", "target_id": fresh("key")},
    },
}
"""A valid request of each RPC, or the one message of it; whoever calls. Where callers must act for themselves, nobody
is named yet."""

BUILDERS = {f"/gochat.{service}/{rpc}": valid for service, rpcs in VALID.items() for rpc, valid in rpcs.items()}


def fields_of(path: str) -> set[str]:
    """Of a request, or of each of its messages."""
    kind = RPCS[path].input_type
    many = kind.fields_by_name.get("messages")
    return {field.name for field in (many.message_type if many else kind).fields}


def actor_field(path: str) -> str:
    if path == REVOKE:
        return "session_id"
    if path.startswith(GROUPS) and not path.endswith(group_requests.PERSONAL):
        return ""  # user_id is whom the act is about
    names = fields_of(path)
    return next((name for name in ACTORS if name in names), "")


def verdict(rule: Rule, caller: str, named: str, place: Place, *, may_be_nobody: bool = False) -> str:
    """The reason for which the call is refused; "" if it is not. named: who acts by the request; "" for nobody.
    may_be_nobody: a service may act for itself."""
    if rule.access is Access.ANYONE:
        return ""
    if caller == NOBODY:
        return "NO_TOKEN"
    if rule.access is Access.SERVICE:
        return "" if caller in PRIVILEGED else "NOT_A_SERVICE"
    if Condition.SELF in rule.on:
        if named not in ("", caller) and caller not in PRIVILEGED:
            return "NOT_YOURSELF"
        if not named and caller == SERVICE and not may_be_nobody:
            return "INVALID_FIELD"
    elif caller in PRIVILEGED:
        return ""
    role = place.roles.get(named or caller, "")
    manages = place.kind == "single" or role in ("owner", "admin")
    is_sender = (named or caller) == "owner"  # of the message of a place
    if Condition.SEES in rule.on and role not in INSIDE:
        return "MESSAGE_NOT_FOUND"
    if Condition.SENDER in rule.on and not is_sender:
        return "NOT_THE_SENDER"
    if Condition.SENDER_OR_MANAGER in rule.on and not (is_sender or (manages and place.kind == "group")):
        return "NOT_THE_SENDER"
    if (
        rule.on & (Condition.PARTICIPANT | Condition.MEMBER | Condition.MANAGER | Condition.OUTRANKS | Condition.OWNER)
        and role not in INSIDE
    ):
        return "NOT_A_PARTICIPANT"
    if rule.on & (Condition.MANAGER | Condition.OUTRANKS) and not manages:
        return "NOT_A_MANAGER"
    if Condition.OWNER in rule.on and role != "owner":
        return "NOT_THE_OWNER"
    if Condition.MAY_JOIN in rule.on and role:
        return "REMOVED" if role == "removed" else "ALREADY_A_MEMBER"
    return "OWNER" if Condition.MAY_LEAVE in rule.on and role == "owner" else ""


def expected(path: str, caller: str, named: str, place: Place) -> str:
    reason = verdict(RULES[path], caller, named, place, may_be_nobody=path == SUBSCRIBE)
    if path == REGISTER:
        reason = "REGISTRATION_CLOSED"  # by the setting of the server that the tests share, to everybody
    elif path == REVOKE and reason == "NOT_YOURSELF":
        reason = "SESSION_NOT_FOUND"  # an answer does not reveal that there is such a session
    elif path.startswith(GROUPS) and reason == "REMOVED":
        reason = ""  # who was removed may be invited, and may ask
    elif path == f"{GROUPS}CancelRequest" and not reason and place.roles.get(named or caller) in INSIDE:
        reason = "REQUEST_NOT_FOUND"
    return f"{STATUSES.get(reason, 'PERMISSION_DENIED')} {reason}" if reason else "OK"


def trials(path: str) -> Iterator[tuple[str, str]]:
    """(who calls, who acts by the request)"""
    rule, names = RULES[path], actor_field(path)
    for caller in CALLERS:
        if path != REVOKE or caller == NOBODY:
            yield caller, ""
        if names and Condition.SELF in rule.on and caller != NOBODY:
            # Where no relation to a conversation counts, one other person is like another.
            some = PEOPLE if rule.on != Condition.SELF else ("owner", "outsider", caller)
            yield from ((caller, named) for named in dict.fromkeys(some) if named in PEOPLE)
        elif names and rule.access is Access.SERVICE and caller not in (NOBODY, *PRIVILEGED):
            yield caller, caller


def request(path: str, named: str, place: Place, valid: dict[str, Any]) -> bytes:
    world = place.world
    if named:
        valid = valid | {actor_field(path): world.spare_session(named) if path == REVOKE else world.id_of(named)}
    if "messages" in RPCS[path].input_type.fields_by_name:
        valid = {"messages": [valid]}
    return bytes(GetMessageClass(RPCS[path].input_type)(**valid).SerializeToString())


def outcome(path: str, caller: str, data: bytes, world: World) -> str:
    """ "OK", or the status and the reason."""
    channel = world.app.channel_of(path)
    try:
        if RPCS[path].server_streaming:
            stream = channel.unary_stream(path)(data, metadata=world.metadata(caller), timeout=30)
            answer = next(stream)
            stream.cancel()
        else:
            answer = channel.unary_unary(path)(data, metadata=world.metadata(caller), timeout=30)
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        info, trailing = error_details_pb2.ErrorInfo(), dict(error.trailing_metadata() or ())
        assert "grpc-status-details-bin" in trailing, f"{error.code()} {error.details()}"
        for detail in status_pb2.Status.FromString(trailing["grpc-status-details-bin"]).details:
            detail.Unpack(info)
        return f"{error.code().name} {info.reason}"
    for result in getattr(GetMessageClass(RPCS[path].output_type).FromString(answer), "results", ()):
        if result.error.code:
            return f"{code_pb2.Code.Name(STATUS_OF[result.error.code])} {result.error.details['reason']}"
    return "OK"


@pytest.fixture(scope="module")
def world(app: Deployment) -> World:
    people = {name: app.person(name.split()[0], admin=name == PLATFORM_ADMIN) for name in PEOPLE}
    return World(app, people, app.person("other"))


def test_every_rpc_has_a_rule_and_a_request_here() -> None:
    assert RULES.keys() == RPCS.keys()
    assert BUILDERS.keys() == RPCS.keys()


def test_the_repo_half_is_for_services_and_three_rpcs_are_for_anyone() -> None:
    anyone = ("/gochat.api.logic.v1.LogicService/Authenticate", REGISTER, REFRESH)
    for path, rule in RULES.items():
        apps = Access.ANYONE if path in anyone else Access.SIGNED_IN
        assert rule.access is (apps if path in APPS else Access.SERVICE), path


def test_the_actor_named_in_the_request_of_an_app_is_the_caller() -> None:
    """The rules of requests that name who acts say so, and no others do."""
    for path, rule in RULES.items():
        if rule.access is Access.SIGNED_IN and path != "/gochat.api.logic.v1.LogicService/GetUserProfile":
            nameless = path.endswith(ENDS_THE_SESSION)
            assert (Condition.SELF in rule.on) == (nameless or bool(actor_field(path))), path


@pytest.mark.parametrize("path", RPCS)
def test_each_rpc_admits_and_refuses_callers_by_its_rule(world: World, path: str) -> None:
    fields = fields_of(path)
    spoils = writes(path) and not {"group_id", "conversation_id", "message_id", "token", "request"}.isdisjoint(fields)
    is_of_conversation = not {"conversation_id", "message_id"}.isdisjoint(fields)
    for kind in ("group", "single") if path in APPS and is_of_conversation else ("group",):
        if "message_id" in fields:
            world.places.pop(kind, None)  # its message may be hidden or recalled by now
        right = {trial: expected(path, *trial, world.place(kind)) for trial in trials(path)}
        refused = {trial: answer for trial, answer in right.items() if answer != "OK"}
        if refused:
            check_refusals(path, world.place(kind), refused)
        for caller, named in (trial for trial in right if trial not in refused):
            place = world.place(kind)
            data = request(path, named, place, BUILDERS[path](place))
            assert (caller, named, outcome(path, caller, data, world)) == (caller, named, "OK")
            if spoils and (kind == "group" or "message_id" in fields):
                del world.places[kind]
            if path == REVOKE:
                del world.sessions[named]
            if path.endswith(ENDS_THE_SESSION) and caller in PEOPLE:
                world.people[caller] = world.signed_in(world.people[caller])


def check_refusals(path: str, place: Place, refused: dict[tuple[str, str], str]) -> None:
    valid = BUILDERS[path](place)
    requests = {(caller, named): request(path, named, place, valid) for caller, named in refused}
    before = place.facts() if writes(path) else []
    answers = {trial: outcome(path, trial[0], data, place.world) for trial, data in requests.items()}
    assert answers == refused
    assert (place.facts() if writes(path) else []) == before, "a refused call changes nothing"


def writes(path: str) -> bool:
    return bool(RPCS[path].GetOptions().idempotency_level != MethodOptions.NO_SIDE_EFFECTS)
