"""Who may call what: every RPC as every kind of caller, in their own and in another's name, held against access.py."""

from collections.abc import Iterator
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
from tests.attacks.requests import VALID
from tests.attacks.world import CALLERS, INSIDE, NOBODY, PEOPLE, PLATFORM_ADMIN, PRIVILEGED, SERVICE, Place, World
from tests.conftest import DIAGONAL
from tests.harness import PASSWORD, Deployment

RPCS = rpcs()
APPS = rpcs(service for service in SERVICES if service.audience is Audience.APPS)

STATUSES = {
    "NO_TOKEN": "UNAUTHENTICATED",
    "INVALID_FIELD": "INVALID_ARGUMENT",
    "ALREADY_A_MEMBER": "ALREADY_EXISTS",
    "SESSION_NOT_FOUND": "NOT_FOUND",
    "REQUEST_NOT_FOUND": "NOT_FOUND",
    "MESSAGE_NOT_FOUND": "NOT_FOUND",
    "ISSUER_NOT_FOUND": "NOT_FOUND",
    "BAD_EXTERNAL_TOKEN": "UNAUTHENTICATED",
}
"""The status of a reason; PERMISSION_DENIED of those that are not here."""

ACTORS = ("from_user_id", "owner_id", "operator_id", "user_id")
"""The request fields that name who acts: the first of them that a request has."""

REGISTER, REVOKE, REFRESH = (
    f"/gochat.api.session.v1.SessionService/{rpc}" for rpc in ("Register", "RevokeSession", "RefreshToken")
)
SESSIONS = "/gochat.api.session.v1.SessionService/"
SET = {
    REGISTER: "REGISTRATION_CLOSED",
    f"{SESSIONS}ExchangeToken": "BAD_EXTERNAL_TOKEN",
    f"{SESSIONS}BeginSignIn": "ISSUER_NOT_FOUND",
    f"{SESSIONS}FinishSignIn": "ISSUER_NOT_FOUND",
    f"{SESSIONS}CreateGuest": "GUESTS_OFF",
    f"{SESSIONS}ClaimAccount": "NOT_A_GUEST",
}
"""The answer to everybody, by the settings of the server that the tests share; the callers have accounts."""
CREATE_SESSION = "/gochat.api.session.v1.SessionService/CreateSession"
IMPORT = "/gochat.api.message.v1.MessageService/ImportMessages"
EXCHANGE = f"{SESSIONS}ExchangeToken"
GROUPS = "/gochat.api.group.v1.GroupService/"
SUBSCRIBE = "/gochat.api.event.v1.EventService/Subscribe"
ENDS_THE_SESSION = ("/Logout", "SessionService/ChangePassword")


BUILDERS = {f"/gochat.{service}/{rpc}": valid for service, rpcs in VALID.items() for rpc, valid in rpcs.items()}


def fields_of(path: str) -> set[str]:
    """Of a request, or of each of its messages."""
    kind = RPCS[path].input_type
    return {field.name for field in (kind.fields_by_name["messages"].message_type if is_of_many(path) else kind).fields}


def is_of_many(path: str) -> bool:
    """Is it of messages that each say where they go?"""
    names = RPCS[path].input_type.fields_by_name
    return "messages" in names and "conversation_id" not in names


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
    if rule.access is Access.BACKEND:
        return "" if caller == SERVICE else "NOT_A_SERVICE"
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
    if path in SET and not reason:
        reason = SET[path]
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
    if is_of_many(path):
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
    people = {name: app.person(name.split()[0], password=PASSWORD, admin=name == PLATFORM_ADMIN) for name in PEOPLE}
    return World(app, people, app.person("other", password=PASSWORD))


def test_every_rpc_has_a_rule_and_a_request_here() -> None:
    assert RULES.keys() == RPCS.keys()
    assert BUILDERS.keys() == RPCS.keys()


def test_the_repo_half_is_for_services_and_ways_to_sign_in_are_for_anyone() -> None:
    without_token = ("ListSignInMethods", "ExchangeToken", "BeginSignIn", "FinishSignIn", "CreateGuest")
    anyone = {"/gochat.api.logic.v1.LogicService/Authenticate", REGISTER, REFRESH}
    anyone |= {f"{SESSIONS}{rpc}" for rpc in without_token}
    for path, rule in RULES.items():
        apps = Access.ANYONE if path in anyone else Access.BACKEND if path == CREATE_SESSION else Access.SIGNED_IN
        assert rule.access is (apps if path in APPS and path != IMPORT else Access.SERVICE), path


def test_the_actor_named_in_the_request_of_an_app_is_the_caller() -> None:
    """The rules of requests that name who acts say so, and no others do."""
    for path, rule in RULES.items():
        if rule.access is Access.SIGNED_IN and path != "/gochat.api.logic.v1.LogicService/GetUserProfile":
            nameless = path.endswith((*ENDS_THE_SESSION, "/ClaimAccount"))
            assert (Condition.SELF in rule.on) == (nameless or bool(actor_field(path))), path


@DIAGONAL
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
    changes_nothing = writes(path) and path != EXCHANGE  # which is recorded in the audit log, among the facts
    before = place.facts() if changes_nothing else []
    answers = {trial: outcome(path, trial[0], data, place.world) for trial, data in requests.items()}
    assert answers == refused
    assert (place.facts() if changes_nothing else []) == before, "a refused call changes nothing"


def writes(path: str) -> bool:
    return bool(RPCS[path].GetOptions().idempotency_level != MethodOptions.NO_SIDE_EFFECTS)
